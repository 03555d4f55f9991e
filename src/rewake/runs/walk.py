"""The walk through one run's record: each step becomes a turn, with the agent that made it.

Pure: a record and a directory in, turns, handoffs and stints out. A journal may lack facts, such as the first agent or
the model. They come from the app's agents, the object's state or the stored session; nothing is invented. Called by
agents.py; speakers.py finds the agent of each step.
"""

from __future__ import annotations

from typing import Any, Final

from rewake import formats
from rewake.agents.approvals import outcome_in
from rewake.agents.decoding import Said, decode_conversation, decode_reply
from rewake.agents.effects import effect_in
from rewake.agents.envelope import Envelope, decode_envelope, own_answer
from rewake.agents.prices import cost_of
from rewake.agents.replies import ModelReply, loaded
from rewake.agents.roster import Roster, plain
from rewake.agents.routing import AGENT_STATES, decision_in
from rewake.core import ids
from rewake.protocol import messages as m
from rewake.protocol.messages import MessageType
from rewake.runs.directory import Directory
from rewake.runs.displays import carried, line_of
from rewake.runs.records import Record
from rewake.runs.speakers import Speaker, Speakers
from rewake.runs.steps import Step
from rewake.runs.turns import AgentTrace, Handoff, Turn

SESSION_BYTES_MAX: Final = 4 << 20
_SPOKEN: Final = ("text", "answer", "message", "question", "content", "prompt", "query", "output")


class Walk:
    """Adds one run's turns to a trace. turns_max: of the whole trace.   with_values: include results of steps."""

    def __init__(
        self,
        trace: AgentTrace,
        directory: Directory,
        record: Record,
        *,
        turns_max: int,
        with_values: bool,
        depth: int = 0,
    ) -> None:
        self.trace = trace
        self.directory = directory
        self.record = record
        self.depth = depth
        self.turns_max = turns_max
        self.with_values = with_values
        invocation = record.invocation
        self.run_id = ids.invocation_id_to_str(invocation.id)
        self.roster = directory.roster(invocation.target.service, invocation.target.handler)
        start_ms = record.steps[0].start_ms if record.steps else invocation.created_at_ms
        first = first_agent(record, self.roster)
        self.speakers = Speakers(trace, self.roster, self.run_id, first, start_ms)
        self.own: list[Turn] = []
        self._last_handoff: tuple[Turn, Handoff] | None = None
        replies = (step.index for step in record.steps if step.type is MessageType.RUN and step.is_done)
        self._last_reply = max(replies, default=-1) if not invocation.is_open else -1

    def run(self) -> None:
        """Walk to the end, or until the trace has `turns_max` turns."""
        for step in self.record.steps:
            if len(self.trace.turns) >= self.turns_max:
                self.trace.is_cut = True
                break
            self._on_step(step)
        if self.record.invocation.is_open:
            self.trace.open_calls += self.speakers.open_calls()
        results = self.speakers.results | _stored_results(self.record)
        for turn in self.own:
            if turn.reply is not None:
                calls = (call.call_id for call in turn.reply.calls)
                turn.results = {call_id: results[call_id] for call_id in calls if call_id in results}

    def _on_step(self, step: Step) -> None:
        match step.type:
            case MessageType.INPUT:
                message = self.record.command(step)
                if isinstance(message, m.InputCommand):
                    self._add("user" if self.depth == 0 else "asked", step, text=spoken(message.value))
            case MessageType.OUTPUT:
                self._on_output(step)
            case MessageType.RUN:
                self._on_run(step)
            case MessageType.CALL | MessageType.ONE_WAY_CALL:
                self._on_call(step)

    # Steps

    def _on_run(self, step: Step) -> None:
        result = carried(self.record.result(step)) if step.is_done else None
        content = result.content if isinstance(result, m.Success) else None
        envelope = decode_envelope(content)
        if envelope is not None:
            self._on_envelope(step, envelope)
            return
        if content is not None and (reply := decode_reply(content)) is not None:
            speaker = self.speakers.of_reply(step, reply, is_last=step.index == self._last_reply)
            self._on_reply(step, speaker, reply, self.speakers.asks(step, speaker, reply))
            self.speakers.answered(speaker, reply, step)
            return
        decision = None if content is None else decision_in(step.title, loaded(content))
        if decision is not None:
            self._on_decision(step, self.speakers.top, *decision)
            return
        speaker, call = self.speakers.of_tool(step.title)
        if call is not None and content is not None:
            self.speakers.results.setdefault(call.call_id, loaded(content))
        name, call_id = ("", "") if call is None else (call.name, call.call_id)
        self._on_work(step, speaker, result, tool=name, call_id=call_id)

    def _on_envelope(self, step: Step, envelope: Envelope) -> None:
        speaker = self.speakers.of_envelope(step, envelope)
        match envelope.kind:
            case "model":
                assert envelope.reply is not None, "a model's envelope has a reply"
                self.speakers.asks(step, speaker, envelope.reply)
                self._on_reply(step, speaker, envelope.reply, envelope.handoff or None)
                self.speakers.answered(speaker, envelope.reply, step)
            case "order" | "session" | "handoff":
                return  # bookkeeping: the handoff is already shown with the model's answer
            case "decision":
                value = envelope.value if isinstance(envelope.value, dict) else {}
                choice, reason = envelope.handoff or value.get("choice"), value.get("reason")
                self._on_decision(step, speaker, choice if isinstance(choice, str) else None, str(reason or ""))
            case "approval":
                self._on_approval(step, speaker, envelope)
            case "effect":
                self._on_effect(step, speaker, envelope)
            case "steering":
                value = envelope.value if isinstance(envelope.value, dict) else {}
                self._add("user", step, text=str(value.get("text") or "")[: formats.SHOWN_CHARS_MAX])
            case _:
                if envelope.call:
                    self.speakers.closes(envelope.call)
                if envelope.call and not envelope.is_branch:
                    self.speakers.results.setdefault(envelope.call, envelope.value)
                tool = envelope.tool or envelope.server
                text = "" if envelope.is_branch else formats.line(envelope.value)
                title = envelope.tool or step.title
                self._add("step", step, speaker, title=title, text=text, tool=tool, call_id=envelope.call)

    def _on_approval(self, step: Step, speaker: Speaker, envelope: Envelope) -> None:
        """A question of `ask()` or its outcome. The call stays open unless the outcome forbids it."""
        outcome = outcome_in(envelope)
        text = "" if outcome is None else " ".join(filter(None, (outcome.outcome, outcome.who, outcome.why)))
        if outcome is not None and outcome.outcome != "approved" and envelope.call:
            self.speakers.closes(envelope.call)
        self._add("step", step, speaker, title=step.title, text=text, tool=envelope.tool, call_id=envelope.call)

    def _on_effect(self, step: Step, speaker: Speaker, envelope: Envelope) -> None:
        """The marker or the outcome of an effect. The outcome answers the model's call."""
        effect = effect_in(envelope)
        if effect is None:
            return
        if envelope.call and effect.state in ("done", "verified", "refused"):
            self.speakers.closes(envelope.call)
            self.speakers.results.setdefault(envelope.call, effect.result)
        said = formats.line(effect.result) if effect.result is not None else ""
        text = " ".join(filter(None, (effect.state, effect.who, effect.why, said)))
        failed = effect.state in ("unknown", "refused", "not undone")
        kind = "problem" if failed else "step"
        self._add(kind, step, speaker, title=step.title, text=text, tool=envelope.tool, is_failure=failed)

    def _on_work(self, step: Step, speaker: Speaker, result: Any, *, tool: str, call_id: str) -> None:
        failed = isinstance(result, m.Failure)
        self._add(
            "problem" if failed else "step",
            step,
            speaker,
            title=step.title,
            text=line_of(result),
            value=self._shown(result, 4_000),
            tool=tool,
            call_id=call_id,
            is_failure=failed,
        )

    def _on_reply(self, step: Step, speaker: Speaker, reply: ModelReply, target: str | None) -> None:
        declared = None if reply.model else self.roster.model_of(speaker.agent)
        is_default = declared is not None and self.roster.is_default_model(speaker.agent)
        model = reply.model or declared
        turn = self._add(
            "model",
            step,
            speaker,
            title=step.title,
            text=reply.text,
            reply=reply,
            model=model,
            is_declared=declared is not None and not is_default,
            is_default=is_default,
            cost=cost_of(reply, model),
        )
        asked = [self.roster.asked_by(call.name) for call in reply.calls]
        if any(asked):
            self._offer(turn, set(filter(None, asked)))
        if target is not None:
            call = next((call for call in reply.calls if plain(target) in plain(call.name)), None)
            arguments = {} if call is None or not isinstance(call.arguments, dict) else call.arguments
            reason = arguments.get("reason")
            self._hand_over(step, speaker, target, reason if isinstance(reason, str) else "")

    def _hand_over(self, step: Step, speaker: Speaker, target: str, reason: str) -> None:
        turn = self._add("handoff", step, speaker, title=target, reason=reason)
        self._offer(turn, {target})
        handoff = self.speakers.hand_over(step, speaker, target, reason)
        self._last_handoff = (turn, handoff)

    def _on_decision(self, step: Step, speaker: Speaker, choice: str | None, reason: str) -> None:
        """A router's own step. Behind a model's handoff it records the same decision again."""
        last = self.own[-1] if self.own else None
        if self._last_handoff is not None and last is self._last_handoff[0] and choice is not None:
            handoff = self._last_handoff[1]
            last.index, last.reason, last.choice = step.index, reason or last.reason, choice
            handoff.reason = last.reason
            self._offer(last, {choice, last.title})
            return
        turn = self._add("decision", step, speaker, title=step.title, choice=choice, reason=reason)
        self._offer(turn, {choice or ""})
        if choice is not None:
            self.speakers.hand_over(step, speaker, choice, reason)

    def _offer(self, turn: Turn, chosen: set[str]) -> None:
        """Add the candidates from the app, and those that were chosen."""
        own, taken = plain(turn.agent), {plain(name) for name in chosen}
        turn.candidates = tuple(name for name in self.roster.choices_of(turn.agent) if plain(name) != own)
        turn.chosen = tuple(name for name in turn.candidates if plain(name) in taken)

    # Other entries

    def _on_call(self, step: Step) -> None:
        message = self.record.command(step)
        if not isinstance(message, m.CallCommand | m.OneWayCallCommand):
            return
        target = self.directory.agent_of(message.service_name, message.handler_name)
        speaker = self.speakers.of_call((target, message.service_name, message.handler_name))
        if plain(speaker.agent) not in (plain(target), plain(message.service_name)):
            kind = "call" if isinstance(message, m.CallCommand) else "send"
            reason = formats.line(message.parameter, 200)
            self.speakers.note(step, speaker, target, kind, reason, at_ms=step.start_ms)
        self._add(
            "call",
            step,
            speaker,
            title=f"{message.service_name}/{message.handler_name}",
            text=formats.line(message.parameter, 2_000),
            to_run=None if step.child is None else ids.invocation_id_to_str(step.child),
        )
        child = None if step.child is None else self.record.children.get(step.child)
        if child is not None:
            Walk(
                self.trace,
                self.directory,
                child,
                turns_max=self.turns_max,
                with_values=self.with_values,
                depth=self.depth + 1,
            ).run()

    def _on_output(self, step: Step) -> None:
        result = carried(self.record.command(step))
        if isinstance(result, m.Failure):
            self._add("problem", step, text=line_of(result, 2_000), is_failure=True)
        elif isinstance(result, m.Success):
            content = own_answer(result.content)
            value = formats.shown(content, formats.SHOWN_CHARS_MAX) if self.with_values else None
            self._add("answer", step, text=spoken(content), value=value)

    def _shown(self, result: Any, chars_max: int) -> formats.Shown | None:
        return formats.shown(result.content, chars_max) if self.with_values and isinstance(result, m.Success) else None

    def _add(self, kind: str, step: Step, speaker: Speaker | None = None, **facts: Any) -> Turn:
        whose = speaker or self.speakers.top
        facts["text"] = formats.safe(facts.get("text", ""))
        turn = Turn(
            kind=kind,
            run_id=self.run_id,
            index=step.index,
            at_ms=step.start_ms,
            depth=self.depth,
            agent="" if kind in ("user", "asked") else whose.agent,
            stint=whose.stint,
            took_ms=None if step.end_ms is None else step.end_ms - step.start_ms,
            is_done=step.is_done,
            is_kept=self._is_kept(step),
            **facts,
        )
        self.trace.turns.append(turn)
        self.own.append(turn)
        return turn

    def _is_kept(self, step: Step) -> bool:
        """Whether a fork took over a step's result: it is as old as the run. No model answers in a millisecond."""
        made = self.record.invocation
        return made.restarted_from is not None and step.end_ms is not None and step.end_ms <= made.created_at_ms


def first_agent(record: Record, roster: Roster) -> str:
    """The agent that a run begins with, from its first envelope, state, session or app; else the service."""
    reply: ModelReply | None = None
    for step in record.steps:
        if step.type is MessageType.GET_EAGER_STATE:
            named = _agent_in_state(record.command(step))
            if named is not None:
                return named
        elif step.type is MessageType.RUN and step.is_done and reply is None:
            result = carried(record.result(step))
            if isinstance(result, m.Success):
                envelope = decode_envelope(result.content)
                if envelope is not None and envelope.path:
                    return envelope.path[0]
                reply = decode_reply(result.content)
    service = record.invocation.target.service
    if reply is None:
        return service
    first = roster.first_speaker(reply)
    return _author_of(record, reply) or (service if first is None else first.name)


def _agent_in_state(message: Any) -> str | None:
    if not isinstance(message, m.GetEagerStateCommand) or not isinstance(message.result, m.Success):
        return None
    named = loaded(message.result.content) if message.key.decode(errors="replace") in AGENT_STATES else None
    return named if isinstance(named, str) and named else None


def _author_of(record: Record, reply: ModelReply) -> str | None:
    """The agent that made the reply's tool calls, from the stored session."""
    wanted = {call.call_id for call in reply.calls if call.call_id}
    authors = (said.agent for said in _stored(record) if said.role == "tool call" and said.call_id in wanted)
    return next(filter(None, authors), None) if wanted else None


def _stored_results(record: Record) -> dict[str, Any]:
    """The results of tools, from the stored session."""
    return {said.call_id: said.value for said in _stored(record) if said.role == "tool result" and said.call_id}


def _stored(record: Record) -> list[Said]:
    """All messages in the sessions that the run stored, the latest session last."""
    found: list[Said] = []
    for step in record.steps:
        if step.type is MessageType.SET_STATE:
            message = record.command(step)
            if isinstance(message, m.SetStateCommand) and len(message.value) <= SESSION_BYTES_MAX:
                found += decode_conversation(message.value)
    return found


def spoken(content: bytes) -> str:
    """The text of a request or an answer: a string, or an object's text field; else JSON."""
    value = loaded(content)
    if isinstance(value, str):
        return formats.safe(value[: formats.SHOWN_CHARS_MAX])
    if isinstance(value, dict):
        for name in _SPOKEN:
            if isinstance(value.get(name), str) and value[name]:
                return formats.safe(value[name][: formats.SHOWN_CHARS_MAX])
    return formats.shown(content).text
