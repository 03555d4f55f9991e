"""SQL over the `sys_*` views: POST /query (http-api.md 2.6).

The header `accept` decides, as on the public server: exactly `application/json` gives JSON, anything else an Arrow
stream. Rows are rendered outside the event loop, and Arrow is sent batch by batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from rewake.admin.engine_port import EnginePort
from rewake.admin.requests import read_json
from rewake.sql.query import QueryResult

JSON_MEDIA_TYPE: Final = "application/json"
CLIENT_GONE: Final = 499
"""Status for the log alone: nobody reads it."""


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
        result = await _unless_gone(request, self._engine.query(query.query))
        if result is None:
            return Response(status_code=CLIENT_GONE)
        if request.headers.get("accept") == JSON_MEDIA_TYPE:
            return Response(await asyncio.to_thread(_json, result), media_type=JSON_MEDIA_TYPE)
        from rewake.admin.arrow import ARROW_MEDIA_TYPE, arrow_stream

        return StreamingResponse(arrow_stream(result), media_type=ARROW_MEDIA_TYPE)


async def _unless_gone(request: Request, query: Coroutine[Any, Any, QueryResult]) -> QueryResult | None:
    """What the query gives; None once the client has left, and then the query is stopped."""
    answer, gone = asyncio.ensure_future(query), asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        return await answer if answer.done() else None
    finally:
        answer.cancel()
        gone.cancel()


async def _disconnected(request: Request) -> None:
    if (await request.receive())["type"] != "http.disconnect":  # the body was read: nothing else may come
        await asyncio.Event().wait()


def _json(result: QueryResult) -> bytes:
    return msgspec.json.encode({"rows": result.json_rows()})
