"""Tokens and their cost: by agent and model, for a run with its calls, and for all runs of a session.

An ended run no longer changes, so it is counted once and remembered. The sum of a long session is thus complete after
a few requests, and each request is short. Prices are list prices: see agents/prices.py.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

RUNS_REMEMBERED: Final = 20_000
SUM_MS: Final = 60
"""Time that one page may spend on counting new runs."""


class Usage(msgspec.Struct):
    """Tokens of one agent and model. cost: in US dollars, None if a price is not known.

    is_declared: the journal names no model, so this is the app's declared one.   is_default: the app declares none
    either, so this is the framework's default.
    """

    agent: str
    model: str | None
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = 0.0
    is_declared: bool = False
    is_default: bool = False


class Total(msgspec.Struct, frozen=True):
    """A sum. cost: of calls with a known price, None without any.   unpriced_calls: count of the other calls."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    unpriced_calls: int = 0


class SessionSpending(msgspec.Struct, frozen=True):
    """The sum over a key's runs and the runs they called. runs_summed: so many of all `runs` are in it."""

    usage: list[Usage]
    total: Total
    runs_summed: int
    runs: int


def add(usages: list[Usage], more: Usage) -> None:
    """Add `more` to the row of its agent and model."""
    found = next((item for item in usages if (item.agent, item.model) == (more.agent, more.model)), None)
    if found is None:
        usages.append(msgspec.structs.replace(more))
        return
    found.calls += more.calls
    found.input_tokens += more.input_tokens
    found.output_tokens += more.output_tokens
    found.cost = None if more.cost is None or found.cost is None else found.cost + more.cost
    found.is_declared = found.is_declared and more.is_declared
    found.is_default = found.is_default and more.is_default


def total_of(usages: Iterable[Usage]) -> Total:
    """The sum of all rows."""
    rows = list(usages)
    priced = [row.cost for row in rows if row.cost is not None]
    return Total(
        calls=sum(row.calls for row in rows),
        input_tokens=sum(row.input_tokens for row in rows),
        output_tokens=sum(row.output_tokens for row in rows),
        cost=sum(priced) if priced else None,
        unpriced_calls=sum(row.calls for row in rows if row.cost is None),
    )


class Remembered:
    """Spending of ended runs, the latest counted ones. Threads may share it: a race only repeats a count."""

    def __init__(self, runs_max: int = RUNS_REMEMBERED) -> None:
        self._runs_max = runs_max
        self._found: OrderedDict[tuple[str, int], tuple[Usage, ...]] = OrderedDict()

    def get(self, run_id: str, modified_at_ms: int) -> tuple[Usage, ...] | None:
        return self._found.get((run_id, modified_at_ms))

    def put(self, run_id: str, modified_at_ms: int, usages: Iterable[Usage]) -> None:
        self._found[run_id, modified_at_ms] = tuple(usages)
        while len(self._found) > self._runs_max:
            self._found.popitem(last=False)


def sum_runs(
    runs: Iterable[tuple[str, int, bool]],
    count: Callable[[str], Iterable[Usage]],
    remembered: Remembered,
    *,
    budget_ms: int = SUM_MS,
) -> SessionSpending:
    """The spending of runs, newest first: (id, modified at, whether it has ended). count: counts a new run.

    When the time is up no new run is counted; remembered runs are still added.
    """
    usages: list[Usage] = []
    total = summed = 0
    until = time.monotonic() + budget_ms / 1_000
    for run_id, modified_at_ms, is_ended in runs:
        total += 1
        found = remembered.get(run_id, modified_at_ms) if is_ended else None
        if found is None:
            if time.monotonic() >= until:
                continue
            found = tuple(count(run_id))
            if is_ended:
                remembered.put(run_id, modified_at_ms, found)
        summed += 1
        for usage in found:
            add(usages, usage)
    return SessionSpending(usages, total_of(usages), summed, total)
