"""Manifests: what is read, what is refused and why, and the rules the ingress takes from them."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewake.protocol.discovery import (
    ACCEPT,
    ANY_INPUT,
    DEFAULT_OUTPUT,
    HANDLERS_MAX,
    MANIFEST_NAME_CHARS_MAX,
    SERVICES_MAX,
    HandlerKind,
    HandlerManifest,
    InputRules,
    ManifestError,
    OutputRules,
    ProtocolMode,
    ServiceType,
    choose_protocol_version,
    manifest_version,
    parse_manifest,
)


def endpoint(*services: dict[str, Any], **changed: Any) -> bytes:
    manifest = {
        "protocolMode": "BIDI_STREAM",
        "minProtocolVersion": 5,
        "maxProtocolVersion": 7,
        "services": list(services),
    }
    return json.dumps(manifest | changed).encode()


def service(*handlers: dict[str, Any], name: str = "Greeter", ty: str = "SERVICE", **options: Any) -> dict[str, Any]:
    return {"name": name, "ty": ty, "handlers": list(handlers)} | options


def one_handler(body: bytes) -> HandlerManifest:
    return parse_manifest(body).services[0].handlers[0]


def refusal(body: bytes, code: str = "META0013") -> str:
    with pytest.raises(ManifestError) as caught:
        parse_manifest(body)
    assert caught.value.code == code
    assert str(caught.value) == caught.value.message
    return caught.value.message


def test_a_small_manifest() -> None:
    manifest = parse_manifest(endpoint(service({"name": "greet"}), unknownField=1))
    assert manifest.protocol_mode is ProtocolMode.BIDI_STREAM
    assert (manifest.min_protocol_version, manifest.max_protocol_version) == (5, 7)
    (greeter,) = manifest.services
    assert (greeter.name, greeter.ty) == ("Greeter", ServiceType.SERVICE)
    (greet,) = greeter.handlers
    assert (greet.name, greet.kind, greet.input, greet.output) == (
        "greet",
        HandlerKind.PLAIN,
        ANY_INPUT,
        DEFAULT_OUTPUT,
    )
    assert greet.inactivity_timeout_ms is None
    assert greeter.metadata == {}


def test_every_option() -> None:
    options: dict[str, Any] = {
        "documentation": "says hello",
        "metadata": {"team": "a"},
        "inactivityTimeout": 0,
        "abortTimeout": 2,
        "journalRetention": 3,
        "idempotencyRetention": 4,
        "enableLazyState": True,
        "ingressPrivate": True,
        "retryPolicyInitialInterval": 5,
        "retryPolicyMaxInterval": 6,
        "retryPolicyMaxAttempts": 7,
        "retryPolicyExponentiationFactor": 2,
        "retryPolicyOnMaxAttempts": "KILL",
        "eagerStateKeysWhitelist": ["k"],
    }
    manifest = parse_manifest(endpoint(service({"name": "greet"} | options, **options)))
    for found in (manifest.services[0], manifest.services[0].handlers[0]):
        assert found.documentation == "says hello"
        assert found.metadata == {"team": "a"}
        assert (found.inactivity_timeout_ms, found.abort_timeout_ms) == (0, 2)
        assert (found.journal_retention_ms, found.idempotency_retention_ms) == (3, 4)
        assert (found.enable_lazy_state, found.ingress_private) == (True, True)
        assert (found.retry_policy_initial_interval_ms, found.retry_policy_max_interval_ms) == (5, 6)
        assert (found.retry_policy_max_attempts, found.retry_policy_exponentiation_factor) == (7, 2.0)
        assert found.retry_policy_on_max_attempts == "KILL"
        assert found.eager_state_keys_whitelist == ("k",)


def test_a_limit_of_no_attempts_is_one_attempt() -> None:
    body = endpoint(service({"name": "greet", "retryPolicyMaxAttempts": 0}, retryPolicyMaxAttempts=0))
    assert one_handler(body).retry_policy_max_attempts == 1
    assert parse_manifest(body).services[0].retry_policy_max_attempts == 1


def test_workflow_retention_of_the_run() -> None:
    run = {"name": "run", "ty": "WORKFLOW", "workflowCompletionRetention": 9}
    assert one_handler(endpoint(service(run, ty="WORKFLOW"))).workflow_completion_retention_ms == 9


@pytest.mark.parametrize(
    ("service_type", "ty", "kind"),
    [
        ("SERVICE", None, HandlerKind.PLAIN),
        ("SERVICE", "EXCLUSIVE", None),
        ("SERVICE", "SHARED", HandlerKind.PLAIN),
        ("SERVICE", "WORKFLOW", None),
        ("VIRTUAL_OBJECT", None, HandlerKind.EXCLUSIVE),
        ("VIRTUAL_OBJECT", "EXCLUSIVE", HandlerKind.EXCLUSIVE),
        ("VIRTUAL_OBJECT", "SHARED", HandlerKind.SHARED),
        ("VIRTUAL_OBJECT", "WORKFLOW", None),
        ("WORKFLOW", None, HandlerKind.SHARED),
        ("WORKFLOW", "EXCLUSIVE", None),
        ("WORKFLOW", "SHARED", HandlerKind.SHARED),
        ("WORKFLOW", "WORKFLOW", HandlerKind.WORKFLOW),
    ],
)
def test_kinds(service_type: str, ty: str | None, kind: HandlerKind | None) -> None:
    body = endpoint(service({"name": "h"} | ({"ty": ty} if ty else {}), ty=service_type))
    if kind is None:
        assert refusal(body) == f"Handler Greeter/h: type {ty} does not exist in a {service_type}"
    else:
        assert one_handler(body).kind is kind


@pytest.mark.parametrize("name", ["A", "_a", "a.b-c_1", "_1"])
def test_service_names(name: str) -> None:
    assert parse_manifest(endpoint(service(name=name))).services[0].name == name


@pytest.mark.parametrize("name", ["", "1a", "_", "__a", "-a", "a b", "a/b", "\u00e9", "a\n"])
def test_names_that_are_none(name: str) -> None:
    assert refusal(endpoint(service(name=name))) == f"{name!r} is not a valid service name"
    assert refusal(endpoint(service({"name": name}))) == f"Handler Greeter/{name}: not a valid handler name"


@pytest.mark.parametrize("name", ["a.b", "a-b"])
def test_handler_names_are_narrower(name: str) -> None:
    assert refusal(endpoint(service({"name": name}))) == f"Handler Greeter/{name}: not a valid handler name"


@pytest.mark.parametrize("name", ["restate", "ReState.x", "restateful", "openapi", "OpenAPI"])
def test_reserved_names(name: str) -> None:
    assert refusal(endpoint(service(name=name)), "META0005") == f"The service name {name!r} is reserved"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            endpoint(service(), service()),
            "The manifest names service 'Greeter' more than once",
        ),
        (
            endpoint(service({"name": "h"}, {"name": "h"})),
            "The manifest names service 'Greeter': handler 'h' more than once",
        ),
        (
            endpoint(service({"name": "run", "ty": "WORKFLOW", "idempotencyRetention": 1}, ty="WORKFLOW")),
            "Handler Greeter/run: idempotencyRetention cannot be set on the workflow run,"
            " use workflowCompletionRetention",
        ),
        (
            endpoint(service({"name": "h", "workflowCompletionRetention": 1})),
            "Handler Greeter/h: workflowCompletionRetention can only be set on the workflow run",
        ),
        (
            endpoint(service({"name": "h", "ingressPrivate": False}, ingressPrivate=True)),
            "Handler Greeter/h: cannot be public in a private service",
        ),
        (
            endpoint(service({"name": "h", "input": {"contentType": "json"}})),
            "Handler Greeter/h: 'json' is not a content type",
        ),
        (
            endpoint(service({"name": "h", "output": {"contentType": "a b"}})),
            "Handler Greeter/h: 'a b' is not a content type",
        ),
        (
            endpoint(minProtocolVersion=6, maxProtocolVersion=5),
            "minProtocolVersion 6 is above maxProtocolVersion 5",
        ),
        (
            b'{"minProtocolVersion":5,"maxProtocolVersion":7,"services":[]}',
            "The discovery answer is not an endpoint manifest: Object missing required field `protocolMode`",
        ),
        (
            endpoint(service({"name": "h", "abortTimeout": -1})),
            "The discovery answer is not an endpoint manifest: Expected `int` >= 0"
            " - at `$.services[0].handlers[0].abortTimeout`",
        ),
    ],
)
def test_manifests_that_cannot_be_registered(body: bytes, message: str) -> None:
    assert refusal(body) == message


@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b'{"protocolMode": "\xff"}', b"null"])
def test_answers_that_are_no_manifest(body: bytes) -> None:
    assert refusal(body).startswith("The discovery answer is not an endpoint manifest: ")


@given(st.binary(max_size=80))
def test_garbage_is_a_manifest_error(body: bytes) -> None:
    with pytest.raises(ManifestError):
        parse_manifest(body)


def test_the_accept_header_offers_every_version() -> None:
    offered = ACCEPT.split(", ")
    assert offered == [f"application/vnd.restate.endpointmanifest.v{version}+json" for version in (1, 2, 3, 4)]


def test_manifest_versions() -> None:
    assert manifest_version("application/vnd.restate.endpointmanifest.v3+json") == 3
    assert manifest_version("application/vnd.restate.endpointmanifest.v4+json; charset=utf-8") == 4
    for content_type in (None, "application/json", "application/vnd.restate.endpointmanifest.v5+json"):
        with pytest.raises(ManifestError, match="has content type"):
            manifest_version(content_type)


@pytest.mark.parametrize(
    ("manifest", "ours", "version"),
    [((5, 7), (5, 6), 6), ((5, 5), (5, 7), 5), ((1, 7), (5, 7), 7), ((6, 9), (5, 6), 6)],
)
def test_the_highest_common_version_is_chosen(manifest: tuple[int, int], ours: tuple[int, int], version: int) -> None:
    assert choose_protocol_version(*manifest, *ours) == version


@pytest.mark.parametrize(("manifest_min", "manifest_max"), [(1, 4), (7, 9)])
def test_no_common_version(manifest_min: int, manifest_max: int) -> None:
    with pytest.raises(ManifestError) as caught:
        choose_protocol_version(manifest_min, manifest_max)
    assert caught.value.code == "META0012"
    assert f"{manifest_min} to {manifest_max}, this engine 5 to 6" in caught.value.message


# Input and output rules

JSON = InputRules(content_type="application/json", json_schema={"type": "string"})
JSON_REQUIRED = InputRules(required=True, content_type="application/json")


@pytest.mark.parametrize(
    ("rules", "content_type", "is_empty", "violation"),
    [
        (ANY_INPUT, None, True, None),
        (ANY_INPUT, "text/plain", False, None),
        (ANY_INPUT, None, False, None),
        (InputRules(), None, True, None),
        (
            InputRules(),
            "application/json",
            True,
            "Expected body and content-type to be empty, but wasn't with content-type 'Some(\"application/json\")'",
        ),
        (InputRules(), None, False, "Expected body and content-type to be empty, but wasn't with content-type 'None'"),
        (InputRules(required=True), None, True, "Empty body not allowed"),
        (InputRules(required=True), None, False, None),
        (JSON, None, True, None),
        (JSON, "application/json", True, "Empty body not allowed"),
        (JSON, None, False, "Empty content-type"),
        (
            JSON,
            "application/x-www-form-urlencoded",
            False,
            "Content-type 'application/x-www-form-urlencoded' does not match 'application/json'",
        ),
        (JSON, "application/json; charset=utf-8", False, None),
        (JSON, "APPLICATION/JSON", False, "Content-type 'APPLICATION/JSON' does not match 'application/json'"),
        (JSON_REQUIRED, None, True, "Empty content-type"),
        (JSON_REQUIRED, "application/json", True, None),
        (InputRules(content_type="text/*"), "text/plain", False, None),
        (
            InputRules(content_type="text/*"),
            "application/json",
            False,
            "Content-type 'application/json' does not match 'text/*'",
        ),
        (InputRules(content_type="*/*"), "image/png", True, None),
        (InputRules(content_type="*/*", json_schema={}), "image/png", True, "Empty body not allowed"),
    ],
)
def test_input_rules(rules: InputRules, content_type: str | None, is_empty: bool, violation: str | None) -> None:
    assert rules.violation(content_type, is_empty=is_empty) == violation


def test_input_and_output_of_a_manifest() -> None:
    declared = {"required": True, "contentType": "text/*", "jsonSchema": {"type": "string"}}
    output = {"contentType": "text/plain", "setContentTypeIfEmpty": True, "jsonSchema": True}
    handler = one_handler(endpoint(service({"name": "h", "input": declared, "output": output})))
    assert handler.input == InputRules(True, "text/*", {"type": "string"})
    assert handler.output == OutputRules("text/plain", True, True)
    assert one_handler(endpoint(service({"name": "h", "input": {}, "output": {}}))).input == InputRules()


def test_content_type_of_a_result() -> None:
    assert DEFAULT_OUTPUT.content_type_for(is_empty=False) == "application/json"
    assert DEFAULT_OUTPUT.content_type_for(is_empty=True) is None
    assert OutputRules("text/plain", True).content_type_for(is_empty=True) == "text/plain"
    assert OutputRules().content_type_for(is_empty=False) is None


def test_a_manifest_of_any_size_takes_linear_time_and_is_bounded() -> None:
    """20,000 services took 6 s, 100,000 took two minutes: each name was counted in the list of all."""
    many = [service(name=f"S{number}") for number in range(20_000)]
    started = time.process_time()
    assert "20000 services, more than the 1000" in refusal(endpoint(*many))
    crowded = service(*({"name": f"h{number}"} for number in range(HANDLERS_MAX + 1)))
    assert f"{HANDLERS_MAX + 1} handlers" in refusal(endpoint(crowded))
    at_the_limit = endpoint(*many[:SERVICES_MAX], service(*crowded["handlers"][:-1], name="S0"))
    assert f"{SERVICES_MAX + 1} services" in refusal(at_the_limit)
    full = endpoint(*many[: SERVICES_MAX - 1], service(*crowded["handlers"][:-1], name="Full"))
    assert len(parse_manifest(full).services) == SERVICES_MAX
    assert time.process_time() - started < 5


@pytest.mark.parametrize("part", ["service", "handler"])
def test_a_name_is_short_enough_for_a_message(part: str) -> None:
    name = "n" * (MANIFEST_NAME_CHARS_MAX + 1)
    body = endpoint(service(name=name) if part == "service" else service({"name": name}))
    message = refusal(body)
    assert "256 characters" in message and len(message) < 150


@pytest.mark.parametrize("end", ["\\r", "\\r\\nx-injected: 1", "; a=\\u0085", "\\u001b[2J"])
def test_a_content_type_is_visible_ascii(end: str) -> None:
    """It is sent to callers as a header."""
    body = endpoint(service({"name": "h", "output": {"contentType": "text/plain@"}})).replace(b"@", end.encode())
    assert "is not a content type" in refusal(body)


def test_json_that_is_too_deep_is_no_manifest() -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    assert "not an endpoint manifest" in refusal(endpoint(metadata="@").replace(b'"@"', deep))
