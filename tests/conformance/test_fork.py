"""Forks over the admin API and the command line: another result of a step, in a new invocation."""

from __future__ import annotations

import http.client
import json
import time
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


def entry_count(stage: Stage, run_id: str) -> int:
    return len(stage.run(stage.engine.query(f"select index from sys_journal where id = '{run_id}'")).rows)


def test_an_open_run_is_not_forked_behind_an_approval_it_asked_for(stage: Stage) -> None:
    """The command line refuses as the API does: the kept entries hold the id of the first one's awakeable."""
    run_id = stage.send("Desk", "approve", 3, key="fork")
    while entry_count(stage, run_id) < 3:
        time.sleep(0.01)
    status, answer = fork(stage, run_id, 0, {})
    assert (status, answer["message"]) == (409, f"The invocation '{run_id}' is still running.")
    said = CliRunner().invoke(restart, [run_id, "--from", "1", "--admin", stage.url])
    assert "holds the id of an awakeable" in str(said.exception)
    stage.run(stage.engine.kill(run_id))
