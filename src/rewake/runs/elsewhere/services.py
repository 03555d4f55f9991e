"""Services from `GET /services` of an admin API become schemas.

This is the reverse of admin/render.py: a handler inherits from its service what it does not set itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rewake.core.ids import DeploymentId
from rewake.core.model import HandlerOptions, HandlerSchema, OnMaxAttempts, RetryPolicy, ServiceSchema
from rewake.durations import DurationError, parse_duration_ms
from rewake.protocol.discovery import HandlerKind, ServiceType

_TYPES: Final = {
    "Service": ServiceType.SERVICE,
    "VirtualObject": ServiceType.VIRTUAL_OBJECT,
    "Workflow": ServiceType.WORKFLOW,
}
_KINDS: Final = {
    "Exclusive": HandlerKind.EXCLUSIVE,
    "Shared": HandlerKind.SHARED,
    "Workflow": HandlerKind.WORKFLOW,
}
_NOT_A_CONTENT_TYPE: Final = ("none", "any")


def service_from(told: Mapping[str, Any]) -> ServiceSchema:
    """The latest revision of a service."""
    options = _options(told, HandlerOptions())
    return ServiceSchema(
        name=told["name"],
        type=_TYPES.get(told.get("ty", ""), ServiceType.SERVICE),
        revision=told.get("revision") or 0,
        deployment_id=DeploymentId(told.get("deployment_id") or ""),
        handlers={item["name"]: _handler(item, options) for item in told.get("handlers", [])},
        options=options,
        manifest=_described(told),
    )


def _handler(told: Mapping[str, Any], options: HandlerOptions) -> HandlerSchema:
    manifest = _described(told)
    for side in ("input", "output"):
        rules = _payload(told.get(f"{side}_description") or "none", told.get(f"{side}_json_schema"))
        if rules is not None:
            manifest[side] = rules
    kind = _KINDS.get(told.get("ty", ""), HandlerKind.PLAIN)
    return HandlerSchema(told["name"], kind, _options(told, options), manifest)


def _described(told: Mapping[str, Any]) -> dict[str, Any]:
    return {name: told[name] for name in ("documentation", "metadata") if told.get(name)}


def _payload(description: str, schema: Any) -> dict[str, Any] | None:
    """Rules in a manifest's form; None if every payload is allowed."""
    if schema is not None:
        return {"jsonSchema": schema}
    if description in _NOT_A_CONTENT_TYPE:
        return None if description == "any" else {}
    return {"contentType": description}


def _options(told: Mapping[str, Any], base: HandlerOptions) -> HandlerOptions:
    """The given fields, over `base`."""
    return HandlerOptions(
        inactivity_timeout_ms=_millis(told.get("inactivity_timeout"), base.inactivity_timeout_ms),
        abort_timeout_ms=_millis(told.get("abort_timeout"), base.abort_timeout_ms),
        journal_retention_ms=_millis(told.get("journal_retention"), base.journal_retention_ms),
        idempotency_retention_ms=_millis(told.get("idempotency_retention"), base.idempotency_retention_ms),
        workflow_retention_ms=_millis(told.get("workflow_completion_retention"), base.workflow_retention_ms),
        enable_lazy_state=bool(told.get("enable_lazy_state", base.enable_lazy_state)),
        public=bool(told.get("public", base.public)),
        retry=_retry(told.get("retry_policy") or {}, base.retry),
    )


def _retry(told: Mapping[str, Any], base: RetryPolicy) -> RetryPolicy:
    """The retry policy. A service sets all fields; a handler's `max_attempts` is null if it is inherited."""
    is_whole = "initial_interval" in told and "on_max_attempts" in told
    attempts = told.get("max_attempts")
    when_used_up = str(told.get("on_max_attempts", base.on_max_attempts)).upper()
    return RetryPolicy(
        initial_interval_ms=_millis(told.get("initial_interval"), base.initial_interval_ms),
        exponentiation_factor=told.get("exponentiation_factor", base.exponentiation_factor),
        max_interval_ms=_millis(told.get("max_interval"), base.max_interval_ms),
        max_attempts=base.max_attempts if attempts is None and not is_whole else attempts,
        on_max_attempts=OnMaxAttempts.KILL if when_used_up == OnMaxAttempts.KILL else OnMaxAttempts.PAUSE,
    )


def _millis(text: str | None, otherwise: int) -> int:
    try:
        return otherwise if text is None else parse_duration_ms(text)
    except DurationError:
        return otherwise
