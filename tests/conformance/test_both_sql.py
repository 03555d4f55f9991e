"""Rows of the SQL tables on both engines: an invocation in every status has the same columns, and the same values."""

from __future__ import annotations

from typing import Any

import pytest
from subject import Subject, outcome

VARIABLE = {"partition_key", "created_using_restate_version", "idempotency_key"}
"""Where data is stored, who stored it, and a key the public server gives by itself."""

BASIC = {"id", "target", "target_service_name", "target_handler_name", "target_service_ty", "invoked_by", "status"} | {
    "created_at",
    "modified_at",
    "completion_retention",
    "journal_retention",
}
KEYED = {"target_service_key"}
BEGUN = {"running_at", "journal_size", "journal_commands_size"}
PINNED = {"pinned_deployment_id", "pinned_service_protocol_version"}
LAST_ATTEMPT = {"retry_count", "last_start_at", "last_attempt_deployment_id", "last_attempt_server"}


def columns(subject: Subject, invocation_id: str) -> set[str]:
    row = subject.invocation(invocation_id)
    assert row is not None
    return set(row) - VARIABLE


def test_a_completed_invocation(subject: Subject) -> None:
    key = subject.unique()
    invocation_id = subject.send("Steps/route", "Ada", idempotency_key=key)
    subject.result(invocation_id)
    assert columns(subject, invocation_id) == BASIC | BEGUN | PINNED | {"completed_at", "completion_result"}
    row = subject.invocation(invocation_id) or {}
    expected = {
        "status": "completed",
        "completion_result": "success",
        "target": "Steps/route",
        "target_service_ty": "service",
        "invoked_by": "ingress",
        "idempotency_key": key,
        "journal_size": 9,
        "journal_commands_size": 5,
        "pinned_service_protocol_version": 6,
        "completion_retention": "PT86400S",
        "journal_retention": "PT86400S",
    }
    assert expected.items() <= row.items()
    assert ("created_using_restate_version" in row) is subject.differs("storing-version", rewake=False, restate=True)


def test_a_failed_invocation(subject: Subject) -> None:
    invocation_id = subject.send("Steps/fails", 418)
    subject.result(invocation_id)
    ended = {"completed_at", "completion_result", "completion_failure"}
    assert columns(subject, invocation_id) == BASIC | BEGUN | PINNED | ended


def test_a_scheduled_invocation(subject: Subject) -> None:
    invocation_id = subject.send("Steps/same", 1, delay="1h")
    subject.reaches(invocation_id, "scheduled")
    sizes = subject.differs("input-of-the-waiting", rewake={"journal_size", "journal_commands_size"}, restate=set())
    assert columns(subject, invocation_id) - {"scheduled_at", "scheduled_start_at"} == BASIC | sizes
    assert {"scheduled_at", "scheduled_start_at"} & columns(subject, invocation_id)
    assert subject.operate(invocation_id, "cancel").status == 200


def test_a_suspended_invocation(subject: Subject) -> None:
    invocation_id = subject.send("BriefWaits/named", ["a"])
    subject.reaches(invocation_id, "suspended")
    waiting = {name for name in columns(subject, invocation_id) if name.startswith("suspended_waiting")}
    assert "suspended_waiting_for_signals" in waiting
    pinned = subject.differs("pinned-by-a-wait", rewake=PINNED, restate=set())
    assert columns(subject, invocation_id) - waiting == BASIC | BEGUN | pinned
    outcome(subject.call("Waits/signaller", {"resolve": "a", "to": invocation_id, "value": "x"}))
    assert subject.result(invocation_id) == ["x"]


def test_an_invocation_that_backs_off(subject: Subject) -> None:
    invocation_id = subject.send("Retries/waits_long")
    subject.reaches(invocation_id, "backing-off")
    failure = {"next_retry_at", "last_failure", "last_failure_error_code"}
    assert columns(subject, invocation_id) == BASIC | BEGUN | LAST_ATTEMPT | failure
    (state,) = subject.query(f"SELECT * FROM sys_invocation_state WHERE id = '{invocation_id}'")
    assert (state["in_flight"], state["retry_count"]) == (False, 1)
    assert subject.operate(invocation_id, "kill").status == 200


def test_a_key_that_is_held(subject: Subject) -> None:
    key = subject.unique()
    holder = subject.send(f"Counter/{key}/hold", key)
    subject.marked(holder, "holds")
    queued = subject.send(f"Counter/{key}/add", 1)
    subject.reaches(queued, "pending")
    sizes = subject.differs("input-of-the-waiting", rewake={"journal_size", "journal_commands_size"}, restate=set())
    assert columns(subject, queued) - {"inboxed_at"} == BASIC | KEYED | sizes
    (inboxed,) = subject.query(f"SELECT id, service_name, service_key FROM sys_inbox WHERE service_key = '{key}'")
    assert inboxed == {"id": queued, "service_name": "Counter", "service_key": key}
    held = f"SELECT service_name, service_key, invocation_id FROM sys_keyed_service_status WHERE service_key = '{key}'"
    assert subject.query(held) == [{"service_name": "Counter", "service_key": key, "invocation_id": holder}]
    subject.open_gate(key)
    assert subject.result(queued) == 1
    assert subject.query(f"SELECT key, value_utf8 FROM state WHERE service_key = '{key}'") == [
        {"key": "value", "value_utf8": "1"}
    ]
    assert subject.query(held) == []


def test_a_promise(subject: Subject) -> None:
    key = subject.unique()
    run = subject.send(f"Flow/{key}/run", "claim")
    outcome(subject.call(f"Flow/{key}/approve", "yes"))
    subject.result(run)
    (row,) = subject.query(f"SELECT * FROM sys_promise WHERE service_key = '{key}'")
    del row["partition_key"]
    assert row == {
        "service_name": "Flow",
        "service_key": key,
        "key": "approval",
        "completed": True,
        "completion_success_value": b'"yes"'.hex(),
        "completion_success_value_utf8": '"yes"',
    }


def test_services_and_deployments(subject: Subject) -> None:
    (service,) = subject.query("SELECT * FROM sys_service WHERE name = 'Counter'")
    assert service == {
        "name": "Counter",
        "revision": 1,
        "public": True,
        "ty": "virtual_object",
        "deployment_id": subject.deployment_id,
    }
    (deployment,) = subject.query(f"SELECT * FROM sys_deployment WHERE id = '{subject.deployment_id}'")
    assert deployment["endpoint"] == subject.service.uri + "/"
    assert (
        deployment["ty"],
        deployment["min_service_protocol_version"],
        deployment["max_service_protocol_version"],
    ) == (
        "http",
        5,
        7,
    )
    assert "Counter" in deployment["services"]


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT COUNT(*) FROM sys_service WHERE name = 'Counter'", [{"count(*)": 1}]),
        ("SELECT 1", [{"Int64(1)": 1}]),
        (
            "SELECT name FROM sys_service WHERE name LIKE '%Counter' AND ty == 'virtual_object' ORDER BY name LIMIT 2",
            [{"name": "BriefCounter"}, {"name": "Counter"}],
        ),
        ("SELECT CASE WHEN 1 = 2 THEN 'a' END AS empty, true AS yes", [{"yes": True}]),
        (
            "WITH one AS (SELECT 1 AS n) SELECT n + 1 AS n FROM one UNION ALL SELECT 3 AS n ORDER BY n",
            [{"n": 2}, {"n": 3}],
        ),
        (
            "SELECT SUM(n) FILTER (WHERE n > 1) AS total FROM (SELECT 1 AS n UNION ALL SELECT 2 UNION ALL SELECT 3)",
            [{"total": 5}],
        ),
        ("SELECT coalesce(NULL, 'x') AS a, round(2.5) AS b, cast('7' AS INT) AS c", [{"a": "x", "b": 3.0, "c": 7}]),
    ],
)
def test_the_dialect(subject: Subject, sql: str, rows: list[dict[str, Any]]) -> None:
    assert subject.query(sql) == rows
