"""Plays as handlers of a process of its own; their log is a file in LAB_FOLDER, which outlives it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import restate
from pydantic_kit import Log
from pydantic_plays import Play, agents_as_tools, durable_tools, tools_side_by_side

PATIENT = restate.InvocationRetryPolicy(timedelta(milliseconds=50), 1.0, timedelta(milliseconds=50), 10_000, "kill")


class FileLog(Log):
    """What ran, over all lives of the process."""

    @contextmanager
    def body(self, name: str) -> Iterator[None]:
        self._write(name)
        yield
        self._write(f"{name}+")

    @staticmethod
    def _write(line: str) -> None:
        with (Path(os.environ["LAB_FOLDER"]) / "marks").open("a") as marks:
            marks.write(f"{line}\n")


PLAYS = {"tools": tools_side_by_side, "agents": agents_as_tools, "durable": durable_tools}
desk = restate.Service("Desk", invocation_retry_policy=PATIENT)


def add(name: str, play: Play) -> None:
    @desk.handler(name=name)
    async def handler(ctx: restate.Context) -> Any:
        return await play.handler(ctx)


for name, play in PLAYS.items():
    add(name, play(FileLog()))

app = restate.app([desk])
