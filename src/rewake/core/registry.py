"""The registry: deployments, and the latest revision of each service.

A registration makes its services' new revisions the latest ones; invocations with stored commands stay pinned to their
deployment. This file computes the effective settings of handlers, once: handler, else service, else engine default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from rewake.core.commands import RegisterDeployment, RemoveDeployment, UpdateService
from rewake.core.effects import Reply, ReplyStatus
from rewake.core.ids import DeploymentId
from rewake.core.model import HandlerOptions, HandlerSchema, OnMaxAttempts, RetryPolicy, ServiceSchema
from rewake.core.state import State
from rewake.protocol.discovery import EndpointManifest, HandlerManifest, ServiceManifest

NOTES_PREFIX: Final = "rewake."
"""Prefix of metadata that Rewake writes into a manifest, or that users write for Rewake."""


def schemas_of(
    manifest: EndpointManifest,
    deployment_id: DeploymentId,
    known: dict[str, ServiceSchema],
    defaults: HandlerOptions,
    *,
    force_revision: bool = False,
) -> list[ServiceSchema]:
    """New revisions of a manifest's services. An unchanged service of the same deployment keeps its revision."""
    schemas = []
    for service in manifest.services:
        before = known.get(service.name)
        schema = schema_of(service, deployment_id, 1, defaults)
        if before is not None:
            is_same = before.deployment_id == deployment_id and _is_same(before, schema)
            revision = before.revision if is_same and not force_revision else before.revision + 1
            schema = msgspec.structs.replace(schema, revision=revision)
        schemas.append(schema)
    return schemas


def _is_same(before: ServiceSchema, after: ServiceSchema) -> bool:
    return _without_notes(before.manifest) == _without_notes(after.manifest)


def _without_notes(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest without metadata for display only: a change of that makes no new revision."""
    metadata = manifest.get("metadata") or {}
    kept = {name: value for name, value in metadata.items() if not name.startswith(NOTES_PREFIX)}
    handlers = [_without_notes(handler) for handler in manifest.get("handlers", ())]
    return {**manifest, "metadata": kept, "handlers": handlers}


def schema_of(
    service: ServiceManifest, deployment_id: DeploymentId, revision: int, defaults: HandlerOptions
) -> ServiceSchema:
    options = merge_options(defaults, service)
    handlers = {
        handler.name: HandlerSchema(
            name=handler.name,
            kind=handler.kind,
            options=merge_options(options, handler, service_public=options.public),
            manifest=msgspec.to_builtins(handler),
        )
        for handler in service.handlers
    }
    return ServiceSchema(
        name=service.name,
        type=service.ty,
        revision=revision,
        deployment_id=deployment_id,
        handlers=handlers,
        options=options,
        manifest=msgspec.to_builtins(service),
    )


def under_defaults(service: ServiceSchema, defaults: HandlerOptions) -> ServiceSchema:
    """A stored service with the engine's current defaults, which may differ from those at its registration."""
    manifest = msgspec.convert(service.manifest, ServiceManifest)
    return overridden(schema_of(manifest, service.deployment_id, service.revision, defaults), service.overrides)


def merge_options(
    base: HandlerOptions, own: ServiceManifest | HandlerManifest, *, service_public: bool = True
) -> HandlerOptions:
    """`base` with the options that `own` sets."""
    retry = RetryPolicy(
        initial_interval_ms=_first(own.retry_policy_initial_interval_ms, base.retry.initial_interval_ms),
        exponentiation_factor=_first(own.retry_policy_exponentiation_factor, base.retry.exponentiation_factor),
        max_interval_ms=_first(own.retry_policy_max_interval_ms, base.retry.max_interval_ms),
        max_attempts=_first(own.retry_policy_max_attempts, base.retry.max_attempts),
        on_max_attempts=OnMaxAttempts(_first(own.retry_policy_on_max_attempts, base.retry.on_max_attempts)),
    )
    workflow_retention = getattr(own, "workflow_completion_retention_ms", None)
    return HandlerOptions(
        inactivity_timeout_ms=_first(own.inactivity_timeout_ms, base.inactivity_timeout_ms),
        abort_timeout_ms=_first(own.abort_timeout_ms, base.abort_timeout_ms),
        journal_retention_ms=_first(own.journal_retention_ms, base.journal_retention_ms),
        idempotency_retention_ms=_first(own.idempotency_retention_ms, base.idempotency_retention_ms),
        workflow_retention_ms=_first(workflow_retention, base.workflow_retention_ms),
        enable_lazy_state=_first(own.enable_lazy_state, base.enable_lazy_state),
        public=service_public and not _first(own.ingress_private, not base.public),
        retry=retry,
    )


def _own_options(handler: HandlerSchema, service_options: HandlerOptions) -> HandlerOptions:
    """The service's options with those of the handler's manifest. A private service stays private."""
    manifest = msgspec.convert(handler.manifest, HandlerManifest)
    return merge_options(service_options, manifest, service_public=service_options.public)


def _first(own: Any, inherited: Any) -> Any:
    return inherited if own is None else own


def on_register(state: State, command: RegisterDeployment) -> None:
    """Make a deployment's services the latest ones. Services that it had and no longer serves are removed."""
    deployment_id = command.deployment.id
    state.deployments[deployment_id] = command.deployment
    state.batch.deployments[deployment_id] = command.deployment
    served = {service.name for service in command.services}
    for name in [name for name, item in state.services.items() if item.deployment_id == deployment_id]:
        if name not in served:
            del state.services[name]
            state.batch.services[name] = None
    for service in command.services:
        state.services[service.name] = service
        state.batch.services[service.name] = service
    state.emit(Reply(command.token, ReplyStatus.DONE))


def on_remove(state: State, command: RemoveDeployment) -> None:
    """Remove a deployment. Its latest services fall back to another deployment, or are removed for new calls."""
    if state.deployments.pop(command.deployment_id, None) is None:
        state.emit(Reply(command.token, ReplyStatus.NOT_FOUND))
        return
    state.batch.deployments[command.deployment_id] = None
    for name in [name for name, item in state.services.items() if item.deployment_id == command.deployment_id]:
        del state.services[name]
        state.batch.services[name] = None
    for service in command.restored:
        state.services[service.name] = service
        state.batch.services[service.name] = service
    state.emit(Reply(command.token, ReplyStatus.DONE))


def on_update(state: State, command: UpdateService) -> None:
    if command.service.name not in state.services:
        state.emit(Reply(command.token, ReplyStatus.NOT_FOUND))
        return
    state.services[command.service.name] = command.service
    state.batch.services[command.service.name] = command.service
    state.emit(Reply(command.token, ReplyStatus.DONE))


def overridden(service: ServiceSchema, overrides: dict[str, Any]) -> ServiceSchema:
    """The service with an operator's settings over those of its manifest, for itself and its handlers.

    overrides: `public` and HandlerOptions fields; None leaves a setting alone.
    """
    chosen = {name: value for name, value in overrides.items() if value is not None}
    options = msgspec.structs.replace(service.options, **chosen)
    handlers = {
        name: msgspec.structs.replace(handler, options=_own_options(handler, options))
        for name, handler in service.handlers.items()
    }
    return msgspec.structs.replace(
        service, options=options, handlers=handlers, overrides={**service.overrides, **chosen}
    )
