"""Operations on invocations through the admin API, in every status an invocation can have."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import http_app
import pytest
from raw_http import Answer, Wire, fetch, request
from serving import Served, served

JSON = {"content-type": "application/json"}
UNKNOWN_ID = "inv_1aDcgkwRzurf63EjxyzWlE7fxLFXQM1sVg"
UNKNOWN_DEPLOYMENT = "dp_13TZAEkf5hl3qZ4TAREdByW"
OPERATIONS = ("cancel", "kill", "pause", "resume", "purge", "purge-journal", "restart-as-new")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("engine"), http_app.app) as here:
        yield here


@pytest.fixture
def port(engine: Served) -> int:
    return engine.admin_port


def put(port: int, method: str, path: str, body: Any) -> Answer:
    return fetch(port, method, path, JSON, json.dumps(body).encode())


def query(port: int, sql: str) -> list[dict[str, Any]]:
    headers = {**JSON, "accept": "application/json"}
    answer = fetch(port, "POST", "/query", headers, json.dumps({"query": sql}).encode())
    assert answer.status == 200, answer.body
    rows: list[dict[str, Any]] = answer.json["rows"]
    return rows


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


# Invocations


def completed(engine: Served) -> str:
    return fetch(engine.ingress_port, "POST", "/Greeter/greet", JSON, b'"x"').headers["x-restate-id"]


def running(engine: Served) -> tuple[str, str]:
    """An invocation that waits for an awakeable, and the awakeable."""
    name = fetch(engine.ingress_port, "POST", "/Greeter/wait/send").json["invocationId"]
    return name, http_app.awakeables.get(timeout=10)


def scheduled(engine: Served) -> str:
    answer = fetch(engine.ingress_port, "POST", "/Greeter/greet/send?delay=1h", JSON, b'"x"')
    name: str = answer.json["invocationId"]
    return name


def operate(port: int, name: str, operation: str) -> tuple[int, str]:
    """Status and, if there is one, message with the id taken out."""
    answer = fetch(port, "PATCH", f"/invocations/{name}/{operation}")
    return answer.status, answer.json["message"].replace(name, "ID") if answer.body else ""


def status_of(port: int, name: str) -> str | None:
    rows = query(port, f"select status from sys_invocation where id = '{name}'")
    return rows[0]["status"] if rows else None


def test_operations_on_a_completed_invocation(port: int, engine: Served) -> None:
    name = completed(engine)
    assert operate(port, name, "cancel") == (409, "The invocation 'ID' was already completed.")
    assert operate(port, name, "kill") == (409, "The invocation 'ID' was already completed.")
    assert operate(port, name, "pause") == (409, "The invocation 'ID' is not running, cannot be paused.")
    assert operate(port, name, "resume") == (409, "The invocation 'ID' is completed, cannot be resumed.")
    assert operate(port, name, "restart-as-new?from=99") == (
        400,
        "The prefix of the journal 'ID' up to 'from' (included) contains some Commands without respective Completions.",
    )
    assert operate(port, name, f"restart-as-new?deployment={UNKNOWN_DEPLOYMENT}") == (
        400,
        "The given deployment was not found when trying to restart as new the invocation 'ID'.",
    )
    assert operate(port, name, "purge-journal") == (200, "")
    assert operate(port, name, "restart-as-new") == (
        410,
        "The invocation 'ID' cannot be restarted because the input is not available."
        " This indicates that the journal was already purged, or not retained at all.",
    )
    assert operate(port, name, "purge") == (200, "")
    assert operate(port, name, "purge") == (404, "The requested invocation 'ID' does not exist")


def test_operations_on_a_running_invocation(port: int, engine: Served) -> None:
    name, _ = running(engine)
    assert operate(port, name, "purge") == (409, "The invocation 'ID' is not yet completed.")
    assert operate(port, name, "purge-journal") == (409, "The invocation 'ID' is not yet completed.")
    assert operate(port, name, "restart-as-new") == (409, "The invocation 'ID' is still running.")
    assert operate(port, name, "resume?deployment=latest") == (
        409,
        "The invocation 'ID' is still running or the deployment id is not pinned yet, deployment id cannot be changed.",
    )
    assert operate(port, name, "resume") == (200, "")
    with Wire(engine.ingress_port) as caller:
        caller.send(request("GET", f"/restate/attach/{name}"))
        assert operate(port, name, "cancel") == (202, "")
        answer = caller.answer()
    assert (answer.status, answer.json["message"], answer.json["source"]) == (409, "cancelled", "invocation")


def test_operations_on_a_scheduled_invocation(port: int, engine: Served) -> None:
    name = scheduled(engine)
    assert operate(port, name, "purge") == (409, "The invocation 'ID' is not yet completed.")
    assert operate(port, name, "pause") == (409, "The invocation 'ID' is not running, cannot be paused.")
    assert operate(port, name, "resume") == (
        425,
        "The invocation 'ID' is either inboxed or scheduled, cannot be resumed.",
    )
    assert operate(port, name, "restart-as-new") == (
        425,
        "The invocation 'ID' cannot be restarted because it's not running yet.",
    )
    assert operate(port, name, "cancel") == (200, "")
    assert operate(port, name, "kill") == (404, "The requested invocation 'ID' does not exist")


def test_a_killed_invocation_answers_its_caller(port: int, engine: Served) -> None:
    name, _ = running(engine)
    with Wire(engine.ingress_port) as caller:
        caller.send(request("GET", f"/restate/attach/{name}"))
        assert operate(port, name, "kill") == (200, "")
        answer = caller.answer()
    assert (answer.status, answer.json["message"], answer.json["source"]) == (409, "killed", "invocation")


def test_a_paused_invocation_goes_on_when_resumed(port: int, engine: Served) -> None:
    name, awakeable = running(engine)
    assert operate(port, name, "pause") == (202, "")
    until(lambda: status_of(port, name) == "paused")
    assert operate(port, name, "pause") == (200, "")
    fetch(engine.ingress_port, "POST", f"/restate/awakeables/{awakeable}/resolve", {}, b'"late"')
    assert operate(port, name, "resume?deployment=latest") == (200, "")
    assert fetch(engine.ingress_port, "GET", f"/restate/attach/{name}").body == b'"late"'


def test_a_completed_invocation_runs_again_as_a_new_one(port: int, engine: Served) -> None:
    name = completed(engine)
    answer = fetch(port, "PATCH", f"/invocations/{name}/restart-as-new")
    assert answer.status == 200
    new_name = answer.json["new_invocation_id"]
    assert new_name != name
    assert fetch(engine.ingress_port, "GET", f"/restate/attach/{new_name}").body == b'"hi x"'
    (row,) = query(port, f"select invoked_by, restarted_from from sys_invocation where id = '{new_name}'")
    assert row == {"invoked_by": "restart_as_new", "restarted_from": name}


def test_a_workflow_run_is_not_restarted(port: int, engine: Served) -> None:
    name = fetch(engine.ingress_port, "POST", "/Flow/norestart/run/send", JSON, b'"x"').headers["x-restate-id"]
    fetch(engine.ingress_port, "POST", "/Flow/norestart/go", JSON, b'"x"')
    assert fetch(engine.ingress_port, "GET", f"/restate/attach/{name}").status == 200
    status, message = operate(port, name, "restart-as-new")
    assert (status, message.startswith("Restarting the invocation 'ID' is not supported.")) == (422, True)


def test_the_deprecated_delete_accepts_everything(port: int, engine: Served) -> None:
    name, _ = running(engine)
    for path in (
        f"/invocations/{UNKNOWN_ID}",
        f"/invocations/{UNKNOWN_ID}?mode=Purge",
        f"/invocations/{name}?mode=kill",
    ):
        answer = fetch(port, "DELETE", path)
        assert (answer.status, answer.body) == (202, b"")
    assert status_of(port, name) == "completed"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_batch_tells_for_each_whether_it_succeeded(port: int, engine: Served, operation: str) -> None:
    done, (live, _) = completed(engine), running(engine)
    body = {"invocation_ids": [UNKNOWN_ID, done, live]}
    answer = put(port, "POST", f"/internal/invocations_batch_operations/{operation}", body)
    assert answer.status == 200
    succeeded = answer.json["succeeded"]
    failed = {each["invocation_id"]: each["error"] for each in answer.json["failed"]}
    assert failed.pop(UNKNOWN_ID) == f"Invocation '{UNKNOWN_ID}' not found"
    if operation == "restart-as-new":
        assert [each["old_invocation_id"] for each in succeeded] == [done]
        assert failed == {live: f"Invocation '{live}' is still running"}
    elif operation in ("purge", "purge-journal"):
        assert succeeded == [done]
        assert failed == {live: f"Invocation '{live}' is not yet completed"}
    else:
        assert succeeded == [live]
        reason = {
            "pause": "is not running, cannot be paused",
            "resume": "is completed, cannot be resumed",
        }.get(operation, "was already completed")
        assert failed == {done: f"Invocation '{done}' {reason}"}
    fetch(port, "PATCH", f"/invocations/{live}/kill")


def test_an_unknown_batch_operation_is_a_404(port: int) -> None:
    assert put(port, "POST", "/internal/invocations_batch_operations/zzz", {}).status == 404
