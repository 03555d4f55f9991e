"""The text that a person sees of a run at work."""

from __future__ import annotations

from typing import Any

import pytest

from rewake.streams.events import Delta, Ended, Event, StepCommitted, StepStarted, Void
from rewake.streams.live_text import LiveText, text_of


def shown(*events: Event) -> LiveText:
    found = LiveText()
    for event in events:
        found.take(event)
    return found


STARTED = StepStarted(offset=1, at_ms=0, step=1, name="Desk: model", entry=1)
SAID = Delta(offset=2, step=1, data="Hel"), Delta(offset=3, step=1, data="lo")


def test_text_grows_until_its_step_is_stored() -> None:
    speaking = shown(STARTED, *SAID)
    assert (speaking.texts, speaking.names) == ({1: "Hello"}, {1: "Desk: model"})
    speaking.take(StepCommitted(offset=4, at_ms=0, step=1, name="Desk: model", entry=2))
    assert (speaking.texts, speaking.names) == ({}, {})


@pytest.mark.parametrize(
    "void", [Void(offset=4, at_ms=0, from_offset=2, steps=(1,)), Void(offset=4, at_ms=0, from_offset=0)]
)
def test_void_text_is_gone(void: Void) -> None:
    assert shown(STARTED, *SAID, void).texts == {}
    assert shown(STARTED, *SAID, void, Delta(offset=5, step=1, data="again")).texts == {1: "again"}


def test_the_end() -> None:
    assert shown(STARTED, Ended(offset=9, at_ms=0, outcome="killed")).is_ended


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("a", "a"),
        ({"type": "response.output_text.delta", "delta": "a"}, "a"),
        ({"type": "response.function_call_arguments.delta", "delta": "{"}, ""),
        ({"event_kind": "part_delta", "delta": {"content_delta": "a"}}, "a"),
        ({"delta": {"args_delta": "{"}}, ""),
        (7, ""),
    ],
)
def test_text_of_frameworks(data: Any, text: str) -> None:
    assert text_of(data) == text
