"""A Python tour app that stops where a test wants it: what `rewake run` and `rewake serve` run in the crash tests.

A claim that says `[stop before command 4 of ClaimDesk]` gets its attempt held just before that command leaves the
process: the handler has reached it, the engine knows nothing of it. The stop is one more question to the scripted
model server, rule STOP, so that a test holds it, waits for it and lets it go like any model call.
TOUR_APP names the app's file. tour_app.mjs does the same to a TypeScript app.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from typing import Any, Final
from urllib.parse import urlsplit

from rewake.deployments.app_loader import load_app
from rewake.protocol.framing import FrameDecoder, encode_frame

STOP: Final = "stop"
MARKER: Final = re.compile(rb"\[stop before command (\d+) of (\w+)\]")
COMMANDS: Final = range(0x0400, 0x8000)


def stop_before(command: int, service: str) -> str:
    """The words that stop a claim.   command: from 1, in the order of the journal, the input not counted."""
    return f"[stop before command {command} of {service}]"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """The tour app, with every attempt of a marked claim watched."""
    if scope["path"].startswith("/invoke/"):
        watched = _Attempt(scope["path"].split("/")[2], receive, send)
        await _tour(scope, watched.receive, watched.send)
    else:
        await _tour(scope, receive, send)


class _Attempt:
    """Forwards one attempt, counts its commands and stops before the marked one."""

    def __init__(self, service: str, receive: Any, send: Any) -> None:
        self._service = service.encode()
        self._receive = receive
        self._send = send
        self._stop: int | None = None
        self._command = 0
        self._frames = FrameDecoder()
        self._in_order = asyncio.Lock()

    async def receive(self) -> Any:
        event = await self._receive()
        # The first mark is the claim's own: a conversation in the object's state comes before the input in the stream,
        # but no test stops the same customer twice.
        found = MARKER.search(event.get("body", b""))
        if found and found[2] == self._service:
            self._stop = int(found[1])
        return event

    async def send(self, event: Any) -> None:
        if event["type"] != "http.response.body":
            await self._send(event)
            return
        async with self._in_order:
            for frame in self._frames.feed(event.get("body", b"")):
                if frame.type_id in COMMANDS:
                    self._command += 1
                    if self._command == self._stop:
                        await _ask_to_go_on()
                body = encode_frame(frame.type_id, frame.payload, frame.flags)
                await self._send({"type": "http.response.body", "body": body, "more_body": True})
            if not event.get("more_body", False):
                await self._send({"type": "http.response.body", "body": b"", "more_body": False})


async def _ask_to_go_on() -> None:
    """Return when the rule STOP answers."""
    address = urlsplit(os.environ["OPENAI_BASE_URL"])
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    body = json.dumps({"model": STOP, "messages": []}).encode()
    headers = f"host: models\r\nconnection: close\r\ncontent-length: {len(body)}"
    writer.write(f"POST /v1/chat/completions HTTP/1.1\r\n{headers}\r\n\r\n".encode() + body)
    try:
        await reader.read()
    finally:
        writer.close()


# Only where it is served: a test imports this file for its words.
_tour: Any = load_app(os.environ["TOUR_APP"]) if "TOUR_APP" in os.environ else None
