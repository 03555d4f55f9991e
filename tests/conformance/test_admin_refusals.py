"""What the admin API refuses, on both engines: each row one request; status and text are the same.

Rewake says in the body what to do, too.
"""

from __future__ import annotations

from typing import Any

import pytest
from raw_http import fetch, fetch_json
from subject import JSON, UNKNOWN_ID, Subject

from rewake.errors import EXPLAIN, ErrorCode

UNKNOWN_DEPLOYMENT = "dp_13TZAEkf5hl3qZ4TAREdByW"
OPERATIONS = ("cancel", "kill", "pause", "resume", "purge", "purge-journal", "restart-as-new")
NO_SERVICE = "The requested service 'Nope' does not exist"
BODY = "Failed to deserialize the JSON body into the target type: "


@pytest.fixture
def port(surfaces: Subject) -> int:
    return surfaces.admin_port


# Errors in the admin shape

REFUSALS: list[tuple[str, str, Any, int, str, ErrorCode]] = [
    ("GET", "/services/Nope", None, 404, NO_SERVICE, ErrorCode.SERVICE_NOT_FOUND),
    ("GET", "/services/Nope/handlers", None, 404, NO_SERVICE, ErrorCode.SERVICE_NOT_FOUND),
    ("GET", "/services/Nope/openapi", None, 404, NO_SERVICE, ErrorCode.SERVICE_NOT_FOUND),
    ("PATCH", "/services/Nope", {}, 404, NO_SERVICE, ErrorCode.SERVICE_NOT_FOUND),
    (
        "POST",
        "/services/Nope/state",
        {"object_key": "a", "new_state": {"a": [1]}},
        404,
        NO_SERVICE,
        ErrorCode.SERVICE_NOT_FOUND,
    ),
    (
        "GET",
        "/services/Greeter/handlers/zzz",
        None,
        404,
        "The requested handler 'zzz' on service 'Greeter' does not exist",
        ErrorCode.HANDLER_NOT_FOUND,
    ),
    (
        "PATCH",
        "/services/Greeter",
        {"workflow_completion_retention": "5s"},
        400,
        "modifying retention time for service type Service is unsupported",
        ErrorCode.REQUEST_INVALID,
    ),
    (
        "POST",
        "/services/Greeter/state",
        {"object_key": "a", "new_state": {}},
        400,
        "Cannot modify state for service type Service",
        ErrorCode.REQUEST_INVALID,
    ),
    (
        "GET",
        f"/deployments/{UNKNOWN_DEPLOYMENT}",
        None,
        404,
        f"The requested deployment '{UNKNOWN_DEPLOYMENT}' does not exist",
        ErrorCode.DEPLOYMENT_NOT_FOUND,
    ),
    (
        "DELETE",
        f"/deployments/{UNKNOWN_DEPLOYMENT}?force=true",
        None,
        404,
        f"not found in the schema registry: deployment with id '{UNKNOWN_DEPLOYMENT}'",
        ErrorCode.DEPLOYMENT_NOT_FOUND,
    ),
    (
        "PUT",
        f"/deployments/{UNKNOWN_DEPLOYMENT}",
        {"uri": "http://127.0.0.1:1/"},
        405,
        "PUT deployment is deprecated, use PATCH instead",
        ErrorCode.METHOD_NOT_ALLOWED,
    ),
    (
        "PATCH",
        "/invocations/foo/cancel",
        None,
        400,
        "The request field 'invocation_id' is invalid. Reason: bad format",
        ErrorCode.REQUEST_INVALID,
    ),
    (
        "DELETE",
        "/invocations/foo?mode=Kill",
        None,
        400,
        "The request field 'invocation_id' is invalid. Reason: bad format",
        ErrorCode.REQUEST_INVALID,
    ),
    (
        "PATCH",
        f"/invocations/{UNKNOWN_ID}/restart-as-new?deployment=zz",
        None,
        400,
        "The query parameter 'deployment' is invalid. Reason: bad format",
        ErrorCode.REQUEST_INVALID,
    ),
    (
        "POST",
        "/internal/invocations_batch_operations/resume",
        {"invocation_ids": [], "deployment": "zz"},
        400,
        "The request field 'deployment' is invalid. Reason: bad format",
        ErrorCode.REQUEST_INVALID,
    ),
    (
        "POST",
        "/internal/invocations_batch_operations/kill",
        {"invocation_ids": [UNKNOWN_ID] * 1001},
        400,
        "Batch size 1001 exceeds maximum allowed size of 1000",
        ErrorCode.REQUEST_INVALID,
    ),
    *(
        (
            "PATCH",
            f"/invocations/{UNKNOWN_ID}/{name}",
            None,
            404,
            f"The requested invocation '{UNKNOWN_ID}' does not exist",
            ErrorCode.INVOCATION_NOT_FOUND,
        )
        for name in OPERATIONS
    ),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "message", "code"), REFUSALS)
def test_a_refusal_has_status_message_and_what_to_do(
    surfaces: Subject, method: str, path: str, body: Any, status: int, message: str, code: ErrorCode
) -> None:
    port = surfaces.admin_port
    answer = fetch(port, method, path) if body is None else fetch_json(port, method, path, body)
    told = answer.json
    assert (answer.status, told["message"]) == (status, message)
    more = ["code", "hint", "docs"]
    assert list(told) == ["message", "restate_code", *surfaces.differs("error-bodies", rewake=more, restate=[])]
    assert told["restate_code"] is None
    if surfaces.kind == "rewake":
        assert (told["code"], told["docs"]) == (code.value, EXPLAIN + code.value)
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("service", "given", "message"),
    [
        ("Greeter", {"value": 1}, "Cannot complete promises of service type Service"),
        ("Flow", {}, "The body must have either 'value' or 'failure'"),
        ("Flow", {"value": None, "failure": "no"}, "The body must have either 'value' or 'failure'"),
    ],
)
def test_promises_are_completed_by_rewakes_admin_api_only(
    surfaces: Subject, service: str, given: dict[str, Any], message: str
) -> None:
    answer = surfaces.admin("POST", f"/services/{service}/promises", {"workflow_key": "a", "name": "p", **given})
    assert answer.status == surfaces.differs("promises", rewake=400, restate=404)
    assert answer.status == 404 or answer.json["message"] == message


UNDECODABLE: list[tuple[str, str, dict[str, str], bytes, int, str]] = [
    ("PATCH", "/services/Greeter", {}, b"{}", 415, "Expected request with `Content-Type: application/json`"),
    ("POST", "/query", {"content-type": "text/plain"}, b"{}", 415, "Expected request with `Content-Type: "),
    ("PATCH", "/services/Greeter", JSON, b"{", 400, "Failed to parse the request body as JSON: "),
    ("PATCH", "/services/Greeter", JSON, b'{"public":1}', 422, BODY),
    ("PATCH", "/services/Greeter", JSON, b'{"idempotency_retention":5}', 422, BODY),
    ("PATCH", "/services/Greeter", JSON, b'{"idempotency_retention":"zz"}', 422, BODY + "idempotency_retention: "),
    ("POST", "/services/Counter/state", JSON, b'{"object_key":"a"}', 422, BODY),
    ("POST", "/services/Counter/state", JSON, b'{"object_key":"a","new_state":{"a":[300]}}', 422, BODY),
    ("POST", "/query", JSON, b"{}", 422, BODY),
    ("POST", "/query", JSON, b"x" * (2 * 1024 * 1024 + 1), 413, "Failed to buffer the request body: "),
    ("GET", "/deployments/foo", {}, b"", 400, "Invalid URL: Cannot parse `deployment` with value `foo`: bad format"),
    ("DELETE", "/deployments/dp_1", {}, b"", 400, "Invalid URL: Cannot parse `deployment` with value `dp_1`: bad"),
    (
        "DELETE",
        f"/deployments/{UNKNOWN_DEPLOYMENT}?force=zz",
        {},
        b"",
        400,
        "Failed to deserialize query string: force",
    ),
    ("DELETE", f"/invocations/{UNKNOWN_ID}?mode=zz", {}, b"", 400, "Failed to deserialize query string: mode: unknown"),
    (
        "PATCH",
        f"/invocations/{UNKNOWN_ID}/restart-as-new?from=zz",
        {},
        b"",
        400,
        "Failed to deserialize query string: from",
    ),
    (
        "POST",
        "/internal/invocations_batch_operations/cancel",
        JSON,
        b'{"invocation_ids":["foo"]}',
        422,
        BODY + "invocation_ids[0]: bad format",
    ),
    ("POST", "/internal/invocations_batch_operations/cancel", JSON, b"{}", 422, BODY),
]


@pytest.mark.parametrize(("method", "path", "headers", "body", "status", "text"), UNDECODABLE)
def test_what_cannot_be_decoded_is_told_as_text(
    port: int, method: str, path: str, headers: dict[str, str], body: bytes, status: int, text: str
) -> None:
    answer = fetch(port, method, path, headers, body)
    assert (answer.status, answer.headers["content-type"]) == (status, "text/plain; charset=utf-8")
    assert answer.body.decode().startswith(text)
