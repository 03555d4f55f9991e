"""Operations on invocations through the admin API, in every status an invocation can have, on both engines."""

from __future__ import annotations

import pytest
from raw_http import Wire, fetch, request
from subject import UNKNOWN_ID, Subject, first_awakeable, until

UNKNOWN_DEPLOYMENT = "dp_13TZAEkf5hl3qZ4TAREdByW"
OPERATIONS = ("cancel", "kill", "pause", "resume", "purge", "purge-journal", "restart-as-new")


@pytest.fixture
def port(surfaces: Subject) -> int:
    return surfaces.admin_port


# Invocations


def completed(surfaces: Subject) -> str:
    return surfaces.call("Greeter/greet", "x").headers["x-restate-id"]


def running(surfaces: Subject) -> tuple[str, str]:
    """An invocation that waits for its first awakeable, and the awakeable."""
    name = surfaces.send("Greeter/wait")
    until(lambda: "> Run" in surfaces.journal(name), lambda: str(surfaces.journal(name)))
    return name, first_awakeable(name)


def scheduled(surfaces: Subject) -> str:
    return surfaces.send("Greeter/greet", "x", delay="1h")


def operate(port: int, name: str, operation: str) -> tuple[int, str]:
    """Status and, if there is one, message with the id taken out."""
    answer = fetch(port, "PATCH", f"/invocations/{name}/{operation}")
    return answer.status, answer.json["message"].replace(name, "ID") if answer.body else ""


def test_operations_on_a_completed_invocation(port: int, surfaces: Subject) -> None:
    name = completed(surfaces)
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


def test_operations_on_a_running_invocation(port: int, surfaces: Subject) -> None:
    name, _ = running(surfaces)
    assert operate(port, name, "purge") == (409, "The invocation 'ID' is not yet completed.")
    assert operate(port, name, "purge-journal") == (409, "The invocation 'ID' is not yet completed.")
    assert operate(port, name, "restart-as-new") == (409, "The invocation 'ID' is still running.")
    assert operate(port, name, "resume?deployment=latest") == (
        409,
        "The invocation 'ID' is still running or the deployment id is not pinned yet, deployment id cannot be changed.",
    )
    assert operate(port, name, "resume") == (200, "")
    with Wire(surfaces.ingress_port) as caller:
        caller.send(request("GET", f"/restate/attach/{name}"))
        assert operate(port, name, "cancel") == (202, "")
        answer = caller.answer()
    assert (answer.status, answer.json["message"], answer.json["source"]) == (409, "cancelled", "invocation")


def test_operations_on_a_scheduled_invocation(port: int, surfaces: Subject) -> None:
    name = scheduled(surfaces)
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


def test_a_killed_invocation_answers_its_caller(port: int, surfaces: Subject) -> None:
    name, _ = running(surfaces)
    with Wire(surfaces.ingress_port) as caller:
        caller.send(request("GET", f"/restate/attach/{name}"))
        assert operate(port, name, "kill") == (200, "")
        answer = caller.answer()
    assert (answer.status, answer.json["message"], answer.json["source"]) == (409, "killed", "invocation")


def test_a_paused_invocation_goes_on_when_resumed(port: int, surfaces: Subject) -> None:
    name, awakeable = running(surfaces)
    assert operate(port, name, "pause") == (202, "")
    surfaces.reaches(name, "paused")
    assert operate(port, name, "pause") == (200, "")
    fetch(surfaces.ingress_port, "POST", f"/restate/awakeables/{awakeable}/resolve", {}, b'"late"')
    assert operate(port, name, "resume?deployment=latest") == (200, "")
    assert fetch(surfaces.ingress_port, "GET", f"/restate/attach/{name}").body == b'"late"'


def test_a_completed_invocation_runs_again_as_a_new_one(port: int, surfaces: Subject) -> None:
    name = completed(surfaces)
    answer = fetch(port, "PATCH", f"/invocations/{name}/restart-as-new")
    assert answer.status == 200
    new_name = answer.json["new_invocation_id"]
    assert new_name != name
    assert fetch(surfaces.ingress_port, "GET", f"/restate/attach/{new_name}").body == b'"hi x"'
    (row,) = surfaces.query(f"select invoked_by, restarted_from from sys_invocation where id = '{new_name}'")
    assert row == {"invoked_by": "restart_as_new", "restarted_from": name}


def test_a_workflow_run_is_not_restarted(port: int, surfaces: Subject) -> None:
    name = surfaces.send("Flow/norestart/run", "x")
    surfaces.call("Flow/norestart/go", "x")
    assert fetch(surfaces.ingress_port, "GET", f"/restate/attach/{name}").status == 200
    status, message = operate(port, name, "restart-as-new")
    assert (status, message.startswith("Restarting the invocation 'ID' is not supported.")) == (422, True)


def test_the_deprecated_delete_accepts_everything(port: int, surfaces: Subject) -> None:
    name, _ = running(surfaces)
    for path in (
        f"/invocations/{UNKNOWN_ID}",
        f"/invocations/{UNKNOWN_ID}?mode=Purge",
        f"/invocations/{name}?mode=kill",
    ):
        answer = fetch(port, "DELETE", path)
        assert (answer.status, answer.body) == (202, b"")
    assert surfaces.status(name) == "completed"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_batch_tells_for_each_whether_it_succeeded(port: int, surfaces: Subject, operation: str) -> None:
    done, (live, _) = completed(surfaces), running(surfaces)
    body = {"invocation_ids": [UNKNOWN_ID, done, live]}
    answer = surfaces.admin("POST", f"/internal/invocations_batch_operations/{operation}", body)
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


def test_an_unknown_batch_operation_is_a_404(surfaces: Subject) -> None:
    assert surfaces.admin("POST", "/internal/invocations_batch_operations/zzz", {}).status == 404
