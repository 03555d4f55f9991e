"""A filter of runs as SQL: conditions on rows, and a check of journals for what SQL cannot decide.

The statements of scan.py name the table `i`. For costly filters (an agent took part, the run waits for a person) SQL
only finds candidates; `Check` then decides for each run. Used by listing.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from rewake.core import ids
from rewake.core.ids import InvalidId
from rewake.core.model import Status
from rewake.runs.agents import plain_words, took_part
from rewake.runs.filters import RunFilter
from rewake.runs.local.statements import Statements
from rewake.runs.local.statuses import STORED, is_one_of
from rewake.runs.waits import answerable, is_asking
from rewake.store.rows import RESULT_VALUE

_SEARCHED_BYTES_MAX: Final = 64 * 1024
_CODE_DIGITS_MAX: Final = 5
_WORD: Final = re.compile(r"[a-z0-9]+")
_FOREVER_MS: Final = 1 << 62

Check = Callable[[bytes], bool]
"""Whether the run with this id matches. It may read the journal, so it is called for candidates only."""


class Conditions(msgspec.Struct):
    """sql: conditions on a row, except its time of creation.   is_indexed: the index of creation has all its columns.

    is_costly: it reads a row's journal or result.   since_ms, until_ms: inclusive bounds of the time of creation.
    check: decides for each candidate.   run_id: the only run that can match.
    """

    sql: str
    values: dict[str, Any]
    since_ms: int
    until_ms: int
    is_indexed: bool
    is_costly: bool
    check: Check | None
    run_id: bytes | None


def conditions_of(reading: Statements, wanted: RunFilter) -> Conditions:
    """The conditions of a filter, at the reading's moment."""
    now_ms = reading.now_ms
    values: dict[str, Any] = {"now_ms": now_ms}
    parts: list[str] = []
    for name in ("service", "handler", "key"):
        if given := getattr(wanted, name):
            parts.append(f"i.{name} = :{name}")
            values[name] = given
    if wanted.services:
        parts.append("i.service in (select s.value from json_each(:services) s)")
        values["services"] = json.dumps(wanted.services)
    if wanted.status:
        parts.append("(" + " or ".join(STORED[status] for status in wanted.status) + ")")
    if wanted.failure:
        parts.append(_failure_condition(wanted.failure, values))
    if wanted.text:
        parts.append(_text_condition(wanted.text, values))
    if wanted.as_of_ms is not None:
        parts.append("(i.completed_at_ms is null or i.completed_at_ms <= :as_of_ms)")
        values["as_of_ms"] = wanted.as_of_ms
    checks: list[Check] = []
    if wanted.agent:
        parts.append(_agent_candidates(reading, wanted.agent, values))
        checks.append(lambda run_id: took_part(reading, run_id, wanted.agent))
    if wanted.waiting:
        parts.append(is_one_of(Status.INVOKED, Status.SUSPENDED))
        checks.append(lambda run_id: answerable(reading, run_id))
    if wanted.asking:
        parts.append(is_one_of(Status.INVOKED, Status.SUSPENDED, Status.PAUSED))
        checks.append(lambda run_id: is_asking(reading, run_id))
    since_ms, until_ms = wanted.created_between(now_ms)
    return Conditions(
        sql=" and ".join(parts) or "1",
        values=values,
        since_ms=-1 if since_ms is None else since_ms,
        until_ms=_FOREVER_MS if until_ms is None else until_ms,
        is_indexed=not (wanted.status or wanted.failure or wanted.text or checks or wanted.as_of_ms),
        is_costly=bool(wanted.text or wanted.agent),
        check=(lambda run_id: all(check(run_id) for check in checks)) if checks else None,
        run_id=values.get("text_id"),
    )


def _failure_condition(text: str, values: dict[str, Any]) -> str:
    """The condition for a text or code in an ended run's failure, or in the error for which an open run is retried."""
    values["failure"] = text
    values["failure_bytes"] = msgspec.json.encode(text)[1:-1]
    ended, retried = ["instr(i.result_message, :failure)"], ["instr(i.last_error, :failure_bytes)"]
    if text.isascii() and text.isdigit() and len(text) <= _CODE_DIGITS_MAX:
        values["failure_code"] = int(text)
        ended.append("i.result_code = :failure_code")
        retried.append("json_extract(cast(i.last_error as text), '$.code') = :failure_code")
    return (
        f"((i.result_code is not null and ({' or '.join(ended)})) "
        f"or ({is_one_of(Status.INVOKED, Status.PAUSED)} and i.last_error is not null and ({' or '.join(retried)})))"
    )


def _text_condition(text: str, values: dict[str, Any]) -> str:
    try:
        values["text_id"] = ids.invocation_id_from_str(text)
    except InvalidId:
        pass
    else:
        return "i.id = :text_id"
    values["text"] = text
    values["text_bytes"] = text.encode()
    values["searched"] = _SEARCHED_BYTES_MAX
    return (
        "(instr(i.key, :text) or instr(i.result_message, :text) or instr(i.idempotency_key, :text) "
        f"or instr(i.last_error, :text_bytes) or instr(substr({RESULT_VALUE}, 1, :searched), :text_bytes) "
        "or exists (select 1 from journal j where j.invocation_id = i.id and j.idx = 0 "
        "and instr(substr(j.payload, 1, :searched), :text_bytes)))"
    )


def _agent_candidates(reading: Statements, agent: str, values: dict[str, Any]) -> str:
    """The condition for runs that mention an agent: as service or handler, in a step's name or in a payload.

    Any characters may join its words: `transfer_to_car_specialist`, `CarSpecialist` and "Car specialist" are one. Runs
    whose handler begins with this agent, as the app declares, also match: their journal may not have its name.
    """
    words = [re.escape(word.encode()) for word in _WORD.findall(agent.lower())]
    as_it_is = rb"|".join(re.escape(form) for form in (agent.encode(), json.dumps(agent).encode()[1:-1]))
    pattern = re.compile(rb"[^a-z0-9]{0,3}".join(words) or as_it_is, re.IGNORECASE)

    def names_agent(content: str | bytes | None) -> bool:
        if content is None:
            return False
        return pattern.search(content.encode() if isinstance(content, str) else content) is not None

    reading.define("names_agent", names_agent)
    values["agent_bytes_max"] = _SEARCHED_BYTES_MAX
    begun = [
        [service, handler]
        for (service, handler), roster in reading.directory.rosters.items()
        if roster.first is not None and plain_words(roster.first.name) == plain_words(agent)
    ]
    values["begun"] = json.dumps(begun)
    return (
        "(names_agent(i.service) or names_agent(i.handler) "
        "or json_array(i.service, i.handler) in (select b.value from json_each(:begun) b) "
        "or exists (select 1 from journal j where "
        "j.invocation_id = i.id and (names_agent(j.name) or names_agent(substr(j.payload, 1, :agent_bytes_max)))))"
    )
