"""The agent work as text: a table, what an engine adds, and the floors. Pure; called by __main__.py."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from bench.agent_work import (
    ADDED_MS_MAX,
    CALLERS,
    DBOS_RATIO_MIN,
    MODEL_CALLS,
    RATE_RATIO_MIN,
    RATE_SHARE_MIN,
    AgentRow,
    Bare,
    BesideSteps,
    EmptySteps,
    OfficialOnRestate,
    OnDbos,
    OursOnRewake,
)

HEADING = (
    "framework",
    "callers",
    "way",
    "runs/s",
    "median ms",
    "added a model call",
    "CPU ms a run",
    "steps",
    "journal bytes",
)


def medians(rows: Iterable[AgentRow]) -> list[AgentRow]:
    """One row for each framework, number of callers and way."""
    groups: dict[tuple[str, int, str], list[AgentRow]] = {}
    for row in rows:
        groups.setdefault((row.framework, row.callers, row.way), []).append(row)
    return [
        AgentRow(
            framework=framework,
            way=way,
            callers=count,
            runs_per_second=statistics.median(each.runs_per_second for each in group),
            median_ms=statistics.median(each.median_ms for each in group),
            cpu_ms=statistics.median(each.cpu_ms for each in group),
            steps=group[0].steps,
            journal_bytes=group[0].journal_bytes,
            error_count=sum(each.error_count for each in group),
        )
        for (framework, count, way), group in sorted(groups.items())
    ]


def lines(rows: Sequence[AgentRow]) -> list[str]:
    """Table and floors."""
    found = {(row.framework, row.callers, row.way): row for row in medians(rows)}
    cells = [HEADING]
    for row in found.values():
        bare = found.get((row.framework, row.callers, Bare.title))
        is_bare = row.way == Bare.title
        added = (
            ""
            if bare is None or row.way in (Bare.title, EmptySteps.title)
            else f"{(row.median_ms - bare.median_ms) / MODEL_CALLS:.2f}"
        )
        journal = ("", "") if is_bare else (str(row.steps), str(row.journal_bytes))
        told = (row.framework, str(row.callers), row.way, f"{row.runs_per_second:.0f}", f"{row.median_ms:.1f}")
        cells.append((*told, added, f"{row.cpu_ms:.1f}", *journal))
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEADING))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return [*table, *floors(found)]


def floors(found: dict[tuple[str, int, str], AgentRow]) -> list[str]:
    """What `rewake.ext` has to reach, and whether it does."""
    text = []
    one, many = CALLERS[0], CALLERS[1]
    for framework in sorted({framework for framework, _, way in found if way == OursOnRewake.title}):
        ours, bare = found[framework, one, OursOnRewake.title], found.get((framework, one, Bare.title))
        if bare is not None and ours.steps:
            added = (ours.median_ms - bare.median_ms) / ours.steps
            text.append(_judged(f"{framework}: added ms a step, 1 caller", added, ADDED_MS_MAX, is_most=True))
        beside = found.get((framework, one, BesideSteps.title))
        if bare is not None and beside is not None and beside.steps:
            added = (beside.median_ms - bare.median_ms) / beside.steps
            text.append(
                f"{framework}: added ms an empty step of the plain SDK beside the framework, 1 caller: {added:.2f}"
            )
        empty = found.get((framework, one, EmptySteps.title))
        if empty is not None and empty.steps:
            text.append(f"{framework}: ms a step with an empty body, 1 caller: {empty.median_ms / empty.steps:.2f}")
        ours, bare = found[framework, many, OursOnRewake.title], found.get((framework, many, Bare.title))
        if bare is not None:
            share = ours.runs_per_second / bare.runs_per_second
            text.append(_judged(f"{framework}: runs/s of the bare framework's, {many} callers", share, RATE_SHARE_MIN))
        for way, ratio_min in ((OfficialOnRestate.title, RATE_RATIO_MIN), (OnDbos.title, DBOS_RATIO_MIN)):
            if (other := found.get((framework, many, way))) is not None:
                ratio = ours.runs_per_second / other.runs_per_second
                text.append(_judged(f"{framework}: runs/s of {way}, {many} callers", ratio, ratio_min))
    return text


def _judged(what: str, value: float, bound: float, *, is_most: bool = False) -> str:
    is_met = value <= bound if is_most else value >= bound
    return f"{what}: {value:.2f}, {'met' if is_met else 'MISSED'} (target {'<=' if is_most else '>='} {bound})"
