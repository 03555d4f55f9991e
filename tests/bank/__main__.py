"""Pay at a bank that cuts connections, with workers that are killed, and look whether anything was booked twice.

    python -m tests.bank [--count 10000] [--seed N]

A count of cuts and kills, after which no further order is made; each order that was made is settled. Right is: nothing
booked twice; each order that was answered is booked; each lost answer was reported as unknown and settled as the
policy says, which for "fail" is a failure that says so.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import structlog
from tests.bank.server import Bank

import rewake
from rewake.core.ids import awakeable_id_parse
from rewake.deployments.worker import WorkerOptions
from rewake.deployments.worker_pool import WorkerEvents, WorkerPool
from rewake.engine.workers import KIND, uri_of
from rewake.protocol.messages import Success

APP: Final = str(Path(__file__).with_name("app.py"))
POLICIES: Final = ("retry", "verify", "ask", "fail")
AT_ONCE: Final = 96
KILL_EVERY_S: Final = (0.4, 1.6)
PERSON_LOOKS_AFTER_S: Final = 0.05


@dataclass
class Outcome:
    """What came of all orders."""

    bank: Bank
    kills: int = 0
    orders: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    took_s: float = 0.0

    @property
    def disturbances(self) -> int:
        """Cuts and kills together."""
        return self.kills + sum(self.bank.counts.values())

    def lines(self) -> list[str]:
        """For people."""
        counts = [f"{what}: {count}" for what, count in sorted((self.ended + self.bank.counts).items())]
        doubled = len(self.bank.doubled)
        return [
            f"{self.disturbances} kills and cuts in {self.took_s:.0f} s, {self.kills} of them kills -9 of a worker",
            f"{self.orders} orders, {doubled} booked twice, {len(self.wrong)} wrong",
            *counts,
            *self.wrong[:10],
        ]


async def paid(count: int, seed: int, folder: Path, *, workers: int = 2, at_once: int = AT_ONCE) -> Outcome:
    """Make orders until there were so many cuts and kills, and settle them all."""
    bank = Bank(seed)
    outcome = Outcome(bank)
    pids: list[int] = []
    events = WorkerEvents(
        on_ready=lambda pid, _: pids.append(pid), on_exit=lambda pid, _: pids.remove(pid) if pid in pids else None
    )
    began_s = time.monotonic()
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(bank.serving())
        options = WorkerOptions(app_ref=APP, env={"BANK_URL": bank.url})
        pool = WorkerPool(options, workers=workers, events=events)
        stack.push_async_callback(pool.close)
        engine = await stack.enter_async_context(rewake.Engine(folder))
        await pool.start()
        await engine.add_deployment(pool, uri=uri_of(APP), kind=KIND)
        engine.drive()
        person = _Person(engine, bank)
        bank.on_question = person.hear
        killer = asyncio.ensure_future(_kill(pids, outcome, seed))
        await asyncio.gather(*(_customer(engine, outcome, count, number) for number in range(at_once)))
        killer.cancel()
        await person.rest()
    outcome.took_s = time.monotonic() - began_s
    return outcome


async def _customer(engine: rewake.Engine, outcome: Outcome, count: int, number: int) -> None:
    """Orders one after the other, each with the next policy."""
    made = 0
    while outcome.disturbances < count:
        order, policy = f"{number}-{made}", POLICIES[(number + made) % len(POLICIES)]
        made += 1
        outcome.orders += 1
        try:
            await engine.call("Desk", "pay", {"order": order, "policy": policy}, idempotency_key=order)
            said = "done"
        except rewake.InvocationFailed as failure:
            said = "unknown" if "is unknown, so it was not done again" in failure.message else failure.message
        outcome.ended[f"{policy}: {said}"] += 1
        if problem := _problem(outcome.bank, order, policy, said):
            outcome.wrong.append(f"{order} ({policy}): {problem}")


def _problem(bank: Bank, order: str, policy: str, said: str) -> str:
    """What is wrong with an order that has ended."""
    bookings, cuts = len(bank.bookings[order]), len(bank.cuts[order])
    if bookings > 1:
        return f"booked {bookings} times"
    if said == "done":
        if not bookings:
            return "answered, and not booked"
        return "a lost answer was not reported" if policy == "fail" and cuts else ""
    return "" if (policy, said) == ("fail", "unknown") else f"ended with {said}"


async def _kill(pids: list[int], outcome: Outcome, seed: int) -> None:
    """Kill a worker now and then."""
    chosen = random.Random(seed)
    while True:
        await asyncio.sleep(chosen.uniform(*KILL_EVERY_S))
        if pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(chosen.choice(pids), signal.SIGKILL)
                outcome.kills += 1


class _Person:
    """Answers questions by looking at the bank's book, after what is under way has been booked."""

    def __init__(self, engine: rewake.Engine, bank: Bank) -> None:
        self._engine = engine
        self._bank = bank
        self._answering: set[asyncio.Task[None]] = set()

    def hear(self, said: dict[str, Any]) -> None:
        """A question has come."""
        task = asyncio.ensure_future(self._answer(said))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, said: dict[str, Any]) -> None:
        await asyncio.sleep(PERSON_LOOKS_AFTER_S)
        answer = b"true" if self._bank.bookings[said["order"]] else b"false"
        await self._engine.complete_awakeable(*awakeable_id_parse(said["id"]), Success(answer))

    async def rest(self) -> None:
        """Until all has been answered."""
        if self._answering:
            await asyncio.wait(self._answering)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bank")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with tempfile.TemporaryDirectory(prefix="rewake-bank-") as folder:
        outcome = asyncio.run(paid(options.count, options.seed, Path(folder), workers=options.workers))
    sys.stdout.write("\n".join(outcome.lines()) + "\n")
    return int(bool(outcome.wrong or outcome.bank.doubled))


if __name__ == "__main__":
    sys.exit(main())
