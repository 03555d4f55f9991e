"""A thousand deployments behind one address: below `/d0` to `/d999` an app each, with one service of its own.

Run on hypercorn as `bench.many_app:app`. Each service answers with its own name, so that no call can reach another
one unseen.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import restate

MANY_COUNT = 1_000


def service_name(number: int) -> str:
    """The only service of a deployment."""
    return f"Many{number}"


def prefix(number: int) -> str:
    """Where a deployment is, below the address of all."""
    return f"/d{number}"


@cache
def _app_at(start: str) -> Any:
    number = int(start.removeprefix("/d"))
    service = restate.Service(service_name(number))

    async def name(ctx: restate.Context) -> str:
        return service_name(number)

    service.handler()(name)
    return restate.app([service])


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Hands a request to the app its path begins with."""
    if scope["type"] == "lifespan":
        return
    start, _, rest = scope["path"].removeprefix("/").partition("/")
    await _app_at(f"/{start}")({**scope, "path": f"/{rest}"}, receive, send)
