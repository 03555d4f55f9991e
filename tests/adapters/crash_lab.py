"""Runs one call of an app on an engine, and kills with SIGKILL at every result of the journal.

    python crash_lab.py engine|worker APP FOLDER SERVICE HANDLER INPUT

`engine`: a forked child runs engine and app. The n-th child dies when it reads the n-th result of the journal, directly
after the commit, so the chain of children dies once at each boundary. `worker`: the engine lives on, and the worker
processes with the app die in that way; that no progress lies between two deaths pauses nothing here. In the end it
prints what was answered and how many died.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from killer import Killer, deaths_in
from stage import Stage
from tests.warm import framework_of, run_warm, warm_children

import rewake
from rewake.core import retries
from rewake.core.ids import awakeable_id_parse
from rewake.deployments import worker_pool
from rewake.protocol.messages import Success

CHILDREN_MAX = 80


async def answered(engine: Any, folder: Path, service: str, handler: str, given: Any) -> Any:
    """The answer of one call, or its failure as text."""
    async with people(engine, folder):
        try:
            key = "ada" if service.startswith("Object") else None
            return await engine.call(service, handler, given, key=key, idempotency_key="once")
        except rewake.InvocationFailed as failed:
            return f"failed: {failed}"


@asynccontextmanager
async def people(engine: Any, folder: Path) -> AsyncIterator[None]:
    """Who answers what is asked meanwhile."""
    answering = asyncio.create_task(answer_awakeables(engine, folder))
    try:
        yield
    finally:
        answering.cancel()


async def answer_awakeables(engine: Any, folder: Path) -> None:
    """Resolve the awakeables whose ids are left in `asked-*` files with the file's text."""
    while True:
        for file in folder.glob("asked-*"):
            if said := file.read_text():
                invocation_id, signal_index = awakeable_id_parse(file.name.removeprefix("asked-"))
                await engine.complete_awakeable(invocation_id, signal_index, Success(said.encode()))
                file.unlink()
        await asyncio.sleep(0.02)


async def one_life(app: Any, folder: Path, call: tuple[str, str, Any], dies_at: int) -> Any:
    """Engine and handlers in this process. call: service, handler and input."""
    async with rewake.Engine(folder / "data", app.make(Killer(dies_at))) as engine:
        try:
            return await answered(engine, folder, *call)
        finally:
            await app.close()


async def worker_lives(folder: Path, call: tuple[str, str, Any]) -> Any:
    """Handlers in a worker, served.py, which dies; the engine lives on."""
    served = Path(__file__).with_name("served")
    async with Stage(folder).engine("worker", app=f"{served}:app") as engine:
        return await answered(engine, folder, *call)


def lives(app: Any, folder: Path, call: tuple[str, str, Any]) -> tuple[int, Any]:
    """The chain of children, each with engine and handlers: how many died, and the answer of the last."""
    app.make()  # what it imports is imported once, before the first fork
    for number in range(1, CHILDREN_MAX):
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            answer = asyncio.run(one_life(app, folder, call, number))
            os.write(writer, json.dumps(answer).encode())
            os._exit(0)
        os.close(writer)
        _, status = os.waitpid(child, 0)
        with os.fdopen(reader, "rb") as said:
            if not os.WIFSIGNALED(status):
                return number - 1, json.loads(said.read() or b'"no answer"')
    raise SystemExit("never ended")


def played(module: str, folder: Path, service: str, handler: str) -> Any:
    """The report on engine and handlers of this module, from a process of its own: `kills` and `answer`."""
    script = Path(__file__)
    places = os.pathsep.join(str(script.parent.parent / each) for each in ("adapters", "conformance", "e2e", ".."))
    environment = os.environ | {"LAB_FOLDER": str(folder), "PYTHONPATH": places}
    command = [sys.executable, str(script), "engine", module, str(folder), service, handler, '""']
    done = run_warm(
        command, framework=framework_of(script.with_name(f"{module}.py")), env=environment, cwd=script.parent
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def main(how: str, module: str, place: str, service: str, handler: str, given: str) -> None:
    folder, call = Path(place), (service, handler, json.loads(given))
    if how == "engine":
        kills, answer = lives(importlib.import_module(module), folder, call)
    else:
        importlib.import_module(module)
        warm_children()
        well_ms = patch.object(worker_pool, "RESTART_DELAY_WELL_MAX_MS", 0)
        with well_ms, patch.object(retries, "WORKER_KILLS_MAX", CHILDREN_MAX):
            answer = asyncio.run(worker_lives(folder, call))
        kills = len(deaths_in(folder).read_text().splitlines())
    sys.stdout.write(json.dumps({"kills": kills, "answer": answer}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
