"""Traceparents and span ids: what is read, what is made, and that it is always the same."""

from __future__ import annotations

import re

import pytest

from rewake.telemetry import trace_ids
from rewake.telemetry.trace_ids import TraceContext, parsed

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
ID, OTHER = b"a" * 24, b"b" * 24


def test_a_callers_traceparent() -> None:
    assert parsed(f"00-{TRACE}-{SPAN}-01") == TraceContext(TRACE, SPAN, True)
    assert parsed(f"00-{TRACE}-{SPAN}-00") == TraceContext(TRACE, SPAN, False)
    assert parsed(f"cc-{TRACE}-{SPAN}-03-later-versions-say-more") == TraceContext(TRACE, SPAN, True)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "traceparent",
        f"00-{TRACE}-{SPAN}",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE[:-1]}-{SPAN}-01",
    ],
)
def test_what_is_none(text: str | None) -> None:
    assert parsed(text) is None


def test_a_trace_of_our_own_has_no_parent() -> None:
    trace_id = trace_ids.new_trace_id()
    stored = trace_ids.root_traceparent(trace_id, is_sampled=True)
    assert trace_ids.context_of(ID, stored) == TraceContext(trace_id, None, True)
    assert not trace_ids.context_of(ID, trace_ids.root_traceparent(trace_id, is_sampled=False)).is_sampled


def test_an_invocation_from_before_tracing_has_a_trace_by_its_id() -> None:
    context = trace_ids.context_of(ID, None)
    assert context == trace_ids.context_of(ID, None)
    assert context.trace_id != trace_ids.context_of(OTHER, None).trace_id
    assert context.parent_id is None


def test_span_ids_differ_by_what_they_are_about() -> None:
    ids = [
        trace_ids.invocation_span_id(ID),
        trace_ids.invocation_span_id(OTHER),
        trace_ids.step_span_id(ID, 1),
        trace_ids.step_span_id(ID, 11),
        trace_ids.agent_span_id(ID, 1),
        trace_ids.call_span_id(ID, OTHER),
        trace_ids.call_span_id(OTHER, ID),
    ]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch("[0-9a-f]{16}", span_id) for span_id in ids)
