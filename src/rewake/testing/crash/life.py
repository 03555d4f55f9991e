"""One life: an engine in this process, one real worker, one call. It prints facts, one JSON object a line.

    python -m rewake.testing.crash.life SPEC

SPEC is a `Spec` as JSON. A second life on the same folder continues the same call, like a restarted engine. A life ends
when its standard input does: that is a pipe from the lab, and nothing goes on when the lab has been killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import structlog

import rewake
from rewake.core.ids import awakeable_id_parse
from rewake.core.model import HandlerOptions, RetryPolicy
from rewake.deployments.worker import WorkerOptions
from rewake.deployments.worker_pool import WorkerEvents, WorkerPool
from rewake.engine.options import EngineOptions
from rewake.engine.workers import KIND, uri_of
from rewake.protocol.messages import Success
from rewake.runs.local.database import reading_of
from rewake.runs.waits import awaited_in
from rewake.testing.crash.boundary import Boundary, Kill
from rewake.testing.crash.probe import VARIABLE, Orders
from rewake.testing.crash.tap import Tap, TappedPool

PATIENT = RetryPolicy(initial_interval_ms=20, max_interval_ms=200, max_attempts=None)
"""Short pauses, so that a kill costs milliseconds, and no limit, so that no run gives up because of the lab."""

IDEMPOTENCY_KEY = "crash-lab"
LOOKS_S = 0.05
"""Time between checks of the database for questions to a person."""


EXIT_WITHIN_S = 10.0
"""Time within which the pool must report that the worker is dead."""


class Spec(msgspec.Struct):
    """The parameters of a life. key: of the object or workflow, None for a service.   body: JSON text, or None.

    answer: JSON text that resolves every awakeable, or None.   folder: of the app's own code.
    The other fields: see playing.Terms.
    """

    app: str
    data: str
    service: str
    handler: str
    key: str | None = None
    body: str | None = None
    answer: str | None = None
    kill: Kill | None = None
    suspends: bool = False
    folder: str = "."
    seed: int | None = None
    cancel: Boundary | None = None
    traces: bool = False


async def live(spec: Spec) -> None:
    alive: list[int] = []
    is_inside = spec.kill is not None and spec.kill.at.when == "inside"
    tap = Tap(None if is_inside else spec.kill, say, lambda: list(alive), cancel_at=spec.cancel, seed=spec.seed)
    defaults = HandlerOptions(retry=PATIENT, inactivity_timeout_ms=0 if spec.suspends else 60_000)
    options = EngineOptions(defaults=defaults)
    exited = asyncio.Event()

    def on_exit(pid: int, returncode: int) -> None:
        if pid in alive:
            alive.remove(pid)
        say({"event": "worker_exited", "returncode": returncode})
        exited.set()

    def on_ready(pid: int, _: object) -> None:
        alive.append(pid)
        say({"event": "worker_ready", "pid": pid})

    events = WorkerEvents(on_ready=on_ready, on_exit=on_exit)
    pool = WorkerPool(_worker(spec, is_inside=is_inside), workers=1, events=events)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(pool.close)
        engine = await stack.enter_async_context(rewake.Engine(Path(spec.data), options=options, observer=tap))
        await pool.start()
        await engine.add_deployment(TappedPool(pool, tap), uri=uri_of(spec.app), kind=KIND)
        engine.drive()
        tap.cancel = engine.cancel
        if spec.answer is not None:
            answering = asyncio.ensure_future(_answer_forever(engine, spec.answer.encode()))
            stack.callback(answering.cancel)
        calling = asyncio.ensure_future(_call(engine, spec))
        hopeless = asyncio.ensure_future(tap.is_hopeless.wait())
        await asyncio.wait((calling, hopeless), return_when=asyncio.FIRST_COMPLETED)
        hopeless.cancel()
        if calling.done():
            say(calling.result())
        else:
            calling.cancel()
            await asyncio.gather(calling, return_exceptions=True)
        if tap.has_killed:
            await asyncio.wait_for(exited.wait(), EXIT_WITHIN_S)


def _worker(spec: Spec, *, is_inside: bool) -> WorkerOptions:
    """Options for a worker that contains a probe."""
    orders = Orders(
        folder=spec.folder,
        done=str(Path(spec.data) / "killed-inside"),
        kill=spec.kill.at if is_inside and spec.kill is not None else None,
        traces=spec.traces,
    )
    variables = {VARIABLE: msgspec.json.encode(orders).decode()}
    return WorkerOptions(app_ref=spec.app, module="rewake.testing.crash.probe", env=variables)


async def _call(engine: rewake.Engine, spec: Spec) -> dict[str, Any]:
    body = None if spec.body is None else spec.body.encode()
    key = None if _is_workflow(engine, spec) else IDEMPOTENCY_KEY
    try:
        value = await engine.call(spec.service, spec.handler, body, key=spec.key, idempotency_key=key)
    except rewake.InvocationFailed as error:
        return {"event": "answer", "failed": {"code": error.code, "message": error.message}}
    return {"event": "answer", "value": value}


def _is_workflow(engine: rewake.Engine, spec: Spec) -> bool:
    service = engine.services.get(spec.service)
    return service is not None and service.type.name == "WORKFLOW"


async def _answer_forever(engine: rewake.Engine, answer: bytes) -> None:
    while True:
        for awakeable in await asyncio.to_thread(_awaited, engine):
            invocation_id, index = awakeable_id_parse(awakeable)
            await engine.complete_awakeable(invocation_id, index, Success(answer))
        await asyncio.sleep(LOOKS_S)


def _awaited(engine: rewake.Engine) -> list[str]:
    with reading_of(engine) as opened:
        return list(awaited_in(opened))


def say(fact: dict[str, Any]) -> None:
    """Print a fact and flush: the process may be killed before the next line."""
    os.write(sys.stdout.fileno(), msgspec.json.encode(fact) + b"\n")


def _end_with_the_lab() -> None:
    """End when the lab has ended, however it did. The worker ends with this process. Runs in its own thread."""
    while os.read(0, 1):
        pass
    os._exit(1)


def main() -> None:
    threading.Thread(target=_end_with_the_lab, daemon=True).start()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    spec = msgspec.json.decode(sys.argv[1], type=Spec)
    asyncio.run(live(spec))


if __name__ == "__main__":
    main()
