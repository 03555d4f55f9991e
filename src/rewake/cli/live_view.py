"""The live view of `rewake run` on a terminal: counts of runs, what open runs do, and what goes wrong.

A few lines below the log, drawn about once a second from the database on a thread. If drawing takes long, it is done
less often, so that runs are not slowed down. Agents are read from the journals as in the web UI.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import structlog

from rewake import formats
from rewake.cli.reserved_lines import ReservedLines
from rewake.core import ids
from rewake.runs.agents import agent_trace
from rewake.runs.displays import WAITS
from rewake.runs.facts import RunSummary
from rewake.runs.filters import RunFilter
from rewake.runs.listing import Counts, RunPage, run_page
from rewake.runs.local.database import local_reading
from rewake.runs.steps import Step, decoded, name_step, steps_of, version_of

if TYPE_CHECKING:
    from typing import TextIO

    from rewake.engine import Engine
    from rewake.runs.reading import Reading

LINES: Final = 7
INTERVAL_S: Final = 1.0
SHARE_MAX: Final = 0.05
"""Share of the time that may go into looking."""

ENTRIES_MAX: Final = 500
"""Journals with more entries show their last step, not their agents."""

_SHOWN: Final = ("backing-off", "paused", "running", "suspended", "pending", "scheduled")
"""Open runs by how much they need to be seen."""

log = structlog.get_logger("rewake.cli")


class LiveView:
    """Draws until cancelled. ui_url: the page of all runs."""

    def __init__(self, engine: Engine, stream: TextIO, ui_url: str) -> None:
        self._engine = engine
        self._lines = ReservedLines(stream, LINES)
        self._ui_url = ui_url
        self._counts = Counts()
        self._ended: tuple[float, int] | None = None

    async def draw_until_cancelled(self) -> None:
        """At the end, the lines are cleared and given back."""
        try:
            while True:
                started_s = time.monotonic()
                self._lines.show(await asyncio.to_thread(self._look))
                took_s = time.monotonic() - started_s
                await asyncio.sleep(max(INTERVAL_S, took_s / SHARE_MAX))
        except Exception:  # a view that cannot be drawn must not end the engine
            log.exception("live_view_failed")
        finally:
            self._lines.close()

    def _look(self) -> list[str]:
        with local_reading(self._engine.path, self._engine.now_ms()) as found:
            return list(self._picture(found, run_page(found, RunFilter(status=_SHOWN), self._counts)))

    def _picture(self, found: Reading, page: RunPage) -> Iterator[str]:
        runs = sorted(page.runs, key=lambda run: _SHOWN.index(run.status))
        yield from ("", self._summary(page.counts))
        shown = runs[: LINES - 3]
        names = [formats.line(run.target, 36) for run in shown]
        width = max(map(len, names), default=0)
        for run, name in zip(shown, names, strict=True):
            yield f"   {name:<{width}}  {describe(found, run)}"
        hidden = sum(page.counts[status] for status in _SHOWN) - len(shown)
        yield f"   and {hidden} more: {self._ui_url}" if hidden else f"   {self._ui_url}"

    def _summary(self, counts: dict[str, int]) -> str:
        """Counts by status and completions per second since the last look."""
        parts = [f"{counts['running']} running"]
        parts += [f"{counts[status]} {status}" for status in _SHOWN if counts[status] and status != "running"]
        parts += [f"{counts['succeeded']} succeeded", f"{counts['failed']} failed"]
        now_s, ended = time.monotonic(), counts["succeeded"] + counts["failed"]
        if self._ended is not None and ended > self._ended[1]:
            parts.append(f"{(ended - self._ended[1]) / (now_s - self._ended[0]):.0f}/s")
        self._ended = (now_s, ended)
        return " " + " · ".join(parts)


def describe(found: Reading, run: RunSummary) -> str:
    """What an open run does: its failure, or its agent and step, and for how long."""
    if run.status == "backing-off" and run.next_retry_at_ms is not None:
        wait = formats.duration(max(run.next_retry_at_ms - found.now_ms, 0))
        return f"attempt {run.retry_count + 1} in {wait}: {formats.line(run.problem, 200)}"
    if run.status == "paused":
        return f"paused: {formats.line(run.problem or 'by hand', 200)}"
    if run.status == "scheduled" and run.start_at_ms is not None:
        return f"starts in {formats.duration(max(run.start_at_ms - found.now_ms, 0))}"
    if run.status == "pending":
        return "waits for its turn"
    age = formats.duration(max(found.now_ms - (run.running_at_ms or run.created_at_ms), 0))
    doing = [part for part in _doing(found, run) if part]
    return f"{': '.join(doing)}  {age}" if doing else age


def _doing(found: Reading, run: RunSummary) -> tuple[str, str]:
    """The agent at work, if the journal names it, and the step."""
    invocation_id = ids.invocation_id_from_str(run.id)
    invocation = found.invocation(invocation_id)
    if invocation is None:
        return "", ""
    count = found.entry_count(invocation_id)
    steps = steps_of(found.entries(invocation_id, low=max(count - ENTRIES_MAX, 0)))
    agent = ""
    if count <= ENTRIES_MAX:
        trace = agent_trace(found, invocation)
        if trace.has_agents:
            agent = next((turn.agent for turn in reversed(trace.turns) if turn.agent), "")
    return formats.line(agent, 30), _title(found, invocation_id, version_of(invocation), steps)


def _title(found: Reading, invocation_id: bytes, version: int, steps: list[Step]) -> str:
    """The step that is open, else the last one."""
    step = next((step for step in reversed(steps) if not step.is_done), steps[-1] if steps else None)
    if step is None or step.kind == "input":
        return ""
    with contextlib.suppress(KeyError):
        name_step(step, decoded(step.type, found.payloads(invocation_id, [step.index])[step.index], version))
    is_waiting = not step.is_done and step.kind in WAITS
    return formats.line(f"{'waits: ' if is_waiting else ''}{step.title}", 60)
