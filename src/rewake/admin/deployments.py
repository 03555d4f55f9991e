"""Deployments: registering one by URL, what is registered, changing and forgetting one (http-api.md 2.2)."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from rewake.admin.about import API_VERSION_MAX, API_VERSION_MIN
from rewake.admin.engine_port import EnginePort
from rewake.admin.refusals import Refused, Undecodable, unsupported
from rewake.admin.render import deployment_detail_json, deployment_item_json
from rewake.admin.requests import boolean_parameter, deployment_id_of, json_response, read_json
from rewake.engine.registration import RegistrationResult
from rewake.errors import ErrorCode

_REGISTERED: Final = ("id", "services", "min_protocol_version", "max_protocol_version", "sdk_version")


class Registration(msgspec.Struct):
    """What to register. `force` None: as the version of the API has it, false since the third."""

    uri: str | None = None
    arn: str | None = None
    additional_headers: dict[str, str] | None = None
    metadata: dict[str, str] | None = None
    use_http_11: bool = False
    breaking: bool = False
    force: bool | None = None
    dry_run: bool = False


class Update(msgspec.Struct):
    """What to change; None leaves it as it is."""

    uri: str | None = None
    additional_headers: dict[str, str] | None = None
    use_http_11: bool | None = None
    overwrite: bool = False
    dry_run: bool = False


class Deployments:
    """Endpoints under /deployments."""

    def __init__(self, engine: EnginePort) -> None:
        self._engine = engine

    async def list(self, request: Request) -> Response:
        """All deployments."""
        return json_response(
            {"deployments": [deployment_item_json(each) for each in self._engine.deployments.values()]}
        )

    async def get(self, request: Request) -> Response:
        """One deployment, with its services in full."""
        deployment_id = deployment_id_of(request)
        deployment = self._engine.deployments.get(deployment_id)
        if deployment is None:
            raise _not_found(deployment_id)
        latest = dict(self._engine.services)
        return json_response(deployment_detail_json(deployment, latest, self._engine.settings.defaults))

    async def delete(self, request: Request) -> Response:
        """Remove a deployment that nothing needs, or any with force=true; its services go to the one before, or end."""
        deployment_id = deployment_id_of(request)
        force = boolean_parameter(request, "force")
        if not await self._engine.remove_deployment(deployment_id, force=force):
            message = f"not found in the schema registry: deployment with id '{deployment_id}'"
            raise Refused(404, ErrorCode.DEPLOYMENT_NOT_FOUND, message, "GET /deployments lists them.")
        return Response(status_code=202)

    async def register(self, request: Request) -> Response:
        """Register the services at a URL."""
        wanted = await read_json(request, Registration)
        if wanted.uri is None:
            raise _no_address(wanted)
        version = request.scope.get("admin_version", API_VERSION_MAX)
        result = await self._engine.register_http(
            wanted.uri,
            use_http_11=wanted.use_http_11,
            additional_headers=wanted.additional_headers,
            metadata=wanted.metadata,
            force=wanted.force if wanted.force is not None else version == API_VERSION_MIN,
            breaking=wanted.breaking,
            dry_run=wanted.dry_run,
        )
        deployment_id = result.deployment.id
        if version == API_VERSION_MIN and result.status == "unchanged":
            message = f"Conflict: deployment {deployment_id} already exists"
            raise Refused(409, ErrorCode.OPERATION_CONFLICT, message, "Register it with force to replace it.")
        is_new = result.status == "created" or version == API_VERSION_MIN
        location = {"location": f"deployments/{deployment_id}"}
        return json_response(self._registered(result), 201 if is_new else 200, location)

    async def update(self, request: Request) -> Response:
        """Change where and how a deployment is reached."""
        deployment_id = deployment_id_of(request)
        wanted = await read_json(request, Update)
        result = await self._engine.update_deployment(
            deployment_id,
            uri=wanted.uri,
            additional_headers=wanted.additional_headers,
            use_http_11=wanted.use_http_11,
            overwrite=wanted.overwrite,
            dry_run=wanted.dry_run,
        )
        if result is None:
            raise _not_found(deployment_id)
        return json_response(self._detail(result))

    def _detail(self, result: RegistrationResult) -> dict[str, Any]:
        services = {service.name: service for service in result.services}
        return deployment_detail_json(result.deployment, services, self._engine.settings.defaults)

    def _registered(self, result: RegistrationResult) -> dict[str, Any]:
        """The facts of a deployment that the answer to its registration has."""
        detail = self._detail(result)
        return {name: detail[name] for name in _REGISTERED}

    async def replace(self, request: Request) -> Response:
        """Gone since version 3 of the API."""
        deployment_id_of(request)
        message = "PUT deployment is deprecated, use PATCH instead"
        raise Refused(405, ErrorCode.METHOD_NOT_ALLOWED, message, "Use PATCH.")


def _not_found(deployment_id: str) -> Refused:
    message = f"The requested deployment '{deployment_id}' does not exist"
    return Refused(404, ErrorCode.DEPLOYMENT_NOT_FOUND, message, "GET /deployments lists them.")


def _no_address(wanted: Registration) -> Refused | Undecodable:
    if wanted.arn is not None:
        return unsupported("AWS Lambda deployments are not supported.", "Register the URL of a service.")
    return Undecodable(422, "Failed to deserialize the JSON body into the target type: missing field `uri`")
