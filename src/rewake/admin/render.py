"""Services, handlers and deployments as the admin API shows them (http-api.md 2.2, 2.3). Pure.

Absent and empty facts are left out, but for those clients rely on. Settings of a service are the effective ones, of a
handler only those it sets itself.
"""

from __future__ import annotations

from typing import Any, Final

from rewake.core.model import Deployment, HandlerOptions, HandlerSchema, RetryPolicy, ServiceSchema
from rewake.core.registry import schema_of
from rewake.durations import format_duration
from rewake.protocol.discovery import HandlerKind, ServiceType, parse_manifest
from rewake.redaction import masked
from rewake.timestamps import rfc3339_nanos

SERVICE_TYPES: Final = {
    ServiceType.SERVICE: "Service",
    ServiceType.VIRTUAL_OBJECT: "VirtualObject",
    ServiceType.WORKFLOW: "Workflow",
}
HANDLER_TYPES: Final = {
    HandlerKind.EXCLUSIVE: "Exclusive",
    HandlerKind.SHARED: "Shared",
    HandlerKind.WORKFLOW: "Workflow",
}
_HANDLER_DURATIONS: Final = {
    "idempotencyRetention": "idempotency_retention",
    "journalRetention": "journal_retention",
    "inactivityTimeout": "inactivity_timeout",
    "abortTimeout": "abort_timeout",
}
_REQUEST_RESPONSE: Final = "request_response"


def service_json(service: ServiceSchema, deployment: Deployment | None) -> dict[str, Any]:
    options = service.options
    is_request_response = deployment is not None and deployment.protocol_type == _REQUEST_RESPONSE
    shown: dict[str, Any] = {
        "name": service.name,
        "ty": SERVICE_TYPES[service.type],
        "handlers": [handler_json(handler) for handler in service.handlers.values()],
        **_described(service.manifest),
        "deployment_id": service.deployment_id,
        "revision": service.revision,
        "public": options.public,
        "idempotency_retention": format_duration(options.idempotency_retention_ms),
    }
    if service.type is ServiceType.WORKFLOW:
        shown["workflow_completion_retention"] = format_duration(_run_options(service).workflow_retention_ms)
    return shown | {
        "journal_retention": format_duration(options.journal_retention_ms),
        "inactivity_timeout": format_duration(0 if is_request_response else options.inactivity_timeout_ms),
        "abort_timeout": format_duration(options.abort_timeout_ms),
        "enable_lazy_state": options.enable_lazy_state,
        "retry_policy": _retry_policy_json(options.retry),
    }


def handler_json(handler: HandlerSchema) -> dict[str, Any]:
    manifest = handler.manifest
    shown: dict[str, Any] = {"name": handler.name}
    if handler.kind in HANDLER_TYPES:
        shown["ty"] = HANDLER_TYPES[handler.kind]
    shown |= _described(manifest)
    for name, shown_name in _HANDLER_DURATIONS.items():
        if manifest.get(name) is not None:
            shown[shown_name] = format_duration(manifest[name])
    if manifest.get("enableLazyState") is not None:
        shown["enable_lazy_state"] = manifest["enableLazyState"]
    shown["public"] = handler.options.public
    for side in ("input", "output"):
        shown[f"{side}_description"] = _payload_description(manifest.get(side) or {})
    for side in ("input", "output"):
        schema = (manifest.get(side) or {}).get("jsonSchema")
        if schema is not None:
            shown[f"{side}_json_schema"] = schema
    shown["retry_policy"] = _own_retry_policy_json(manifest)
    return shown


def deployment_json(deployment: Deployment) -> dict[str, Any]:
    """A deployment without its services."""
    is_request_response = deployment.protocol_type == _REQUEST_RESPONSE
    shown: dict[str, Any] = {
        "id": deployment.id,
        "uri": deployment.uri,
        "protocol_type": "RequestResponse" if is_request_response else "BidiStream",
        "http_version": deployment.http_version,
    }
    if deployment.additional_headers:
        shown["additional_headers"] = masked(deployment.additional_headers)
    if deployment.metadata:
        shown["metadata"] = deployment.metadata
    return shown | {
        "created_at": rfc3339_nanos(deployment.created_at_ms),
        "min_protocol_version": deployment.min_protocol_version,
        "max_protocol_version": deployment.max_protocol_version,
        "sdk_version": deployment.sdk_version,
    }


def deployment_item_json(deployment: Deployment) -> dict[str, Any]:
    """As in the list: services by name and revision."""
    services = [{"name": name, "revision": revision} for name, revision in deployment.services.items()]
    return deployment_json(deployment) | {"services": services}


def deployment_detail_json(
    deployment: Deployment, latest: dict[str, ServiceSchema], defaults: HandlerOptions
) -> dict[str, Any]:
    """With full services: the registered ones, and for revisions since replaced what the manifest says."""
    manifest = {service.name: service for service in parse_manifest(deployment.manifest).services}
    services = []
    for name, revision in deployment.services.items():
        service = latest.get(name)
        if service is None or service.deployment_id != deployment.id or service.revision != revision:
            service = schema_of(manifest[name], deployment.id, revision, defaults)
        services.append(service_json(service, deployment))
    return deployment_json(deployment) | {"services": services}


def _described(manifest: dict[str, Any]) -> dict[str, Any]:
    return {name: manifest[name] for name in ("documentation", "metadata") if manifest.get(name)}


def _run_options(service: ServiceSchema) -> HandlerOptions:
    """Options of a workflow's run handler, which alone may set the workflow retention."""
    runs = (handler.options for handler in service.handlers.values() if handler.kind is HandlerKind.WORKFLOW)
    return next(runs, service.options)


def _payload_description(rules: dict[str, Any]) -> str:
    schema = rules.get("jsonSchema")
    if isinstance(schema, dict):
        if isinstance(schema.get("title"), str):
            return f"JSON '{schema['title']}'"
        if isinstance(schema.get("type"), str):
            return f"JSON {schema['type']}"
    return "any" if rules.get("_acceptsAll") else rules.get("contentType") or "none"


def _retry_policy_json(policy: RetryPolicy) -> dict[str, Any]:
    return {
        "initial_interval": format_duration(policy.initial_interval_ms),
        "exponentiation_factor": policy.exponentiation_factor,
        "max_attempts": policy.max_attempts,
        "max_interval": format_duration(policy.max_interval_ms),
        "on_max_attempts": policy.on_max_attempts.capitalize(),
    }


def _own_retry_policy_json(manifest: dict[str, Any]) -> dict[str, Any]:
    """What a handler sets of its retry policy; max_attempts is always there."""
    shown: dict[str, Any] = {}
    if manifest.get("retryPolicyInitialInterval") is not None:
        shown["initial_interval"] = format_duration(manifest["retryPolicyInitialInterval"])
    if manifest.get("retryPolicyExponentiationFactor") is not None:
        shown["exponentiation_factor"] = manifest["retryPolicyExponentiationFactor"]
    shown["max_attempts"] = manifest.get("retryPolicyMaxAttempts")
    if manifest.get("retryPolicyMaxInterval") is not None:
        shown["max_interval"] = format_duration(manifest["retryPolicyMaxInterval"])
    if manifest.get("retryPolicyOnMaxAttempts") is not None:
        shown["on_max_attempts"] = str(manifest["retryPolicyOnMaxAttempts"]).capitalize()
    return shown
