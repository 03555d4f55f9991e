"""Fixtures of the engine's conformance tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import pytest
from http_service import ServerKind, typescript
from node_tour import EngineKind
from stage import Stage
from subject import Subject, running_subject

ENGINE_KINDS: tuple[EngineKind, ...] = ("rewake", "restate")

AppKind = Literal["python", "surfaces", "typescript_http2", "typescript_http1"]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A directory for one engine and what its handlers leave there."""
    monkeypatch.setenv("REWAKE_TEST_STAGE", str(tmp_path))
    return Stage(tmp_path)


class Subjects:
    """Engines that are started when a test first wants them, and live as long as the tests do."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._running: dict[tuple[EngineKind, AppKind], Subject] = {}

    def get(self, kind: EngineKind, app: AppKind = "python") -> Subject:
        if (kind, app) not in self._running:
            folder = self._folder / f"{kind}_{app}"
            self._running[kind, app] = self._stack.enter_context(running_subject(kind, folder, *_served(app)))
        return self._running[kind, app]


def _served(app: AppKind) -> tuple[str, ServerKind]:
    """An app and its server."""
    if app in ("python", "surfaces"):
        return "both_app:app" if app == "python" else "http_app:app", "hypercorn"
    return typescript("app.ts"), "node" if app == "typescript_http2" else "node_http1"


@pytest.fixture(scope="session")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subjects]:
    with ExitStack() as stack:
        yield Subjects(tmp_path_factory.mktemp("subjects"), stack)


@pytest.fixture
def subject(subjects: Subjects, engine_kind: EngineKind) -> Subject:
    """The engine under test, with the handlers of both_app.py."""
    return subjects.get(engine_kind)


@pytest.fixture
def wire(subjects: Subjects, engine_kind: EngineKind) -> Subject:
    """The engine under test with the handlers of http_app.py: for tests of the HTTP surfaces, byte by byte."""
    return subjects.get(engine_kind, "surfaces")


@pytest.fixture(params=["typescript_http2", "typescript_http1"])
def typescript_subject(subjects: Subjects, engine_kind: EngineKind, request: pytest.FixtureRequest) -> Subject:
    """The engine under test, with the handlers of ts/: full duplex over HTTP/2, or the one mode of HTTP/1.1."""
    return subjects.get(engine_kind, request.param)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests on a subject run on both engines, unless one is chosen."""
    if "engine_kind" in metafunc.fixturenames:
        chosen = metafunc.config.option.engine
        metafunc.parametrize("engine_kind", ENGINE_KINDS if chosen is None else (chosen,))
