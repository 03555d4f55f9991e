"""Services and deployments as JSON: what is left out, what is filled in, revisions that are no longer the latest."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from rewake.admin.openapi import service_openapi
from rewake.admin.render import deployment_detail_json, deployment_item_json, handler_json, service_json
from rewake.core.ids import DeploymentId
from rewake.core.model import Deployment, HandlerOptions
from rewake.core.registry import schema_of
from rewake.protocol.discovery import (
    HandlerKind,
    HandlerManifest,
    InputRules,
    OutputRules,
    ServiceManifest,
    ServiceType,
    parse_manifest,
)

DEFAULTS = HandlerOptions()
MANIFEST = msgspec.json.encode(
    {
        "protocolMode": "BIDI_STREAM",
        "minProtocolVersion": 5,
        "maxProtocolVersion": 7,
        "services": [
            {
                "name": "Flow",
                "ty": "WORKFLOW",
                "documentation": "Signs up.",
                "journalRetention": 0,
                "handlers": [
                    {
                        "name": "run",
                        "ty": "WORKFLOW",
                        "workflowCompletionRetention": 7_200_000,
                        "inactivityTimeout": 3_000,
                        "abortTimeout": 0,
                        "enableLazyState": True,
                        "metadata": {"a": "b"},
                        "retryPolicyInitialInterval": 100,
                        "retryPolicyExponentiationFactor": 1.5,
                        "retryPolicyMaxAttempts": 3,
                        "retryPolicyMaxInterval": 60_000,
                        "retryPolicyOnMaxAttempts": "KILL",
                    }
                ],
            }
        ],
    }
)


def deployment(**changes: Any) -> Deployment:
    fields: dict[str, Any] = {
        "id": "dp_1",
        "kind": "worker",
        "uri": "worker:app",
        "protocol_type": "bidi",
        "min_protocol_version": 5,
        "max_protocol_version": 7,
        "sdk_version": "x/1",
        "created_at_ms": 0,
        "manifest": MANIFEST,
        "services": {"Flow": 1},
    }
    return Deployment(**(fields | changes))


def handler(**facts: Any) -> dict[str, Any]:
    manifest = ServiceManifest(name="S", ty=ServiceType.SERVICE, handlers=(HandlerManifest(name="h", **facts),))
    return handler_json(schema_of(manifest, DeploymentId("dp_1"), 1, DEFAULTS).handlers["h"])


def test_a_handler_shows_what_it_sets_itself() -> None:
    (service,) = parse_manifest(MANIFEST).services
    shown = service_json(schema_of(service, DeploymentId("dp_1"), 4, DEFAULTS), deployment())
    assert shown["handlers"] == [
        {
            "name": "run",
            "ty": "Workflow",
            "metadata": {"a": "b"},
            "inactivity_timeout": "3s",
            "abort_timeout": "0s",
            "enable_lazy_state": True,
            "public": True,
            "input_description": "any",
            "output_description": "application/json",
            "retry_policy": {
                "initial_interval": "100ms",
                "exponentiation_factor": 1.5,
                "max_attempts": 3,
                "max_interval": "1m",
                "on_max_attempts": "Kill",
            },
        }
    ]
    assert (shown["documentation"], shown["revision"]) == ("Signs up.", 4)
    assert (shown["journal_retention"], shown["workflow_completion_retention"]) == ("0s", "2h")
    assert (shown["inactivity_timeout"], shown["abort_timeout"]) == ("1m", "10m")


@pytest.mark.parametrize(
    ("schema", "content_type", "described"),
    [
        ({"title": "Claim", "type": "object"}, "application/json", "JSON 'Claim'"),
        ({"type": "integer"}, "application/json", "JSON integer"),
        ({"type": ["string", "null"]}, "application/json", "application/json"),
        ({"anyOf": []}, "application/json", "application/json"),
        (True, "text/*", "text/*"),
        (None, None, "none"),
    ],
)
def test_payloads_are_described(schema: Any, content_type: str | None, described: str) -> None:
    shown = handler(
        input=InputRules(content_type=content_type, json_schema=schema),
        output=OutputRules(content_type, json_schema=schema),
    )
    assert shown["input_description"] == shown["output_description"] == described
    assert shown.get("input_json_schema") == shown.get("output_json_schema") == schema


def test_a_request_response_deployment_suspends_at_once() -> None:
    (service,) = parse_manifest(MANIFEST).services
    half_duplex = deployment(protocol_type="request_response", http_version="HTTP/1.1")
    assert (
        service_json(schema_of(service, DeploymentId("dp_1"), 1, DEFAULTS), half_duplex)["inactivity_timeout"] == "0s"
    )
    shown = deployment_item_json(half_duplex)
    assert (shown["protocol_type"], shown["http_version"]) == ("RequestResponse", "HTTP/1.1")


def test_maps_of_a_deployment_are_shown_when_they_hold_something() -> None:
    assert not {"metadata", "additional_headers"} & set(deployment_item_json(deployment()))
    shown = deployment_item_json(deployment(metadata={"team": "x"}, additional_headers={"x-a": "b"}))
    assert (shown["metadata"], shown["additional_headers"]) == ({"team": "x"}, {"x-a": "b"})
    secret = deployment_item_json(deployment(additional_headers={"authorization": "Bearer x", "x-a": "b"}))
    assert secret["additional_headers"] == {"authorization": "[redacted]", "x-a": "b"}


def test_a_replaced_revision_is_shown_as_its_manifest_has_it() -> None:
    newer = ServiceManifest(
        name="Flow",
        ty=ServiceType.WORKFLOW,
        handlers=(HandlerManifest(name="other", ty="SHARED", kind=HandlerKind.SHARED),),
    )
    latest = {"Flow": schema_of(newer, DeploymentId("dp_2"), 2, DEFAULTS)}
    (shown,) = deployment_detail_json(deployment(), latest, DEFAULTS)["services"]
    assert (shown["revision"], shown["deployment_id"]) == (1, "dp_1")
    assert [each["name"] for each in shown["handlers"]] == ["run"]


def test_the_description_of_a_handler_that_takes_anything() -> None:
    manifest = ServiceManifest(
        name="S", ty=ServiceType.SERVICE, documentation="Docs.", handlers=(HandlerManifest(name="h"),)
    )
    described = service_openapi(schema_of(manifest, DeploymentId("dp_1"), 1, DEFAULTS), "http://x/")
    call = described["paths"]["/restate/call/S/h"]["post"]
    assert call["requestBody"] == {"content": {"*/*": {}}, "required": False}
    assert call["responses"]["200"]["content"] == {"application/json": {}}
    assert described["info"]["description"] == "Docs."
