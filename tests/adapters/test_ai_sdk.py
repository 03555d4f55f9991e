"""The AI SDK itself reads our chunks: its schema takes each of them, and its reader ends with the message we keep."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from node_tour import installed, node

from rewake.examples import EXAMPLES
from rewake.ext.chat.changes import Received, asked
from rewake.ext.chat.events import ChatEvent, TurnEnded, TurnStarted, TurnWaiting
from rewake.ext.chat.formats import ai_sdk

READER = Path(__file__).parent / "ui_message_stream.mjs"
FRONTEND = next(example.folder for example in EXAMPLES if example.name == "chat_desk") / "frontend"
Step = dict[str, Any]


def call(state: str, call_id: str = "c1", **more: Any) -> dict[str, Any]:
    return {
        "type": "tool",
        "call": call_id,
        "tool": "pay",
        "agent": "Desk",
        "input": {"amount": 4},
        "state": state,
    } | more


def step(*parts: Any, agent: str = "Desk", is_done: bool = True) -> Step:
    return {"agent": agent, "parts": list(parts), "is_done": is_done}


def text(said: str, kind: str = "text") -> dict[str, Any]:
    return {"type": kind, "text": said}


QUESTION = {"id": "a1", "digest": "d", "awakeables": ["a1"], "expires_at_ms": 1_800_000_000_000}
VOID = [step(text("I thi"), is_done=False)]
WRITING = [step(text("Hm", "reasoning"), text("I pay."), call("writing", written='{"am'), is_done=False)]
ASKED = [
    step(text("Hm", "reasoning"), text("I pay."), call("called", "c0", progress={"agent": "Bank", "text": "I look"})),
    step(call("waiting", approval=QUESTION), agent="Bank"),
]
PAID = [
    step(text("Hm", "reasoning"), text("I pay."), call("returned", "c0", output={"paid": 4})),
    step(call("returned", approval=QUESTION, output="paid"), agent="Bank"),
    step({"type": "handoff", "agent": "Thanks"}),
    step(text("Thank you."), agent="Thanks"),
]
DENIED = [ASKED[0], step(call("denied", approval=QUESTION | {"reason": "too much"}), agent="Bank")]
STEERED = [
    ASKED[0],
    {"agent": None, "parts": [{"type": "steering", "id": "m2", "text": "Now"}], "is_done": True},
    step(text("So it is.")),
]
EXPIRED = [ASKED[0], step(call("expired", approval=QUESTION), agent="Bank"), step(text("Nobody was there."))]


def responses(*groups: tuple[list[list[Step]], ChatEvent]) -> list[list[dict[str, Any]]]:
    """Chunks of one response after the other. groups: what each leads through, and its end."""
    said, known = [], None
    for targets, end in groups:
        differ, stream = Received(known), ai_sdk.UiMessageStream()
        events: list[ChatEvent] = [TurnStarted("m1", is_rest=known is not None)]
        events += [*(event for target in targets for event in differ.go_on_to(target)), end]
        said.append([chunk for event in events for chunk in stream.chunks(event)])
        known = targets[-1]
    return said


WAITS = TurnWaiting((asked(1, ASKED[1]["parts"][0]),))
ENDS = TurnEnded("ended")


@pytest.mark.parametrize(
    ("groups", "kept"),
    [
        ([([VOID, [], WRITING[:0], ASKED], WAITS), ([PAID], ENDS)], PAID),
        ([([VOID, WRITING, ASKED], WAITS)], ASKED),
        ([([ASKED], WAITS), ([DENIED], TurnEnded("stopped"))], DENIED),
        ([([ASKED], WAITS), ([EXPIRED], ENDS)], EXPIRED),
        ([([STEERED[:2], [*STEERED[:2], step(text("So"), is_done=False)], STEERED], ENDS)], STEERED),
        ([([[*STEERED[:2], step(text("Void"), is_done=False)], STEERED], ENDS)], STEERED),
    ],
    ids=["paid", "asked", "denied", "expired", "steered", "void after steering"],
)
def test_the_message_that_a_client_ends_with_is_the_one_we_keep(groups: Any, kept: list[Step]) -> None:
    folder = installed("frontend", FRONTEND.parent)
    given = json.dumps(responses(*groups))
    read = subprocess.run(
        [str(node()), str(READER), str(folder)], input=given, capture_output=True, text=True, timeout=50, check=False
    )
    assert read.returncode == 0, read.stderr
    message = json.loads(read.stdout)
    _, expected = ai_sdk.ui_messages({"id": "m1", "text": "?", "steps": kept})
    assert message["id"] == expected["id"]
    assert [_essence(part) for part in message["parts"] if part["type"] != "data-agent"] == [
        _essence(part) for part in expected["parts"]
    ]


def _essence(part: dict[str, Any]) -> dict[str, Any]:
    """A part without what only a stream has, such as ids of parts and descriptors of approvals."""
    found = {
        name: part[name]
        for name in ("type", "text", "state", "toolName", "output", "preliminary", "data", "parts")
        if name in part
    }
    approval = {name: value for name, value in part.get("approval", {}).items() if name != "descriptor"}
    return found | ({"approval": approval} if approval else {})
