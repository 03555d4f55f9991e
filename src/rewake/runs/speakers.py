"""The agent of each reply and step in a run, the agents it consults inside its tools, and the open tool calls.

Envelopes of rewake.ext name the agent. Other journals only have replies in order: a reply there comes from a consulted
agent if a tool call is open that an agent answers, as the app or the names show. walk.py calls this file with one reply
or step at a time.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from rewake import formats
from rewake.agents.envelope import Envelope
from rewake.agents.frameworks import NAMING_CONSULTS
from rewake.agents.replies import ModelReply, ToolCall
from rewake.agents.roster import Roster, plain
from rewake.agents.routing import handoff_target
from rewake.runs.steps import Step
from rewake.runs.turns import AgentTrace, Handoff, OpenCall, Stint

_ARGUMENTS_CHARS_MAX: Final = 2_000
_CONSULT: Final = re.compile(r"(consult|ask|delegate|agent|specialist|expert)", re.IGNORECASE)
_CONSULTED: Final = re.compile(r"^(consult|ask|delegate_to|call)_?(?=.)")


class Speaker(msgspec.Struct, kw_only=True):
    """An agent at work. stint: place of its current stint.   call_id: of the tool call that it answers.

    open_calls: tool calls of its model without an answer.   asked_in: the step in which its model made them.
    """

    agent: str
    stint: int
    call_id: str = ""
    open_calls: list[ToolCall] = []
    asked_in: Step | None = None


class Speakers:
    """The agents at work in one run: the run's own, then each agent inside the tool of the one before."""

    def __init__(self, trace: AgentTrace, roster: Roster, run_id: str, first: str, start_ms: int) -> None:
        self._trace = trace
        self._roster = roster
        self._run_id = run_id
        self._by_calls: dict[tuple[str, ...], Speaker] = {}
        self._stack = [Speaker(agent=first, stint=self._begin(first, 0, start_ms))]
        self._by_calls[()] = self._stack[0]
        self.results: dict[str, object] = {}
        """Results of tools, by the id of the call."""

    @property
    def top(self) -> Speaker:
        return self._stack[-1]

    # By what the envelope says

    def of_envelope(self, step: Step, envelope: Envelope) -> Speaker:
        """The agent of a step. A new call starts a new consulted agent."""
        speaker = self._at(step, envelope, len(envelope.calls))
        if envelope.agent and plain(envelope.agent) != plain(speaker.agent):
            self._rename(speaker, envelope.agent, step)
        return speaker

    def _at(self, step: Step, envelope: Envelope, depth: int) -> Speaker:
        calls = envelope.calls[:depth]
        known = self._by_calls.get(calls)
        if known is None:
            asker = self._at(step, envelope, depth - 1)
            agent = envelope.path[depth] if depth < len(envelope.path) else envelope.agent
            known = self._by_calls[calls] = self._consult(step, asker, agent, calls[-1])
        return known

    def _rename(self, speaker: Speaker, agent: str, step: Step) -> None:
        """Correct a speaker's name: it was not known before, or another agent continues an earlier run."""
        stint = self._trace.stints[speaker.stint]
        is_fresh = not any(turn.stint == speaker.stint and turn.agent for turn in self._trace.turns)
        speaker.agent = agent
        if is_fresh:
            stint.agent = agent
        else:
            stint.end_ms = step.start_ms
            speaker.stint = self._begin(agent, step.index, step.start_ms, parent=stint.parent)

    # By what replies look like

    def of_reply(self, step: Step, reply: ModelReply, *, is_last: bool) -> Speaker:
        """The agent of a reply. is_last: the last one of an ended run, so the run's own agent gave it."""
        if is_last and not reply.calls:
            del self._stack[1:]
            return self.top
        asked = self._asked_in(reply)
        if asked is not None:
            call, agent = asked
            self._stack.append(self._consult(step, self.top, agent, call.call_id))
        return self.top

    def answered(self, speaker: Speaker, reply: ModelReply, step: Step) -> None:
        """A reply without calls ends a consultation; the asker's tool returns it."""
        if speaker is self._stack[0] or reply.calls:
            return
        self.results.setdefault(speaker.call_id, reply.text)
        self._trace.stints[speaker.stint].end_ms = step.end_ms
        if speaker in self._stack:
            del self._stack[self._stack.index(speaker) :]

    def _asked_in(self, reply: ModelReply) -> tuple[ToolCall, str] | None:
        """The speaker's open call that this reply is made for, and the agent behind that call."""
        asker = self.top
        for call in asker.open_calls:
            agent = self._roster.asked_by(call.name)
            if agent is not None and self._may_say(agent, asker.agent, reply):
                return call, agent
        if reply.framework in NAMING_CONSULTS and not reply.calls:
            named = (call for call in asker.open_calls if _CONSULT.search(call.name))
            return next(((call, _CONSULTED.sub("", call.name)) for call in named), None)
        return None

    def _may_say(self, agent: str, asker: str, reply: ModelReply) -> bool:
        """Whether a reply's tool calls fit the agent. Tools that both or neither of the two have do not count."""
        names = [call.name for call in reply.calls]
        return all(self._roster.has_tool(agent, name) or not self._roster.has_tool(asker, name) for name in names)

    def _consult(self, step: Step, asker: Speaker, agent: str, call_id: str) -> Speaker:
        call = next((call for call in asker.open_calls if call.call_id == call_id), None)
        if call is not None:
            asker.open_calls.remove(call)
        reason = "" if call is None else formats.line(call.arguments, 200)
        handoff = self.note(step, asker, agent, "consult", reason, at_ms=step.start_ms)
        handoff.stint = self._begin(agent, step.index, step.start_ms, parent=asker.stint, number=handoff.number)
        return Speaker(agent=agent, stint=handoff.stint, call_id=call_id)

    # What agents ask for, and who takes over

    def asks(self, step: Step, speaker: Speaker, reply: ModelReply) -> str | None:
        """Remember a reply's tool calls. Returns the agent of the first handoff (frameworks follow that one)."""
        speaker.open_calls, speaker.asked_in = list(reply.calls), step
        for call in reply.calls:
            target = self._roster.handed_to_by(call.name) or handoff_target(call)
            if target is not None:
                speaker.open_calls.remove(call)
                return target
        return None

    def of_tool(self, title: str) -> tuple[Speaker, ToolCall | None]:
        """The agent of a tool's step, and the open call that it answers, by name; the current speaker's calls first."""
        for speaker in reversed(self._stack):
            for call in speaker.open_calls:
                if plain(call.name) == plain(title):
                    speaker.open_calls.remove(call)
                    return speaker, call
        return self.top, None

    def closes(self, call_id: str) -> None:
        """A step has answered the call with this id."""
        for speaker in (*self._stack, *self._by_calls.values()):
            speaker.open_calls = [call for call in speaker.open_calls if call.call_id != call_id]

    def open_calls(self) -> list[OpenCall]:
        """The calls without an answer, by agent."""
        asking = {speaker.stint: speaker for speaker in (*self._stack, *self._by_calls.values()) if speaker.asked_in}
        return [
            OpenCall(
                run_id=self._run_id,
                index=speaker.asked_in.index,
                agent=speaker.agent,
                tool=formats.safe(call.name),
                arguments=formats.compact(call.arguments)[:_ARGUMENTS_CHARS_MAX],
                since_ms=speaker.asked_in.end_ms or speaker.asked_in.start_ms,
            )
            for speaker in asking.values()
            if speaker.asked_in is not None
            for call in speaker.open_calls
        ]

    def of_call(self, names: tuple[str, ...]) -> Speaker:
        """The agent that calls another service. Closes its tool call, since no entry of this journal answers it.

        names: of the agent, service and handler; the tool may be named after one of them.
        """
        asker, wanted = self.top, {plain(name) for name in names}
        named = (call for call in asker.open_calls if wanted & {plain(call.name), plain(self._agent_behind(call))})
        call = next(named, asker.open_calls[0] if asker.open_calls else None)
        if call is not None:
            asker.open_calls.remove(call)
        return asker

    def _agent_behind(self, call: ToolCall) -> str:
        return self._roster.asked_by(call.name) or _CONSULTED.sub("", call.name)

    def hand_over(self, step: Step, speaker: Speaker, target: str, reason: str) -> Handoff:
        """The target takes over the work."""
        at_ms = step.start_ms if step.end_ms is None else step.end_ms
        handoff = self.note(step, speaker, target, "handoff", reason, at_ms=at_ms)
        before = self._trace.stints[speaker.stint]
        before.end_ms = at_ms
        handoff.stint = self._begin(target, step.index, at_ms, parent=before.parent, number=handoff.number)
        speaker.agent, speaker.stint, speaker.open_calls = target, handoff.stint, []
        return handoff

    def note(self, step: Step, speaker: Speaker, target: str, kind: str, reason: str, *, at_ms: int) -> Handoff:
        """Record that work went from one agent to another."""
        handoffs = self._trace.handoffs
        handoff = Handoff(
            source=speaker.agent,
            target=target,
            number=len(handoffs) + 1,
            kind=kind,
            reason=reason,
            at_ms=at_ms,
            run_id=self._run_id,
            index=step.index,
        )
        handoffs.append(handoff)
        return handoff

    def _begin(
        self, agent: str, index: int, start_ms: int, *, parent: int | None = None, number: int | None = None
    ) -> int:
        stint = Stint(agent=agent, run_id=self._run_id, index=index, start_ms=start_ms, parent=parent, number=number)
        self._trace.stints.append(stint)
        return len(self._trace.stints) - 1
