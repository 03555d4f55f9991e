"""Which moves of the table (core/lifecycle.py) histories take, to see that each one is real."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from rewake.core import lifecycle
from rewake.core.lifecycle import MOVES
from rewake.core.model import Invocation, Status
from rewake.core.state import State

Move = tuple[Status | None, Status | None]


@contextmanager
def counting() -> Iterator[Counter[Move]]:
    """How often each move is made while this is open; one that is not listed raises EngineBug."""
    taken: Counter[Move] = Counter()
    check, add = lifecycle._check, State.add

    def checked(invocation: Invocation, to: Status | None) -> None:
        check(invocation, to)
        taken[invocation.status, to] += 1

    def added(state: State, invocation: Invocation) -> None:
        add(state, invocation)
        taken[None, invocation.status] += 1

    with mock.patch.object(lifecycle, "_check", checked), mock.patch.object(State, "add", added):
        yield taken


def table_of(taken: Counter[Move]) -> str:
    """The moves with their counts, the rarest last."""
    counts = {move: taken[move] for move in MOVES} | taken
    names = [tuple("-" if status is None else status.name.lower() for status in move) for move in counts]
    lines = [f"{before:>10} -> {to:<10} {count:>9}" for (before, to), count in zip(names, counts.values(), strict=True)]
    return "\n".join(sorted(lines, key=lambda line: -int(line.rsplit(maxsplit=1)[1])))
