"""Services: what is registered, changing settings, replacing the state of a key (http-api.md 2.3)."""

from __future__ import annotations

from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from rewake.admin.engine_port import EnginePort
from rewake.admin.openapi import service_openapi
from rewake.admin.refusals import Refused, handler_not_found, service_not_found
from rewake.admin.render import SERVICE_TYPES, handler_json, service_json
from rewake.admin.requests import Duration, duration_ms, json_response, read_json
from rewake.core.effects import ReplyStatus
from rewake.core.model import HandlerSchema, ServiceSchema
from rewake.disclosure import require_whole
from rewake.errors import ErrorCode
from rewake.protocol.discovery import ServiceType
from rewake.protocol.messages import Failure, Success

Byte = Annotated[int, msgspec.Meta(ge=0, le=255)]
REJECTED_CODE = 500
"""Of a promise that fails by hand, as of an awakeable."""


class ServicePatch(msgspec.Struct):
    """Settings to change; None leaves one as it is."""

    public: bool | None = None
    idempotency_retention: Duration | None = None
    workflow_completion_retention: Duration | None = None
    journal_retention: Duration | None = None
    inactivity_timeout: Duration | None = None
    abort_timeout: Duration | None = None


class StateChange(msgspec.Struct):
    """All state of a key. Values: lists of byte numbers, or strings, which stand for their UTF-8 bytes."""

    object_key: str
    new_state: dict[str, list[Byte] | str]
    version: str | None = None
    scope: str | None = None


class PromiseResult(msgspec.Struct):
    """The result of a workflow's promise: `value`, any JSON, or `failure`, the message it fails with."""

    workflow_key: str
    name: str
    value: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    failure: str | msgspec.UnsetType = msgspec.UNSET


class Services:
    """Endpoints under /services."""

    def __init__(self, engine: EnginePort, ingress_url: str) -> None:
        self._engine = engine
        self._ingress_url = ingress_url

    async def list(self, request: Request) -> Response:
        """All services."""
        return json_response({"services": [self._shown(service) for service in self._engine.services.values()]})

    async def get(self, request: Request) -> Response:
        """One service."""
        return json_response(self._shown(self._service(request)))

    async def patch(self, request: Request) -> Response:
        """Change settings of a service's latest revision; a new registration puts the SDK's values back."""
        changes = await read_json(request, ServicePatch)
        service = self._service(request)
        if changes.workflow_completion_retention is not None and service.type is not ServiceType.WORKFLOW:
            message = f"modifying retention time for service type {SERVICE_TYPES[service.type]} is unsupported"
            raise Refused(400, ErrorCode.REQUEST_INVALID, message, "Only workflows have a completion retention.")
        durations = {
            f"{field.removesuffix('_ms')}_ms": duration_ms(field, getattr(changes, field))
            for field in ("idempotency_retention", "journal_retention", "inactivity_timeout", "abort_timeout")
        }
        workflow_ms = duration_ms("workflow_completion_retention", changes.workflow_completion_retention)
        changed = await self._engine.update_service(
            service.name, public=changes.public, workflow_retention_ms=workflow_ms, **durations
        )
        return json_response(self._shown(changed))

    async def handlers(self, request: Request) -> Response:
        """The handlers of a service."""
        return json_response({"handlers": [handler_json(each) for each in self._service(request).handlers.values()]})

    async def handler(self, request: Request) -> Response:
        """One handler."""
        return json_response(handler_json(self._handler(request)))

    async def openapi(self, request: Request) -> Response:
        """OpenAPI description of how to call a service."""
        return json_response(service_openapi(self._service(request), self._ingress_url))

    async def modify_state(self, request: Request) -> Response:
        """Replace the whole state of an object or workflow key, after the runs that hold it or wait for it."""
        change = await read_json(request, StateChange)
        name = request.path_params["service"]
        service = self._engine.services.get(name)
        if service is None and change.new_state:
            raise service_not_found(name)
        if service is not None and not service.is_keyed:
            message = f"Cannot modify state for service type {SERVICE_TYPES[service.type]}"
            raise Refused(400, ErrorCode.REQUEST_INVALID, message, "Only virtual objects and workflows have state.")
        if change.scope is not None:
            raise Refused(400, ErrorCode.SCOPE_UNSUPPORTED, "Scopes are not supported", "Leave the scope out.")
        new_state = {
            key.encode(): value.encode() if isinstance(value, str) else bytes(value)
            for key, value in change.new_state.items()
        }
        for value in new_state.values():
            require_whole(value)
        await self._engine.mutate_state(name, change.object_key, new_state, change.version)
        return Response(status_code=202)

    async def complete_promise(self, request: Request) -> Response:
        """Resolve or reject a promise of a workflow key, once."""
        given = await read_json(request, PromiseResult)
        service = self._service(request)
        if service.type is not ServiceType.WORKFLOW:
            message = f"Cannot complete promises of service type {SERVICE_TYPES[service.type]}"
            raise Refused(400, ErrorCode.REQUEST_INVALID, message, "Only workflows have promises.")
        status = await self._engine.complete_promise(service.name, given.workflow_key, given.name, _outcome(given))
        promise = f"'{given.name}' of '{service.name}/{given.workflow_key}'"
        if status is ReplyStatus.NOT_FOUND:
            message = f"The workflow '{service.name}/{given.workflow_key}' has not been started"
            raise Refused(404, ErrorCode.INVOCATION_NOT_FOUND, message, "Start it first; its result may be forgotten.")
        if status is ReplyStatus.ALREADY_COMPLETED:
            hint = "The first completion counts: sys_promise shows it."
            raise Refused(409, ErrorCode.OPERATION_CONFLICT, f"The promise {promise} was already completed", hint)
        return Response(status_code=202)

    def _shown(self, service: ServiceSchema) -> dict[str, object]:
        return service_json(service, self._engine.deployments.get(service.deployment_id))

    def _service(self, request: Request) -> ServiceSchema:
        name = request.path_params["service"]
        service = self._engine.services.get(name)
        if service is None:
            raise service_not_found(name)
        return service

    def _handler(self, request: Request) -> HandlerSchema:
        service, handler = request.path_params["service"], request.path_params["handler"]
        schema = self._engine.services.get(service)
        if schema is None or handler not in schema.handlers:
            raise handler_not_found(service, handler)
        return schema.handlers[handler]


def _outcome(given: PromiseResult) -> Success | Failure:
    """What the body says. Raises Refused unless it says one of the two."""
    if isinstance(given.failure, msgspec.UnsetType) and not isinstance(given.value, msgspec.UnsetType):
        return Success(bytes(given.value))
    if isinstance(given.value, msgspec.UnsetType) and not isinstance(given.failure, msgspec.UnsetType):
        return Failure(REJECTED_CODE, given.failure)
    hint = '{"workflow_key": "...", "name": "...", "value": true} or "failure": "..." in place of the value.'
    raise Refused(400, ErrorCode.REQUEST_INVALID, "The body must have either 'value' or 'failure'", hint)
