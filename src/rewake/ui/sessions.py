"""Sessions: virtual objects and workflows by key, with their state, the run that holds them, waiting runs and history.

State is read from the database as committed; actions.py changes it, after the open runs of the key.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from rewake import formats
from rewake.agents.decoding import Said
from rewake.agents.replies import loaded
from rewake.agents.routing import AGENT_STATES
from rewake.core import ids
from rewake.core.keyed import state_version
from rewake.core.model import ServiceSchema
from rewake.disclosure import is_sealed, opened, shown_content
from rewake.runs.agents import agent_trace, conversation_of
from rewake.runs.facts import RunSummary
from rewake.runs.kept import kept_of
from rewake.runs.reading import Reading
from rewake.runs.spending import SUM_MS, Remembered, SessionSpending, Usage, sum_runs
from rewake.runs.waits import Wait, approvals, wait_of

SESSIONS_MAX: Final = 100
HISTORY_MAX: Final = 100
"""Rows of each list on a page: past runs, runs that wait, promises."""

CONVERSATION_MAX: Final = 200
WAITING_RUNS_MAX: Final = 20
STATE_VALUES_MAX: Final = 50
"""Values on one page; each has 20,000 characters at most, shown and to edit."""

SUMMED_MAX: Final = 2_000
"""Runs of a key whose tokens are summed, the newest ones."""


class SessionRow(msgspec.Struct):
    """A key in the list: values and bytes of state, runs that hold it and wait for it."""

    service: str
    key: str
    value_count: int
    size: int
    holding: int
    waiting: int


class SessionsPage(msgspec.Struct):
    services: dict[str, str]
    service: str
    text: str
    sessions: list[SessionRow]
    next_after: str | None


class StateValue(msgspec.Struct):
    """One value. raw: as text to edit, None when it is not text or too long to edit here."""

    name: str
    value: formats.Shown
    raw: str | None


class SessionPage(msgspec.Struct):
    """version: of the whole state, sent back with a change so that nobody overwrites a value they have not seen.

    waiting: waits that a person can answer.   next_value: name after which the next page of state goes on.
    queue_count: all that wait, of whom `queue` has the first.
    """

    service: str
    key: str
    kind: str
    version: str
    state: list[StateValue]
    holder: RunSummary | None
    queue: list[RunSummary]
    beside: list[RunSummary]
    history: list[RunSummary]
    promises: list[dict[str, Any]]
    last_agent: str | None
    conversation: list[Said]
    spending: SessionSpending
    is_registered: bool
    waiting: list[Wait]
    next_value: str | None = None
    queue_count: int = 0


def sessions_page(reading: Reading, service: str, text: str, after: str) -> SessionsPage:
    """Keys of one service; of the first keyed one unless it is named."""
    keyed = {item.name: item.type.value.lower().replace("_", " ") for item in reading.services() if item.is_keyed}
    service = service if service or not keyed else next(iter(sorted(keyed)))
    at_work = reading.keys_at_work(service, 1_000) if service else {}
    found = reading.keys_with_state(service, after=after, contains=text, limit=SESSIONS_MAX + 1) if service else []
    rows = [
        SessionRow(service, key, count, size, *at_work.pop(key, (0, 0))) for key, count, size in found[:SESSIONS_MAX]
    ]
    if not after:
        stateless = [(key, work) for key, work in at_work.items() if text in key and not reading.state(service, key)]
        rows = [SessionRow(service, key, 0, 0, *work) for key, work in stateless] + rows
    next_after = found[SESSIONS_MAX - 1][0] if len(found) > SESSIONS_MAX else None
    return SessionsPage(keyed, service, text, rows, next_after)


def session_page(
    reading: Reading,
    service: str,
    key: str,
    remembered: Remembered,
    *,
    after_value: str = "",
    sum_budget_ms: int = SUM_MS,
) -> SessionPage:
    """One key; its state by pages. remembered: the costs of its runs that were counted before.

    after_value: `next_value` of the page before.
    sum_budget_ms: how long it may take to count the others.
    """
    known = reading.service(service)
    state = reading.state(service, key)
    shown_state = {name: shown_content(value) for name, value in state.items()}
    is_open = reading.open_runs_of_key(service, key)
    exclusive = _exclusive_handlers(known)
    queue = [run for run in is_open if run.handler in exclusive and run.status == "pending"]
    holders = [run for run in is_open if run.handler in exclusive and run.status not in ("pending", "scheduled")]
    beside = [run for run in is_open if run not in queue and run not in holders]
    values = sorted((name, value) for name, value in state.items() if name > after_value.encode(errors="replace"))
    shown = values[:STATE_VALUES_MAX]
    conversation = conversation_of(shown_state.values())
    runs = reading.runs_of_key(service, key, SUMMED_MAX)
    return SessionPage(
        service=service,
        key=key,
        kind="" if known is None else known.type.value.lower().replace("_", " "),
        version=state_version(state),
        state=[_state_value(name, value) for name, value in shown],
        next_value=shown[-1][0].decode(errors="replace") if len(values) > len(shown) else None,
        holder=holders[0] if holders else None,
        queue=queue[:HISTORY_MAX],
        queue_count=len(queue),
        beside=beside,
        history=reading.with_inputs(runs[:HISTORY_MAX]),
        promises=[_promise(*row) for row in reading.promises(service, key)[:HISTORY_MAX]],
        last_agent=_last_agent(shown_state) or _last_speaker(conversation),
        conversation=conversation[-CONVERSATION_MAX:],
        spending=spending_of(reading, runs, remembered, budget_ms=sum_budget_ms),
        is_registered=known is not None,
        waiting=[
            *map(wait_of, kept_of(reading, service, key)),
            *approvals(reading, [run.id for run in [*holders, *beside][:WAITING_RUNS_MAX]]),
        ],
    )


def spending_of(
    reading: Reading, runs: list[RunSummary], remembered: Remembered, *, budget_ms: int = SUM_MS
) -> SessionSpending:
    """The total cost of a key's runs. A run that another of them called is counted there."""

    def count(run_id: str) -> list[Usage]:
        invocation = reading.invocation(ids.invocation_id_from_str(run_id))
        if invocation is None:
            return []
        return agent_trace(reading, invocation).usage

    own = {run.id for run in runs}
    counted = ((run.id, run.modified_at_ms, not run.is_open) for run in runs if run.parent not in own)
    return sum_runs(counted, count, remembered, budget_ms=budget_ms)


def _exclusive_handlers(known: ServiceSchema | None) -> set[str]:
    if known is None:
        return set()
    return {name for name, handler in known.handlers.items() if handler.kind.value.lower() in ("exclusive", "workflow")}


def _state_value(name: bytes, value: bytes) -> StateValue:
    raw, value = None, opened(value)
    if len(value) <= formats.SHOWN_CHARS_MAX and not is_sealed(value) and shown_content(value) == value:
        try:  # one with a hidden part would lose it
            raw = value.decode()
        except UnicodeDecodeError:
            raw = None
    return StateValue(name.decode(errors="replace"), formats.shown(value), raw)


def _promise(name: str, code: int | None, message: str | None, value: bytes | None) -> dict[str, Any]:
    if code is not None:
        return {"name": name, "status": "failed", "text": formats.line(f"[{code}] {message}")}
    return {"name": name, "status": "open" if value is None else "resolved", "text": formats.line(value or b"")}


def _last_speaker(conversation: list[Said]) -> str | None:
    return next((said.agent for said in reversed(conversation) if said.agent), None)


def _last_agent(state: dict[bytes, bytes]) -> str | None:
    for name in AGENT_STATES:
        named = loaded(state.get(name.encode()))
        if isinstance(named, str) and named:
            return formats.shortened(formats.safe(named), 120)
    return None
