"""The handlers of the tests that run on both engines (subject.py), written with the official SDK; served over HTTP.

A handler leaves marks in a file named for its invocation, and stands still at gates the test opens. All tests share
the process, so no handler keeps anything in it.
"""

from __future__ import annotations

from typing import Any

import restate
from both_keyed import brief_counter, counter, flow, kept, lazy_counter, short_flow
from both_retries import retries
from both_steps import steps
from both_waits import brief_cancels, brief_waits, cancels, waits

app: Any = restate.app(
    [
        steps,
        retries,
        waits,
        brief_waits,
        cancels,
        brief_cancels,
        counter,
        lazy_counter,
        brief_counter,
        flow,
        kept,
        short_flow,
    ]
)
