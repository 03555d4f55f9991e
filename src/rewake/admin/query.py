"""SQL over the `sys_*` views: POST /query (http-api.md 2.6).

The answer is JSON for every `accept` that allows it. Arrow, which the public server sends unless JSON is asked for by
name, is not offered; a client that takes nothing else gets 406.
"""

from __future__ import annotations

from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from rewake.admin.engine_port import EnginePort
from rewake.admin.refusals import Refused
from rewake.admin.requests import json_response, read_json
from rewake.errors import ErrorCode

_JSON_RANGES: Final = frozenset({"application/json", "application/*", "*/*"})


class Query(msgspec.Struct):
    """Body of a query."""

    query: str


class Queries:
    """The endpoint /query."""

    def __init__(self, engine: EnginePort) -> None:
        self._engine = engine

    async def run(self, request: Request) -> Response:
        """Run one SELECT."""
        _check_accept(request.headers.get("accept", "*/*"))
        query = await read_json(request, Query)
        result = await self._engine.query(query.query)
        return json_response({"rows": result.json_rows()})


def _check_accept(accept: str) -> None:
    ranges = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    if ranges.isdisjoint(_JSON_RANGES):
        message = f"Query results are not offered as '{accept}'"
        hint = "Send the header 'accept: application/json'."
        raise Refused(406, ErrorCode.RESULT_FORMAT_UNSUPPORTED, message, hint)
