"""Facts about the engine: health, version, cluster; and the lists that are always empty here.

`version` is that of the public server whose API this is, because clients choose their requests by it. Our own version
is beside it.
"""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from rewake import __version__
from rewake.admin.engine_port import EnginePort
from rewake.admin.refusals import Refused, unsupported
from rewake.admin.requests import json_response
from rewake.disclosure import is_hiding
from rewake.errors import ErrorCode

PUBLIC_VERSION: Final = "1.7.12"
API_VERSION_MIN: Final = 2
API_VERSION_MAX: Final = 4
FEATURES: Final = ("vqueues", "protocol_v7", "scoped_virtual_objects", "kafka_scope")

_NO_KAFKA: Final = "Kafka subscriptions are not supported."
_NO_FLOW_CONTROL: Final = "Flow control (limit rules, virtual queues) is not supported."


class About:
    """Endpoints that need little of the engine."""

    def __init__(self, engine: EnginePort, ingress_url: str) -> None:
        self._engine = engine
        self._ingress_url = ingress_url

    async def health(self, request: Request) -> Response:
        """200, or 503 while nothing can be accepted, for instance because the disk is full."""
        if (problem := self._engine.problem) is not None:
            raise problem
        return Response()

    async def version(self, request: Request) -> Response:
        """Versions of the API and the engine, and where the ingress is."""
        return json_response(
            {
                "version": PUBLIC_VERSION,
                "min_admin_api_version": API_VERSION_MIN,
                "max_admin_api_version": API_VERSION_MAX,
                "ingress_endpoint": self._ingress_url,
                "features": dict.fromkeys(FEATURES, False),
                "rewake_version": __version__,
                **({"hides_content": True} if is_hiding() else {}),
            }
        )

    async def cluster_health(self, request: Request) -> Response:
        """A cluster of one."""
        return json_response({"cluster_name": "localcluster", "metadata_cluster_health": {"members": [1]}})

    async def subscriptions(self, request: Request) -> Response:
        """No subscriptions."""
        return json_response({"subscriptions": []})

    async def subscription(self, request: Request) -> Response:
        """There is no subscription with this id."""
        name = request.path_params["subscription"]
        message = f"The requested subscription '{name}' does not exist"
        raise Refused(404, ErrorCode.RESOURCE_NOT_FOUND, message, _NO_KAFKA)

    async def kafka_clusters(self, request: Request) -> Response:
        """No Kafka clusters."""
        return json_response({"clusters": []})

    async def kafka_cluster(self, request: Request) -> Response:
        """There is no Kafka cluster with this name."""
        message = f"The requested Kafka cluster '{request.path_params['name']}' does not exist"
        raise Refused(404, ErrorCode.RESOURCE_NOT_FOUND, message, _NO_KAFKA)

    async def no_kafka(self, request: Request) -> Response:
        """Rewake takes no subscriptions."""
        raise unsupported(_NO_KAFKA, "Send the messages to the ingress instead.")

    async def no_flow_control(self, request: Request) -> Response:
        """Rewake has no limit rules."""
        raise unsupported(_NO_FLOW_CONTROL, "Limit the callers instead.")
