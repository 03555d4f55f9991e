"""Deployments made on demand: `/{variant}/{service}` is the address of one, with a service of that name. So is `/`.

So a test registers, replaces and removes services nobody else has, all from one process. Variants differ in what their
handlers say, in the handlers they have, and in the type of the service.
"""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import Any

import restate
from restate import InvocationRetryPolicy

from rewake.ext.sealed import Keyring, sealing

RETRY = InvocationRetryPolicy(timedelta(milliseconds=20), 1.0, timedelta(milliseconds=20), 1_000)
VARIANTS = ("one", "two", "smaller", "object", "sealed", "broken")
KEYRING = Keyring({"test": b"k" * 32})
BRIEF_INACTIVITY = timedelta(milliseconds=50)

ANSWERS = {
    "nothing": b"",
    "unknown_type": bytes.fromhex("0399 0000 00000000"),
    "not_from_an_sdk": bytes.fromhex("0000 0000 00000000"),
    "bad_payload": bytes.fromhex("0411 0000 00000002 ffff"),
    "oversize": bytes.fromhex("0411 0000 7fffffff"),
    "cut_off": bytes.fromhex("0411 0000 00000009 00"),
    "no_output": bytes.fromhex("0003 0000 00000000"),
}
"""What the handlers of a broken deployment say, with the right head; each is named for its fault."""

STATUSES = (401, 404, 413, 415, 429, 500, 502, 503, 504)
RETRY_AFTER_S = 600


@cache
def made(variant: str, name: str) -> Any:
    """The app at an address."""
    if variant == "object":
        keyed = restate.VirtualObject(name)
        keyed.handler("hello")(_object_hello)
        return restate.app([keyed])
    if variant == "sealed":
        keyed = restate.VirtualObject(name)
        keyed.handler("hello")(_sealed_hello)
        return restate.app([keyed], journal_value_codec=sealing(KEYRING))
    service = restate.Service(name, invocation_retry_policy=RETRY, inactivity_timeout=BRIEF_INACTIVITY)
    if variant == "broken":
        for fault in (*ANSWERS, "another_type", *(f"status{status}" for status in STATUSES)):
            service.handler(fault)(_never)
        return restate.app([service])

    @service.handler()
    async def hello(ctx: restate.Context) -> list[str | None]:
        return [variant, ctx.request().attempt_headers.get("x-team")]

    if variant != "smaller":

        @service.handler()
        async def held(ctx: restate.Context) -> str:
            """A step, then a wait for a signal."""
            first = await ctx.run_typed("say", lambda: variant)
            await ctx.signal("go", type_hint=str)
            return f"{first} {variant}"

        @service.handler()
        async def waits(ctx: restate.Context) -> str:
            """Only a wait for a signal."""
            await ctx.signal("go", type_hint=str)
            return variant

        @service.handler()
        async def signal(ctx: restate.Context, target: str) -> None:
            ctx.resolve_signal(target, "go", "now")

    return restate.app([service])


async def _never(ctx: restate.Context) -> None:
    """Takes the input of none; its deployment answers in its place."""


async def _break(fault: str, content_type: bytes, send: Any) -> None:
    """The answer of a broken deployment."""
    headers, status = [(b"content-type", content_type)], 200
    if fault.startswith("status"):
        status = int(fault.removeprefix("status"))
        headers = [(b"retry-after", b"%d" % RETRY_AFTER_S)] if status == 429 else []
    elif fault == "another_type":
        headers = [(b"content-type", b"text/html")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWERS.get(fault, b"")})


async def _sealed_hello(ctx: restate.ObjectContext, who: str) -> str:
    seen = await ctx.get("seen", type_hint=list) or []
    ctx.set("seen", [*seen, who])
    said = await ctx.run_typed("say", lambda: f"hello {who}")
    await ctx.sleep(timedelta(milliseconds=1))
    return f"{said} of {await ctx.get('seen', type_hint=list)}"


async def _object_hello(ctx: restate.ObjectContext) -> list[str | None]:
    return ["object", ctx.key()]


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Hands a request to the app its path begins with."""
    if scope["type"] != "http":
        return
    _, *parts = scope["path"].split("/")
    variant, name, *rest = parts if parts[0] in VARIANTS else ["one", "Fleet", *parts]
    if variant == "broken" and rest[0] == "invoke":
        await _break(rest[2], dict(scope["headers"])[b"content-type"], send)
        return
    path = "/" + "/".join(rest)
    await made(variant, name)({**scope, "path": path, "raw_path": path.encode()}, receive, send)
