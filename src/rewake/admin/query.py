"""SQL over the `sys_*` views: POST /query (http-api.md 2.6).

The header `accept` decides, as on the public server: exactly `application/json` gives JSON, anything else an Arrow
stream. Rows are rendered outside the event loop, and Arrow is sent batch by batch.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from rewake.admin.engine_port import EnginePort
from rewake.admin.requests import read_json
from rewake.sql.query import QueryResult

JSON_MEDIA_TYPE: Final = "application/json"


class Query(msgspec.Struct):
    """Body of a query."""

    query: str


class Queries:
    """The endpoint /query."""

    def __init__(self, engine: EnginePort) -> None:
        self._engine = engine

    async def run(self, request: Request) -> Response:
        """Run one SELECT."""
        query = await read_json(request, Query)
        result = await self._engine.query(query.query)
        if request.headers.get("accept") == JSON_MEDIA_TYPE:
            return Response(await asyncio.to_thread(_json, result), media_type=JSON_MEDIA_TYPE)
        from rewake.admin.arrow import ARROW_MEDIA_TYPE, arrow_stream

        return StreamingResponse(arrow_stream(result), media_type=ARROW_MEDIA_TYPE)


def _json(result: QueryResult) -> bytes:
    return msgspec.json.encode({"rows": result.json_rows()})
