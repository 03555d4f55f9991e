"""One operation on all runs that match a filter: a question with their number, then chunk by chunk until all are done.

The form carries the filter, the moment of the question, so that later runs are left alone, and the progress. Closing
the page stops the operation; nothing goes on unseen. A request works for a few seconds, then the page sends the
next one (ui.js, or a button).
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import msgspec
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from rewake import formats
from rewake.core import ids
from rewake.errors import RewakeError
from rewake.operations import Operation
from rewake.runs.facts import STATUSES, RunSummary
from rewake.runs.filters import RunFilter, filter_from
from rewake.runs.listing import Counts, run_page
from rewake.runs.reading import Read, Reading
from rewake.ui.forms import own_path
from rewake.ui.operations import OperationOutcome, operate, operation_named
from rewake.ui.port import UiEngine
from rewake.ui.web import Problem, Web, see

COUNT_S: Final = 1.0
"""How long the question may count."""

ACT_S: Final = 2.0
"""How long one request may work before it reports its progress to the page."""

SHOWN_RUNS_MAX: Final = 50


class BulkConfirmPage(msgspec.Struct, kw_only=True):
    """The planned operation and the number of runs. query: the current filter.   runs: the first of them."""

    action: Operation
    query: str
    count: int
    is_exact: bool
    statuses: tuple[str, ...]
    runs: list[RunSummary]
    deployments: list[str]
    back: str


class BulkPage(msgspec.Struct, kw_only=True):
    """The progress. problems: how many runs failed, and the first reason."""

    action: Operation
    query: str
    cursor: str
    count: int
    is_exact: bool
    done: int = 0
    problems: int = 0
    problem: str = ""
    deployment: str = ""
    back: str = "/ui/"


class Bulk:
    """The two steps, called by the endpoints of actions.py with their checked form."""

    def __init__(self, engine: UiEngine, web: Web, read: Read) -> None:
        self._engine = engine
        self._web = web
        self._read = read
        self._counts = Counts()

    async def confirm(self, request: Request, fields: Any) -> Response:
        """Ask, with how many runs match now."""
        action = _action(fields)
        matching = _filter(fields.get("filter", ""))
        statuses = tuple(each for each in matching.statuses or STATUSES if each in action.facts.statuses)
        if matching.is_impossible or not statuses:
            raise _nothing_to_do(action)
        wanted = msgspec.structs.replace(matching, status=statuses, as_of_ms=self._engine.now_ms(), cursor="")

        def find(found: Reading) -> tuple[tuple[int, bool], list[RunSummary], list[str]]:
            counted = found.count_matching(wanted, self._counts.now(found), COUNT_S)
            runs = run_page(found, wanted, self._counts).runs[:SHOWN_RUNS_MAX]
            return counted, runs, [item.id for item in found.deployments()] if action.facts.takes_deployment else []

        (count, is_exact), runs, deployments = await self._read(find)
        if is_exact and not count:
            raise _nothing_to_do(action)
        page = BulkConfirmPage(
            action=action,
            query=urlencode(wanted.query()),
            count=max(count, len(runs)),
            is_exact=is_exact,
            statuses=wanted.status,
            runs=runs,
            deployments=deployments,
            back=own_path(fields.get("back")),
        )
        return self._web.page(request, "bulk_confirm.html", page, now_ms=self._engine.now_ms(), notice="")

    async def act(self, request: Request, fields: Any) -> Response:
        """Do it to as many runs as time allows; the next request continues."""
        action = _action(fields)
        page = BulkPage(
            action=action,
            query=fields["query"],
            cursor=fields.get("cursor", ""),
            count=_number(fields, "count"),
            is_exact=fields.get("exact") == "yes",
            done=_number(fields, "done"),
            problems=_number(fields, "problems"),
            problem=formats.shortened(fields.get("problem", ""), 400),
            deployment=fields.get("deployment", ""),
            back=own_path(fields.get("back")),
        )
        wanted = _filter(page.query)
        is_whole = wanted.as_of_ms is not None and wanted.status
        if not is_whole or not set(wanted.status) <= set(action.facts.statuses):
            raise Problem(400, "The form names no runs.", "Go back and choose them again.")
        ends_at_s = time.monotonic() + ACT_S
        while await self._act_on_some(wanted, page):
            if time.monotonic() >= ends_at_s:
                return self._web.page(request, "bulk.html", page, now_ms=self._engine.now_ms(), notice="")
        return see(page.back, _told(page))

    async def _act_on_some(self, wanted: RunFilter, page: BulkPage) -> bool:
        """One chunk; False when it was the last."""
        following = msgspec.structs.replace(wanted, cursor=page.cursor)
        found = await self._read(lambda reading: reading.matching(following, self._counts.now(reading)))
        outcomes = await asyncio.gather(*(self._act_on(page, run_id) for run_id in found.ids))
        errors = [outcome for outcome in outcomes if isinstance(outcome, RewakeError)]
        if errors and len(errors) == len(outcomes):
            raise errors[0]
        problems = [problem for outcome in outcomes if (problem := _problem_of(outcome)) is not None]
        page.done += len(outcomes) - len(problems)
        page.problems += len(problems)
        page.problem = page.problem or next(iter(problems), "")
        page.cursor = found.next_cursor or ""
        return found.next_cursor is not None

    async def _act_on(self, page: BulkPage, run_id: str) -> OperationOutcome | RewakeError:
        """Errors of single runs are listed; the page fails only if every run failed."""
        try:
            invocation_id = ids.invocation_id_from_str(run_id)
            return await operate(self._engine, page.action, invocation_id, page.deployment or None)
        except RewakeError as error:
            return error


def _problem_of(outcome: OperationOutcome | RewakeError) -> str | None:
    return f"{outcome.code.value} {outcome.message}" if isinstance(outcome, RewakeError) else outcome.problem


def _action(fields: Any) -> Operation:
    action = operation_named(name := fields.get("action", ""))
    if action is None or not action.facts.statuses:
        title = action.facts.title if action else formats.shortened(name, 40)
        raise Problem(400, f"{title!r} cannot be done to all runs that match.", "Select the runs.")
    return action


def _filter(query: str) -> RunFilter:
    return filter_from(QueryParams(parse_qsl(query, keep_blank_values=True)))


def _nothing_to_do(action: Operation) -> Problem:
    done = action.facts.done
    hint = f"Only {' or '.join(action.facts.statuses)} runs can be {done}."
    return Problem(409, f"No run that matches can be {done}.", hint)


def _told(page: BulkPage) -> str:
    told = f"{page.done:,} {'run' if page.done == 1 else 'runs'} {page.action.facts.done}."
    if page.problems:
        told += f" {page.problems:,} could not be: {page.problem.rstrip('.')}."
    return told


def _number(fields: Any, name: str) -> int:
    text = fields.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0
