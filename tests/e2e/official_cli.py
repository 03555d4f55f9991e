"""The official `restate` CLI beside an engine, and the app its session is about.

The engine is `rewake server`, or the real restate-server with --engine restate (node_tour.py): what is
expected of the one is proven on the other. The CLI is installed from npm into the repository's cache.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from node_tour import Engine, npm_program

CLI_PACKAGE = "@restatedev/restate@1.7.12"
COMMAND_SECONDS_MAX = 30

APP = '''
"""Handlers of every kind, among them some that wait, fail and hold a key."""
from datetime import timedelta

import restate

steps = restate.Service("Steps")
counter = restate.VirtualObject("Counter")
flow = restate.Workflow("Flow")


async def one() -> int:
    return 1


@steps.handler()
async def two(ctx: restate.Context, number: int) -> int:
    first = await ctx.run_typed("first", one)
    await ctx.sleep(timedelta(milliseconds=10))
    return number + first + await ctx.object_call(add, "two", 1)


@steps.handler()
async def fail(ctx: restate.Context, number: int) -> int:
    raise ValueError("not today")


@steps.handler()
async def refuse(ctx: restate.Context, number: int) -> int:
    raise restate.TerminalError("we do not do that", 418)


@steps.handler()
async def nap(ctx: restate.Context, seconds: float) -> str:
    await ctx.sleep(timedelta(seconds=seconds))
    return "rested"


@counter.handler()
async def add(ctx: restate.ObjectContext, number: int) -> int:
    count = (await ctx.get("count", type_hint=int) or 0) + number
    ctx.set("count", count)
    return count


@counter.handler()
async def hold(ctx: restate.ObjectContext, seconds: float) -> None:
    await ctx.sleep(timedelta(seconds=seconds))


@flow.main()
async def run(ctx: restate.WorkflowContext, name: str) -> str:
    ctx.set("name", name)
    return name


app = restate.app([steps, counter, flow])
'''

OTHER_APP = """
import restate

other = restate.Service("Other")


@other.handler()
async def echo(ctx: restate.Context, text: str) -> str:
    return text


app = restate.app([other])
"""


class Cli:
    """`restate`, talking to one engine."""

    def __init__(self, admin_url: str, home: Path) -> None:
        self.program = npm_program(CLI_PACKAGE, "bin/restate")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RESTATE_")},
            "DO_NOT_TRACK": "1",
            "HOME": str(home),
            "NO_COLOR": "1",
            "RESTATE_ADMIN_URL": admin_url,
        }

    def run(
        self, *arguments: str, stderr: int = subprocess.STDOUT, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A command to its end, whatever it is."""
        return subprocess.run(
            [str(self.program), *arguments, "--yes"],
            env=self.environment | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            timeout=COMMAND_SECONDS_MAX,
            check=False,
        )

    def __call__(self, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
        """What a command that succeeds says, blanks made single."""
        done = self.run(*arguments, environment=environment)
        said = plain(done.stdout)
        assert done.returncode == 0, said
        return said

    def data(self, *arguments: str) -> str:
        """What a command prints for programs."""
        done = self.run(*arguments, stderr=subprocess.DEVNULL)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def fails(self, *arguments: str) -> str:
        """What a command that fails says."""
        done = self.run(*arguments)
        said = plain(done.stdout)
        assert done.returncode == 1, said
        return said


def plain(text: str) -> str:
    """Without colours, rulers and the blanks that align columns."""
    bare = re.sub(r"\x1b\[[0-9;]*m", "", text)
    return "\n".join(" ".join(line.split()) for line in bare.splitlines() if line.strip(" \u2015"))


def send(engine: Engine, path: str, body: Any) -> str:
    """Enqueue a call; its invocation id."""
    answer = engine.call(path, body)
    assert answer.status == 202, answer
    return str(answer.body["invocationId"])


def status(engine: Engine, invocation_id: str) -> str | None:
    """The status of an invocation, None when it is forgotten."""
    rows = engine.query(f"select status from sys_invocation where id = '{invocation_id}'")
    return str(rows[0]["status"]) if rows else None
