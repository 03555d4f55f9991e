"""The subject of a wait: a model's open tool call, else the step just before.

Pure functions of a record and its trace. Used by waits.py, so that people see the question and the agent that asked it
before they answer.
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
    """agent: the one that asked; empty if no model did.   tool, arguments: of its open call.

    after: the step just before.   text: the result of that step.
    """

    agent: str = ""
    tool: str = ""
    arguments: str = ""
    after: str = ""
    text: str = ""

    @property
    def is_for_a_person(self) -> bool:
        """Whether the tool's name shows that a person answers it."""
        return bool(_PERSON.search(self.tool) or _PERSON.search(self.after))


def question_of(record: Record, trace: AgentTrace) -> Question:
    """The question of a run. Of several open calls it takes one that a person answers, by the tool's name."""
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
