"""A run read as agents: what was said, who decided, who handed over to whom, which tools were called, what it cost.

Made from the journal. What it does not say (who spoke first, which model, what else a router could have chosen) is told
by the agents the app has (agents/roster.py), the object's state, the session or earlier runs, or left open; nothing is
invented. Reads runs that were called too, so that specialists in services of their own appear in the same
conversation. Read next: turns.py, agents/decoding.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final
from weakref import WeakKeyDictionary

from rewake import formats
from rewake.agents.decoding import ModelReply, Said, ToolCall, decode_conversation, decode_reply, loaded
from rewake.agents.prices import cost_of
from rewake.agents.roster import Roster, plain
from rewake.agents.routing import AGENT_STATES, choice_in, decision_in, handoff_target
from rewake.core import ids
from rewake.core.model import Invocation
from rewake.protocol import messages as m
from rewake.protocol.messages import MessageType
from rewake.runs.reading import Reading
from rewake.runs.spending import Usage, add, total_of
from rewake.runs.steps import Step, decoded, steps_of, version_of
from rewake.runs.turns import AgentTrace, Handoff, Turn

RUNS_MAX: Final = 20
DEPTH_MAX: Final = 4
TURNS_MAX: Final = 400
PAYLOAD_BYTES_MAX: Final = 1 << 20
DECISIONS_MAX: Final = 12
"""Steps of one page for which earlier choices are looked up."""

SESSION_BYTES_MAX: Final = 4 << 20

_NESTING: Final = ("Pydantic AI", "Vercel AI", "LangChain")
"""Frameworks whose agents work inside a tool of another one, in the same journal."""

_CONSULT: Final = re.compile(r"(consult|ask|delegate|agent|specialist|expert)", re.IGNORECASE)
_CONSULTED: Final = re.compile(r"^(consult|ask|delegate_to|call)_?(?=.)")


_ROSTERS: Final[WeakKeyDictionary[Reading, dict[tuple[str, str], Roster]]] = WeakKeyDictionary()
"""What a request has read of them, for as long as it lasts: one page may look at many runs."""

_NOBODY: Final = Roster({})
_WORD: Final = re.compile(r"[a-z0-9]+")


def rosters(reading: Reading) -> dict[tuple[str, str], Roster]:
    """The agents of each service and handler, as its latest revision tells."""
    found = _ROSTERS.get(reading)
    if found is None:
        found = _ROSTERS[reading] = {
            (schema.name, name): Roster(_metadata(schema.manifest) | _metadata(known.manifest))
            for schema in reading.services()
            for name, known in schema.handlers.items()
        }
    return found


def _metadata(manifest: dict[str, Any]) -> dict[str, str]:
    return manifest.get("metadata") or {}


def agent_trace(
    reading: Reading,
    invocation: Invocation,
    public_id: Callable[[bytes], str],
    *,
    decisions_max: int = DECISIONS_MAX,
) -> AgentTrace:
    """The trace of a run, with the runs it called inside it. decisions_max: how many are compared with earlier ones."""
    tracer = _Tracer(reading, public_id, decisions_max)
    tracer.follow(invocation, depth=0, agent=None)
    tracer.finish()
    return tracer.trace


def names_of(reading: Reading, run_id: str) -> list[str]:
    """Names of agents that took part in a run; none for a run without any."""
    invocation = reading.invocation(ids.invocation_id_from_str(run_id))
    if invocation is None:
        return []
    trace = agent_trace(reading, invocation, ids.invocation_id_to_str, decisions_max=0)
    return trace.agents if trace.has_agents else []


def took_part(reading: Reading, invocation_id: bytes, agent: str) -> bool:
    """Whether an agent is among those a run's page names."""
    invocation = reading.invocation(invocation_id)
    if invocation is None:
        return False
    wanted, trace = plain_words(agent), agent_trace(reading, invocation, ids.invocation_id_to_str, decisions_max=0)
    return any(plain_words(name) == wanted for name in trace.agents)


def plain_words(agent: str) -> str:
    """One spelling for all; a name without Latin letters stays as it is."""
    return "".join(_WORD.findall(agent.lower())) or formats.safe(agent)


class _Tracer:
    """Walks a journal in order, keeping who speaks and which tool calls are still open."""

    def __init__(self, reading: Reading, public_id: Callable[[bytes], str], decisions_max: int) -> None:
        self.reading = reading
        self.public_id = public_id
        self.decisions_max = decisions_max
        self.trace = AgentTrace()
        self.seen: set[bytes] = set()
        self.declared: dict[str, str] = {}
        self.aliases: dict[str, str] = {}
        self.choices: dict[tuple[str, str, str], dict[str, int]] = {}

    def follow(self, invocation: Invocation, depth: int, agent: str | None) -> None:
        """One run's turns. agent: who the caller says it is."""
        if invocation.id in self.seen or len(self.seen) >= RUNS_MAX or depth > DEPTH_MAX:
            self.trace.is_cut = self.trace.is_cut or invocation.id not in self.seen
            return
        self.seen.add(invocation.id)
        _Run(self, invocation, depth, agent).walk()

    def roster(self, invocation: Invocation) -> Roster:
        """The agents of the run's handler. Their names are spelled as the app spells them, from here on."""
        target = invocation.target
        roster = rosters(self.reading).get((target.service, target.handler), _NOBODY)
        for name in roster.names:
            self.declared.setdefault(plain(name), name)
        return roster

    def name(self, agent: str) -> str:
        """An agent under one of its spellings: `transfer_to_car_specialist` and "Car specialist" are one."""
        if not agent:
            return ""
        key = plain(agent)
        known = self.declared.get(key) or self.aliases.get(key)
        if known is None or (key not in self.declared and known.islower() and not agent.islower()):
            self.aliases[key] = known = agent
        return known

    def hand_over(self, source: str, target: str, kind: str, reason: str = "") -> None:
        handoffs = self.trace.handoffs
        handoffs.append(Handoff(source, target, len(handoffs) + 1, kind, reason))

    def finish(self) -> None:
        """Give every agent one spelling and list them by first appearance."""
        trace = self.trace
        for turn in trace.turns:
            turn.agent = self.name(turn.agent)
            if turn.kind == "handoff":
                turn.title = self.name(turn.title)
        trace.handoffs = [
            Handoff(self.name(item.source), self.name(item.target), item.number, item.kind, item.reason)
            for item in trace.handoffs
        ]
        for turn in trace.turns:
            if turn.reply is not None and not turn.is_kept:
                add(trace.usage, _usage_of(turn))
        trace.total = total_of(trace.usage)
        ordered = [turn.agent for turn in trace.turns if turn.kind in ("model", "decision", "answer")]
        ordered += [name for item in trace.handoffs for name in (item.source, item.target)]
        first_seen = [name for item in trace.handoffs[:1] for name in (item.source,)] + ordered
        trace.agents = list(dict.fromkeys(name for name in first_seen if name))
        trace.is_cut = trace.is_cut or len(trace.turns) >= TURNS_MAX


class _Run:
    """The walk through one run's journal."""

    def __init__(self, tracer: _Tracer, invocation: Invocation, depth: int, agent: str | None) -> None:
        self.tracer = tracer
        self.invocation = invocation
        self.depth = depth
        self.version = version_of(invocation)
        self.run_id = tracer.public_id(invocation.id)
        self.roster = tracer.roster(invocation)
        self.agent = agent or invocation.target.service
        self.is_agent_known = agent is not None
        self.pending: list[ToolCall] = []
        self.results: dict[str, Any] = {}
        self.decisions: list[tuple[Turn, Step]] = []
        self.inside: tuple[str, str] | None = None  # the agent that works inside a tool, and the call's id
        self.first_turn = len(tracer.trace.turns)

    def walk(self) -> None:
        reading, trace = self.tracer.reading, self.tracer.trace
        steps = steps_of(reading.entries(self.invocation.id))
        self.last_model = max((step.index for step in steps if step.kind == "step"), default=-1)
        for step in steps:
            if len(trace.turns) >= TURNS_MAX:
                break
            self._on_step(step)
        self._sign()
        self._give_results()
        self._tell_choices()

    def _on_step(self, step: Step) -> None:
        match step.type:
            case MessageType.INPUT:
                message = self._message(step.index)
                if isinstance(message, m.InputCommand):
                    self._add("user" if self.depth == 0 else "asked", step, text=_spoken(message.value))
            case MessageType.OUTPUT:
                self._on_output(step)
            case MessageType.RUN:
                self._on_run(step)
            case MessageType.CALL | MessageType.ONE_WAY_CALL:
                self._on_call(step)
            case MessageType.GET_EAGER_STATE | MessageType.SET_STATE:
                self._on_state(step)

    def _on_run(self, step: Step) -> None:
        result = None if step.done_index is None else self._message(step.done_index)
        content = (
            result.result.content if isinstance(result, m.Completion) and isinstance(result.result, m.Success) else None
        )
        reply = None if content is None else decode_reply(content)
        if reply is not None:
            self._on_reply(step, reply)
            return
        value = loaded(content)
        decision = None if content is None else decision_in(step.title, value)
        if decision is not None:
            self._on_decision(step, *decision)
            return
        failure = result.result if isinstance(result, m.Completion) and isinstance(result.result, m.Failure) else None
        self._add(
            "problem" if failure else "step",
            step,
            title=step.title,
            text=f"[{failure.code}] {failure.message}" if failure else formats.line(value or content or b""),
            value=None if failure or content is None else formats.shown(content, 4_000),
        )

    def _on_reply(self, step: Step, reply: ModelReply) -> None:
        agent = self._speaker(step, reply)
        self._add("model", step, agent=agent, title=step.title, text=reply.text, reply=reply)
        if agent != self.agent:
            return
        self.pending = list(reply.calls)
        for call in reply.calls:
            target = self.roster.handed_to_by(call.name) or handoff_target(call)
            if target is not None:
                reason = call.arguments.get("reason") if isinstance(call.arguments, dict) else None
                self._hand_over(step, target, reason if isinstance(reason, str) else "")

    def _speaker(self, step: Step, reply: ModelReply) -> str:
        """Who gave a reply: the agent whose turn it is, or one that works inside a tool which that agent has called."""
        if self.inside is None:
            call = self._asking(step, reply)
            if call is None:
                return self.agent
            self.pending.remove(call)
            agent = self.roster.asked_by(call.name) or _CONSULTED.sub("", call.name)
            self.tracer.hand_over(self.agent, agent, "consult", formats.line(call.arguments, 200))
            self.inside = (agent, call.call_id)
        agent, call_id = self.inside
        if not reply.calls:  # Its answer: the tool returns.
            self.results[call_id] = reply.text
            self.inside = None
        return agent

    def _asking(self, step: Step, reply: ModelReply) -> ToolCall | None:
        """The open tool call inside which a reply was given. What the app does not tell is guessed from names."""
        if reply.framework not in _NESTING or (step.index == self.last_model and not reply.calls):
            return None
        asking = next((call for call in self.pending if self.roster.asked_by(call.name)), None)
        if asking is None and not reply.calls:
            asking = next((call for call in self.pending if _CONSULT.search(call.name)), None)
        return asking

    def _hand_over(self, step: Step, target: str, reason: str) -> None:
        self.tracer.hand_over(self.agent, target, "handoff", reason)
        turn = self._add("handoff", step, title=target, reason=reason)
        self.decisions.append((turn, step))
        self.agent = target

    def _on_decision(self, step: Step, choice: str | None, reason: str) -> None:
        """A router's own step. After a model's handoff it is the same decision, written down."""
        last = next((item for item in reversed(self.tracer.trace.turns) if item.run_id == self.run_id), None)
        if last is not None and last.kind == "handoff" and choice is not None:
            self.tracer.name(choice)
            last.index, last.reason = step.index, reason or last.reason
            last.choice = choice
            self.decisions[-1] = (last, step)
            return
        turn = self._add("decision", step, title=step.title, choice=choice, reason=reason)
        self.decisions.append((turn, step))
        if choice is not None:
            self.tracer.hand_over(self.agent, choice, "handoff", reason)
            self.agent = choice

    def _on_call(self, step: Step) -> None:
        message = self._message(step.index)
        if not isinstance(message, m.CallCommand | m.OneWayCallCommand):
            return
        target = message.service_name
        if self.pending:  # What a tool asks elsewhere is not answered in this journal.
            self.pending.pop(0)
        child = None if step.child is None else self.tracer.reading.invocation(step.child)
        handed = self.tracer.name(target) == self.tracer.name(self.agent)
        if not handed:
            self.tracer.hand_over(self.agent, target, "call", formats.line(message.parameter, 200))
        self._add(
            "call",
            step,
            title=f"{target}/{message.handler_name}",
            text=formats.line(message.parameter, 2_000),
            to_run=None if step.child is None else self.tracer.public_id(step.child),
        )
        if child is not None and isinstance(message, m.CallCommand):
            self.tracer.follow(child, self.depth + 1, target)

    def _on_state(self, step: Step) -> None:
        message = self._message(step.index)
        if isinstance(message, m.GetEagerStateCommand) and isinstance(message.result, m.Success):
            if message.key.decode(errors="replace") in AGENT_STATES and not self.is_agent_known:
                named = loaded(message.result.content)
                if isinstance(named, str) and named:
                    self.agent, self.is_agent_known = named, True
        elif isinstance(message, m.SetStateCommand) and len(message.value) <= SESSION_BYTES_MAX:
            conversation = decode_conversation(message.value)
            self._learn(conversation)

    def _learn(self, conversation: list[Said]) -> None:
        """What a session says beyond the model calls: results of tools, and who spoke first."""
        for said in conversation:
            if said.role == "tool result" and said.call_id:
                self.results[said.call_id] = said.value
        if self.is_agent_known:
            return
        asked = {said.call_id: said.agent for said in conversation if said.role == "tool call" and said.agent}
        for turn in self.tracer.trace.turns[self.first_turn :]:
            if turn.kind == "model" and turn.run_id == self.run_id and turn.reply is not None and turn.reply.calls:
                author = asked.get(turn.reply.calls[0].call_id)
                if author and turn.agent == self.invocation.target.service:
                    self._rename(turn.agent, author)
                return

    def _rename(self, old: str, new: str) -> None:
        """An agent whose name came late."""
        trace = self.tracer.trace
        for turn in trace.turns[self.first_turn :]:
            if turn.agent == old and turn.run_id == self.run_id:
                turn.agent = new
        trace.handoffs = [
            Handoff(new if item.source == old else item.source, item.target, item.number, item.kind, item.reason)
            for item in trace.handoffs
        ]
        self.is_agent_known = True

    def _on_output(self, step: Step) -> None:
        message = self._message(step.index)
        if not isinstance(message, m.OutputCommand):
            return
        if isinstance(message.result, m.Failure):
            self._add("problem", step, text=f"[{message.result.code}] {message.result.message}", is_failure=True)
            return
        value = loaded(message.result.content)
        named = choice_in(value)
        if named:
            self.tracer.name(named)
        self._add("answer", step, text=_spoken(message.result.content), value=formats.shown(message.result.content))

    def _sign(self) -> None:
        """Give the first replies, if no name is known for who spoke, that of the agent the app begins with."""
        own = [turn for turn in self.tracer.trace.turns[self.first_turn :] if turn.run_id == self.run_id]
        first = next((turn for turn in own if turn.reply is not None), None)
        service = self.invocation.target.service
        if not self.is_agent_known and first is not None and first.reply is not None and first.agent == service:
            speaker = self.roster.first_speaker(first.reply)
            if speaker is not None:
                self._rename(service, speaker.name)
        for turn in own:
            if turn.reply is not None:
                declared = None if turn.reply.model else self.roster.model_of(turn.agent)
                turn.model, turn.is_model_declared = turn.reply.model or declared, declared is not None
                turn.cost = cost_of(turn.reply, turn.model)

    def _tell_choices(self) -> None:
        """Beside each decision whom else the agent could have chosen; if the app is silent, what was chosen lately."""
        for turn, step in self.decisions:
            self._offer(turn, {turn.choice or "", turn.title if turn.kind == "handoff" else ""})
            if not turn.candidates and (turn.kind == "decision" or turn.choice is not None):
                turn.choices = self._chosen_before(step)
        for turn in self.tracer.trace.turns[self.first_turn :]:
            if turn.run_id == self.run_id and turn.reply is not None and turn.reply.calls:
                asked = [self.roster.asked_by(call.name) for call in turn.reply.calls]
                if any(asked):
                    self._offer(turn, set(filter(None, asked)))

    def _offer(self, turn: Turn, chosen: set[str]) -> None:
        own, taken = plain(turn.agent), {plain(name) for name in chosen}
        turn.candidates = tuple(name for name in self.roster.choices_of(turn.agent) if plain(name) != own)
        turn.chosen = tuple(name for name in turn.candidates if plain(name) in taken)

    def _give_results(self) -> None:
        for turn in self.tracer.trace.turns[self.first_turn :]:
            if turn.run_id == self.run_id and turn.reply is not None:
                turn.results = {
                    call.call_id: self.results[call.call_id]
                    for call in turn.reply.calls
                    if call.call_id in self.results
                }

    def _chosen_before(self, step: Step) -> dict[str, int]:
        """What earlier runs of this handler chose at this step, most frequent first."""
        reading, target = self.tracer.reading, self.invocation.target
        place = (target.service, target.handler, step.name)
        known = self.tracer.choices.get(place)
        if known is not None or len(self.tracer.choices) >= self.tracer.decisions_max:
            return known or {}
        counts: dict[str, int] = {}
        for payload, version in reading.earlier_results(target.service, target.handler, step.name):
            message = decoded(MessageType.RUN_COMPLETION, payload, version)
            if isinstance(message, m.Completion) and isinstance(message.result, m.Success):
                decision = decision_in(step.title, loaded(message.result.content))
                if decision is not None and decision[0]:
                    counts[decision[0]] = counts.get(decision[0], 0) + 1
        counts = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:12])
        self.tracer.choices[place] = counts
        return counts

    def _add(self, kind: str, step: Step, **facts: Any) -> Turn:
        end_ms = step.end_ms
        facts.setdefault("agent", "" if kind in ("user", "asked") else self.agent)
        facts["text"] = formats.safe(facts.get("text", ""))
        turn = Turn(
            kind=kind,
            run_id=self.run_id,
            index=step.index,
            at_ms=step.start_ms,
            depth=self.depth,
            took_ms=None if end_ms is None else end_ms - step.start_ms,
            is_done=step.is_done,
            is_kept=self._is_kept(step),
            **facts,
        )
        self.tracer.trace.turns.append(turn)
        return turn

    def _is_kept(self, step: Step) -> bool:
        """Whether a step's result was there when the run was made: no model answers in less than a millisecond."""
        made = self.invocation
        return made.restarted_from is not None and step.end_ms is not None and step.end_ms <= made.created_at_ms

    def _message(self, index: int) -> Any:
        row = self.tracer.reading.entry(self.invocation.id, index, max(PAYLOAD_BYTES_MAX, SESSION_BYTES_MAX))
        return None if row is None else decoded(row.type_id, row.payload, self.version)


def _usage_of(turn: Turn) -> Usage:
    assert turn.reply is not None
    return Usage(
        agent=turn.agent,
        model=turn.model,
        calls=1,
        input_tokens=turn.reply.input_tokens or 0,
        output_tokens=turn.reply.output_tokens or 0,
        cost=turn.cost,
        is_declared=turn.is_model_declared,
    )


def _spoken(content: bytes) -> str:
    """The words in a request or an answer: a string, or the text of an object that has one; else JSON."""
    value = loaded(content)
    if isinstance(value, str):
        return formats.safe(value[: formats.SHOWN_CHARS_MAX])
    if isinstance(value, dict):
        for name in ("text", "answer", "message", "question", "content", "prompt", "query", "output"):
            if isinstance(value.get(name), str) and value[name]:
                return formats.safe(value[name][: formats.SHOWN_CHARS_MAX])
    return formats.shown(content).text


def conversation_of(values: Iterable[bytes]) -> list[Said]:
    """The longest conversation among the values of an object's state."""
    found = [decode_conversation(value) for value in values if len(value) <= SESSION_BYTES_MAX]
    return max(found, key=len, default=[])
