"""Ids of traces and spans: W3C `traceparent` strings, and span ids computed from the subject of the span.

A span's id is a hash of the invocation's id and the span's place in it. So nothing is stored, and everybody who needs
the id computes the same one: a callee for its parent, a handler for its own spans, the tracer after a crash.
If the caller has no trace, the invocation gets one of its own; a parent id equal to the first half of the trace id
then means "no parent".
"""

from __future__ import annotations

import os
import re
from typing import Final, NamedTuple

import xxhash

SAMPLED: Final = 1

_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?\Z")
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16


class TraceContext(NamedTuple):
    """An invocation's trace and parent. parent_id: the caller's span, None if the trace begins here."""

    trace_id: str
    parent_id: str | None
    is_sampled: bool


def parsed(traceparent: str | None) -> TraceContext | None:
    """The context in a `traceparent` header; None if it is missing or malformed."""
    found = _TRACEPARENT.match(traceparent) if traceparent else None
    if found is None:
        return None
    trace_id, parent_id, flags = found.groups()
    if trace_id == _NO_TRACE or parent_id == _NO_SPAN:
        return None
    is_ours = trace_id.startswith(parent_id)
    return TraceContext(trace_id, None if is_ours else parent_id, bool(int(flags, 16) & SAMPLED))


def new_trace_id() -> str:
    return os.urandom(16).hex()


def root_traceparent(trace_id: str, *, is_sampled: bool) -> str:
    """The traceparent to store with an invocation that begins a trace."""
    return f"00-{trace_id}-{trace_id[:16]}-{int(is_sampled):02x}"


def context_of(invocation_id: bytes, traceparent: str | None) -> TraceContext:
    """The context of a stored invocation. Without a stored traceparent its trace id follows from its own id."""
    return parsed(traceparent) or TraceContext(xxhash.xxh3_128_hexdigest(invocation_id), None, True)


def invocation_span_id(invocation_id: bytes) -> str:
    return _span_id(invocation_id, b"")


def step_span_id(invocation_id: bytes, index: int) -> str:
    """The span id of the journal entry at `index`."""
    return _span_id(invocation_id, b"s%d" % index)


def call_span_id(caller_id: bytes, callee_id: bytes) -> str:
    """The span id of the entry that first called this callee; the callee's span has it as its parent."""
    return _span_id(caller_id, callee_id)


def agent_span_id(invocation_id: bytes, place: int) -> str:
    """The span id of an agent's work, by its place among the invocation's stretches of work."""
    return _span_id(invocation_id, b"a%d" % place)


def _span_id(invocation_id: bytes, part: bytes) -> str:
    found: str = xxhash.xxh3_64_hexdigest(invocation_id + part)
    return found if found != _NO_SPAN else "0" * 15 + "1"
