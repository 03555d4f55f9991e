"""Runs one call of an app on an engine in the same process, and kills both with SIGKILL at every result of the journal.

    python crash_lab.py APP FOLDER SERVICE HANDLER INPUT

A forked child runs engine and app. The n-th child dies when it reads the n-th result of the journal, directly after the
commit, so the chain of children dies once at each boundary; the last one prints what it answered and how many died.
Awakeables whose ids an app writes to `asked-*` files in FOLDER are resolved with the file's text.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import rewake
from rewake.core.ids import awakeable_id_parse
from rewake.protocol.messages import Success

CHILDREN_MAX = 80


class Killer:
    """A codec of journal values that counts the results that are read, and dies at one of them."""

    def __init__(self, dies_at: int) -> None:
        self.dies_at = dies_at
        self.seen = 0

    def encode(self, buf: bytes) -> bytes:
        return buf

    async def decode(self, buf: bytes) -> bytes:
        self.seen += 1
        if self.seen == self.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return buf


async def one_life(app: Any, folder: Path, service: str, handler: str, given: Any, dies_at: int) -> Any:
    async with rewake.Engine(folder / "data", app.make(Killer(dies_at))) as engine:
        answering = asyncio.create_task(answer_awakeables(engine, folder))
        try:
            key = "ada" if service.startswith("Object") else None
            return await engine.call(service, handler, given, key=key, idempotency_key="once")
        except rewake.InvocationFailed as failed:
            return f"failed: {failed}"
        finally:
            answering.cancel()
            await app.close()


async def answer_awakeables(engine: rewake.Engine, folder: Path) -> None:
    while True:
        for file in folder.glob("asked-*"):
            if said := file.read_text():
                invocation_id, signal_index = awakeable_id_parse(file.name.removeprefix("asked-"))
                await engine.complete_awakeable(invocation_id, signal_index, Success(said.encode()))
                file.unlink()
        await asyncio.sleep(0.02)


def main(module: str, folder: str, service: str, handler: str, given: str) -> None:
    os.environ["LAB_FOLDER"] = folder
    app = importlib.import_module(module)
    app.make(), rewake.Engine, rewake.InvocationFailed  # imported once, before the first fork
    for number in range(1, CHILDREN_MAX):
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            answer = asyncio.run(one_life(app, Path(folder), service, handler, json.loads(given), number))
            os.write(writer, json.dumps(answer).encode())
            os._exit(0)
        os.close(writer)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            with os.fdopen(reader, "rb") as said:
                told = {"kills": number - 1, "answer": json.loads(said.read() or b'"no answer"')}
            sys.stdout.write(json.dumps(told) + "\n")
            return
        os.close(reader)
    raise SystemExit("never ended")


if __name__ == "__main__":
    main(*sys.argv[1:])
