"""What `rewake ui` finds out and remembers of a server: where its ingress is, and counts that take long."""

from __future__ import annotations

import asyncio

import pytest

from rewake.core import ids
from rewake.core.effects import ReplyStatus
from rewake.errors import ErrorCode, RewakeError
from rewake.operations import Operation
from rewake.runs.elsewhere.reading import Memory
from rewake.ui.engine_elsewhere import EngineElsewhere, ServerElsewhere

RESTATE = ServerElsewhere("http://127.0.0.1:1", "http://127.0.0.1:2", "1.7.12", None)


def test_a_restate_server_is_not_asked_for_what_it_would_ignore() -> None:
    engine = EngineElsewhere(RESTATE)
    with pytest.raises(RewakeError) as raised:
        asyncio.run(engine.restart_as_new(bytes(24), from_index=1, result=b"1"))
    assert (raised.value.code, raised.value.facts) == (ErrorCode.OPERATION_UNSUPPORTED, {"http_status": 400})
    assert not engine.abilities().replaces_results
    assert not engine.abilities().completes_promises
    assert EngineElsewhere(ServerElsewhere("u", "i", "1.7.12", "0.1.0")).abilities().replaces_results


def test_the_ingress_is_asked_again_only_after_a_while() -> None:
    engine, asked = EngineElsewhere(RESTATE), []

    def refuse(*_: object) -> tuple[int, bytes]:
        asked.append(1)
        raise RewakeError(ErrorCode.INGRESS_UNREACHABLE, "Could not reach it.\nConnection refused.")

    engine.ingress.send = refuse  # type: ignore[method-assign, assignment]
    problems = {engine.abilities().cannot_send() for _ in range(5)}
    assert (problems, len(asked)) == ({"Could not reach it. Connection refused."}, 1)


def test_counts_that_take_long_are_remembered_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr("rewake.runs.elsewhere.reading.time.monotonic", lambda: now_s[0])
    counted = []

    def count(took_s: float) -> dict[str, int]:
        now_s[0] += took_s
        counted.append(took_s)
        return {"running": len(counted)}

    memory = Memory()
    assert [memory.recall("counts", lambda: count(0.01))["running"] for _ in range(2)] == [1, 2]
    assert [memory.recall("counts", lambda: count(2.0))["running"] for _ in range(3)] == [3, 3, 3]
    assert memory.recall("others", lambda: count(0.01))["running"] == 4
    now_s[0] += 10.1
    assert memory.recall("counts", lambda: count(0.01))["running"] == 5


def test_operations_are_accepted_or_raised() -> None:
    engine, asked = EngineElsewhere(RESTATE), []

    async def ask(*what: object, **parameters: object) -> None:
        asked.append((*what, parameters))

    engine._ask = ask  # type: ignore[method-assign]
    for operation in (Operation.RESUME, Operation.CANCEL):
        reply = asyncio.run(engine.operate(operation, bytes(24), deployment="latest"))
        assert reply.status is ReplyStatus.ACCEPTED
    path = f"/invocations/{ids.invocation_id_to_str(bytes(24))}"
    assert asked == [
        ("PATCH", f"{path}/resume", None, {"deployment": "latest"}),
        ("PATCH", f"{path}/cancel", None, {"deployment": None}),
    ]
