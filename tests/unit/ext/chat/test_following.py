"""Following a turn, in front of an engine that says what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from rewake.ext.chat.events import ApprovalAnswered, ChatEvent, StepReset, TextDelta, TurnEnded, TurnWaiting
from rewake.ext.chat.following import Following, Record
from rewake.ext.chat.ingress import EngineUnavailable, Refused

QUESTION = {"type": "tool", "call": "c1", "tool": "pay", "agent": "Desk", "input": {}, "approval": {"id": "a1"}}
ASKED = {"agent": "Desk", "parts": [QUESTION | {"state": "waiting"}], "is_done": True}
PAID = {"agent": "Desk", "parts": [QUESTION | {"state": "returned", "output": "paid"}], "is_done": True}
SAID = {"agent": "Desk", "parts": [{"type": "text", "text": "Hello"}], "is_done": True}
ENVELOPE = {"rewake": 1, "kind": "approval", "agent": "Desk", "call": "c1", "tool": "pay"}
BEGUN: Record = {"id": "m1", "text": "?", "invocation": "inv_1", "status": "running", "steps": []}


def record(status: str, *steps: Any) -> Record:
    return BEGUN | {"status": status, "steps": list(steps)}


class Engine:
    """views: what `view` says, one after the other, the last for ever.   streams: of each reading; Refused without."""

    def __init__(self, views: list[Any], streams: list[Any] | None = None) -> None:
        self.views, self.streams = views, streams
        self.after: list[int] = []
        self.killed: str | None = None

    async def call(self, key: str, handler: str, body: Any) -> Any:
        found = self.views.pop(0) if len(self.views) > 1 else self.views[0]
        if isinstance(found, Exception):
            raise found
        return {"turns": [found] if found else []}

    async def failure(self, invocation_id: str) -> str | None:
        return self.killed

    async def events(self, invocation_id: str, after: int = 0) -> AsyncIterator[list[dict[str, Any]]]:
        self.after.append(after)
        if not self.streams:
            raise Refused(404, "no streams here")
        for batch in self.streams.pop(0):
            if isinstance(batch, Exception):
                raise batch
            yield batch


def followed(engine: Engine, begun: Record = BEGUN, **options: Any) -> list[ChatEvent]:
    async def read() -> list[ChatEvent]:
        following: Any = Following(engine, "chat", begun, **options)  # type: ignore[arg-type]  # stands for the ingress
        return [event async for event in following.events()][1:]

    return asyncio.run(read())


def test_without_streams_a_turn_is_read_once_it_waits_or_ends() -> None:
    found = followed(Engine([None, record("running"), record("ended", SAID)]))
    assert TextDelta(0, 0, "Hello") in found and found[-1] == TurnEnded("ended")
    assert isinstance(followed(Engine([record("waiting", ASKED)]))[-1], TurnWaiting)
    assert followed(Engine([record("failed") | {"error": "no credit"}]))[-1] == TurnEnded("failed", "no credit")


def test_an_answer_that_is_on_its_way_is_waited_for() -> None:
    waiting = record("waiting", ASKED)
    engine = Engine([waiting, waiting, record("ended", PAID)])
    found = followed(engine, waiting, is_rest=True, answered=frozenset({"a1"}))
    assert ApprovalAnswered("a1", "c1", "approved", None, "Desk") in found and found[-1] == TurnEnded("ended")


def test_a_stream_that_breaks_off_is_read_on_and_what_it_lost_comes_with_the_record() -> None:
    start = {"type": "step_started", "offset": 3, "step": 3, "name": "Desk: model", "agent": "Desk"}
    broken = [[start], [{"type": "delta", "offset": 4, "step": 3, "data": "Hel"}], EngineUnavailable("gone")]
    rest = [[{"type": "ended", "offset": 9, "outcome": "result"}]]
    engine = Engine([EngineUnavailable("gone"), record("ended", SAID)], [broken, rest])
    found = followed(engine)
    assert [event.text for event in found if isinstance(event, TextDelta)] == ["Hel", "lo"]
    assert engine.after == [0, 4] and found[-1] == TurnEnded("ended")


def test_the_rest_of_a_turn_begins_where_the_reader_is() -> None:
    """The stream is read from its beginning, and nothing that the reader has is taken back or said again."""
    value = {"id": "a1", "awakeables": ["a1"], "question": "Pay?", "arguments": "{}"}
    commits = [ENVELOPE | {"value": value}, ENVELOPE | {"value": {"outcome": "approved", "id": "a1"}}]
    events = [{"type": "step_committed", "offset": n, "step": n, "value": each} for n, each in enumerate(commits, 1)]
    stream = [[{"type": "started", "offset": 0}], *([event] for event in events), [{"type": "ended", "offset": 9}]]
    waiting = record("waiting", {**ASKED, "parts": [QUESTION | {"state": "waiting", "approval": {"id": "a1"}}]})
    engine = Engine([record("ended", PAID)], [stream])
    found = followed(engine, waiting, is_rest=True, answered=frozenset({"a1"}))
    assert not [event for event in found if isinstance(event, StepReset)]
    assert [type(event).__name__ for event in found] == ["ApprovalAnswered", "ToolReturned", "TurnEnded"]


def test_a_turn_whose_run_was_killed_is_over() -> None:
    """It wrote no end: its stream has one, or else the engine is asked."""
    for streams in (None, [[[{"type": "ended", "offset": 1, "outcome": "killed"}]]]):
        engine = Engine([record("running", SAID)], streams)
        engine.killed = "killed"
        found = followed(engine)
        assert TextDelta(0, 0, "Hello") in found and found[-1] == TurnEnded("stopped", "killed")
    assert followed(Engine([record("ended", SAID)]))[-1] == TurnEnded("ended")


def test_a_message_that_another_turn_took_is_followed_there_from_its_place() -> None:
    message = {"type": "steering", "id": "m1", "text": "?"}
    other = record("running", PAID, {"agent": None, "parts": [message], "is_done": True}) | {
        "id": "m0",
        "invocation": "inv_0",
    }
    ended = other | {"status": "ended", "steps": [*other["steps"], SAID]}
    own = [[{"type": "started", "offset": 0}], [{"type": "ended", "offset": 9, "outcome": "result"}]]
    found = followed(Engine([None, other, ended], [[], own]))
    assert [type(event).__name__ for event in found[:2]] == ["StepStarted", "TextStarted"]
    assert TextDelta(2, 0, "Hello") in found and found[-1] == TurnEnded("ended")


def test_an_engine_that_stays_away_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rewake.ext.chat.following._AWAY_S", 0.01)
    with pytest.raises(EngineUnavailable):
        followed(Engine([EngineUnavailable("gone")]))
