"""Apps the transport tests run: handlers written with the SDK, and ASGI apps that break the protocol."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import timedelta
from typing import Any

import restate

steps = restate.Service("Steps")
seen: list[str] = []


async def one() -> int:
    return 1


@steps.handler()
async def two(ctx: restate.Context, x: int) -> int:
    """Two durable steps."""
    return x + await ctx.run_typed("first", one) + await ctx.run_typed("second", one)


@steps.handler()
async def echo(ctx: restate.Context, text: str) -> str:
    return text


@steps.handler()
async def fail(ctx: restate.Context, x: int) -> None:
    raise ValueError("not today")


@steps.handler()
async def wait(ctx: restate.Context, x: int) -> None:
    """Waits for a timer nobody fires."""
    await ctx.sleep(timedelta(hours=1))


@steps.handler()
async def hang(ctx: restate.Context, x: int) -> None:
    """One step, then waits for something the context knows nothing of."""
    await ctx.run_typed("first", one)
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        seen.append("cancelled")
        raise


@steps.handler()
async def block(ctx: restate.Context, seconds: float) -> None:
    """Blocks its whole process after one step."""
    await ctx.run_typed("first", one)
    time.sleep(seconds)  # noqa: ASYNC251  # That is the point.


@steps.handler()
async def die(ctx: restate.Context, x: int) -> None:
    """Ends its whole process, as a crash in native code does."""
    await ctx.run_typed("first", one)
    os._exit(3)


app = restate.app([steps])


async def protocol_breaker(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answers as the service name in the path asks."""
    if scope["path"].endswith("/discover"):
        await app(scope, receive, send)
        return
    kind, argument = scope["path"].split("/")[2:]
    content_type = dict(scope["headers"])[b"content-type"]
    if kind == "status":
        headers = [(b"retry-after", b"7")] if argument == "429" else []
        await send({"type": "http.response.start", "status": int(argument), "headers": headers})
        await send({"type": "http.response.body"})
        return
    if kind == "raises":
        raise RuntimeError("the app is ill")
    if kind == "other_type":
        content_type = b"text/html"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type)]})
    bodies = {
        "nothing": b"",
        "unknown_type": bytes.fromhex("0399 0000 00000000"),
        "not_from_sdk": bytes.fromhex("0000 0000 00000000"),
        "bad_payload": bytes.fromhex("0411 0000 00000002 ffff"),
        "oversize": bytes.fromhex("0411 0000 7fffffff"),
        "cut_off": bytes.fromhex("0411 0000 00000009 00"),
    }
    await send({"type": "http.response.body", "body": bodies.get(kind, b"")})


async def no_endpoint(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """An ASGI app that is no restate endpoint."""
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b"nothing here"})
