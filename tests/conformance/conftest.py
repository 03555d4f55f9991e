"""Fixtures of the engine's conformance tests."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal
from unittest.mock import patch

import pytest
from http_service import ServerKind, typescript
from node_tour import EngineKind
from stage import TRANSPORTS, VERSIONS, Stage, Transport
from subject import Subject, running_subject
from tests.warm import Warm

from rewake.deployments import worker

ENGINE_KINDS: tuple[EngineKind, ...] = ("rewake", "restate")

AppKind = Literal["python", "python_http1", "surfaces", "deployments", "typescript_http2", "typescript_http1"]


@pytest.fixture(scope="session", autouse=True)
def warm_workers() -> Iterator[None]:
    """Workers of engines in this process are forked from one that has imported what they need."""
    with patch.object(worker, "subprocess", SimpleNamespace(Popen=Warm, DEVNULL=subprocess.DEVNULL)):
        yield


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Stage:
    """A directory for one engine and what its handlers leave there."""
    monkeypatch.setenv("REWAKE_TEST_STAGE", str(tmp_path))
    return Stage(tmp_path, request.config.option.transport or "in_process")


class Subjects:
    """Engines that are started when a test first wants them, and live as long as the tests do."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._running: dict[tuple[EngineKind, AppKind], Subject] = {}

    def get(self, kind: EngineKind, app: AppKind = "python") -> Subject:
        if (kind, app) not in self._running:
            folder = self._folder / f"{kind}_{app}"
            sweep_interval = "1h" if app == "surfaces" else "1s"
            subject = running_subject(kind, folder, *_served(app), sweep_interval=sweep_interval)
            self._running[kind, app] = self._stack.enter_context(subject)
        return self._running[kind, app]


def _served(app: AppKind) -> tuple[str, ServerKind]:
    """An app and its server."""
    match app:
        case "python":
            return "both_app:app", "hypercorn"
        case "python_http1":
            return "both_app:app", "uvicorn"
        case "surfaces":
            return "http_app:app", "hypercorn"
        case "deployments":
            return "fleet_app:app", "hypercorn"
        case _:
            return typescript("app.ts"), "node" if app == "typescript_http2" else "node_http1"


@pytest.fixture(scope="session")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subjects]:
    with ExitStack() as stack:
        yield Subjects(tmp_path_factory.mktemp("subjects"), stack)


@pytest.fixture
def subject(subjects: Subjects, engine_kind: EngineKind, request: pytest.FixtureRequest) -> Subject:
    """The engine under test, with the handlers of both_app.py; over HTTP/2, or as --transport http1 says."""
    return subjects.get(engine_kind, "python_http1" if request.config.option.transport == "http1" else "python")


@pytest.fixture
def surfaces(subjects: Subjects, engine_kind: EngineKind) -> Subject:
    """The engine under test with the handlers of http_app.py: for tests of the HTTP surfaces, byte by byte."""
    return subjects.get(engine_kind, "surfaces")


@pytest.fixture
def fleet(subjects: Subjects, engine_kind: EngineKind) -> Subject:
    """The engine under test with deployments a test makes itself, of fleet_app.py."""
    return subjects.get(engine_kind, "deployments")


@pytest.fixture(params=["typescript_http2", "typescript_http1"])
def typescript_subject(subjects: Subjects, engine_kind: EngineKind, request: pytest.FixtureRequest) -> Subject:
    """The engine under test, with the handlers of ts/: full duplex over HTTP/2, or the one mode of HTTP/1.1."""
    return subjects.get(engine_kind, request.param)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "full_duplex(reason): cannot hold over HTTP/1.1, in requests and responses")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What a test takes by these names it gets in all kinds, unless an option chooses one, or the test does."""
    own = {name for mark in metafunc.definition.iter_markers("parametrize") for name in _names(mark.args[0])}
    wanted = set(metafunc.fixturenames) - own
    if "engine_kind" in wanted:
        chosen = metafunc.config.option.engine
        metafunc.parametrize("engine_kind", ENGINE_KINDS if chosen is None else (chosen,))
    if "transport" in wanted:
        over = _transports(metafunc)
        if "version" in wanted:  # all of them over the first transport; to the others it is only a number
            pairs = [*((over[0], version) for version in VERSIONS), *((each, 6) for each in over[1:])]
            metafunc.parametrize(("transport", "version"), pairs)
        else:
            metafunc.parametrize("transport", over)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests on one engine are one after the other, wherever the first of them is, so that few processes start it."""
    places: dict[tuple[Any, ...], int] = {}
    for place, item in enumerate(items):
        places.setdefault(_needed(item), place)
    items.sort(key=lambda item: places[_needed(item)])
    for item in items:
        if config.option.transport == "http1" and (mark := item.get_closest_marker("full_duplex")):
            item.add_marker(pytest.mark.skip(reason=mark.kwargs["reason"]))


def _needed(item: pytest.Item) -> tuple[Any, ...]:
    """The engine and the app that a test takes from `subjects`; the test itself when it takes none."""
    names: Sequence[str] = getattr(item, "fixturenames", ())
    if "subjects" not in names:
        return (item.nodeid,)
    params = item.callspec.params if hasattr(item, "callspec") else {}
    app = params.get("typescript_subject") or next(name for name in ("surfaces", "fleet", "subject") if name in names)
    return params.get("engine_kind"), app


def _transports(metafunc: pytest.Metafunc) -> list[Transport]:
    chosen = metafunc.config.option.transport
    if chosen is not None:
        return [chosen]
    is_duplex = metafunc.definition.get_closest_marker("full_duplex") is not None
    return [each for each in TRANSPORTS if not (is_duplex and each == "http1")]


def _names(given: str | Sequence[str]) -> list[str]:
    """The names of a parametrize mark."""
    return [name.strip() for name in given.split(",")] if isinstance(given, str) else list(given)
