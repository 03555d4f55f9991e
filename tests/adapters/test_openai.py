"""OpenAI Agents on the kernel: each habit of agents, full duplex and suspending, and killed at every boundary.

The rows are in openai_cases.py and openai_app.py. Set REWAKE_ALL_CRASHES=1 to kill every row at every boundary.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import crash_lab
import openai_app
import pytest
from openai_cases import CASES, Case

from rewake.testing.models import ModelServer

LAB_DEADLINE_S = 240
DEADLINE_S = 50
NEVER = 10**9
KILLED = list(CASES) if os.environ.get("REWAKE_ALL_CRASHES") else ["tools", "approved"]
SLOW = {"mcp"}


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none is needed")
    monkeypatch.setenv("LAB_FOLDER", str(tmp_path))


def _service(case: Case, name: str) -> str:
    return {"Desk": "Object", "Suspending": "ObjectSuspending"}[name] if case.on_object else name


def _handler(name: str) -> str:
    return name.partition(" ")[0]


def _marks(folder: Path) -> Counter[str]:
    file = folder / "marks"
    return Counter(file.read_text().splitlines()) if file.exists() else Counter()


@pytest.mark.parametrize("service", ["Desk", "Suspending"])
@pytest.mark.parametrize("name", [name for name in CASES if name not in SLOW])
def test_a_row(name: str, service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The right answer, each call of a model and of a tool once, whether or not every wait ends the attempt."""
    case = CASES[name]
    with ModelServer(case.rules) as server:
        for variable, value in server.env().items():
            monkeypatch.setenv(variable, value)
        place = (tmp_path, _service(case, service), _handler(name))
        life = crash_lab.one_life(openai_app, *place, "hello", NEVER)
        answer = asyncio.run(asyncio.wait_for(life, DEADLINE_S))
        asked = {rule: count.asked for rule, count in server.counts.items()}
    assert answer == case.answer
    assert asked == case.calls
    assert dict(_marks(tmp_path)) == case.marks


@pytest.mark.parametrize("name", KILLED)
@pytest.mark.timeout(LAB_DEADLINE_S)
def test_a_row_killed_at_every_boundary(name: str, tmp_path: Path) -> None:
    """Engine and handlers die after each result of the journal; what was stored never runs again.

    On the suspending service, where bodies side by side end before the attempt does, so counts are exact.
    """
    case = CASES[name]
    with ModelServer(case.rules) as server:
        told = _lab(_handler(name), _service(case, "Suspending"), tmp_path, server)
        asked = {rule: count.asked for rule, count in server.counts.items()}
    assert told["answer"] == case.answer
    assert told["kills"] >= len(case.calls)
    assert asked == case.calls
    assert dict(_marks(tmp_path)) == case.marks


def _lab(handler: str, service: str, folder: Path, server: ModelServer) -> Any:
    script = Path(crash_lab.__file__)
    command = [sys.executable, str(script), "openai_app", str(folder), service, handler, json.dumps("hello")]
    environment = os.environ | server.env()
    ran = subprocess.run(command, env=environment, cwd=script.parent, capture_output=True, text=True, check=False)
    lines = [line for line in ran.stdout.splitlines() if line.startswith('{"kills"')]
    assert lines, ran.stderr[-2_000:]
    return json.loads(lines[-1])
