"""Retention: how long results and journals are kept, purging and sweeping."""

from __future__ import annotations

import pytest
from tests.unit.core.play import NOW_MS, Answer, Play, success, target_of

from rewake.core import commands
from rewake.core.effects import ReplyStatus
from rewake.core.ids import InvocationId
from rewake.core.model import HandlerOptions, Status
from rewake.protocol import messages as m

OPTIONS = HandlerOptions(journal_retention_ms=50, idempotency_retention_ms=20, workflow_retention_ms=100)


@pytest.mark.parametrize(
    ("path", "key", "expected"),
    [
        ("greeter/greet", None, (50, 50)),
        ("greeter/greet", "k", (20, 20)),
        ("signup/w/run", None, (100, 50)),
        ("signup/w/look", None, (50, 50)),
    ],
)
def test_what_is_kept_how_long(path: str, key: str | None, expected: tuple[int, int]) -> None:
    assert OPTIONS.retention_ms(target_of(path), key) == expected


def sweep(play: Play, *invocation_ids: InvocationId) -> None:
    play.submit(commands.Sweep(now_ms=play.now_ms, invocation_ids=list(invocation_ids)))
    play.commit()


def test_the_sweep_drops_journals_first_then_results() -> None:
    play = Play(journal_retention_ms=50, workflow_retention_ms=100)
    run = play.call("signup/w/run")
    play.sdk(run, m.SetStateCommand(b"x", b"1"), m.CompletePromiseCommand("p", success(), 1))
    play.fails(run)
    play.time(1000)
    play.sdk_ends(run)
    ended = play.now_ms
    row = play.row(run)
    assert (row.purge_at_ms, row.journal_purge_at_ms) == (ended + 100, ended + 50)
    sweep(play, run, InvocationId(b"n" * 24))
    assert len(play.journal(run)) == 4
    play.now_ms = ended + 50
    sweep(play, run)
    row = play.row(run)
    assert (row.result, row.journal_purge_at_ms, row.journal_length) == (success(), None, 0)
    assert play.store.events == []
    sweep(play, run)
    play.now_ms = ended + 100
    sweep(play, run)
    assert not play.exists(run)
    assert play.store.state("signup", "w") == {}
    assert play.store.promises == {}


def test_the_sweep_leaves_alone_what_is_open(play: Play) -> None:
    first = play.call("greeter/greet")
    play.now_ms += 10**12
    sweep(play, first)
    assert play.status(first) is Status.INVOKED


def test_without_retention_an_invocation_is_forgotten_at_its_end() -> None:
    play = Play(journal_retention_ms=0)
    first = play.call("greeter/greet")
    play.run_step(first, 1)
    play.sdk(first, m.SleepCommand(NOW_MS + 10, 2), m.OutputCommand(success()), m.End())
    assert not play.exists(first)
    assert play.store.entries == {}
    assert play.store.timers == set()


def test_without_journal_retention_only_the_result_stays() -> None:
    play = Play(journal_retention_ms=0)
    first = play.call("greeter/greet", key="k")
    play.run_step(first, 1)
    play.sdk_ends(first)
    row = play.row(first)
    assert (row.result, row.journal_length, row.purge_at_ms) == (success(), 0, NOW_MS + 86_400_000)
    assert first not in play.store.entries


def test_one_that_ends_and_starts_again_in_one_batch() -> None:
    play = Play(idempotency_retention_ms=0)
    first = play.call("greeter/greet", key="k")
    play.sdk(first, m.RunCommand(1), m.OutputCommand(success()), m.End())
    assert play.call("greeter/greet", key="k") == first
    row = play.row(first)
    assert (row.status, row.journal_length) == (Status.INVOKED, 1)


def test_purge(play: Play) -> None:
    first = play.call("greeter/greet")
    play.skip()
    play.ask(commands.Purge, first)
    play.expect(Answer(ReplyStatus.NOT_COMPLETED))
    play.sdk_ends(first)
    play.skip()
    play.ask(commands.Purge, first, journal_only=True)
    play.expect(Answer(ReplyStatus.DONE))
    assert (play.row(first).result, play.row(first).journal_length) == (success(), 0)
    play.ask(commands.Purge, first)
    play.ask(commands.Purge, first)
    play.expect(Answer(ReplyStatus.DONE), Answer(ReplyStatus.NOT_FOUND))
    assert not play.exists(first)


def test_a_purged_workflow_runs_again_with_nothing_left(play: Play) -> None:
    run = play.call("signup/w/run")
    play.sdk(run, m.SetStateCommand(b"x", b"1"))
    play.sdk_ends(run)
    play.ask(commands.Purge, run)
    assert play.call("signup/w/run") == run
    play.commit()
    assert play.started[run].state == ()
    assert play.started[run].retry_count == 0
    assert play.store.state("signup", "w") == {}
