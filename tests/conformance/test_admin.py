"""The admin API on the wire, on both engines: versions, deployments, services, state and queries."""

from __future__ import annotations

import gzip
import json
import re
from typing import Any

import http_app
import pyarrow.ipc
import pytest
from raw_http import fetch, fetch_json
from running_server import running_server
from subject import JSON, UNKNOWN_ID, Subject

from rewake.core.keyed import state_version
from rewake.errors import ErrorCode

AS_JSON = {"accept": "application/json"}


@pytest.fixture
def port(surfaces: Subject) -> int:
    return surfaces.admin_port


def query(port: int, sql: str) -> list[dict[str, Any]]:
    headers = {**JSON, "accept": "application/json"}
    answer = fetch(port, "POST", "/query", headers, json.dumps({"query": sql}).encode())
    assert answer.status == 200, answer.body
    rows: list[dict[str, Any]] = answer.json["rows"]
    return rows


def in_order(service: dict[str, Any]) -> dict[str, Any]:
    """A service whose handlers are sorted; the public server has no order."""
    return service | {"handlers": sorted(service["handlers"], key=lambda handler: str(handler["name"]))}


# About the engine


def test_health_and_version(port: int, surfaces: Subject) -> None:
    health = fetch(port, "GET", "/health")
    assert (health.status, health.body) == (200, b"")
    version = fetch(port, "GET", "/version").json
    assert (version["min_admin_api_version"], version["max_admin_api_version"]) == (2, 4)
    assert version["ingress_endpoint"] == f"http://127.0.0.1:{surfaces.ingress_port}/"
    assert re.fullmatch(r"\d+\.\d+\.\d+", version["version"])
    assert version["features"]["vqueues"] is False
    assert fetch(port, "GET", "/cluster-health").json == {
        "cluster_name": "localcluster",
        "metadata_cluster_health": {"members": [1]},
    }


@pytest.mark.parametrize("prefix", ["", "/v2", "/v3", "/v4"])
def test_every_version_has_every_path(port: int, prefix: str) -> None:
    assert fetch(port, "GET", f"{prefix}/health").status == 200
    assert fetch(port, "GET", f"{prefix}/services/Counter").json["name"] == "Counter"


@pytest.mark.parametrize("path", ["/nope", "/v5/services", "/services/", "/invocations", "/v2x/health"])
def test_unknown_paths_are_empty_404s(port: int, path: str) -> None:
    answer = fetch(port, "GET", path)
    assert (answer.status, answer.body) == (404, b"")


def test_a_wrong_method_learns_the_right_ones(port: int) -> None:
    answer = fetch(port, "POST", "/deployments/dp_1")
    assert (answer.status, answer.body) == (405, b"")
    assert {each.strip() for each in answer.headers["allow"].split(",")} == {"GET", "HEAD", "PATCH", "PUT", "DELETE"}
    assert fetch(port, "GET", f"/invocations/{UNKNOWN_ID}").headers["allow"] == "DELETE"
    assert fetch(port, "OPTIONS", "/health").status == 405


def test_the_first_version_is_gone(port: int) -> None:
    answer = fetch(port, "GET", "/v1/anything")
    assert (answer.status, answer.headers["content-type"]) == (400, "text/plain; charset=utf-8")
    assert answer.body == (b"Unsupported Admin API version V1. This server supports versions between V2 and V4.")


def test_answers_are_compressed_only_on_request(port: int) -> None:
    plain = fetch(port, "GET", "/openapi")
    assert "content-encoding" not in plain.headers
    packed = fetch(port, "GET", "/openapi", {"accept-encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(packed.body)) == plain.json


def test_kafka_lists_are_empty(surfaces: Subject) -> None:
    port = surfaces.admin_port
    assert fetch(port, "GET", "/subscriptions").json == {"subscriptions": []}
    assert fetch(port, "GET", "/kafka-clusters").json == {"clusters": []}
    assert fetch(port, "GET", "/kafka-clusters/x").json["message"] == "The requested Kafka cluster 'x' does not exist"
    subscription = {"source": "kafka://my/topic", "sink": "service://Greeter/greet"}
    assert fetch_json(port, "POST", "/subscriptions", subscription).status == surfaces.differs(
        "kafka", rewake=501, restate=400
    )


def test_the_api_describes_itself(port: int) -> None:
    described = fetch(port, "GET", "/openapi").json
    assert described["openapi"].startswith("3.1")
    for path, methods in described["paths"].items():
        assert path.startswith("/")
        assert all(operation["summary"] for operation in methods.values())
    assert set(described["paths"]["/services/{service}"]) == {"get", "patch"}


# Deployments


def test_deployments_are_listed_in_short_and_shown_in_full(port: int) -> None:
    (item,) = fetch(port, "GET", "/deployments").json["deployments"]
    assert item["protocol_type"] == "BidiStream"
    assert item["sdk_version"].startswith("restate-sdk-python/")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}000000)?Z", item["created_at"])
    assert sorted(service["name"] for service in item["services"]) == ["Counter", "Flow", "Greeter", "Hidden"]
    assert set(item["services"][0]) == {"name", "revision"}
    detail = fetch(port, "GET", f"/deployments/{item['id']}").json
    by_name = {service["name"]: service for service in detail.pop("services")}
    assert detail == {name: value for name, value in item.items() if name != "services"}
    assert set(by_name) == {"Counter", "Flow", "Greeter", "Hidden"}
    assert in_order(by_name["Counter"]) == in_order(fetch(port, "GET", "/services/Counter").json)


def test_a_deployment_in_use_is_not_removed_without_force(surfaces: Subject) -> None:
    for suffix in ("", "?force=false"):
        answer = surfaces.admin("DELETE", f"/deployments/{surfaces.deployment_id}{suffix}")
        assert answer.status == surfaces.differs("removal-without-force", rewake=409, restate=501)
        if surfaces.kind == "rewake":
            assert answer.json["code"] == ErrorCode.DEPLOYMENT_IN_USE.value
            assert "latest revision of Counter, Flow, Greeter, Hidden" in answer.json["message"]


def test_a_removed_deployment_takes_its_services_along(tmp_path_factory: pytest.TempPathFactory) -> None:
    with running_server(tmp_path_factory.mktemp("removed"), http_app.app) as here:
        (item,) = fetch(here.admin_port, "GET", "/deployments").json["deployments"]
        removed = fetch(here.admin_port, "DELETE", f"/deployments/{item['id']}?force=true")
        assert (removed.status, removed.body) == (202, b"")
        assert fetch(here.admin_port, "GET", "/deployments").json == {"deployments": []}
        assert fetch(here.ingress_port, "GET", "/Greeter/nothing").status == 404


# Services


def test_a_service_is_shown_with_its_effective_settings(port: int) -> None:
    shown = fetch(port, "GET", "/services/Hidden").json
    deployment_id, handlers = shown.pop("deployment_id"), shown.pop("handlers")
    assert deployment_id.startswith("dp_1")
    assert shown == {
        "name": "Hidden",
        "ty": "Service",
        "revision": 1,
        "public": False,
        "idempotency_retention": "1d",
        "journal_retention": "1d",
        "inactivity_timeout": "1m",
        "abort_timeout": "10m",
        "enable_lazy_state": False,
        "retry_policy": {
            "initial_interval": "500ms",
            "exponentiation_factor": 2.0,
            "max_attempts": 70,
            "max_interval": "1m",
            "on_max_attempts": "Pause",
        },
    }
    assert [handler["public"] for handler in handlers] == [False]
    assert fetch(port, "GET", "/services/Flow").json["workflow_completion_retention"] == "1d"
    assert fetch(port, "GET", "/services/Greeter").json["metadata"] == {"team": "x"}


def test_handlers_are_described_by_schema_or_content_type(port: int) -> None:
    handlers = {each["name"]: each for each in fetch(port, "GET", "/services/Greeter/handlers").json["handlers"]}
    assert handlers["greet"] == {
        "name": "greet",
        "public": True,
        "input_description": "JSON string",
        "output_description": "JSON string",
        "input_json_schema": {"type": "string"},
        "output_json_schema": {"type": "string"},
        "retry_policy": {"max_attempts": None},
    }
    assert handlers["nothing"] == {
        "name": "nothing",
        "public": True,
        "input_description": "none",
        "output_description": "none",
        "retry_policy": {"max_attempts": None},
    }
    assert (handlers["text"]["input_description"], handlers["text"]["output_description"]) == ("text/*", "text/plain")
    assert handlers["secret"]["public"] is False
    assert handlers["wait"]["journal_retention"] == "2h"
    assert fetch(port, "GET", "/services/Counter/handlers/add").json["ty"] == "Exclusive"
    assert fetch(port, "GET", "/services/Counter/handlers/get").json["ty"] == "Shared"
    assert fetch(port, "GET", "/services/Flow/handlers/run").json["ty"] == "Workflow"


def test_settings_of_a_service_are_changed(port: int, surfaces: Subject) -> None:
    before = fetch(port, "GET", "/services/Flow").json
    changes = {"public": False, "workflow_completion_retention": "5 hours", "inactivity_timeout": "PT3S", "unknown": 1}
    changed = fetch_json(port, "PATCH", "/services/Flow", changes | {"journal_retention": None}).json
    assert changed["public"] is False
    assert changed["workflow_completion_retention"] == "5h"
    assert changed["inactivity_timeout"] == "3s"
    assert changed["journal_retention"] == before["journal_retention"]
    assert in_order(fetch(port, "GET", "/services/Flow").json) == in_order(changed)
    assert fetch(surfaces.ingress_port, "POST", "/Flow/x/go", JSON, b'"x"').status == 400
    back = {"public": True, "workflow_completion_retention": "1d", "inactivity_timeout": "1m"}
    assert in_order(fetch_json(port, "PATCH", "/services/Flow", back).json) == in_order(before)
    assert in_order(fetch_json(port, "PATCH", "/services/Flow", {}).json) == in_order(before)


def test_a_service_has_a_description_for_its_callers(port: int, surfaces: Subject) -> None:
    described = fetch(port, "GET", "/services/Counter/openapi").json
    assert described["info"] == {"title": "Counter", "version": "1"}
    assert described["servers"][0]["url"] == f"http://127.0.0.1:{surfaces.ingress_port}/"
    assert {path for path in described["paths"] if path.endswith("/add") or "/add/" in path} == {
        "/restate/call/Counter/{key}/add",
        "/restate/send/Counter/{key}/add",
        "/restate/invocation/Counter/{key}/add/{idempotencyKey}/attach",
        "/restate/invocation/Counter/{key}/add/{idempotencyKey}/output",
    }
    assert described["components"]["schemas"]["addRequest"] == {"type": "integer"}
    assert set(described["components"]["responses"]) == {
        "GenericError",
        "Send",
        "InvocationNotFoundError",
        "InvocationNotReadyError",
    }
    flow = fetch(port, "GET", "/services/Flow/openapi").json["paths"]
    assert "/restate/workflow/Flow/{key}/attach" in flow
    assert not any("idempotencyKey" in path for path in flow)
    greeter = fetch(port, "GET", "/services/Greeter/openapi").json["paths"]
    assert "requestBody" not in greeter["/restate/call/Greeter/nothing"]["post"]
    assert greeter["/restate/call/Greeter/nothing"]["post"]["responses"]["200"] == {"description": "Empty"}
    references = set(re.findall(r'"#/components/(\w+)/(\w+)"', json.dumps(described)))
    assert all(name in described["components"][kind] for kind, name in references)


# State


def test_state_of_a_key_is_replaced_as_a_whole(port: int, surfaces: Subject) -> None:
    fetch(surfaces.ingress_port, "POST", "/Counter/mutated/add", JSON, b"5")
    where = "where service_name = 'Counter' and service_key = 'mutated'"
    assert query(port, f"select key, value_utf8 from state {where}") == [{"key": "n", "value_utf8": "5"}]
    new_state = {"n": [49, 48], "other": "text"}
    answer = fetch_json(port, "POST", "/services/Counter/state", {"object_key": "mutated", "new_state": new_state})
    assert (answer.status, answer.body) == (202, b"")
    assert fetch(surfaces.ingress_port, "GET", "/Counter/mutated/get").body == b"10"
    assert query(port, f"select key, value from state {where} order by key") == [
        {"key": "n", "value": "3130"},
        {"key": "other", "value": "74657874"},
    ]


def test_a_state_change_made_for_another_version_is_dropped(port: int, surfaces: Subject) -> None:
    fetch(surfaces.ingress_port, "POST", "/Counter/versioned/add", JSON, b"5")
    for version, result in (("x", b"5"), (state_version({b"n": b"5"}), b"9")):
        change = {"object_key": "versioned", "new_state": {"n": "9"}, "version": version}
        assert fetch_json(port, "POST", "/services/Counter/state", change).status == 202
        assert fetch(surfaces.ingress_port, "GET", "/Counter/versioned/get").body == result


def test_clearing_state_of_an_unknown_service_is_accepted(port: int) -> None:
    assert fetch_json(port, "POST", "/services/Nope/state", {"object_key": "a", "new_state": {}}).status == 202


@pytest.mark.parametrize(
    ("given", "status", "result"),
    [({"value": "ok"}, 200, b'"ok"'), ({"failure": "too much"}, 500, b"too much"), ({"value": [1.0]}, 200, b"[1.0]")],
)
def test_a_promise_is_completed_once(
    port: int, surfaces: Subject, given: dict[str, Any], status: int, result: bytes
) -> None:
    key = f"promise-{result.hex()}"
    assert (
        fetch_json(port, "POST", "/services/Flow/promises", {"workflow_key": key, "name": "go", **given}).status == 404
    )
    fetch(surfaces.ingress_port, "POST", f"/Flow/{key}/run/send", JSON, b'"x"')
    completed = fetch_json(port, "POST", "/services/Flow/promises", {"workflow_key": key, "name": "go", **given})
    assert completed.status == surfaces.differs("promises", rewake=202, restate=404)
    if completed.status == 404:
        return
    answer = fetch(surfaces.ingress_port, "GET", f"/restate/workflow/Flow/{key}/attach")
    assert answer.status == status
    assert result in answer.body
    late = fetch_json(port, "POST", "/services/Flow/promises", {"workflow_key": key, "name": "go", "value": 1})
    assert (late.status, late.json["code"]) == (409, ErrorCode.OPERATION_CONFLICT)


# Queries


def test_rows_leave_null_out(port: int, surfaces: Subject) -> None:
    name = fetch(surfaces.ingress_port, "POST", "/Greeter/greet", JSON, b'"x"').headers["x-restate-id"]
    columns = "id, status, target_service_key, completion_retention, journal_size"
    sql = f"select {columns} from sys_invocation where id = '{name}'"
    (row,) = query(port, sql)
    assert row == {"id": name, "status": "completed", "completion_retention": "PT86400S", "journal_size": 2}
    assert query(port, "select 1 as a where 1 = 2") == []
    assert query(port, "SELECT COUNT(*) AS n FROM sys_invocation_status WHERE status = 'suspended'") == [{"n": 0}]


def test_a_query_is_answered_as_json_when_asked_for_by_name(port: int) -> None:
    answer = fetch(port, "POST", "/query", {**JSON, "accept": "application/json"}, b'{"query":"select 1 as a"}')
    assert (answer.status, answer.json) == (200, {"rows": [{"a": 1}]})
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("accept", ["*/*", "application/json, text/plain", "application/vnd.apache.arrow.stream", None])
def test_any_other_query_is_answered_in_arrow(port: int, accept: str | None) -> None:
    headers = {**JSON} if accept is None else {**JSON, "accept": accept}
    answer = fetch(port, "POST", "/query", headers, b'{"query":"select 7 as a, \'x\' as b"}')
    assert (answer.status, answer.headers["content-type"]) == (200, "application/vnd.apache.arrow.stream")
    assert pyarrow.ipc.open_stream(answer.body).read_all().to_pylist() == [{"a": 7, "b": "x"}]


@pytest.mark.parametrize(
    ("sql", "status", "code", "message"),
    [
        ("selec", 400, ErrorCode.QUERY_INVALID, 'SQL error: ParserError("'),
        ("", 400, ErrorCode.QUERY_INVALID, "Error during planning: No SQL statements were provided"),
        ("select 1; select 2", 500, ErrorCode.QUERY_INVALID, "This feature is not implemented: The context"),
        ("delete from state", 400, ErrorCode.QUERY_NOT_READ_ONLY, "Error during planning: DML not supported: Delete"),
        ("drop table state", 400, ErrorCode.QUERY_NOT_READ_ONLY, "Error during planning: DDL not supported: DropTable"),
        ("select * from nope", 500, ErrorCode.QUERY_INVALID, "Error during planning: table 'restate.public.nope' not"),
        ("select nope from state", 500, ErrorCode.QUERY_INVALID, "Schema error: No field named nope. Valid fields are"),
    ],
)
def test_a_query_that_cannot_run_is_told_as_the_public_server_tells(
    surfaces: Subject, sql: str, status: int, code: ErrorCode, message: str
) -> None:
    answer = surfaces.admin("POST", "/query", {"query": sql})
    assert answer.status == status
    assert answer.json["message"].startswith("Datafusion error: " + message)
    assert answer.json.get("code") == surfaces.differs("error-bodies", rewake=code.value, restate=None)


def test_other_trouble_of_a_query_is_in_words_of_our_own(surfaces: Subject) -> None:
    answer = surfaces.admin("POST", "/query", {"query": "pragma user_version"})
    ours, theirs = "The query is not a SELECT", "Datafusion error: This feature is not implemented: Unsupported SQL"
    assert answer.status == surfaces.differs("query-errors", rewake=400, restate=500)
    assert answer.json["message"].startswith(surfaces.differs("query-errors", rewake=ours, restate=theirs))


def test_a_query_for_an_id_that_is_none(surfaces: Subject) -> None:
    answer = surfaces.admin("POST", "/query", {"query": "select id from sys_invocation where id = 'foo'"}, AS_JSON)
    assert answer.status == surfaces.differs("query-malformed-id", rewake=200, restate=500)
    if answer.status == 200:
        assert answer.json == {"rows": []}


def test_the_type_of_a_computed_column_of_no_rows(surfaces: Subject) -> None:
    sql = "select concat(key, 'x') as text, abs(1 - 2) as number from state where service_name = 'Nope'"
    answer = surfaces.admin("POST", "/query", {"query": sql})
    types = [str(field.type) for field in pyarrow.ipc.open_stream(answer.body).schema]
    assert types == surfaces.differs(
        "query-types", rewake=["large_string", "large_string"], restate=["string_view", "int64"]
    )
