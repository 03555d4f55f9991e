"""Apps the tests of HTTP deployments serve in other processes: marks for every step that really ran, and impostors."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import restate

STEP_COUNT = 4
ATTEMPT_HEADER = "x-attempt"


def mark(text: str) -> None:
    with (Path(os.environ["REWAKE_TEST_STAGE"]) / "marks").open("a") as file:
        file.write(text + "\n")


chain = restate.Service("Chain")


@chain.handler()
async def steps(ctx: restate.Context, number: int) -> int:
    """Steps that take some milliseconds each, with a call in between."""

    attempt = ctx.request().attempt_headers.get(ATTEMPT_HEADER)

    async def add_one(index: int, total: int) -> int:
        mark(f"Chain {number}/{index} {attempt}")
        await asyncio.sleep(0.003)
        return total + 1

    total = number
    for index in range(STEP_COUNT):
        total = await ctx.run_typed(f"step {index}", add_one, index=index, total=total)
    return await ctx.service_call(same, total)


@chain.handler()
async def same(ctx: restate.Context, value: int) -> int:
    return value


@chain.handler()
async def held(ctx: restate.Context, name: str) -> str:
    """One step, then a wait for the test to resolve its only awakeable."""

    async def begin() -> str:
        mark(f"begun {name}")
        return name

    begun = await ctx.run_typed("begin", begin)
    _, signalled = ctx.awakeable(type_hint=str)
    mark(f"waiting {name}")
    return begun + " " + await signalled


@chain.handler()
async def long_sleep(ctx: restate.Context, ms: int) -> str:
    await ctx.sleep(timedelta(milliseconds=ms))
    return "woken"


@chain.handler()
async def echo(ctx: restate.Context, text: str) -> str:
    return text


@chain.handler()
async def tenfold(ctx: restate.Context, text: str) -> int:
    """Ten large results, all of which a later attempt replays."""
    size = 0
    for index in range(10):
        size += len(await ctx.run_typed(f"copy {index}", lambda: text))
    await ctx.sleep(timedelta(milliseconds=1))
    return size


@chain.handler()
async def headers(ctx: restate.Context, name: str) -> str | None:
    """A header of the attempt's request."""
    return ctx.request().attempt_headers.get(name)


app = restate.app([chain])

renamed = restate.VirtualObject("Chain")


@renamed.handler("steps")
async def object_steps(ctx: restate.ObjectContext, number: int) -> int:
    return number


object_app = restate.app([renamed])

second = restate.Service("Chain")


@second.handler("held")
async def held_again(ctx: restate.Context, name: str) -> str:
    """The next revision: other code, and no other handler."""
    return "second " + name


second_app = restate.app([second])

reserved = restate.Service("restateful")


@reserved.handler("x")
async def nothing(ctx: restate.Context) -> None:
    """Does nothing."""


reserved_app = restate.app([reserved])


async def identified(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The app for the key in the environment; requests it has not signed are refused."""
    signed = restate.app([chain], identity_keys=[os.environ["IDENTITY_KEY"]])
    await signed(scope, receive, send)


async def impostor(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """No endpoint: the first part of the path says how it answers."""
    kind = scope["path"].split("/")[1]
    manifest_type = b"application/vnd.restate.endpointmanifest.v3+json"
    status, content_type, body = {
        "status404": (404, b"text/plain", b"nothing here"),
        "status503": (503, b"text/plain", b"not now"),
        "html": (200, b"text/html", b"<html>"),
        "garbage": (200, manifest_type, b"\xff\xfe{"),
        "no_services": (200, manifest_type, b'{"protocolMode":"BIDI_STREAM"}'),
        "version3": (
            200,
            manifest_type,
            b'{"protocolMode":"BIDI_STREAM","minProtocolVersion":1,"maxProtocolVersion":3,"services":[]}',
        ),
    }[kind]
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", content_type)]})
    await send({"type": "http.response.body", "body": body})
