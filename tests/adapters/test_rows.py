"""Each row with each framework: full duplex, suspending, cut after any message, and killed at every boundary.

The rows are in rows.py. Set REWAKE_ALL_CRASHES=1 for all rows where a few stand for the others.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import adapter_kit
import crash_lab
import pytest
from adapter_kit import Case
from http_service import free_port
from rows import ABSENT, ALL, CASES, ROWS, app_module, every_row, program_of
from stage import Cut, Stage, fail_attempt
from tests.warm import run_warm

import rewake
from rewake.core.model import HandlerOptions, RetryPolicy
from rewake.testing.models import ModelServer

LAB_DEADLINE_S: Final = 240
DEADLINE_S: Final = 50
CUTS_MAX: Final = 200
KILLED: Final = every_row() if ALL else [("openai", "tools")]
KILLED_WORKERS: Final = every_row() if ALL else [("pydantic", "both")]
CUT: Final = every_row() if ALL else [("openai", "consult"), ("pydantic", "both")]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none is needed")
    monkeypatch.setenv("LAB_FOLDER", str(tmp_path))


@contextmanager
def the_model(case: Case, row: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    """The model of a case, and the MCP server of a row that needs one over HTTP."""
    with ModelServer(case.rules) as server:
        for variable, value in server.env().items():
            monkeypatch.setenv(variable, value)
        if row != "mcp_over_http":
            yield server
            return
        port = free_port()
        monkeypatch.setenv("MCP_DESK_URL", f"http://127.0.0.1:{port}/mcp")
        script = Path(crash_lab.__file__).with_name("mcp_desk.py")
        with subprocess.Popen([sys.executable, str(script), str(port)], stderr=subprocess.PIPE, text=True) as desk:
            assert desk.stderr is not None
            while "running on" not in desk.stderr.readline():
                assert desk.poll() is None
            yield server
            desk.kill()


def ran(case: Case, server: ModelServer) -> tuple[dict[str, int], dict[str, int]]:
    """How often each rule of the model and each tool ran since last asked for."""
    found = {rule: count.asked for rule, count in server.counts.items()}, dict(adapter_kit.marks())
    server.reset()
    (adapter_kit.folder() / "marks").unlink(missing_ok=True)
    return found


def test_each_framework_has_each_row_or_says_why_not() -> None:
    for framework, cases in CASES.items():
        assert {*cases, *ABSENT[framework]} == set(ROWS), framework
        assert not {*cases} & {*ABSENT[framework]}, framework
        assert {program_of(row) for row in cases} == set(app_module(framework).PROGRAMS), framework


@pytest.mark.parametrize(("framework", "row"), every_row())
def test_a_row(framework: str, row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The right answer, each call of a model and of a tool once, whether or not every wait ends the attempt."""
    case, app = CASES[framework][row], app_module(framework)

    async def main(server: ModelServer) -> None:
        async with rewake.Engine(tmp_path / "data", app.make()) as engine, asyncio.timeout(DEADLINE_S):
            try:
                for suspending in (False,) if row == "mcp" and not ALL else (False, True):  # mcp_over_http suspends
                    service = adapter_kit.service_of(case, suspending=suspending)
                    answer = await crash_lab.answered(engine, tmp_path, service, program_of(row), "hello")
                    assert answer == case.answer, service
                    assert ran(case, server) == (case.calls, case.marks), service
            finally:
                await app.close()

    with the_model(case, row, monkeypatch) as server:
        asyncio.run(main(server))


@pytest.mark.parametrize(("framework", "row"), CUT)
@pytest.mark.timeout(LAB_DEADLINE_S)
def test_an_attempt_may_end_after_any_message(
    framework: str, row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is the same, and nothing runs again whose result the engine had."""
    case, app = CASES[framework][row], app_module(framework)

    async def main(server: ModelServer) -> None:
        cut = Cut(0, fail_attempt)
        defaults = HandlerOptions(retry=RetryPolicy(initial_interval_ms=1, max_interval_ms=1, max_attempts=CUTS_MAX))
        async with (
            Stage(tmp_path).engine(app=app.make(), cut=cut, defaults=defaults) as engine,
            crash_lab.people(engine, tmp_path),
        ):
            for at in range(1, CUTS_MAX):
                cut.arm(at)
                service = adapter_kit.service_of(case, suspending=False)
                async with asyncio.timeout(DEADLINE_S):
                    invocation_id = await engine.send(
                        service, program_of(row), "hello", key=f"{at}" if case.on_object else None
                    )
                    assert await engine.result(invocation_id) == case.answer, at
                assert_once_or_under_way(ran(case, server), case, at)
                if not cut.happened.is_set():
                    await app.close()
                    return
        raise AssertionError("never without a cut")

    with the_model(case, row, monkeypatch) as server:
        asyncio.run(main(server))


def assert_once_or_under_way(found: tuple[dict[str, int], dict[str, int]], case: Case, at: int) -> None:
    """Bodies that were under way at the cut may have run twice."""
    for ran_of, expected in zip(found, (case.calls, case.marks), strict=True):
        assert set(ran_of) == set(expected), at
        assert all(expected[what] <= count <= expected[what] + 1 for what, count in ran_of.items()), (at, ran_of)


@pytest.mark.parametrize(
    ("how", "framework", "row"),
    [("engine", *pair) for pair in KILLED] + [("worker", *pair) for pair in KILLED_WORKERS],
)
@pytest.mark.timeout(LAB_DEADLINE_S)
def test_a_row_killed_at_every_boundary(
    how: str, framework: str, row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Handlers, and the engine with them, die after each result of the journal; what was stored never runs again.

    They die on the suspending service, where bodies side by side end before the attempt does, so counts are exact.
    """
    case = CASES[framework][row]
    with the_model(case, row, monkeypatch) as server:
        told = lab(how, framework, row, tmp_path)
        assert told["answer"] == case.answer
        assert told["kills"] >= len(case.calls)
        assert ran(case, server) == (case.calls, case.marks)


def lab(how: str, framework: str, row: str, folder: Path) -> Any:
    """What the lab reports: `kills` and `answer`."""
    service = adapter_kit.service_of(CASES[framework][row], suspending=True)
    script, handler = Path(crash_lab.__file__), program_of(row)
    if how == "worker":
        handler = f"{framework}_{handler}"
    arguments = [how, f"{framework}_app", str(folder), service, handler, json.dumps("hello")]
    environment = os.environ | {
        "LAB_FRAMEWORKS": framework,
        "LAB_DIES": "1",
        "PYTHONPATH": os.pathsep.join(
            str(script.parent.parent / each) for each in ("adapters", "conformance", "e2e", "..")
        ),
    }
    command = [sys.executable, str(script), *arguments]
    imported = {"openai": "agents", "pydantic": "pydantic_ai"}[framework]
    done = run_warm(command, framework=imported, env=environment, cwd=script.parent, timeout_s=LAB_DEADLINE_S)
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"kills"')]
    assert lines, done.stderr[-2_000:]
    return json.loads(lines[-1])
