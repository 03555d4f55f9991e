"""Every tour app is killed everywhere: same answer, no finished model call asked again, nobody's request lost.

One claim for each moment of an app, all open at once: held just before each command its services journal, and in each
model call. So one `kill -9` hits before the routing, after it, in the specialist's calls, after them, and between all
of these. Once it hits the worker, once the engine.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import pytest
import tour_app
from cli_process import WAIT_S
from tour import (
    TOURS,
    Reply,
    Tour,
    TourEngine,
    answered,
    asked,
    is_running,
    journals,
    needs,
    plain,
    titles,
    until,
)

from rewake.testing.models import ModelServer

APP = f"{Path(tour_app.__file__)}:app"
TOURS_TO_KILL = pytest.mark.parametrize("tour", [needs(tour) for tour in TOURS])


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a claim stands when the process dies: at a command of a service, from 1, or in a model call."""

    service: str = ""
    command: int = 0
    model: str = ""

    @property
    def key(self) -> str:
        """The customer, and the idempotency key, of its claim."""
        return f"in-{self.model}" if self.model else f"before-{self.command}-of-{self.service}"


def moments_of(tour: Tour) -> list[Moment]:
    """All of them, model calls last and the last model first: it is held before claims that pass it are let through."""
    commands = [
        Moment(service, number) for service, titles in tour.commands.items() for number, _ in enumerate(titles, start=1)
    ]
    return commands + [Moment(model=model) for model in reversed(tour.models)]


class Callers:
    """Customers who wait for their answers, one thread each."""

    def __init__(self, tour: Tour, engine: TourEngine, pool: ThreadPoolExecutor) -> None:
        self._tour, self._engine, self._pool = tour, engine, pool

    def call(self, moment: Moment) -> Reply:
        """The claim of a moment, from the request to the answer. With the same key every time: it is one claim."""
        tour = self._tour
        mark = tour_app.stop_before(moment.command, moment.service) if moment.command else ""
        path = tour.path.format(key=moment.key)
        return self._engine.post(path, tour.ask(f"{tour.claim} {mark}"), idempotency_key=moment.key)

    def call_all_to_their_moments(self, models: ModelServer) -> dict[Moment, Future[Reply]]:
        """Start every claim and return when each stands where it is to be hit."""
        moments = moments_of(self._tour)
        at_commands = [moment for moment in moments if moment.command]
        calls = {moment: self._pool.submit(self.call, moment) for moment in at_commands}
        models.hold(tour_app.STOP).wait_reached(len(at_commands), timeout_s=WAIT_S)
        for moment in moments[len(at_commands) :]:
            held = models.hold(moment.model)
            calls[moment] = self._pool.submit(self.call, moment)
            held.wait_reached(timeout_s=WAIT_S)
        until(lambda: all(stands_there(self._tour, self._engine, moment) for moment in at_commands), "the journals")
        return calls


def stands_there(tour: Tour, engine: TourEngine, moment: Moment) -> bool:
    """Whether the journal holds what was done before the moment, and nothing of what comes after."""
    (entry,) = engine.query(f"select id from sys_invocation where idempotency_key = '{moment.key}'")
    invocation_id = entry["id"]
    if moment.service != tour.entry_service:
        (called,) = engine.query(f"select id from sys_invocation where invoked_by_id = '{invocation_id}'")
        invocation_id = called["id"]
    steps = engine.journal(invocation_id)
    is_finished = all(step.finished_at_ms is not None for step in steps if step.title.startswith("Run "))
    return is_finished and titles(steps) == tour.commands[moment.service][: moment.command - 1]


def let_go(tour: Tour, models: ModelServer) -> None:
    """Once the server knows that nobody hears the calls that were cut off, answer from now on."""
    cut_off = len(moments_of(tour))
    until(lambda: sum(exchange.outcome == "abandoned" for exchange in models.exchanges) == cut_off, "the hang-ups")
    for rule in (tour_app.STOP, *tour.models):
        models.release(rule)


def check(tour: Tour, engine: TourEngine, models: ModelServer, replies: dict[Moment, Reply]) -> None:
    """Everybody got the answer; each decision was answered once; each step is in its journal once."""
    assert {moment: (reply.status, plain(reply.body)) for moment, reply in replies.items()} == dict.fromkeys(
        replies, (200, tour.answer)
    )
    assert answered(models) == dict.fromkeys(tour.models, len(replies))
    assert asked(models) == dict.fromkeys(tour.models, len(replies) + 1), "only the call that was cut off is repeated"
    rows = engine.query("select id, target_service_name as service, status from sys_invocation")
    assert len(rows) == len(replies) * len(tour.commands)
    assert {row["status"] for row in rows} == {"completed"}
    written = journals(engine.query('select * from sys_journal order by id, "index"'))
    assert {row["id"]: titles(written[row["id"]]) for row in rows} == {
        row["id"]: tour.commands[row["service"]] for row in rows
    }


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=64) as threads:
        yield threads


@TOURS_TO_KILL
def test_the_worker_is_killed(tour: Tour, tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    with ModelServer(tour.rules()) as models, TourEngine(APP, tmp_path, models, TOUR_APP=str(tour.app)) as engine:
        calls = Callers(tour, engine, pool).call_all_to_their_moments(models)
        os.kill(engine.wait_for_worker(), signal.SIGKILL)
        engine.wait_for("worker_exited")
        let_go(tour, models)
        check(tour, engine, models, {moment: call.result(WAIT_S) for moment, call in calls.items()})


@TOURS_TO_KILL
def test_the_engine_is_killed(tour: Tour, tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    with ModelServer(tour.rules()) as models:
        with TourEngine(APP, tmp_path, models, TOUR_APP=str(tour.app)) as engine:
            calls = Callers(tour, engine, pool).call_all_to_their_moments(models)
            engine.process.kill()
            for call in calls.values():
                with pytest.raises((HTTPException, OSError)):
                    call.result(WAIT_S)
            until(lambda: not is_running(engine.worker_pids[0]), "the end of the worker")
        let_go(tour, models)
        with TourEngine(APP, tmp_path, models, TOUR_APP=str(tour.app)) as engine:
            callers = Callers(tour, engine, pool)
            calls = {moment: pool.submit(callers.call, moment) for moment in calls}
            replies = {moment: call.result(WAIT_S) for moment, call in calls.items()}
            check(tour, engine, models, replies)
            for reply in replies.values():
                assert engine.get(f"/restate/attach/{reply.invocation_id}").body == reply.body
