"""An engine with the UI and a real Chromium, for tests that look and click.

The app has a run of every kind: steps, retries, a call, an approval, a router that can be forked, hostile output.
Without Chromium and playwright the tests are skipped, with one line that says so.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest
import restate
from restate.serde import BytesSerde

from rewake.deployments.in_process import InProcessDeployment
from rewake.engine import Engine
from rewake.runs.local import scan
from rewake.server import Server
from rewake.ui import bulk, ui_routes

WAIT_S: Final = 20.0
HOSTILE: Final = '<img src=x onerror="document.title=1"><script>document.title=2</script>\u202e</pre>"\'{{7*7}}'
FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

_Value = TypeVar("_Value")

router = restate.Service("Router")
desk = restate.VirtualObject("Desk")
release = restate.Workflow("Release")


def pick() -> dict[str, Any]:
    return {"specialist": "billing", "answer": None}


def answer_as(specialist: str) -> str:
    return f"{specialist} answers"


def hostile() -> str:
    return HOSTILE


@router.handler()
async def ask(ctx: restate.Context, question: str) -> str:
    """Pick a specialist and ask it."""
    decision = await ctx.run_typed("Pick specialist", pick)
    return await ctx.run_typed(f"Ask {decision['specialist']}", answer_as, specialist=decision["specialist"])


@router.handler()
async def repeat(ctx: restate.Context, text: str) -> str:
    """Says something nasty."""
    return await ctx.run_typed("Say it", hostile)


NASTY: Final[dict[str, bytes]] = {
    "huge": b'"' + b"wide " * 400_000 + b'"',
    "unbroken": b'"' + b"x" * 200_000 + b'"',
    "deep": b"[" * 5_000 + b"]" * 5_000,
    "broken": b'{"text": "\xff\xfe \xed\xa0\x80 half"}',
    "lone": rb'"\ud800 alone"',
    "binary": bytes(range(256)) * 40,
    "zalgo": ('"' + "Z" + "\u0353\u0489" * 2_000 + '"').encode(),
}


@router.handler(input_serde=BytesSerde(), output_serde=BytesSerde())
async def say(ctx: restate.Context, kind: bytes) -> bytes:
    """Says something that is hard to show."""
    return await ctx.run_typed("Say it", nasty, restate.RunOptions(serde=BytesSerde()), kind=kind.decode())


def nasty(kind: str) -> bytes:
    return NASTY[kind]


@router.handler()
async def through(ctx: restate.Context, question: str) -> str:
    return await ctx.service_call(ask, question)


@router.handler()
async def refuse(ctx: restate.Context, text: str) -> str:
    raise restate.TerminalError(text, 418)


@router.handler()
async def flaky(ctx: restate.Context, text: str) -> str:
    raise ValueError("the provider is overloaded")


@desk.handler()
async def approve(ctx: restate.ObjectContext, amount: int) -> str:
    """Wait until somebody approves."""
    name, approved = ctx.awakeable(type_hint=bool)
    ctx.set("asked", {"awakeable": name, "amount": amount})
    ctx.set("agent", "Approver")
    return "paid" if await approved else "refused"


@desk.handler()
async def answer(ctx: restate.ObjectContext, question: str) -> str:
    """Goes straight through, once the desk is free."""
    return question.upper()


@release.main()
async def run(ctx: restate.WorkflowContext, version: str) -> str:
    """Wait for a reviewer's word."""
    return f"{version}: {await ctx.promise('review', type_hint=str).value()}"


async def _nothing(ctx: restate.Context) -> None: ...


class Stage:
    """The engine, and a way to run coroutines beside it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, engine: Engine, server: Server) -> None:
        self.engine = engine
        self.url = server.admin_url.rstrip("/")
        self._loop = loop

    def run(self, coroutine: Coroutine[Any, Any, _Value]) -> _Value:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(WAIT_S)

    def call(self, service: str, handler: str, body: Any, key: str | None = None) -> Any:
        return self.run(self.engine.call(service, handler, body, key=key))

    def send(self, service: str, handler: str, body: Any, key: str | None = None) -> str:
        return self.run(self.engine.send(service, handler, body, key=key))

    def add_unused_deployment(self) -> str:
        """One whose services have moved on to a newer one; its id."""

        async def add() -> str:
            old, new = restate.Service("Mover"), restate.Service("Mover")
            old.handler("go")(_nothing), new.handler("go")(_nothing), new.handler("stop")(_nothing)
            made = [InProcessDeployment(restate.app([each])) for each in (old, new)]
            found = [
                await self.engine.add_deployment(each, uri=f"mover:{id(each)}", kind="in_process") for each in made
            ]
            return found[0].id

        return self.run(add())


APP: Final = restate.app([router, desk, release])


@contextmanager
def staged(path: Path, app: Any = APP) -> Iterator[Stage]:
    """Serve until the block ends, with all the time there is to look for runs. app: None to serve nothing."""
    ready = threading.Event()
    made: list[Stage] = []
    stops: list[asyncio.Event] = []

    async def main() -> None:
        stops.append(asyncio.Event())
        engine = Engine(path, app)
        async with engine, Server(engine, ingress_port=0, admin_port=0, admin_routes=ui_routes(engine)) as server:
            made.append(Stage(asyncio.get_running_loop(), engine, server))
            ready.set()
            await stops[0].wait()

    thread = threading.Thread(target=lambda: asyncio.run(main()), name="stage")
    thread.start()
    try:
        assert ready.wait(WAIT_S)
        with pytest.MonkeyPatch.context() as patch:
            # A loaded machine must not cut lists and counts short; what is shown then has tests of its own.
            patch.setattr(scan, "LOOK_S", WAIT_S)
            patch.setattr(bulk, "COUNT_S", WAIT_S)
            yield made[0]
    finally:
        if made:
            made[0]._loop.call_soon_threadsafe(stops[0].set)
        thread.join(WAIT_S)


def chromium_path() -> str | None:
    """Chromium of the system, or the one of REWAKE_CHROMIUM; None without one.

    The one without windows first: a page costs it half the processor time.
    """
    found = map(shutil.which, ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"))
    return os.environ.get("REWAKE_CHROMIUM") or next(filter(None, found), None)
