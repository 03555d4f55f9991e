"""The curl lines `rewake run` prints: paths by the kind of service, bodies by the handler's schema."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from rewake.cli.announce import LINES_MAX, announce, curl_lines
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


@pytest.mark.parametrize("more", [0, 2])
def test_only_so_many_handlers_are_printed(more: int) -> None:
    handlers = [handler(f"h{number:02}", HandlerKind.PLAIN, {}) for number in range(LINES_MAX + more)]
    stream = StringIO()
    announce(
        services={"Desk": service("Desk", ServiceType.SERVICE, *handlers)},
        ingress_url="http://[::1]:1/",
        admin_url="http://[::1]:2/",
        asks_tokens=False,
        data=Path("/data"),
        app="app:app",
        worker_pids=[7],
        stream=stream,
    )
    text = stream.getvalue()
    assert text.count("curl [::1]:1/Desk/") == LINES_MAX
    assert ("and 2 more: rewake services list" in text) == bool(more)
