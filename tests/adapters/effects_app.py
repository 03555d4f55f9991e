"""Effects in which engine and handlers die, for the crash lab. The other side is LAB_FOLDER, which outlives them."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final

import restate
from adapter_kit import Program, app_of, folder, mark, marks

from rewake.ext.kernel import Done, effect

AT_ONCE: Final = timedelta(0)


def die_once(what: str) -> None:
    """End this process; its successor gets past here."""
    died = folder() / f"died {what}"
    if not died.exists():
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def booking(name: str, *, dies_before: bool = False) -> Callable[[str], Awaitable[str]]:
    """Book, and die once: before it, or when it is booked and nobody knows."""

    async def book(key: str) -> str:
        if dies_before:
            die_once(name)
        mark(f"booked {name} {key}")
        die_once(name)
        return name

    return book


def finding(name: str) -> Callable[[str], Awaitable[Done[str] | None]]:
    """Ask the other side whether it has booked."""

    async def find(key: str) -> Done[str] | None:
        mark(f"asked {name}")
        return Done(name) if marks()[f"booked {name} {key}"] else None

    return find


async def pay(ctx: Any, given: str) -> list[str]:
    """One effect after the other, of each policy that needs no person."""
    early, find_early = booking("early", dies_before=True), finding("early")
    paid = [
        await effect(ctx, "early", early, verify=find_early, settle=AT_ONCE),
        await effect(ctx, "late", booking("late"), verify=finding("late"), settle=AT_ONCE),
        await effect(ctx, "keyed", booking("keyed"), on_unknown="retry"),
    ]
    try:
        await effect(ctx, "failing", booking("failing"), on_unknown="fail")
    except restate.TerminalError:
        paid.append("unknown")
    return paid


PROGRAMS: Final[dict[str, Program]] = {"pay": pay}


def make(_: Any = None) -> Any:
    """The app, for crash_lab.py: the effects choose where they die."""
    return app_of(PROGRAMS)


async def close() -> None:
    """Nothing is open."""
