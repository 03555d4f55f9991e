"""The vocabulary of streams is a promise: clients are written against these names."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from rewake.streams import events
from rewake.streams.events import (
    Answered,
    Delta,
    Ended,
    Failed,
    Paused,
    Resumed,
    Started,
    StepCommitted,
    StepStarted,
    Suspended,
    Void,
    Waiting,
)

SAMPLES = [
    (
        Started(offset=1, at_ms=5, invocation_id="inv_1", target="Desk/ask"),
        b'{"type":"started","at_ms":5,"invocation_id":"inv_1","target":"Desk/ask","offset":1}',
    ),
    (
        StepStarted(offset=2, at_ms=5, step=2, name="Intake: model", kind="model", agent="Intake", entry=1),
        b'{"type":"step_started","at_ms":5,"step":2,"name":"Intake: model","entry":1,"kind":"model","agent":"Intake",'
        b'"offset":2}',
    ),
    (Delta(offset=3, step=2, data="Hel"), b'{"type":"delta","step":2,"data":"Hel","offset":3}'),
    (
        StepCommitted(offset=4, at_ms=6, step=2, name="Intake: model", entry=2, value={"a": 1}),
        b'{"type":"step_committed","at_ms":6,"step":2,"name":"Intake: model","entry":2,"value":{"a":1},"offset":4}',
    ),
    (
        Void(offset=5, at_ms=7, from_offset=3, steps=(2,), error="the worker died"),
        b'{"type":"void","at_ms":7,"from_offset":3,"steps":[2],"error":"the worker died","offset":5}',
    ),
    (
        Waiting(offset=6, at_ms=8, id="sign_0", awakeable="sign_1", question="May I?", args={"amount": 3}),
        b'{"type":"waiting","at_ms":8,"id":"sign_0","awakeable":"sign_1","question":"May I?",'
        b'"args":{"amount":3},"offset":6}',
    ),
    (
        Answered(offset=7, at_ms=9, id="sign_1", value=True),
        b'{"type":"answered","at_ms":9,"id":"sign_1","value":true,"offset":7}',
    ),
    (Suspended(offset=8, at_ms=9), b'{"type":"suspended","at_ms":9,"offset":8}'),
    (Paused(offset=9, at_ms=9, error="why"), b'{"type":"paused","at_ms":9,"error":"why","offset":9}'),
    (Resumed(offset=10, at_ms=9), b'{"type":"resumed","at_ms":9,"offset":10}'),
    (
        Ended(offset=11, at_ms=9, outcome="killed", failure=Failed(409, "killed")),
        b'{"type":"ended","at_ms":9,"outcome":"killed","failure":{"code":409,"message":"killed"},"offset":11}',
    ),
]


@pytest.mark.parametrize(("event", "data"), SAMPLES, ids=[type(event).__name__ for event, _ in SAMPLES])
def test_the_json_form_of_each_event(event: events.Event, data: bytes) -> None:
    assert events.encode(event) == data
    assert events.decode(data) == event


def test_there_is_a_sample_of_each_event() -> None:
    assert {type(event) for event, _ in SAMPLES} == set(get_args(events.Event))


def test_a_reader_skips_fields_it_does_not_know_and_refuses_unknown_events() -> None:
    assert events.decode(b'{"type":"resumed","offset":1,"at_ms":2,"more":3}') == Resumed(offset=1, at_ms=2)
    with pytest.raises(msgspec.DecodeError):
        events.decode(b'{"type":"else","offset":1}')
