"""The rows on engines and transports of all kinds, both frameworks in one process; handlers and engine are killed.

A worker of `rewake run` and restate-server over HTTP/2 by default; with REWAKE_ALL_CRASHES=1 both engines over HTTP/1.1
and HTTP/2, too. What each way does to an attempt is in tests/conformance.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol

import pytest
from http_service import HTTP1_SERVERS, ServerKind, Service
from node_tour import EngineKind
from rows import ALL, CASES
from subject import Subject, until
from tour import TourEngine

from rewake.testing.models import ModelServer

HERE: Final = Path(__file__).parent
WAYS: Final = ["worker", "restate hypercorn", *["rewake hypercorn", "rewake uvicorn", "restate uvicorn"] * ALL]
ROWS: Final = ("consult", "tools")  # in this order: the rules of the last fit anything
KILLS: Final = 2


class Place(Protocol):
    """An engine with the programs."""

    def send(self, target: str, body: Any) -> str: ...
    def result(self, invocation_id: str) -> Any: ...
    def kill_handlers(self) -> None: ...
    def kill_engine(self) -> None: ...
    def close(self) -> None: ...


class OverHttp(Subject):
    """Handlers behind a web server."""

    def kill_handlers(self) -> None:
        """kill -9, and a new start."""
        self.service.restart()

    def kill_engine(self) -> None:
        """The same of the engine."""
        self.restart()


class InWorker:
    """`rewake run`."""

    def __init__(self, folder: Path, models: ModelServer, **environment: str) -> None:
        self._given = folder, models, environment
        self._engine = self._started()

    def _started(self) -> TourEngine:
        folder, models, environment = self._given
        return TourEngine(HERE / "served.py", folder, models, framework="agents", **environment).__enter__()

    def send(self, target: str, body: Any) -> str:
        return str(self._engine.send(f"/{target}", body))

    def result(self, invocation_id: str) -> Any:
        return self._engine.get(f"/restate/attach/{invocation_id}").body

    def kill_handlers(self) -> None:
        os.kill(self._engine.wait_for_worker(), signal.SIGKILL)

    def kill_engine(self) -> None:
        self._engine.stop(signal.SIGKILL)
        self.close()
        self._engine = self._started()

    def close(self) -> None:
        self._engine.__exit__(None, None, None)


@pytest.fixture(params=WAYS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Place, ModelServer]]:
    """An engine, and the model. Marks are in tmp_path."""
    rules = [rule for row in ROWS for rule in CASES["openai"][row].rules]
    assert all(CASES[framework][row].rules == CASES["openai"][row].rules for framework in CASES for row in ROWS)
    with ModelServer(rules) as models:
        environment = {"LAB_FOLDER": str(tmp_path), "LAB_FRAMEWORKS": " ".join(CASES)}
        found = place_of(request.param, tmp_path, models, environment)
        yield found, models
        found.close()


def place_of(way: str, folder: Path, models: ModelServer, environment: dict[str, str]) -> Place:
    if way == "worker":
        return InWorker(folder, models, **environment)
    kind: EngineKind
    server: ServerKind
    kind, server = way.split()  # type: ignore[assignment]
    path = os.pathsep.join(str(HERE.parent / each) for each in ("adapters", "conformance", "e2e"))
    service = Service(
        "served:app", server, options=(), framework="agents", **models.env(), **environment, PYTHONPATH=path
    )
    return OverHttp(kind, folder, service, use_http_11=server in HTTP1_SERVERS)


@pytest.mark.timeout(180)
def test_rows_over_killed_handlers_and_a_killed_engine(place: tuple[Place, ModelServer], tmp_path: Path) -> None:
    """The right answers; what was stored ran once, what was under way at a kill runs again."""
    engine, models = place
    marks = tmp_path / "marks"
    sent = {(framework, row): engine.send(f"Desk/{framework}_{row}", "hello") for framework in CASES for row in ROWS}
    until(marks.exists, lambda: "a tool that ran")
    engine.kill_handlers()
    engine.kill_engine()
    for (framework, row), invocation_id in sent.items():
        assert engine.result(invocation_id) == CASES[framework][row].answer, (framework, row)
    cases = [CASES[framework][row] for framework, row in sent]
    asked = {rule: count.asked for rule, count in models.counts.items()}
    assert_once_or_under_way(asked, sum((Counter(case.calls) for case in cases), Counter()))
    left = Counter(marks.read_text().splitlines())
    assert_once_or_under_way(left, sum((Counter(case.marks) for case in cases), Counter()))


def assert_once_or_under_way(ran: dict[str, int], expected: Counter[str]) -> None:
    """Each kill may cut one body of each run of it."""
    assert set(ran) == set(expected)
    assert all(expected[what] <= count <= expected[what] * (1 + KILLS) for what, count in ran.items()), ran
