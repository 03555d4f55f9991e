"""The pytest plugin of Rewake: an engine, a model server, crashes and journals as fixtures, without Docker.

pytest loads this file in every project that has `rewake` installed. So it imports nothing of the engine until a fixture
is used, and it changes nothing in a project that does not use it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from rewake.testing.crash.report import Report
    from rewake.testing.models import ModelServer
    from rewake.testing.replay.report import Report as ReplayReport
    from rewake.testing.virtual_engine import VirtualEngine

HARNESS_OPTION = "rewake_harness"
SDK_LOGGER = "restate"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("rewake", "durable agents, tested without Docker")
    text = "put rewake.testing.create_test_harness in the place of restate.create_test_harness"
    group.addoption("--rewake-harness", action="store_true", default=False, help=text)
    parser.addini(HARNESS_OPTION, f"{text}, as --rewake-harness", type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption(HARNESS_OPTION) or config.getini(HARNESS_OPTION):
        from rewake.testing.harness import replace_harness

        replace_harness()


def pytest_unconfigure() -> None:
    import sys

    if (loop_thread := sys.modules.get("rewake.testing.loop_thread")) is not None:
        loop_thread.end_shared_loop()


class CrashEverywhere(Protocol):
    """The `crash_everywhere` fixture."""

    def __call__(
        self,
        app: Any,
        service: str,
        handler: str,
        body: Any = None,
        *,
        key: str | None = None,
        answer: Any = None,
        limit: int | None = None,
        check: bool = True,
    ) -> Report: ...


class AlwaysReplay(Protocol):
    """The `always_replay` fixture."""

    def __call__(
        self, app: Any, service: str, handler: str, body: Any = None, *, key: str | None = None, answer: Any = None
    ) -> Any: ...


class Replay(Protocol):
    """The `replay` fixture."""

    def __call__(self, app: Any, *journals: str | Path, check: bool = True) -> ReplayReport: ...


class ExpectJournal(Protocol):
    """The `expect_journal` fixture."""

    def __call__(self, expected: str, invocation_id: str | None = None) -> None: ...


@pytest.fixture
def rewake_engine(tmp_path: Path) -> Iterator[VirtualEngine]:
    """An engine in this process, on its own folder; its clock skips sleeps and timeouts."""
    from rewake.testing.virtual_engine import VirtualEngine

    with _quiet_log(), VirtualEngine(tmp_path / "rewake") as engine:
        yield engine


@pytest.fixture(scope="session")
def rewake_model_server() -> Iterator[ModelServer]:
    """The server behind `model_server`. All tests share it, because clients of frameworks keep their first address."""
    from rewake.testing.models import ModelServer

    with ModelServer([]) as server:
        yield server


@pytest.fixture
def model_server(rewake_model_server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> ModelServer:
    """A scripted model server without rules; the environment variables of OpenAI and Gemini clients point to it."""
    rewake_model_server.use()
    for name, value in rewake_model_server.env().items():
        monkeypatch.setenv(name, value)
    return rewake_model_server


@pytest.fixture
def crash_everywhere(request: pytest.FixtureRequest) -> CrashEverywhere:
    """Crash one call at every boundary of its journals. Fails unless each play ends like an undisturbed one.

    With an app or services, attempts in this process are dropped, and the test's `model_server` is reset before each
    play. With the path of an app, real processes are killed with SIGKILL.
    """

    def crash(
        app: Any,
        service: str,
        handler: str,
        body: Any = None,
        *,
        key: str | None = None,
        answer: Any = None,
        limit: int | None = None,
        check: bool = True,
    ) -> Report:
        __tracebackhide__ = True
        with _quiet_log(SDK_LOGGER):  # it reports every attempt that is dropped
            if isinstance(app, str | Path):
                report = _kill_everywhere(str(app), service, handler, body, key, answer, limit)
            else:
                report = _drop_everywhere(request, app, service, handler, body, key, answer, limit)
        if check:
            _check(report)
        return report

    return crash


@pytest.fixture
def always_replay() -> AlwaysReplay:
    """Make one call whose handlers suspend at every await, and return its result.

    Fails if a replay differs, and shows the app's line beside the journal's entry.
    """

    def replay(
        app: Any, service: str, handler: str, body: Any = None, *, key: str | None = None, answer: Any = None
    ) -> Any:
        __tracebackhide__ = True
        from rewake.testing.drops import AppCall, replay_always

        call = AppCall(app=app, service=service, handler=handler, body=body, key=key, answer=answer)
        with _quiet_log(SDK_LOGGER):
            return replay_always(call)

    return replay


@pytest.fixture
def expect_journal(rewake_engine: VirtualEngine) -> ExpectJournal:
    """Compare the journal of a run on `rewake_engine`, by default the last one, with expected lines."""
    return rewake_engine.expect_journal


@pytest.fixture
def replay() -> Replay:
    """Replay recorded journals on an app or on services, and fail if the code no longer matches one.

    journals: files of `rewake journal export`, or folders of them.
    """

    def replay(app: Any, *journals: str | Path, check: bool = True) -> ReplayReport:
        __tracebackhide__ = True
        from rewake.testing.replay.files import read_journals
        from rewake.testing.replay.replayer import replay_all
        from rewake.testing.replay.report import Report

        with _quiet_log(SDK_LOGGER):
            report = Report(list(replay_all(app, read_journals([Path(each) for each in journals]))))
        if check and not report.is_right:
            pytest.fail("\n".join(report.lines()), pytrace=False)
        return report

    return replay


def _drop_everywhere(
    request: pytest.FixtureRequest,
    app: Any,
    service: str,
    handler: str,
    body: Any,
    key: str | None,
    answer: Any,
    limit: int | None,
) -> Report:
    from rewake.testing.drops import AppCall, drop_everywhere

    has_models = "model_server" in request.fixturenames
    models: ModelServer | None = request.getfixturevalue("model_server") if has_models else None
    call = AppCall(app=app, service=service, handler=handler, body=body, key=key, answer=answer)
    return drop_everywhere(call, limit=limit, models=models)


def _kill_everywhere(
    app: str, service: str, handler: str, body: Any, key: str | None, answer: Any, limit: int | None
) -> Report:
    import json

    from rewake.testing.crash.lab import crash_everywhere
    from rewake.testing.crash.playing import Call

    body_text, answer_text = (None if value is None else json.dumps(value) for value in (body, answer))
    call = Call(app=app, service=service, handler=handler, body=body_text, key=key, answer=answer_text)
    return crash_everywhere(call, limit=limit, always_replay=False, cancels=False)


def _check(report: Report) -> None:
    __tracebackhide__ = True
    lines = [f"  {play.what}: {play.problem}" for play in report.problems]
    lines += [f"  {play.what}: the boundary was not reached" for play in report.not_landed if not play.problem]
    lines += [f"  nobody waited for: {', '.join(report.left_open)}"] * bool(report.left_open)
    if lines:
        pytest.fail("\n".join([f"{report.call} does not survive every crash:", *lines]), pytrace=False)


@contextmanager
def _quiet_log(*loggers: str) -> Iterator[None]:
    """Silence the engine's log: the test itself reports what is wrong."""
    from rewake.testing.harness import quiet_log

    with quiet_log(*loggers):
        yield
