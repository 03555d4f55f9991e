"""Where a tour app is killed: its processes and the engine, each of which a test can kill -9 and bring back.

WorkerStage is `rewake run`, with the app in its worker. HttpStage is an engine without worker that calls the app over
HTTP/2: every part of the app is a process of its own, a Python file in `rewake serve`, and comes back on its own port.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, Protocol

import tour_app
from cli_process import command, environment
from node_tour import Process, free_port, installed, make_engine, node
from tests.warm import framework_of
from tour import FOLDERS, Part, Reply, Tour, TourEngine, is_running, until

from rewake.testing.models import ModelServer

STOPPING_APP: Final = f"{Path(tour_app.__file__)}:app"
STOPPING_NODE: Final = Path(tour_app.__file__).with_suffix(".mjs")
ENGINE: Final = "engine"


class Stage(AbstractContextManager["Stage"], Protocol):
    """An engine and the processes of one app. Victims are called `engine` or by the file of a part."""

    def post(self, path: str, body: Any, headers: dict[str, str]) -> Reply:
        """One call, until it is answered.   Raises OSError or HTTPException when the connection dies."""

    def get(self, path: str) -> Reply:
        """One call without a body."""

    def query(self, sql: str) -> list[dict[str, Any]]:
        """The rows of a query."""

    def kill(self, victim: str) -> None:
        """kill -9, and wait until it is gone."""

    def restart(self, victim: str) -> None:
        """Bring it back, with what it had on disk."""


class WorkerStage(AbstractContextManager["WorkerStage"]):
    """`rewake run` over the app."""

    def __init__(self, tour: Tour, folder: Path, models: ModelServer) -> None:
        self._start: Callable[[], TourEngine] = lambda: TourEngine(
            STOPPING_APP, folder, models, TOUR_APP=str(tour.app)
        ).__enter__()
        self._engine = self._start()

    def __exit__(self, *_: object) -> None:
        self._engine.close()

    def post(self, path: str, body: Any, headers: dict[str, str]) -> Reply:
        return self._engine.post(path, body, idempotency_key=headers.get("idempotency-key"))

    def get(self, path: str) -> Reply:
        return self._engine.get(path)

    def query(self, sql: str) -> list[dict[str, Any]]:
        return self._engine.query(sql)

    def kill(self, victim: str) -> None:
        worker = self._engine.wait_for_worker()
        if victim == ENGINE:
            self._engine.close()
            until(lambda: not is_running(worker), "the end of the worker")
        else:
            os.kill(worker, signal.SIGKILL)
            self._engine.wait_for("worker_exited")

    def restart(self, victim: str) -> None:
        """A worker comes back by itself."""
        if victim == ENGINE:
            self._engine = self._start()


class HttpStage(AbstractContextManager["HttpStage"]):
    """An engine, and the parts of the app as processes that it knows by address."""

    def __init__(self, tour: Tour, folder: Path, models: ModelServer) -> None:
        self._engine = make_engine(folder)
        self._parts = {part.file: _process(tour, part, folder, models) for part in tour.processes()}
        try:
            with ThreadPoolExecutor() as starting:
                list(starting.map(lambda process: process.start(), (self._engine, *self._parts.values())))
            for process in self._parts.values():
                self._engine.register(process.port)
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        for process in (self._engine, *self._parts.values()):
            process.kill()

    def post(self, path: str, body: Any, headers: dict[str, str]) -> Reply:
        answer = self._engine.call(path, body, headers)
        return Reply(answer.status, answer.body, answer.invocation_id)

    def get(self, path: str) -> Reply:
        answer = self._engine.get(path)
        return Reply(answer.status, answer.body, answer.invocation_id)

    def query(self, sql: str) -> list[dict[str, Any]]:
        """The rows; a Restate server that has just started refuses for a moment, and is asked again."""
        found: list[list[dict[str, Any]]] = []

        def is_answered() -> bool:
            try:
                found.append(self._engine.query(sql))
            except AssertionError as error:
                if "External error" not in str(error):
                    raise
            return bool(found)

        until(is_answered, sql)
        return found[-1]

    def kill(self, victim: str) -> None:
        self._process(victim).kill()

    def restart(self, victim: str) -> None:
        self._process(victim).start()

    def _process(self, victim: str) -> Process:
        return self._engine if victim == ENGINE else self._parts[victim]


def _process(tour: Tour, part: Part, folder: Path, models: ModelServer) -> Process:
    """A part of an app, not yet started, that stops where its claims say."""
    port = free_port()
    if part.is_typescript:
        app = installed(tour.name)
        words = [str(node()), f"--import={STOPPING_NODE.as_uri()}", part.file]
        return Process(
            words, port, folder=app, log=folder / f"{part.file}.log", environment={**models.env(), "PORT": str(port)}
        )
    words = command("serve", STOPPING_APP, "--port", str(port), "--log-format", "json")
    app = FOLDERS[tour.name] / part.file
    env = environment(**models.env(), TOUR_APP=str(app))
    log, framework = folder / f"{part.file}.log", framework_of(app)
    return Process(words, port, folder=folder, log=log, environment=env, framework=framework)
