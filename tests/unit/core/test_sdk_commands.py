"""Who may use which command; a refused one changes nothing and fails the attempt."""

from __future__ import annotations

import msgspec
import pytest
from tests.unit.core.play import NOW_MS, Play, call_command, send_command, success

from rewake.core.sdk_commands import Context
from rewake.core.state import State
from rewake.protocol import messages as m

READS: tuple[m.Command, ...] = (
    m.GetLazyStateCommand(b"x", 1),
    m.GetLazyStateKeysCommand(1),
    m.GetEagerStateCommand(b"x", m.VOID),
    m.GetEagerStateKeysCommand(()),
)
WRITES: tuple[m.Command, ...] = (m.SetStateCommand(b"x", b"1"), m.ClearStateCommand(b"x"), m.ClearAllStateCommand())
PROMISES: tuple[m.Command, ...] = (
    m.GetPromiseCommand("p", 1),
    m.PeekPromiseCommand("p", 1),
    m.CompletePromiseCommand("p", success(), 1),
)


@pytest.mark.parametrize("command", READS + WRITES + PROMISES)
@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("greeter/greet", ()),
        ("cart/a/add", READS + WRITES),
        ("cart/a/view", READS),
        ("signup/w/run", READS + WRITES + PROMISES),
        ("signup/w/look", READS + PROMISES),
    ],
)
def test_who_may_use_state_and_promises(
    play: Play, path: str, command: m.Command, allowed: tuple[m.Command, ...]
) -> None:
    first = play.call(path)
    play.sdk(first, command)
    error = play.row(first).last_error
    if command in allowed:
        assert error is None
        assert play.journal(first)[0] == command
    else:
        assert error is not None
        assert error.restate_code == "RT0017"
        assert f"'{path}'" in error.message
        assert play.journal(first) == []
        assert play.store.state("cart", "a") == {}


def test_random_bytes_follow_from_the_seed_and_never_repeat(play: Play) -> None:
    first = play.call("greeter/greet")
    item = play.state.invocations[first]

    def drawn(state: State, seed: bytes) -> list[bytes]:
        context = Context(state, item, play.now_ms, seed)
        return [context.random_bytes() for _ in range(3)]

    assert drawn(play.state, b"a" * 16) == drawn(play.state, b"a" * 16)
    assert len({*drawn(play.state, b"a" * 16), *drawn(play.state, b"b" * 16)}) == 6
    jitters = [Context(play.state, item, play.now_ms, bytes([seed] * 16)).jitter() for seed in range(64)]
    assert 0.0 <= min(jitters) < 0.1 and 0.9 < max(jitters) < 1.0


@pytest.mark.parametrize(
    "command",
    [
        m.RunCommand(1),
        m.SleepCommand(NOW_MS + 10, 2),
        m.SleepCommand(NOW_MS + 10, 0),
        m.GetPromiseCommand("p", 3),
        m.RunCommand(5),
        call_command("greeter/greet", 2),
        call_command("greeter/greet", 4),
        send_command("greeter/greet", 4),
        msgspec.structs.replace(call_command("greeter/greet", 8), result_completion_id=8),
    ],
    ids=["a step's", "a sleep's", "none", "a run's", "a call's", "both taken", "both a call's", "a callee's", "twins"],
)
@pytest.mark.parametrize("is_evicted", [False, True])
def test_a_completion_id_names_one_result(play: Play, command: m.Command, is_evicted: bool) -> None:
    """Or two results could come for it, and a sleep could be taken for a retry."""
    first = play.call("signup/w/look")
    play.run_step(first, 1)
    play.sdk(first, m.SleepCommand(NOW_MS + 1000, 2), m.RunCommand(3), call_command("greeter/greet", 4))
    if is_evicted:
        play.crash()
    length = play.row(first).journal_length
    play.sdk(first, command)
    row = play.row(first)
    assert row.last_error is not None
    assert (row.last_error.code, row.last_error.restate_code, row.journal_length) == (500, "RT0012", length)
    assert "does not name a new result" in row.last_error.message


def test_completion_ids_may_come_in_any_order(play: Play) -> None:
    first = play.call("greeter/route")
    play.sdk(first, m.RunCommand(9), m.RunCommand(3), call_command("greeter/greet", 4), m.RunCommand(7))
    assert play.row(first).last_error is None
    play.sdk(first, m.RunCommand(7))
    assert play.row(first).last_error is not None
