"""The app whose runs are frozen in frozen/, one database for each version of the schema, and what makes them.

    python tests/conformance/frozen_app.py    writes the database of this version, and what is in it

Made once for each version and never again: a database of a user stays what it is. Handlers may only be added.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import tempfile
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import apsw
import restate

from rewake.engine import Engine
from rewake.store.connection import DATABASE_FILE, open_reader
from rewake.store.schema import VERSION

FROZEN: Final = Path(__file__).parent / "frozen"
WAITS_AT: Final = {"approval": 3, "timer": 2, "promise": 2, "call": 2}
"""Entries in the journals of those that are open."""

TABLES: Final = ("invocation", "journal", "state", "timer", "listener", "promise", "promise_listener", "deployment")

desk = restate.VirtualObject("FrozenDesk")
flows = restate.Service("FrozenFlows")
signup = restate.Workflow("FrozenSignup")


@desk.handler()
async def ask(ctx: restate.ObjectContext, question: str) -> str:
    items = await ctx.get("items", type_hint=list[str]) or []
    answer = await ctx.run_typed("model", lambda: f"an answer to {question} " * 100)
    ctx.set("items", [*items, question, answer])
    return f"{len(items)} before"


@flows.handler()
async def approve(ctx: restate.Context, claim: str) -> str:
    checked = await ctx.run_typed("check", lambda: f"checked {claim}")
    _, approval = ctx.awakeable(type_hint=str)
    return f"{checked}: {await approval}"


@flows.handler()
async def sleeps(ctx: restate.Context) -> str:
    await ctx.sleep(timedelta(seconds=5))
    return "awake"


@flows.handler()
async def fails(ctx: restate.Context) -> None:
    raise restate.TerminalError("no such claim", 404)


@flows.handler()
async def asks_desk(ctx: restate.Context, question: str) -> str:
    await ctx.sleep(timedelta(seconds=5))
    return await ctx.object_call(ask, key="ada", arg=question)


@signup.main()
async def run(ctx: restate.WorkflowContext) -> str:
    return f"confirmed {await ctx.promise('confirmed', type_hint=str).value()}"


@signup.handler()
async def confirm(ctx: restate.WorkflowSharedContext, code: str) -> None:
    await ctx.promise("confirmed", type_hint=str).resolve(code)


app = restate.app([desk, flows, signup])


def frozen(version: int, folder: Path) -> tuple[Path, dict[str, Any]]:
    """A data folder with the database of a version, and what was in it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DATABASE_FILE).write_bytes(gzip.decompress((FROZEN / f"{version}.db.gz").read_bytes()))
    return folder, json.loads((FROZEN / f"{version}.json").read_text())


def content(folder: Path) -> dict[str, list[list[str]]]:
    """The rows of each table, as text, in the order of their keys."""
    with closing(open_reader(folder / DATABASE_FILE)) as connection:
        return {
            table: sorted([repr(value) for value in row] for row in connection.execute(f"select * from {table}"))
            for table in TABLES
        }


async def until_rows(engine: Engine, sql: str, count: int) -> None:
    while len((await engine.query(sql)).rows) < count:
        await asyncio.sleep(0.01)


async def fill(folder: Path) -> dict[str, str]:
    """Runs of every kind; the ids of those that are open, by what they wait for."""
    async with Engine(folder, app) as engine:
        for number in range(5):
            await engine.call("FrozenDesk", "ask", f"question {number}", key="ada")
        failed = await engine.send("FrozenFlows", "fails")
        await until_rows(engine, f"select 1 from sys_invocation where id = '{failed}' and status = 'completed'", 1)
        opened = {
            "approval": await engine.send("FrozenFlows", "approve", "claim 7", idempotency_key="7"),
            "timer": await engine.send("FrozenFlows", "sleeps"),
            "promise": await engine.send("FrozenSignup", "run", key="ada"),
            "call": await engine.send("FrozenFlows", "asks_desk", "one more"),
            "delay": await engine.send("FrozenDesk", "ask", "later", key="bob", delay_ms=5_000),
        }
        for each in ("approval", "timer", "promise", "call"):  # each is at what it waits for
            await until_rows(engine, f"select 1 from sys_journal where id = '{opened[each]}'", WAITS_AT[each])
    return opened


def record() -> None:
    """Write the database of this version."""
    FROZEN.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        opened = asyncio.run(fill(folder))
        with closing(apsw.Connection(str(folder / DATABASE_FILE))) as connection:
            # Due at once, whatever the clock of a test says.
            connection.execute("update timer set fire_at_ms = 1000")
            connection.execute("update invocation set start_at_ms = 1000 where start_at_ms is not null")
            connection.execute("pragma journal_mode = delete")
        facts = {"open": opened, "rows": {table: len(rows) for table, rows in content(folder).items()}}
        packed = gzip.compress((folder / DATABASE_FILE).read_bytes(), mtime=0)
        (FROZEN / f"{VERSION}.db.gz").write_bytes(packed)
        (FROZEN / f"{VERSION}.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    record()
