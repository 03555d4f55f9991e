"""Whole histories of the core by seed: 600 fixed ones, and 200 fresh ones each time.

A failure names its seed; `python -m tests.simulation SEED` (with src on the path) plays it again exactly. `make fuzz`
plays ten thousand: with no fault for long, the next find is as likely among fresh seeds as among fixed ones.
"""

from __future__ import annotations

import random

import pytest
from tests.simulation.history import run
from tests.simulation.moves import counting

from rewake.core.lifecycle import MOVES

MOVES_TAKEN_BY = 600
FRESH_COUNT = 200

KNOWN_SEEDS = {
    357462202833: "a kill that was put off finds that its invocation has ended, and nothing else is left to do",
    8720: "a crash, after which places in line are counted from the start, as nobody stands in one",
    713: "a fork begins its branch of a key with a state that no command wrote",
    3022: "one that came behind a sleeping holder and was stored leaves before the queue is loaded",
    134544472711: "a call is cancelled in line, made anew with the same id and killed, in one batch",
}
"""Histories that failed once, in the engine or in the model of it."""


@pytest.mark.parametrize("seed", KNOWN_SEEDS, ids=KNOWN_SEEDS.get)
def test_known_seeds(seed: int) -> None:
    run(seed)


@pytest.mark.timeout(180)
def test_fixed_seeds_take_every_listed_move() -> None:
    """No seed takes another one: that raises EngineBug."""
    with counting() as taken:
        for seed in range(MOVES_TAKEN_BY):
            run(seed)
    assert set(taken) == set(MOVES)


def test_fresh_seeds() -> None:
    fresh = random.SystemRandom()
    for _ in range(FRESH_COUNT):
        run(fresh.randrange(10_000, 1 << 40))


def test_a_seed_gives_the_same_history_again() -> None:
    first, second = run(7), run(7)
    assert first.store.invocations == second.store.invocations
    assert first.store.entries == second.store.entries
    assert (first.commit_count, first.command_count) == (second.commit_count, second.command_count)


def test_a_failure_says_how_to_play_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.simulation.history.History.run", lambda history: history.state.invocations["no"])
    with pytest.raises(KeyError) as caught:
        run(7)
    assert "seed=7 commit=0" in caught.value.__notes__[0]
    assert "python -m tests.simulation 7" in caught.value.__notes__[0]
