"""POST /query beside the query itself: an asker that leaves takes its query along."""

from __future__ import annotations

import asyncio
from typing import Any

from rewake.admin.app import build_admin


class Engine:
    """Answers no query; remembers whether it was asked to stop."""

    def __init__(self) -> None:
        self.is_asked = asyncio.Event()
        self.is_stopped = False

    async def query(self, sql: str) -> None:
        self.is_asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.is_stopped = True


def test_a_query_is_stopped_when_its_client_leaves() -> None:
    async def main() -> None:
        engine: Any = Engine()
        app = build_admin(engine, ingress_url="http://127.0.0.1:1/")
        events = [{"type": "http.request", "body": b'{"query": "select 1"}', "more_body": False}]
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            if events:
                return events.pop()
            await engine.is_asked.wait()
            return {"type": "http.disconnect"}

        async def send(event: Any) -> None:
            sent.append(event)

        headers = [(b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": "/query", "query_string": b"", "headers": headers}
        async with asyncio.timeout(10):
            await app({**scope, "root_path": ""}, receive, send)
            await asyncio.sleep(0)
        assert engine.is_stopped
        assert sent[0]["status"] == 499

    asyncio.run(main())
