"""Every tour app is killed everywhere: same answer, no finished model call asked again, nobody's request lost.

One claim for each moment of an app, all open at once: held just before each command its services journal, in each
model call, and with a reviewer. So one `kill -9` hits before the routing, after it, in the specialist's calls, after
them, and between all of these. It hits a worker, a process that others call and its engine, a TypeScript app and its
engine; with REWAKE_ALL_CRASHES=1 every process of every app, in a worker for one victim and over HTTP for the
other, in turns. The engine over a worker is killed in test_tour_many_claims.py. How each way to the handlers takes a
crash is in tests/conformance, the frameworks' own steps in tests/adapters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest
import tour_app
from cli_process import WAIT_S
from tour import (
    ALL,
    REMOTE,
    SUBAGENTS,
    TOURS,
    TS_APPROVAL,
    TS_TOURS,
    Part,
    Reply,
    Tour,
    answered,
    asked,
    journals,
    needs,
    plain,
    titles,
    until,
)
from tour_stage import ENGINE, HttpStage, Stage, WorkerStage

from rewake.testing.models import ModelServer

pytestmark = pytest.mark.timeout(120)


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a claim stands when the process dies: at a command of a service, from 1, or in a model call; or waiting."""

    service: str = ""
    command: int = 0
    model: str = ""

    @property
    def key(self) -> str:
        """The customer, and the idempotency key, of its claim."""
        if self.model:
            return f"in-{self.model}"
        return f"before-{self.command}-of-{self.service}" if self.command else "with-the-reviewer"

    def is_reviewed(self, tour: Tour) -> bool:
        """Whether its claim gets there only after somebody has decided on it."""
        if tour.reviewed_before is None:
            return False
        command, model = tour.reviewed_before
        return self.model == model or self.command >= command

    def is_in(self, part: Part) -> bool:
        """Whether that process holds it."""
        return self.service in part.services or self.model in part.models


def moments_of(tour: Tour) -> list[Moment]:
    """All of them, model calls last and the last model first: it is held before claims that pass it are let through."""
    commands = [
        Moment(service, number) for service, titles in tour.commands.items() for number, _ in enumerate(titles, start=1)
    ]
    waiting = [Moment()] if tour.reviewed_before else []
    return commands + waiting + [Moment(model=model) for model in reversed(tour.models)]


class Callers:
    """Customers who wait for their answers, one thread each, and a reviewer."""

    def __init__(self, tour: Tour, stage: Stage, pool: ThreadPoolExecutor) -> None:
        self._tour, self._stage, self._pool = tour, stage, pool

    def call(self, moment: Moment) -> Future[Reply]:
        """The claim of a moment, from the request to the answer."""
        tour = self._tour
        mark = tour_app.stop_before(moment.command, moment.service) if moment.command else ""
        path, body = tour.path.format(key=moment.key), tour.ask(f"{tour.claim} {mark}")
        headers = {} if tour.attach else {"idempotency-key": moment.key}
        return self._pool.submit(self._stage.post, path, body, headers)

    def call_again(self, moment: Moment) -> Future[Reply]:
        """Ask again for the answer to a claim made before: with the same key it is the same claim."""
        if not self._tour.attach:
            return self.call(moment)
        return self._pool.submit(self._stage.get, self._tour.attach.format(key=moment.key))

    def call_all_to_their_moments(self, models: ModelServer) -> dict[Moment, Future[Reply]]:
        """Start every claim and return when each stands where it is to be hit."""
        moments = moments_of(self._tour)
        at_commands = [moment for moment in moments if moment.command]
        calls = {moment: self.call(moment) for moment in moments if not moment.model}
        self.review(moment for moment in at_commands if moment.is_reviewed(self._tour))
        self.wait_for_questions(moment for moment in calls if not moment.command)
        models.hold(tour_app.STOP).wait_reached(len(at_commands), timeout_s=WAIT_S)
        for moment in moments[len(calls) :]:
            held = models.hold(moment.model)
            calls[moment] = self.call(moment)
            self.review(moment for moment in (moment,) if moment.is_reviewed(self._tour))
            held.wait_reached(timeout_s=WAIT_S)
        until(lambda: all_stand_there(self._tour, self._stage), "the journals")
        return calls

    def review(self, moments: Iterable[Moment]) -> None:
        """Approve these claims, each as soon as it waits for that."""
        for moment in moments:
            self.wait_for_questions([moment])
            path = f"/{self._tour.entry_service}/{moment.key}/decide"
            assert self._stage.post(path, {"approved": True, "by": "Dana"}, {}).status in (200, 204)

    def wait_for_questions(self, moments: Iterable[Moment]) -> None:
        """Return when the reviewer is asked about these claims."""
        for moment in moments:
            until(partial(self._is_asked, moment.key), "the question to the reviewer")

    def _is_asked(self, key: str) -> bool:
        where = f"service_name = '{self._tour.entry_service}' and service_key = '{key}'"
        return bool(self._stage.query(f"select key from state where {where}"))


def chains(tour: Tour, stage: Stage) -> dict[str, dict[str, str]]:
    """By the key of its moment, the invocations of each claim by service."""
    rows = stage.query("select * from sys_invocation")
    called = {row["invoked_by_id"]: row for row in rows if row.get("invoked_by_id")}
    entry = tour.path.rpartition("/")[2]
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        if row["target_service_name"] == tour.entry_service and row["target_handler_name"] == entry:
            chain = found[row.get("idempotency_key") or row["target_service_key"]] = {}
            while row:
                chain[row["target_service_name"]] = row["id"]
                row = called.get(row["id"], {})
    return found


def all_stand_there(tour: Tour, stage: Stage) -> bool:
    """Whether the journals hold what was done before each moment, and nothing of what comes after."""
    claims = chains(tour, stage)
    written = journals(stage.query('select * from sys_journal order by id, "index"'))

    def stands_there(moment: Moment) -> bool:
        steps = written[claims[moment.key][moment.service]]
        is_finished = all(step.finished_at_ms is not None for step in steps if step.title.startswith("Run "))
        return is_finished and titles(steps) == tour.commands[moment.service][: moment.command - 1]

    return all(stands_there(moment) for moment in moments_of(tour) if moment.command)


def let_go(tour: Tour, models: ModelServer, cut_off: int) -> None:
    """Once the server knows that nobody hears the calls that were cut off, answer from now on."""
    until(lambda: sum(exchange.outcome == "abandoned" for exchange in models.exchanges) == cut_off, "the hang-ups")
    for rule in (tour_app.STOP, *tour.models):
        models.release(rule)


def check(tour: Tour, stage: Stage, replies: dict[Moment, Reply]) -> None:
    """Everybody got the answer; each step is in its journal once."""
    assert {moment: (reply.status, plain(reply.body)) for moment, reply in replies.items()} == dict.fromkeys(
        replies, (200, tour.answer)
    )
    rows = stage.query("select id, status from sys_invocation")
    assert {row["status"] for row in rows} == {"completed"}
    claims = chains(tour, stage)
    written = journals(stage.query('select * from sys_journal order by id, "index"'))
    assert {
        key: {service: titles(written[invocation_id]) for service, invocation_id in chain.items()}
        for key, chain in claims.items()
    } == {moment.key: tour.commands for moment in replies}


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=64) as threads:
        yield threads


DEFAULT = {(SUBAGENTS.name, "app.py"), (REMOTE.name, "car.py"), (REMOTE.name, ENGINE)}
DEFAULT |= {(TS_APPROVAL.name, victim) for victim in (*(part.file for part in TS_APPROVAL.parts), ENGINE)}


def runs() -> Iterator[Any]:
    """Every app and every process of it. Apps of several processes or in TypeScript are called over HTTP alone."""
    for number, tour in enumerate((*TOURS, *TS_TOURS)):
        parts = [part.file for part in tour.processes()]
        in_worker = (parts[0] if number % 2 else ENGINE) if tour in TOURS and len(parts) == 1 else None
        for victim in (*parts, ENGINE):
            way, stage = ("worker", WorkerStage) if victim == in_worker else ("http", HttpStage)
            if ALL or (tour.name, victim) in DEFAULT:
                yield pytest.param(tour, stage, victim, marks=needs(tour).marks, id=f"{tour.name}-{way}-{victim}")


@pytest.mark.parametrize(("tour", "make_stage", "victim"), list(runs()))
def test_killed_everywhere(
    tour: Tour, make_stage: Callable[..., Stage], victim: str, tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    moments = moments_of(tour)
    dying = [part for part in tour.processes() if victim in (part.file, ENGINE)]
    repeated = [moment for moment in moments if any(moment.is_in(part) for part in dying)]
    # The TypeScript SDK lets a step go on whose engine is gone: it is answered, and nobody takes the answer.
    overheard = {model for part in tour.processes() if part.is_typescript and victim == ENGINE for model in part.models}
    with ModelServer(tour.rules()) as models, make_stage(tour, tmp_path, models) as stage:
        callers = Callers(tour, stage, pool)
        calls = callers.call_all_to_their_moments(models)
        stage.kill(victim)
        if victim == ENGINE:
            for call in calls.values():
                with pytest.raises((HTTPException, OSError)):
                    call.result(WAIT_S)
        let_go(tour, models, len(repeated) - len(overheard))
        stage.restart(victim)
        if victim == ENGINE:
            calls = {moment: callers.call_again(moment) for moment in calls}
        callers.review(moment for moment in moments if tour.reviewed_before and not moment.is_reviewed(tour))
        replies = {moment: call.result(WAIT_S) for moment, call in calls.items()}
        check(tour, stage, replies)
        cut_off = {moment.model for moment in repeated if moment.model}
        assert answered(models) == {model: len(moments) + (model in overheard) for model in tour.models}
        assert asked(models) == {model: len(moments) + (model in cut_off) for model in tour.models}, (
            "only the call that was cut off is repeated"
        )
        if victim == ENGINE and not tour.attach:
            for reply in replies.values():
                assert stage.get(f"/restate/attach/{reply.invocation_id}").body == reply.body
