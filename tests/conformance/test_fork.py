"""Forks over the admin API and the command line: another result of a step, in a new invocation."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner
from tests.browser.stage import Stage, staged

from rewake.cli.invocations import restart

TECHNICAL = {"specialist": "technical", "answer": None}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(Path(tmp_path_factory.mktemp("fork")) / "data") as stage:
        yield stage


@pytest.fixture
def run_id(stage: Stage) -> str:
    run_id = stage.send("Router", "ask", "Hello?")
    assert stage.run(stage.engine.result(run_id)) == "billing answers"
    return run_id


def fork(stage: Stage, run_id: str, index: int, body: Any) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(urlsplit(stage.url).netloc, timeout=20)
    try:
        connection.request(
            "PATCH",
            f"/invocations/{run_id}/restart-as-new?from={index}",
            json.dumps(body),
            {"content-type": "application/json"},
        )
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_the_api_forks(stage: Stage, run_id: str) -> None:
    status, answer = fork(stage, run_id, 1, {"result": TECHNICAL})
    assert status == 200
    assert stage.run(stage.engine.result(answer["new_invocation_id"])) == "technical answers"
    assert stage.run(stage.engine.result(run_id)) == "billing answers"


def test_a_body_without_a_result_changes_nothing(stage: Stage, run_id: str) -> None:
    status, answer = fork(stage, run_id, 1, {})
    assert status == 200
    assert stage.run(stage.engine.result(answer["new_invocation_id"])) == "billing answers"


def test_only_a_step_has_a_result(stage: Stage, run_id: str) -> None:
    status, answer = fork(stage, run_id, 0, {"result": 1})
    assert status == 400
    assert "no Run" in answer["message"]


def test_the_command_line_forks(stage: Stage, run_id: str) -> None:
    said = CliRunner().invoke(restart, [run_id, "--from", "1", "--result", json.dumps(TECHNICAL), "--admin", stage.url])
    assert said.exit_code == 0, said.output
    assert stage.run(stage.engine.result(said.output.strip())) == "technical answers"


@pytest.mark.parametrize("options", [["--result", "1"], ["--from", "1", "--result", "{"]])
def test_the_command_line_checks_first(stage: Stage, run_id: str, options: list[str]) -> None:
    said = CliRunner().invoke(restart, [run_id, *options, "--admin", stage.url])
    assert said.exit_code == 2
    assert "--result" in said.output
