"""Deployments: what is registered, and forgetting one (http-api.md 2.2). Registration by URL is not offered yet."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from rewake.admin.engine_port import EnginePort
from rewake.admin.refusals import Refused, unsupported
from rewake.admin.render import deployment_detail_json, deployment_item_json
from rewake.admin.requests import boolean_parameter, deployment_id_of, json_response
from rewake.errors import ErrorCode

_NO_URLS = "Registering deployments by URL is not supported by this release."
_RUN_IT = "Give the engine the app itself: rewake run FILE.py"


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
            message = f"The requested deployment '{deployment_id}' does not exist"
            raise Refused(404, ErrorCode.DEPLOYMENT_NOT_FOUND, message, "GET /deployments lists them.")
        latest = dict(self._engine.services)
        return json_response(deployment_detail_json(deployment, latest, self._engine.settings.defaults))

    async def delete(self, request: Request) -> Response:
        """Forget a deployment; its services are gone for new calls. Only with force=true."""
        deployment_id = deployment_id_of(request)
        if not boolean_parameter(request, "force"):
            return Response(status_code=501)
        if not await self._engine.remove_deployment(deployment_id):
            message = f"not found in the schema registry: deployment with id '{deployment_id}'"
            raise Refused(404, ErrorCode.DEPLOYMENT_NOT_FOUND, message, "GET /deployments lists them.")
        return Response(status_code=202)

    async def register(self, request: Request) -> Response:
        """Register the services at a URL."""
        raise unsupported(_NO_URLS, _RUN_IT)

    async def update(self, request: Request) -> Response:
        """Change where a deployment is reached."""
        deployment_id_of(request)
        raise unsupported(_NO_URLS, _RUN_IT)

    async def replace(self, request: Request) -> Response:
        """Gone since version 3 of the API."""
        deployment_id_of(request)
        message = "PUT deployment is deprecated, use PATCH instead"
        raise Refused(405, ErrorCode.METHOD_NOT_ALLOWED, message, "Use PATCH.")
