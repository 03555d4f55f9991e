"""Registration: checks a deployment's manifest and plans the change that makes its services the latest revisions.

Pure: the registry and a discovery answer give the command that changes the registry, or an error. A local deployment
(our worker, or the app in this process) is registered by its address at each start. An equal manifest changes nothing,
so invocations stay pinned to the same deployment id across restarts. http_deployments.py connects to URLs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from rewake.core.commands import RegisterDeployment
from rewake.core.ids import DeploymentId, deployment_id_to_str, ulid_bytes
from rewake.core.model import Deployment, ServiceSchema
from rewake.core.registry import schema_of, schemas_of
from rewake.core.settings import PROTOCOL_VERSION_MIN, Settings
from rewake.core.state import State
from rewake.deployments.base import DiscoveryResponse, ProtocolType
from rewake.errors import ErrorCode, RewakeError
from rewake.protocol.discovery import (
    RESERVED_NAME,
    UNSUPPORTED_PROTOCOL,
    EndpointManifest,
    ManifestError,
    ServiceManifest,
    choose_protocol_version,
    parse_manifest,
)

META_CODES: Final[Mapping[ErrorCode, tuple[int, str | None]]] = {
    ErrorCode.DEPLOYMENT_UNREACHABLE: (500, "META0003"),
    ErrorCode.DEPLOYMENT_TLS_FAILED: (500, "META0003"),
    ErrorCode.DISCOVERY_REFUSED: (500, "META0003"),
    ErrorCode.DISCOVERY_INVALID: (500, "META0013"),
    ErrorCode.DEPLOYMENT_NOT_HTTP2: (500, "META0014"),
    ErrorCode.PROTOCOL_VERSION_UNSUPPORTED: (500, "META0012"),
    ErrorCode.SERVICE_TYPE_CHANGED: (409, "META0006"),
    ErrorCode.SERVICE_NAME_RESERVED: (400, "META0005"),
    ErrorCode.DEPLOYMENT_ADDRESS_INVALID: (400, None),
    ErrorCode.DEPLOYMENT_HEADER_INVALID: (422, None),
    ErrorCode.DEPLOYMENT_IN_USE: (409, None),
    ErrorCode.DEPLOYMENT_LOCAL: (409, None),
}
"""Errors of registration in the public admin API: HTTP status and documented code (http-api.md 2.2)."""

RegistrationStatus = Literal["created", "unchanged", "overwritten"]


class RegistrationResult(msgspec.Struct, frozen=True):
    """The result of a registration or a dry run. services: the deployment's revisions, in the manifest's order."""

    status: RegistrationStatus
    deployment: Deployment
    services: list[ServiceSchema]


class Reached(msgspec.Struct, frozen=True, kw_only=True):
    """The address and properties of a deployment that answered discovery."""

    uri: str
    kind: str
    protocol_type: ProtocolType
    http_version: str = "HTTP/2.0"
    additional_headers: dict[str, str] = {}
    metadata: dict[str, str] = {}


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
    """The command that registers a local deployment, token 0; or the id of a known one, if nothing changed.

    Raises ManifestError for a manifest that cannot be used.
    """
    manifest = parse_manifest(discovery.body)
    known = deployment_at(state, uri)
    if known is not None and known.manifest == discovery.body:
        return known.id
    reached = Reached(uri=uri, kind=kind, protocol_type=protocol_type)
    deployment_id = known.id if known else new_deployment_id(now_ms)
    services = schemas_of(manifest, deployment_id, state.services, settings.defaults)
    created_at_ms = known.created_at_ms if known else now_ms
    deployment = _deployment(deployment_id, reached, discovery, manifest, services, created_at_ms)
    return RegisterDeployment(now_ms=now_ms, token=0, deployment=deployment, services=services)


def plan_http(
    state: State,
    discovery: DiscoveryResponse,
    reached: Reached,
    known: Deployment | None,
    *,
    is_breaking_allowed: bool,
    settings: Settings,
    now_ms: int,
) -> RegisterDeployment:
    """The command that registers a deployment reached by URL, with new latest revisions of its services, token 0.

    known: the deployment that it replaces; it keeps that id. Raises RewakeError RW2005, RW2010 to RW2012.
    """
    manifest = checked_manifest(discovery, reached.uri, settings)
    if not is_breaking_allowed:
        _check_types(state.services, manifest)
    deployment_id = known.id if known else new_deployment_id(now_ms)
    services = schemas_of(manifest, deployment_id, state.services, settings.defaults, force_revision=True)
    deployment = _deployment(deployment_id, reached, discovery, manifest, services, now_ms)
    return RegisterDeployment(now_ms=now_ms, token=0, deployment=deployment, services=services)


def plan_overwrite(
    state: State, discovery: DiscoveryResponse, reached: Reached, known: Deployment, *, settings: Settings, now_ms: int
) -> RegisterDeployment:
    """The command that updates a deployment's services from its current manifest, token 0.

    Revision numbers do not change. A service that a newer deployment serves stays with that one.
    """
    manifest = checked_manifest(discovery, reached.uri, settings)
    services, latest = [], []
    for service in manifest.services:
        now = state.services.get(service.name)
        revision = known.services.get(service.name) or (now.revision + 1 if now else 1)
        schema = schema_of(service, known.id, revision, settings.defaults)
        services.append(schema)
        if now is None or now.deployment_id == known.id or service.name not in known.services:
            latest.append(schema)
    deployment = _deployment(known.id, reached, discovery, manifest, services, known.created_at_ms)
    return RegisterDeployment(now_ms=now_ms, token=0, deployment=deployment, services=latest)


def plan_move(
    state: State, discovery: DiscoveryResponse, reached: Reached, known: Deployment, *, settings: Settings, now_ms: int
) -> RegisterDeployment:
    """The command that changes a deployment's address but not its services, token 0."""
    manifest = checked_manifest(discovery, reached.uri, settings)
    moved = msgspec.structs.replace(
        known,
        uri=reached.uri,
        protocol_type=reached.protocol_type,
        http_version=reached.http_version,
        additional_headers=reached.additional_headers,
        min_protocol_version=manifest.min_protocol_version,
        max_protocol_version=manifest.max_protocol_version,
        sdk_version=discovery.server or "unknown",
    )
    services = [service for service in state.services.values() if service.deployment_id == known.id]
    return RegisterDeployment(now_ms=now_ms, token=0, deployment=moved, services=services)


def restored_without(state: State, deployment_id: str, *, settings: Settings) -> list[ServiceSchema]:
    """The services whose latest revision is this deployment's, each as the newest other deployment serves it."""
    restored = []
    manifests: dict[str, dict[str, ServiceManifest]] = {}
    for name in [service.name for service in state.services.values() if service.deployment_id == deployment_id]:
        others = [each for each in state.deployments.values() if each.id != deployment_id and name in each.services]
        if others:
            newest = max(others, key=lambda each: each.services[name])
            if newest.id not in manifests:
                manifests[newest.id] = {each.name: each for each in parse_manifest(newest.manifest).services}
            service = manifests[newest.id][name]
            restored.append(schema_of(service, newest.id, newest.services[name], settings.defaults))
    return restored


def checked_manifest(discovery: DiscoveryResponse, uri: str, settings: Settings) -> EndpointManifest:
    """The manifest, if this engine can run it. Raises RewakeError RW2005, RW2010 or RW2012."""
    try:
        manifest = parse_manifest(discovery.body)
        choose_protocol_version(
            manifest.min_protocol_version,
            manifest.max_protocol_version,
            ours_min=PROTOCOL_VERSION_MIN,
            ours_max=settings.protocol_version_max,
        )
    except ManifestError as error:
        raise manifest_refused(error, uri) from error
    return manifest


def manifest_refused(error: ManifestError, uri: str) -> RewakeError:
    """The error of a registration whose manifest has a fault."""
    where = f"The deployment at {uri!r} cannot be registered.\n{error.message.removesuffix('.')}."
    if error.code == UNSUPPORTED_PROTOCOL:
        hint = "Use a release of its SDK that speaks one of these versions."
        return RewakeError(ErrorCode.PROTOCOL_VERSION_UNSUPPORTED, where, hint)
    if error.code == RESERVED_NAME:
        return RewakeError(ErrorCode.SERVICE_NAME_RESERVED, where, "Give the service another name.")
    return RewakeError(ErrorCode.DISCOVERY_INVALID, where, "Correct the service definitions in its code.")


def _check_types(known: Mapping[str, ServiceSchema], manifest: EndpointManifest) -> None:
    for service in manifest.services:
        before = known.get(service.name)
        if before is not None and before.type is not service.ty:
            raise RewakeError(
                ErrorCode.SERVICE_TYPE_CHANGED,
                f"The service {service.name!r} is registered as {before.type} and would become {service.ty}.\n"
                "State, queues and running invocations of one type mean nothing to another.",
                "Give the new service another name; or register with --breaking, if nothing depends on the old one.",
                service=service.name,
            )


def deployment_at(state: State, uri: str) -> Deployment | None:
    return next((each for each in state.deployments.values() if each.uri == uri), None)


def new_deployment_id(now_ms: int) -> DeploymentId:
    return deployment_id_to_str(ulid_bytes(now_ms, os.urandom(10)))


def _deployment(
    deployment_id: DeploymentId,
    reached: Reached,
    discovery: DiscoveryResponse,
    manifest: EndpointManifest,
    services: list[ServiceSchema],
    created_at_ms: int,
) -> Deployment:
    return Deployment(
        id=deployment_id,
        kind=reached.kind,
        uri=reached.uri,
        protocol_type=reached.protocol_type,
        min_protocol_version=manifest.min_protocol_version,
        max_protocol_version=manifest.max_protocol_version,
        sdk_version=discovery.server or "unknown",
        created_at_ms=created_at_ms,
        manifest=discovery.body,
        services={service.name: service.revision for service in services},
        http_version=reached.http_version,
        additional_headers=reached.additional_headers,
        metadata=reached.metadata,
    )


def with_token(command: RegisterDeployment, token: int) -> RegisterDeployment:
    return msgspec.structs.replace(command, token=token)
