"""What a waiting run was about when it began to wait: the open tool call of a model, else the step just before.

Pure functions of a record and its trace. Used by waits.py, so that people see what is asked, and by whom, before they
answer.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from rewake import formats
from rewake.protocol import messages as m
from rewake.runs.displays import carried
from rewake.runs.records import Record
from rewake.runs.turns import AgentTrace

TEXT_CHARS_MAX: Final = 2_000
_PERSON: Final = re.compile(
    r"approv|review|confirm|consent|permission|human|person|sign.?off|escalat|feedback|ask_user|user_input|manager",
    re.IGNORECASE,
)


class Question(msgspec.Struct, frozen=True):
    """agent: who asked, empty where no model did.   tool, arguments: of its open call.   after: the step just before.

    text: what that step returned.
    """

    agent: str = ""
    tool: str = ""
    arguments: str = ""
    after: str = ""
    text: str = ""

    @property
    def is_for_a_person(self) -> bool:
        """Whether its name says so."""
        return bool(_PERSON.search(self.tool) or _PERSON.search(self.after))


def question_of(record: Record, trace: AgentTrace) -> Question:
    """What the run is about now. Of several open calls, one whose name says that a person answers it."""
    calls = sorted(trace.open_calls, key=lambda call: not _PERSON.search(call.tool))
    if calls:
        return Question(agent=calls[0].agent, tool=calls[0].tool, arguments=calls[0].arguments)
    done = [step for step in record.steps if step.kind == "step" and step.is_done]
    if not done:
        return Question()
    result = carried(record.result(done[-1]))
    text = formats.shown(result.content, TEXT_CHARS_MAX).text if isinstance(result, m.Success) else ""
    agent = next((turn.agent for turn in reversed(trace.turns) if turn.index == done[-1].index), "")
    return Question(agent=agent if trace.has_agents else "", after=formats.safe(done[-1].title), text=text)
