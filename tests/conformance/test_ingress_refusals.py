"""What the ingress refuses, on both engines: each row one request; status and message are the same.

Rewake says in the body what to do, too.
"""

from __future__ import annotations

import pytest
from raw_http import Wire, fetch, request
from subject import JSON, UNKNOWN_ID, Subject

from rewake.errors import EXPLAIN, ErrorCode

BAD_CALL = "bad path, expected either /:service-name/:handler or /:object-name/:object-key/:handler"
BAD_RESTATE = (
    "bad path, expected /restate/call/:service/:handler, /restate/send/:service/:handler, "
    "/restate/scope/:scope/call/:service/:handler, /restate/attach/:invocation_id, /restate/output/:invocation_id, "
    "or /restate/lookup"
)
BAD_AWAKEABLE = "bad path, expected either /restate/awakeables/:id/resolve or /restate/awakeables/:id/reject"
BAD_INVOCATION = (
    "bad path, expected either /restate/invocation/:invocation_id/output or /restate/invocation/:invocation_id/attach "
    "or /restate/invocation/:invocation_target/:idempotency_key/output "
    "or /restate/invocation/:invocation_target/:idempotency_key/attach"
)
BAD_WORKFLOW = (
    "bad path, expected either /restate/workflow/:workflow_name/:workflow_key/output "
    "or /restate/workflow/:workflow_name/:workflow_key/attach"
)
NO_NOPE = "service 'Nope' not found, make sure to register the service before calling it."


@pytest.fixture
def port(surfaces: Subject) -> int:
    return surfaces.ingress_port


def no_handler(service: str, handler: str) -> str:
    return (
        f"the service '{service}' exists, but the handler '{handler}' was not found, "
        "check that the handler exists in the latest registered service version."
    )


# Requests that are refused

REFUSALS: list[tuple[str, str, dict[str, str], bytes | None, int, str, ErrorCode]] = [
    # paths
    ("GET", "/", {}, None, 400, "bad path: /", ErrorCode.PATH_INVALID),
    ("GET", "//", {}, None, 400, "bad path: /", ErrorCode.PATH_INVALID),
    ("GET", "/foo", {}, None, 400, "bad path: /foo", ErrorCode.PATH_INVALID),
    ("GET", "/foo/", {}, None, 400, "bad path: /foo", ErrorCode.PATH_INVALID),
    ("GET", "/foo?x=1", {}, None, 400, "bad path: /foo", ErrorCode.PATH_INVALID),
    ("GET", "/a/b/c/d/e/f/g/h", {}, None, 400, "bad path: /a/b/c/d/e/f/g/h", ErrorCode.PATH_INVALID),
    ("GET", "/Greeter/b/c/d/e/f/g", {}, None, 400, BAD_CALL, ErrorCode.PATH_INVALID),
    ("POST", "/Greeter/greet/extra", JSON, b'"x"', 400, BAD_CALL, ErrorCode.PATH_INVALID),
    ("POST", "/Greeter/greet/send/x", JSON, b'"x"', 400, BAD_CALL, ErrorCode.PATH_INVALID),
    ("POST", "/Counter/k", JSON, b"1", 400, BAD_CALL, ErrorCode.PATH_INVALID),
    ("POST", "/Counter/k/add/zz", JSON, b"1", 400, BAD_CALL, ErrorCode.PATH_INVALID),
    ("GET", "/openapi", {}, None, 400, "bad path: /openapi", ErrorCode.PATH_INVALID),
    ("GET", "/openapi/x", {}, None, 404, "not found", ErrorCode.PATH_INVALID),
    ("POST", "/restate/zzz", {}, b"", 404, "not found", ErrorCode.PATH_INVALID),
    ("POST", "/restate/zzz/a/b", {}, b"", 404, "not found", ErrorCode.PATH_INVALID),
    ("POST", "/restate/call", JSON, b'"x"', 400, BAD_RESTATE, ErrorCode.PATH_INVALID),
    ("POST", "/restate/call/Greeter", JSON, b'"x"', 400, BAD_RESTATE, ErrorCode.PATH_INVALID),
    ("POST", "/restate/call/Greeter/greet/x", JSON, b'"x"', 400, BAD_RESTATE, ErrorCode.PATH_INVALID),
    ("POST", "/restate/send/Greeter/greet/send", JSON, b'"x"', 400, BAD_RESTATE, ErrorCode.PATH_INVALID),
    ("POST", "/restate/call/Counter/k1", JSON, b"1", 400, BAD_RESTATE, ErrorCode.PATH_INVALID),
    # services and handlers
    ("POST", "/Nope/greet", JSON, b'"x"', 404, NO_NOPE, ErrorCode.SERVICE_NOT_FOUND),
    ("GET", "/Nope/a/b/c/d", {}, None, 404, NO_NOPE, ErrorCode.SERVICE_NOT_FOUND),
    ("POST", "/restate/call/Nope/x", JSON, b'"x"', 404, NO_NOPE, ErrorCode.SERVICE_NOT_FOUND),
    ("POST", "/restate/call/Nope", JSON, b'"x"', 404, NO_NOPE, ErrorCode.SERVICE_NOT_FOUND),
    (
        "POST",
        "/Greet%65r/greet",
        JSON,
        b'"x"',
        404,
        "service 'Greet%65r' not found, make sure to register the service before calling it.",
        ErrorCode.SERVICE_NOT_FOUND,
    ),
    ("POST", "/Greeter/nope", JSON, b'"x"', 404, no_handler("Greeter", "nope"), ErrorCode.HANDLER_NOT_FOUND),
    ("POST", "/Counter/add/send", JSON, b"1", 404, no_handler("Counter", "send"), ErrorCode.HANDLER_NOT_FOUND),
    ("POST", "/Hidden/nope", {}, None, 404, no_handler("Hidden", "nope"), ErrorCode.HANDLER_NOT_FOUND),
    ("POST", "/Greeter/secret", {}, None, 400, "the invoked service is not public", ErrorCode.HANDLER_PRIVATE),
    ("POST", "/Hidden/peek", {}, None, 400, "the invoked service is not public", ErrorCode.HANDLER_PRIVATE),
    ("PUT", "/Hidden/peek", {}, None, 400, "the invoked service is not public", ErrorCode.HANDLER_PRIVATE),
    # methods
    ("PUT", "/Greeter/greet", JSON, b'"x"', 405, "method not allowed", ErrorCode.METHOD_NOT_ALLOWED),
    ("DELETE", "/Greeter/nothing/send", {}, None, 405, "method not allowed", ErrorCode.METHOD_NOT_ALLOWED),
    ("POST", "/restate/health", {}, b"", 405, "method not allowed", ErrorCode.METHOD_NOT_ALLOWED),
    ("POST", f"/restate/output/{UNKNOWN_ID}", {}, b"", 405, "method not allowed", ErrorCode.METHOD_NOT_ALLOWED),
    ("GET", "/restate/output", {}, None, 405, "method not allowed", ErrorCode.METHOD_NOT_ALLOWED),
    ("GET", "/restate/lookup", {}, None, 405, "method not allowed", ErrorCode.METHOD_NOT_ALLOWED),
    ("GET", "/restate/awakeables/foo/resolve", {}, None, 405, "method not allowed", ErrorCode.METHOD_NOT_ALLOWED),
    ("POST", "/restate/workflow/Flow/w/output", {}, b"", 405, "method not allowed", ErrorCode.METHOD_NOT_ALLOWED),
    # input
    (
        "POST",
        "/Greeter/nothing",
        JSON,
        b"",
        400,
        "input validation error: Expected body and content-type to be empty, but wasn't with content-type "
        "'Some(\"application/json\")'",
        ErrorCode.INPUT_INVALID,
    ),
    (
        "POST",
        "/Greeter/nothing",
        {},
        b"x",
        400,
        "input validation error: Expected body and content-type to be empty, but wasn't with content-type 'None'",
        ErrorCode.INPUT_INVALID,
    ),
    ("POST", "/Greeter/greet", {}, b'"x"', 400, "input validation error: Empty content-type", ErrorCode.INPUT_INVALID),
    (
        "POST",
        "/Greeter/greet",
        JSON,
        b"",
        400,
        "input validation error: Empty body not allowed",
        ErrorCode.INPUT_INVALID,
    ),
    ("POST", "/Greeter/raw", {}, b"abc", 400, "input validation error: Empty content-type", ErrorCode.INPUT_INVALID),
    (
        "POST",
        "/Greeter/greet",
        {"content-type": "application/x-www-form-urlencoded"},
        b'"x"',
        400,
        "input validation error: Content-type 'application/x-www-form-urlencoded' does not match 'application/json'",
        ErrorCode.INPUT_INVALID,
    ),
    (
        "POST",
        "/Greeter/greet",
        {"content-type": "APPLICATION/JSON"},
        b'"x"',
        400,
        "input validation error: Content-type 'APPLICATION/JSON' does not match 'application/json'",
        ErrorCode.INPUT_INVALID,
    ),
    (
        "POST",
        "/Greeter/text",
        JSON,
        b'"x"',
        400,
        "input validation error: Content-type 'application/json' does not match 'text/*'",
        ErrorCode.INPUT_INVALID,
    ),
    # delay
    (
        "POST",
        "/Greeter/greet?delay=1s",
        JSON,
        b'"x"',
        400,
        "cannot use the delay query parameter with calls. The delay is supported only with sends",
        ErrorCode.DELAY_INVALID,
    ),
    # idempotency keys, limit keys, scopes
    (
        "POST",
        "/Flow/w0/run",
        {**JSON, "idempotency-key": "k"},
        b'"x"',
        400,
        "cannot use the idempotency key with workflow handlers. "
        "The handler invocation will already be idempotent by the workflow key itself.",
        ErrorCode.IDEMPOTENCY_KEY_INVALID,
    ),
    (
        "POST",
        "/Greeter/greet",
        {**JSON, "x-restate-limit-key": "k"},
        b'"x"',
        400,
        "limit-key requires a scope to be set",
        ErrorCode.SCOPE_UNSUPPORTED,
    ),
    (
        "POST",
        "/Greeter/greet?limit-key=k",
        JSON,
        b'"x"',
        400,
        "limit-key requires a scope to be set",
        ErrorCode.SCOPE_UNSUPPORTED,
    ),
    (
        "POST",
        "/restate/scope/s/call/Greeter/greet",
        JSON,
        b'"x"',
        400,
        "scoped invocations require vqueues to be enabled",
        ErrorCode.SCOPE_UNSUPPORTED,
    ),
    ("POST", "/restate/scope/s", JSON, b'"x"', 400, BAD_RESTATE, ErrorCode.PATH_INVALID),
    ("POST", "/restate/scope/s/zzz/Greeter/greet", JSON, b'"x"', 400, BAD_RESTATE, ErrorCode.PATH_INVALID),
    # results by id
    ("GET", "/restate/attach/foo", {}, None, 400, "bad invocation id 'foo': bad format", ErrorCode.ID_INVALID),
    ("GET", "/restate/output/foo", {}, None, 400, "bad invocation id 'foo': bad format", ErrorCode.ID_INVALID),
    (
        "GET",
        "/restate/invocation/foo/output",
        {},
        None,
        400,
        "bad invocation id 'foo': bad format",
        ErrorCode.ID_INVALID,
    ),
    ("GET", f"/restate/output/{UNKNOWN_ID}", {}, None, 404, "invocation not found", ErrorCode.INVOCATION_NOT_FOUND),
    ("GET", f"/restate/output/{UNKNOWN_ID}/x", {}, None, 400, BAD_RESTATE, ErrorCode.PATH_INVALID),
    ("GET", "/restate/invocation/foo", {}, None, 400, BAD_INVOCATION, ErrorCode.PATH_INVALID),
    ("GET", "/restate/invocation", {}, None, 400, BAD_INVOCATION, ErrorCode.PATH_INVALID),
    ("GET", "/restate/invocation/foo/zzz", {}, None, 404, "not found", ErrorCode.PATH_INVALID),
    # results by idempotency key
    ("GET", "/restate/invocation/Nope/h/k/output", {}, None, 404, NO_NOPE, ErrorCode.SERVICE_NOT_FOUND),
    (
        "GET",
        "/restate/invocation/Greeter/h/k/output",
        {},
        None,
        404,
        "invocation not found",
        ErrorCode.INVOCATION_NOT_FOUND,
    ),
    (
        "GET",
        "/restate/invocation/Flow/w/run/k/output",
        {},
        None,
        404,
        "invocation not found",
        ErrorCode.INVOCATION_NOT_FOUND,
    ),
    ("GET", "/restate/invocation/Counter/add/k/output", {}, None, 400, BAD_INVOCATION, ErrorCode.PATH_INVALID),
    ("GET", "/restate/invocation/Greeter/k/add/k/output", {}, None, 404, "not found", ErrorCode.PATH_INVALID),
    # results of workflows
    ("GET", "/restate/workflow/Flow/w", {}, None, 400, BAD_WORKFLOW, ErrorCode.PATH_INVALID),
    ("GET", "/restate/workflow/Flow/w/zzz", {}, None, 404, "not found", ErrorCode.PATH_INVALID),
    (
        "GET",
        "/restate/workflow/Flow/unknown/output",
        {},
        None,
        404,
        "invocation not found",
        ErrorCode.INVOCATION_NOT_FOUND,
    ),
    (
        "GET",
        "/restate/workflow/Nope/unknown/output",
        {},
        None,
        404,
        "invocation not found",
        ErrorCode.INVOCATION_NOT_FOUND,
    ),
    # results by body
    ("POST", "/restate/lookup/x", {}, b"", 400, BAD_RESTATE, ErrorCode.PATH_INVALID),
    (
        "POST",
        "/restate/lookup",
        {},
        b'{"target":"invocation","invocationId":"foo"}',
        400,
        "bad invocation id 'foo': bad format",
        ErrorCode.ID_INVALID,
    ),
    # awakeables
    ("POST", "/restate/awakeables", {}, b"1", 400, BAD_AWAKEABLE, ErrorCode.PATH_INVALID),
    ("POST", "/restate/awakeables/foo", {}, b"1", 400, BAD_AWAKEABLE, ErrorCode.PATH_INVALID),
    ("POST", "/restate/awakeables/sign_1/zzz", {}, b"1", 404, "not found", ErrorCode.PATH_INVALID),
    (
        "POST",
        "/restate/awakeables/foo/resolve",
        {},
        b"1",
        400,
        "bad awakeable id 'foo': bad format",
        ErrorCode.ID_INVALID,
    ),
    ("POST", "/restate/a/foo/reject", {}, b"1", 400, "bad awakeable id 'foo': bad format", ErrorCode.ID_INVALID),
    (
        "POST",
        f"/restate/a/{UNKNOWN_ID}/reject",
        {},
        b"1",
        400,
        f"bad awakeable id '{UNKNOWN_ID}': id doesn't match the expected type",
        ErrorCode.ID_INVALID,
    ),
]


@pytest.mark.parametrize(("method", "path", "headers", "body", "status", "message", "code"), REFUSALS)
def test_a_refusal_has_status_message_and_what_to_do(
    surfaces: Subject,
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes | None,
    status: int,
    message: str,
    code: ErrorCode,
) -> None:
    answer = fetch(surfaces.ingress_port, method, path, headers, body)
    told = answer.json
    assert (answer.status, told["message"]) == (status, message)
    assert (told["code"], told["source"]) == (status, "ingress")
    more = ["error_code", "hint", "docs"]
    assert list(told)[3:] == surfaces.differs("error-bodies", rewake=more, restate=[])
    if surfaces.kind == "rewake":
        assert told["hint"]
        assert (told["error_code"], told["docs"]) == (code.value, EXPLAIN + code.value)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-restate-error-source"] == "ingress"
    assert "x-restate-id" not in answer.headers


BAD_DELAY = "bad delay query parameter, must be a ISO8601 duration: "


@pytest.mark.parametrize(
    ("path", "body", "message", "ours"),
    [
        ("/Greeter/greet/send?delay=abc", b'"x"', BAD_DELAY, "expected a"),
        ("/Greeter/greet/send?delay=", b'"x"', BAD_DELAY, "an empty string"),
        ("/Greeter/greet/send?delay=-1s", b'"x"', BAD_DELAY, "negative"),
        ("/Greeter/greet/send?delay=PT", b'"x"', BAD_DELAY, "it has a time"),
        ("/Greeter/greet/send?delay=1mo", b'"x"', BAD_DELAY, "please use"),
        ("/Counter/%ff/get", None, "bad path, cannot decode key: ", ""),
    ],
)
def test_refusals_whose_reason_is_in_words_of_our_own(
    surfaces: Subject, path: str, body: bytes | None, message: str, ours: str
) -> None:
    answer = surfaces.ingress("POST" if body else "GET", path, body, JSON if body else {})
    assert answer.status == 400
    assert answer.json["message"].startswith(message + (ours if surfaces.kind == "rewake" else ""))


@pytest.mark.parametrize(("length", "is_refused"), [(4096, False), (4097, True)])
def test_the_length_of_a_key(surfaces: Subject, length: int, is_refused: bool) -> None:
    """Rewake bounds it; an invocation keeps its key in many places."""
    answer = surfaces.ingress("GET", f"/Counter/{'k' * length}/get")
    assert answer.status == (surfaces.differs("key-length", rewake=400, restate=200) if is_refused else 200)
    keyed = surfaces.call("Greeter/greet", "x", idempotency_key="k" * length)
    assert keyed.status == (surfaces.differs("key-length", rewake=400, restate=200) if is_refused else 200)


@pytest.mark.parametrize("body", [b"{", b"", b'{"target":"zzz"}', b'{"target":"workflow"}', b"\xff"])
@pytest.mark.parametrize(("operation", "what"), [("lookup", "lookup"), ("attach", "request"), ("output", "request")])
def test_a_body_that_names_nothing_is_a_500(surfaces: Subject, body: bytes, operation: str, what: str) -> None:
    answer = surfaces.ingress("POST", f"/restate/{operation}", body, JSON)
    assert answer.status == 500
    assert answer.json["message"].startswith(f"cannot read body: invalid {what} body: ")
    assert ("Stack backtrace" in answer.json["message"]) is surfaces.differs(
        "stack-of-the-server", rewake=False, restate=True
    )


@pytest.mark.parametrize("name", ["x-anything", "content-type", "idempotency-key"])
def test_header_values_must_be_visible_ascii(port: int, name: str) -> None:
    headers = [(each, value) for each, value in JSON.items() if each != name]
    answer = fetch(port, "POST", "/Greeter/greet", [*headers, (name, "\u00e9")], b'"x"')
    assert answer.status == 400
    assert answer.json["message"].startswith(f"bad header {name}: ")


def test_a_hint_guesses_the_name_that_was_meant(surfaces: Subject) -> None:
    hints = [
        surfaces.ingress("GET", path).json.get("hint", "")
        for path in ("/Greter/greet", "/Greeter/gret", "/Counter/add/send")
    ]
    meant = [" 'Greeter'?" in hints[0], " 'greet'?" in hints[1], "/Counter/KEY/HANDLER" in hints[2]]
    assert meant == surfaces.differs("error-bodies", rewake=[True] * 3, restate=[False] * 3)


def test_head_is_refused_without_a_body(port: int) -> None:
    with Wire(port) as wire:
        answer = wire.exchange(request("HEAD", "/Greeter/greet"))
        assert (answer.status, answer.body) == (405, b"")
        assert wire.exchange(request("GET", "/Greeter/nothing")).status == 200
