"""What earlier runs chose, for the decisions of one page."""

from __future__ import annotations

import json
from typing import Any

from tests.unit.runs.written import Journal, invocation

from rewake.protocol.codec import encode_message
from rewake.protocol.messages import Completion, MessageType, Success
from rewake.runs.agents import trace_of
from rewake.runs.choices import DECISIONS_MAX, add_earlier_choices
from rewake.runs.directory import Directory
from rewake.runs.records import record_from


class Earlier:
    """Every step chose `car` twice and `medical` once."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def earlier_results(self, service: str, handler: str, step: str) -> list[tuple[bytes, int]]:
        self.asked.append(step)
        return [
            (encode_message(Completion(MessageType.RUN_COMPLETION, 1, Success(json.dumps(name).encode()))), 6)
            for name in ("car", "medical", "car")
        ]


def test_choices_are_looked_up_for_so_many_steps() -> None:
    journal, reading = Journal(), Earlier()
    for number in range(DECISIONS_MAX + 1):
        journal.run(f"Pick specialist {number}", "car")
    record = record_from(invocation(), journal.rows)
    trace = trace_of(record, Directory([]))
    found: Any = reading
    add_earlier_choices(found, record, trace)
    assert reading.asked == [f"Pick specialist {number}" for number in range(DECISIONS_MAX)]
    assert [turn.choices for turn in trace.turns if turn.kind == "decision"] == [
        *[{"car": 2, "medical": 1}] * DECISIONS_MAX,
        {},
    ]
