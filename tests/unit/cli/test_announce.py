"""The curl lines `rewake run` prints: paths by the kind of service, bodies by the handler's schema."""

from __future__ import annotations

from typing import Any

import pytest

from rewake.cli.announce import curl_lines, example_of
from rewake.core.ids import DeploymentId
from rewake.core.model import HandlerOptions, HandlerSchema, ServiceSchema
from rewake.protocol.discovery import HandlerKind, ServiceType


def handler(name: str, kind: HandlerKind, given: dict[str, Any], *, public: bool = True) -> HandlerSchema:
    return HandlerSchema(name, kind, HandlerOptions(public=public), {"input": given})


def service(name: str, kind: ServiceType, *handlers: HandlerSchema) -> ServiceSchema:
    return ServiceSchema(
        name, kind, 1, DeploymentId("dp_1"), {each.name: each for each in handlers}, HandlerOptions(), {}
    )


def test_lines() -> None:
    text = {"contentType": "application/json", "jsonSchema": {"type": "string"}}
    desk = service(
        "Desk",
        ServiceType.VIRTUAL_OBJECT,
        handler("message", HandlerKind.EXCLUSIVE, text),
        handler("agent", HandlerKind.SHARED, {}),
        handler("hidden", HandlerKind.SHARED, {}, public=False),
    )
    assert list(curl_lines({"Desk": desk}, "localhost:8080")) == [
        "curl localhost:8080/Desk/my-key/agent",
        "curl localhost:8080/Desk/my-key/message --json '\"text\"'",
    ]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer"}, 1),
        ({"type": "array", "items": {"type": "boolean"}}, [True]),
        ({"enum": ["car", "medical"]}, "car"),
        ({"anyOf": [{"type": "number"}, {"type": "null"}]}, 1.5),
        ({"type": ["null", "string"]}, None),
        ({"type": "object", "properties": {"a": {"type": "string"}, "b": {}}, "required": ["a"]}, {"a": "text"}),
        ({"$ref": "#/$defs/Claim", "$defs": {"Claim": {"properties": {"n": {"type": "integer"}}}}}, {"n": 1}),
        ({"$ref": "#/$defs/Loop", "$defs": {"Loop": {"$ref": "#/$defs/Loop"}}}, "text"),
        ({}, "text"),
        (None, "text"),
    ],
)
def test_example_of(schema: Any, value: Any) -> None:
    assert example_of(schema) == value
