"""A turn from the events of its run's stream."""

from __future__ import annotations

from typing import Any

from rewake.ext.chat.live import LiveTurn

MESSAGE = {"type": "message", "content": [{"type": "output_text", "text": "Hello there"}]}
CALL = {"type": "function_call", "call_id": "c1", "name": "ask_bank", "arguments": "{}"}


def model(*output: Any, **more: Any) -> dict[str, Any]:
    envelope = {"rewake": 1, "kind": "model", "framework": "openai-agents", "agent": "Desk", "path": ["Desk"]}
    return envelope | {"value": {"output": list(output)}} | more


def played(*events: dict[str, Any]) -> LiveTurn:
    live = LiveTurn()
    for offset, event in enumerate(events, 1):
        live.apply({"offset": offset, **event})
    return live


def started(step: int, agent: str = "Desk") -> dict[str, Any]:
    return {"type": "step_started", "step": step, "name": f"{agent}: model", "kind": "model", "agent": agent}


def delta(step: int, data: Any) -> dict[str, Any]:
    return {"type": "delta", "step": step, "data": data}


def committed(step: int, value: Any) -> dict[str, Any]:
    return {"type": "step_committed", "step": step, "name": "Desk: model", "entry": 1, "value": value}


def test_a_draft_gives_way_to_what_is_stored() -> None:
    begun = [started(1), delta(1, "Hel"), delta(1, "lo")]
    live = played(*begun)
    assert live.transcript.steps == [{"agent": "Desk", "parts": [{"type": "text", "text": "Hello"}]}]
    assert live.is_at_work and live.offset == 3
    live = played(*begun, committed(1, model(MESSAGE)), {"type": "ended", "outcome": "result"})
    assert [part["text"] for part in live.transcript.steps[0]["parts"]] == ["Hello there"]
    assert live.has_ended and not live.is_at_work


def test_void_deltas_are_forgotten_and_said_again() -> None:
    live = played(started(1), delta(1, "Hel"), {"type": "void", "from_offset": 2, "steps": [1]}, delta(1, "Oh"))
    assert live.transcript.steps[0]["parts"] == [{"type": "text", "text": "Oh"}]


def test_a_stream_that_begins_anew_is_read_anew() -> None:
    live = played(started(1), delta(1, "Hel"), {"type": "void", "from_offset": 0}, started(9), delta(9, "Hi"))
    assert live.transcript.text == "Hi"


def test_a_nested_agent_speaks_as_progress_of_its_call() -> None:
    path = {"type": "path", "path": ["Desk", "Bank"], "calls": ["c1"]}
    live = played(
        *(started(1), committed(1, model(CALL))),
        *(started(2, "Bank"), delta(2, path), delta(2, "I lo"), delta(2, "ok")),
    )
    assert live.transcript.steps[0]["parts"][0]["progress"] == {"agent": "Bank", "text": "I look"}
    assert len(live.transcript.steps) == 1


def test_a_step_whose_value_is_too_long_for_the_stream_keeps_its_draft() -> None:
    live = played(started(1), delta(1, "Hello"), committed(1, None))
    assert live.transcript.steps[0]["is_done"] and live.transcript.text == "Hello"
