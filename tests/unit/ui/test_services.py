"""What the pages of services show of a manifest that a deployment gave."""

from __future__ import annotations

import json

from rewake import formats
from rewake.core.ids import DeploymentId
from rewake.core.model import HandlerOptions
from rewake.core.registry import schema_of
from rewake.protocol.discovery import parse_manifest
from rewake.ui.services import DOCUMENTATION_CHARS_MAX, _schema, _service_row


def test_a_manifest_of_megabytes_makes_no_page_of_megabytes() -> None:
    schema = {"enum": [f"value {number}" for number in range(100_000)]}
    handler = {"name": "h", "documentation": "y" * 1_000_000, "output": {"jsonSchema": schema}}
    service = {"name": "S", "ty": "SERVICE", "documentation": "x" * 1_000_000, "handlers": [handler]}
    endpoint = {"protocolMode": "BIDI_STREAM", "minProtocolVersion": 5, "maxProtocolVersion": 7, "services": [service]}
    (manifest,) = parse_manifest(json.dumps(endpoint).encode()).services
    found = schema_of(manifest, DeploymentId("dp_1"), 1, HandlerOptions())
    row = _service_row(found)
    assert len(row.documentation) == len(row.handlers[0].documentation) == DOCUMENTATION_CHARS_MAX
    assert len(_schema(found.handlers["h"].manifest["output"])) == formats.SHOWN_CHARS_MAX
    assert _schema(None) == _schema({}) == ""
