"""Who may use which command; a refused one changes nothing and fails the attempt."""

from __future__ import annotations

import pytest
from tests.unit.core.play import Play, success

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
    assert 0.0 <= Context(play.state, item, play.now_ms, b"a" * 16).jitter() < 1.0
