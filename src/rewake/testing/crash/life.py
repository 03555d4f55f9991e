"""One life: an engine in this process, one real worker, one call. Facts go to stdout, a JSON object a line.

    python -m rewake.testing.crash.life SPEC

SPEC is a `Spec` as JSON. A second life on the same folder goes on with the same call, as a restarted engine does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import structlog

import rewake
from rewake.core.ids import awakeable_id_parse, invocation_id_from_str
from rewake.core.model import HandlerOptions, RetryPolicy
from rewake.deployments.worker import WorkerOptions
from rewake.deployments.worker_pool import WorkerEvents, WorkerPool
from rewake.engine.options import EngineOptions
from rewake.engine.workers import KIND, uri_of
from rewake.protocol.messages import Success
from rewake.runs.facts import STATUSES
from rewake.runs.filters import RunFilter
from rewake.runs.local.database import local_reading
from rewake.runs.steps import steps_of
from rewake.runs.waits import waiting_for
from rewake.testing.crash.tap import Kill, Tap, TappedPool

PATIENT = RetryPolicy(initial_interval_ms=20, max_interval_ms=200, max_attempts=None)
"""So that a kill costs milliseconds, and no policy gives up because of the lab."""

IDEMPOTENCY_KEY = "crash-lab"
LOOKS_S = 0.05
"""Time between looks for a person who is asked: what has been asked shows in the database alone."""


EXIT_WITHIN_S = 10.0
"""How long the word may take that the worker is dead."""


class Spec(msgspec.Struct):
    """What to live. key: of the object or workflow, None for a service.   body, answer: JSON text, None for none.

    The answer resolves every awakeable.   suspends: at each await.
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


async def live(spec: Spec) -> None:
    alive: list[int] = []
    tap = Tap(spec.kill, say, lambda: list(alive))
    defaults = HandlerOptions(retry=PATIENT, inactivity_timeout_ms=0 if spec.suspends else 60_000)
    options = EngineOptions(defaults=defaults)
    exited = asyncio.Event()

    def on_exit(pid: int, returncode: int) -> None:
        if pid in alive:
            alive.remove(pid)
        say({"event": "worker_exited", "returncode": returncode})
        exited.set()

    events = WorkerEvents(on_ready=lambda pid, _: alive.append(pid), on_exit=on_exit)
    pool = WorkerPool(WorkerOptions(app_ref=spec.app), workers=1, events=events)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(pool.close)
        engine = await stack.enter_async_context(rewake.Engine(Path(spec.data), options=options, observer=tap))
        await pool.start()
        await engine.add_deployment(TappedPool(pool, tap), uri=uri_of(spec.app), kind=KIND)
        engine.drive()
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
    """Ids of the awakeables that runs wait for."""
    found: list[str] = []
    with local_reading(engine.path, engine.now_ms(), dict(engine.services)) as opened:
        for run in opened.find(RunFilter(), dict.fromkeys(STATUSES, 0)).runs:
            invocation = opened.invocation(invocation_id_from_str(run.id))
            if invocation is not None:
                waits = waiting_for(opened, invocation, steps_of(opened.entries(invocation.id)))
                found += [each.awakeable for each in waits if each.awakeable is not None]
    return found


def say(fact: dict[str, Any]) -> None:
    """Written at once: the process may not live to the next line."""
    os.write(sys.stdout.fileno(), msgspec.json.encode(fact) + b"\n")


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    spec = msgspec.json.decode(sys.argv[1], type=Spec)
    asyncio.run(live(spec))


if __name__ == "__main__":
    main()
