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

RETRY = InvocationRetryPolicy(timedelta(milliseconds=20), 1.0, timedelta(milliseconds=20), 1_000)
VARIANTS = ("one", "two", "smaller", "object")
BRIEF_INACTIVITY = timedelta(milliseconds=50)


@cache
def made(variant: str, name: str) -> Any:
    """The app at an address."""
    if variant == "object":
        keyed = restate.VirtualObject(name)
        keyed.handler("hello")(_object_hello)
        return restate.app([keyed])
    service = restate.Service(name, invocation_retry_policy=RETRY, inactivity_timeout=BRIEF_INACTIVITY)

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
        async def signal(ctx: restate.Context, target: str) -> None:
            ctx.resolve_signal(target, "go", "now")

    return restate.app([service])


async def _object_hello(ctx: restate.ObjectContext) -> list[str | None]:
    return ["object", ctx.key()]


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Hands a request to the app its path begins with."""
    if scope["type"] != "http":
        return
    _, *parts = scope["path"].split("/")
    variant, name, *rest = parts if parts[0] in VARIANTS else ["one", "Fleet", *parts]
    path = "/" + "/".join(rest)
    await made(variant, name)({**scope, "path": path, "raw_path": path.encode()}, receive, send)
