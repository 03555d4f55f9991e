"""What the apps of the agent work share: instructions and question, and a plain ASGI app without an engine of ours."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

QUESTION = "Is my windscreen covered?"
ROUTER, SPECIALIST = "You route questions to the specialist.", "You are the specialist of an insurer."
MODEL = "gpt-bench"


def answering(run: Callable[[], Awaitable[str]]) -> Callable[[Any, Any, Any], Awaitable[None]]:
    """An ASGI app that answers any path with what a run gives."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        while (await receive()).get("more_body", False):
            pass
        body = json.dumps(await run()).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app
