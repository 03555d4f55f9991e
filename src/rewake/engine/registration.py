"""Registration: ask a deployment what it serves and make that the latest revision.

A local deployment (a worker of ours, or the app in this process) is registered by its address each time it starts; the
same manifest changes nothing, so running invocations stay pinned to the same deployment id across restarts.
"""

from __future__ import annotations

import os

import msgspec

from rewake.core.commands import RegisterDeployment
from rewake.core.ids import deployment_id_to_str, ulid_bytes
from rewake.core.model import Deployment
from rewake.core.registry import schemas_of
from rewake.core.settings import Settings
from rewake.core.state import State
from rewake.deployments.base import DiscoveryResponse, ProtocolType
from rewake.protocol.discovery import parse_manifest


def plan_registration(
    state: State,
    discovery: DiscoveryResponse,
    *,
    uri: str,
    kind: str,
    protocol_type: ProtocolType,
    settings: Settings,
    now_ms: int,
) -> RegisterDeployment | str:
    """The command that registers what was discovered, token 0; or the known deployment's id when nothing changed.

    Raises ManifestError for a manifest that cannot be used.
    """
    manifest = parse_manifest(discovery.body)
    known = next((item for item in state.deployments.values() if item.uri == uri), None)
    if known is not None and known.manifest == discovery.body:
        return known.id
    deployment_id = known.id if known else deployment_id_to_str(ulid_bytes(now_ms, os.urandom(10)))
    services = schemas_of(manifest, deployment_id, state.services, settings.defaults)
    deployment = Deployment(
        id=deployment_id,
        kind=kind,
        uri=uri,
        protocol_type=protocol_type,
        min_protocol_version=manifest.min_protocol_version,
        max_protocol_version=manifest.max_protocol_version,
        sdk_version=discovery.server or "unknown",
        created_at_ms=known.created_at_ms if known else now_ms,
        manifest=discovery.body,
        services={service.name: service.revision for service in services},
    )
    return RegisterDeployment(now_ms=now_ms, token=0, deployment=deployment, services=services)


def with_token(command: RegisterDeployment, token: int) -> RegisterDeployment:
    return msgspec.structs.replace(command, token=token)
