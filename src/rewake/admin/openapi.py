"""OpenAPI descriptions: of a service as the ingress offers it, and of the admin API itself. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from rewake.core.model import HandlerSchema, ServiceSchema
from rewake.protocol.discovery import HandlerKind, ServiceType

OPENAPI_VERSION: Final = "3.1.0"

_Json = dict[str, Any]

_ERROR_SCHEMA: Final[_Json] = {
    "title": "RestateError",
    "type": "object",
    "description": "An error of the ingress, or the terminal error of an invocation.",
    "required": ["message", "source"],
    "properties": {
        "code": {"type": "number", "title": "error code"},
        "message": {"type": "string", "title": "Error message"},
        "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
        "stacktrace": {"type": "string"},
        "source": {
            "type": "string",
            "enum": ["ingress", "invocation"],
            "description": "Who made the error, the ingress or the handler; also in the header x-restate-error-source.",
        },
        "error_code": {"type": "string", "description": "Stable code, on errors of the ingress."},
        "hint": {"type": "string", "description": "What to do, on errors of the ingress."},
        "docs": {"type": "string", "description": "Command that shows the page about the code."},
    },
}
_SEND_SCHEMA: Final[_Json] = {
    "title": "RestateSendResponse",
    "type": "object",
    "required": ["invocationId", "status"],
    "properties": {
        "invocationId": {"type": "string"},
        "status": {"type": "string", "enum": ["Accepted", "PreviouslyAccepted"]},
        "executionTime": {"type": "string", "format": "date-time", "description": "With a delay: when it will run."},
    },
}


def service_openapi(service: ServiceSchema, ingress_url: str) -> _Json:
    """How to call a service."""
    paths: _Json = {}
    schemas: _Json = {"RestateError": _ERROR_SCHEMA}
    for handler in sorted(service.handlers.values(), key=lambda each: each.name):
        schemas |= _payload_schemas(handler)
        paths |= _call_paths(service, handler)
        if service.type is not ServiceType.WORKFLOW:
            paths |= _idempotency_paths(service, handler)
        elif handler.kind is HandlerKind.WORKFLOW:
            paths |= _workflow_paths(service, handler)
    return {
        "openapi": OPENAPI_VERSION,
        "info": _info(service),
        "servers": [{"url": ingress_url, "description": "Restate Ingress URL"}],
        "paths": paths,
        "components": {"schemas": schemas, "parameters": _parameters(), "responses": _responses()},
        "tags": [{"name": name} for name in ("Request Response", "Send", "Attach", "Get Output")],
    }


def admin_openapi(operations: Iterable[tuple[str, str, str]], version: str) -> _Json:
    """The admin API. operations: (path, method, summary)."""
    paths: _Json = {}
    for path, method, summary in operations:
        names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
        operation: _Json = {"summary": summary, "responses": {"default": {"description": "See the reference."}}}
        if names:
            operation["parameters"] = [_parameter(name, "path", is_required=True) for name in names]
        paths.setdefault(path, {})[method.lower()] = operation
    return {"openapi": OPENAPI_VERSION, "info": {"title": "Admin API", "version": version}, "paths": paths}


def _info(service: ServiceSchema) -> _Json:
    info = {"title": service.name, "version": str(service.revision)}
    if service.manifest.get("documentation"):
        info["description"] = service.manifest["documentation"]
    return info


def _payload_schemas(handler: HandlerSchema) -> _Json:
    named = {f"{handler.name}Request": "input", f"{handler.name}Response": "output"}
    found = {name: _rules(handler, side).get("jsonSchema") for name, side in named.items()}
    return {name: schema for name, schema in found.items() if schema is not None}


def _rules(handler: HandlerSchema, side: str) -> _Json:
    return handler.manifest.get(side) or {}


def _content(handler: HandlerSchema, side: str) -> _Json | None:
    """The OpenAPI content of a side, None when it is empty."""
    rules = _rules(handler, side)
    content_type = "*/*" if rules.get("_acceptsAll") else rules.get("contentType")
    if content_type is None:
        return None
    name = f"{handler.name}{'Request' if side == 'input' else 'Response'}"
    has_schema = rules.get("jsonSchema") is not None
    return {content_type: {"schema": _ref("schemas", name)} if has_schema else {}}


def _success(handler: HandlerSchema) -> _Json:
    content = _content(handler, "output")
    return {"description": "Empty"} if content is None else {"description": "", "content": content}


def _call_paths(service: ServiceSchema, handler: HandlerSchema) -> _Json:
    target = f"{service.name}/{{key}}/{handler.name}" if service.is_keyed else f"{service.name}/{handler.name}"
    keyed = [_ref("parameters", "key")] if service.is_keyed else []
    is_run = handler.kind is HandlerKind.WORKFLOW
    shared = keyed if is_run else [*keyed, _ref("parameters", "idempotencyKeyHeader")]
    content = _content(handler, "input")
    body = (
        {}
        if content is None
        else {"requestBody": {"content": content, "required": bool(_rules(handler, "input").get("required"))}}
    )
    call = {
        "summary": handler.name,
        "operationId": handler.name,
        "description": f"Call {service.name} handler {handler.name} and wait for response",
        "parameters": shared,
        **body,
        "responses": {"200": _success(handler), "default": _ref("responses", "GenericError")},
    }
    send = {
        "summary": handler.name,
        "operationId": f"{handler.name}Send",
        "description": f"Send request to {service.name} handler {handler.name}",
        "tags": ["Send"],
        "parameters": [*shared, _ref("parameters", "delay")],
        **body,
        "responses": {"202": _ref("responses", "Send"), "default": _ref("responses", "GenericError")},
    }
    return {f"/restate/call/{target}": {"post": call}, f"/restate/send/{target}": {"post": send}}


def _idempotency_paths(service: ServiceSchema, handler: HandlerSchema) -> _Json:
    key = "{key}/" if service.is_keyed else ""
    path = f"/restate/invocation/{service.name}/{key}{handler.name}/{{idempotencyKey}}"
    names = ["key", "idempotencyKeyPath"] if service.is_keyed else ["idempotencyKeyPath"]
    return _result_paths(path, handler, names, f"{service.name}/{handler.name} by its idempotency key", is_old=True)


def _workflow_paths(service: ServiceSchema, handler: HandlerSchema) -> _Json:
    path = f"/restate/workflow/{service.name}/{{key}}"
    return _result_paths(path, handler, ["key"], f"the run of {service.name}", is_old=False)


def _result_paths(path: str, handler: HandlerSchema, parameters: list[str], what: str, *, is_old: bool) -> _Json:
    """GET `path`/attach and `path`/output."""
    responses = {
        "200": _success(handler),
        "404": _ref("responses", "InvocationNotFoundError"),
        "default": _ref("responses", "GenericError"),
    }
    shared: _Json = {"summary": handler.name, "parameters": [_ref("parameters", name) for name in parameters]}
    if is_old:
        shared["deprecated"] = True
    attach = shared | {
        "operationId": f"{handler.name}Attach",
        "description": f"Wait for the result of {what}",
        "tags": ["Attach"],
        "responses": responses,
    }
    output = shared | {
        "operationId": f"{handler.name}Output",
        "description": f"Result of {what}, if there is one",
        "tags": ["Get Output"],
        "responses": responses | {"470": _ref("responses", "InvocationNotReadyError")},
    }
    return {f"{path}/attach": {"get": attach}, f"{path}/output": {"get": output}}


def _parameters() -> _Json:
    return {
        "key": _parameter("key", "path", is_required=True),
        "idempotencyKeyHeader": _parameter("idempotency-key", "header", is_required=False),
        "idempotencyKeyPath": _parameter("idempotencyKey", "path", is_required=True),
        "delay": _parameter("delay", "query", is_required=False) | {"example": "10s"},
    }


def _parameter(name: str, place: str, *, is_required: bool) -> _Json:
    return {"name": name, "in": place, "required": is_required, "schema": {"type": "string"}}


def _responses() -> _Json:
    error = {"application/json": {"schema": _ref("schemas", "RestateError")}}
    return {
        "Send": {"description": "Send response", "content": {"application/json": {"schema": _SEND_SCHEMA}}},
        "GenericError": {"description": "Error response", "content": error},
        "InvocationNotFoundError": {"description": "Invocation not found", "content": error},
        "InvocationNotReadyError": {"description": "Invocation still running, no output yet", "content": error},
    }


def _ref(kind: str, name: str) -> _Json:
    return {"$ref": f"#/components/{kind}/{name}"}
