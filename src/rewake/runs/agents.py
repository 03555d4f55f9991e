"""A run read as agents: messages, decisions, handoffs, tool calls and costs.

`agent_trace` fetches a run and the runs it called (records.py), then shapes them (walk.py). So specialists in services
of their own appear in the same conversation. `trace_of` only shapes: the same record and directory always give the same
trace. Read next: turns.py, agents/decoding.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from rewake import formats
from rewake.agents.decoding import Said, decode_conversation, decode_reply
from rewake.agents.envelope import decode_envelope
from rewake.agents.replies import loaded
from rewake.agents.roster import plain
from rewake.agents.routing import choice_in, decision_in
from rewake.core import ids
from rewake.core.model import Invocation
from rewake.protocol import messages as m
from rewake.protocol.messages import MessageType
from rewake.runs.choices import add_earlier_choices
from rewake.runs.directory import Directory
from rewake.runs.displays import carried
from rewake.runs.reading import Reading
from rewake.runs.records import Record, fetch
from rewake.runs.retries import add_retries
from rewake.runs.spending import Usage, add, total_of
from rewake.runs.steps import Step, decoded, steps_of, version_of
from rewake.runs.turns import AgentTrace, Turn
from rewake.runs.walk import SESSION_BYTES_MAX, Walk

TURNS_MAX: Final = 400
ENTRIES_LOOKED_AT: Final = 200
STEPS_LOOKED_AT: Final = 8
"""First steps of a run that are checked for signs of agents."""

_WORD: Final = re.compile(r"[a-z0-9]+")


def agent_trace(reading: Reading, invocation: Invocation) -> AgentTrace:
    """The trace of a run, with the runs it called inside it."""
    return trace_of(fetch(reading, invocation), reading.directory)


def agent_trace_with_choices(reading: Reading, invocation: Invocation, *, with_retries: bool = False) -> AgentTrace:
    """The trace for a page, with choices of earlier runs. with_retries: add failed attempts."""
    record = fetch(reading, invocation, with_events=with_retries)
    trace = trace_of(record, reading.directory, with_values=True)
    add_earlier_choices(reading, record, trace)
    if with_retries:
        add_retries(record, trace)
    return trace


def trace_of(
    record: Record, directory: Directory, *, turns_max: int = TURNS_MAX, with_values: bool = False
) -> AgentTrace:
    """The trace of a record; reads nothing else. with_values: include the results of steps, for a page."""
    trace = AgentTrace(is_cut=not all(each.is_whole for each in record.walk()))
    Walk(trace, directory, record, turns_max=turns_max, with_values=with_values).run()
    _spell(trace, record, directory)
    for turn in trace.turns:
        if turn.reply is not None and not turn.is_kept:
            add(trace.usage, _usage_of(turn))
    trace.total = total_of(trace.usage)
    trace.agents = _in_order(trace)
    return trace


def is_of_agents(reading: Reading, invocation: Invocation) -> bool:
    """Whether the first steps of a run use models or routers; its page then opens on the agents."""
    steps = [step for step in steps_of(reading.entries(invocation.id, high=ENTRIES_LOOKED_AT)) if _is_work(step)]
    target = invocation.target
    if steps and reading.directory.roster(target.service, target.handler):
        return True
    done = {step.result_index: step for step in steps if step.is_done}
    payloads, _ = reading.payloads_within(
        invocation.id, list(done)[:STEPS_LOOKED_AT], each_max=SESSION_BYTES_MAX, all_max=SESSION_BYTES_MAX
    )
    version = version_of(invocation)
    return any(_is_of_agent(done[index], payload, version) for index, payload in payloads.items())


def _is_work(step: Step) -> bool:
    return step.type is MessageType.RUN


def _is_of_agent(step: Step, payload: bytes, version: int) -> bool:
    """Whether the step is a model's answer or a router's decision."""
    result = carried(decoded(step.result_type, payload, version))
    if not isinstance(result, m.Success):
        return False
    envelope = decode_envelope(result.content)
    if envelope is not None:
        return bool(envelope.agent)  # an effect or a question of plain code names no agent
    if decode_reply(result.content) is not None:
        return True
    return decision_in(step.title, loaded(result.content)) is not None


def names_of(reading: Reading, run_id: str) -> list[str]:
    """Names of a run's agents; empty for a run without agents."""
    invocation = reading.invocation(ids.invocation_id_from_str(run_id))
    if invocation is None:
        return []
    trace = agent_trace(reading, invocation)
    return trace.agents if trace.has_agents else []


def took_part(reading: Reading, invocation_id: bytes, agent: str) -> bool:
    """Whether a run's page names this agent."""
    invocation = reading.invocation(invocation_id)
    if invocation is None:
        return False
    wanted = plain_words(agent)
    return any(plain_words(name) == wanted for name in agent_trace(reading, invocation).agents)


def plain_words(agent: str) -> str:
    """An agent's name in one normal spelling; a name without Latin letters stays unchanged."""
    return "".join(_WORD.findall(agent.lower())) or formats.safe(agent)


def conversation_of(values: Iterable[bytes]) -> list[Said]:
    """The longest conversation among the values of an object's state."""
    found = [decode_conversation(value) for value in values if len(value) <= SESSION_BYTES_MAX]
    return max(found, key=len, default=[])


def _in_order(trace: AgentTrace) -> list[str]:
    """The agents by first appearance, but the first that handed over comes first."""
    names = [item.source for item in trace.handoffs[:1]]
    names += [turn.agent for turn in trace.turns if turn.kind in ("model", "decision", "answer")]
    names += [name for item in trace.handoffs for name in (item.source, item.target)]
    return list(dict.fromkeys(filter(None, names)))


def _usage_of(turn: Turn) -> Usage:
    assert turn.reply is not None
    return Usage(
        agent=turn.agent,
        model=turn.model,
        calls=1,
        input_tokens=turn.reply.input_tokens or 0,
        output_tokens=turn.reply.output_tokens or 0,
        cost=turn.cost,
        is_declared=turn.is_declared,
        is_default=turn.is_default,
    )


# One spelling for each agent


def _spell(trace: AgentTrace, record: Record, directory: Directory) -> None:
    """Give each agent one spelling: its app's, else the best one in the run."""
    known = _occurring(trace, record) | _declared(record, directory)

    def spelled(name: str) -> str:
        return known.get(plain(name), name)

    for turn in trace.turns:
        turn.agent = spelled(turn.agent)
        turn.title = spelled(turn.title) if turn.kind == "handoff" else turn.title
        turn.choice = spelled(turn.choice) if turn.choice else turn.choice
        turn.candidates, turn.chosen = tuple(map(spelled, turn.candidates)), tuple(map(spelled, turn.chosen))
    for handoff in trace.handoffs:
        handoff.source, handoff.target = spelled(handoff.source), spelled(handoff.target)
    for stint in trace.stints:
        stint.agent = spelled(stint.agent)
    for call in trace.open_calls:
        call.agent = spelled(call.agent)


def _declared(record: Record, directory: Directory) -> dict[str, str]:
    """The agents of all handlers in the run, by their normal spelling; the run's own handler first."""
    found: dict[str, str] = {}
    for each in record.walk():
        target = each.invocation.target
        for place in ((target.service, target.handler), *_called(each)):
            for agent in directory.roster(*place).agents:
                found.setdefault(plain(agent.name), agent.name)
    return found


def _occurring(trace: AgentTrace, record: Record) -> dict[str, str]:
    """For each agent its first spelling with capitals, else its first spelling."""
    names = [turn.agent for turn in trace.turns if turn.agent]
    names += [name for item in trace.handoffs for name in (item.source, item.target)]
    for each in record.walk():
        names += [service for service, _ in _called(each)]
        names += [name for name in (_named_in_answer(each),) if name]
    found: dict[str, str] = {}
    for name in names:
        known = found.get(plain(name))
        if known is None or (known.islower() and not name.islower()):
            found[plain(name)] = name
    return found


def _called(record: Record) -> list[tuple[str, str]]:
    """Service and handler of the calls and sends of a run."""
    commands = (record.command(step) for step in record.steps if step.kind in ("call", "send"))
    return [(each.service_name, each.handler_name) for each in commands if each is not None]


def _named_in_answer(record: Record) -> str | None:
    """The agent in an answer's field for it."""
    outputs = (step for step in record.steps if step.type is MessageType.OUTPUT)
    results = (carried(record.command(step)) for step in outputs)
    return next((choice_in(loaded(item.content)) for item in results if isinstance(item, m.Success)), None)
