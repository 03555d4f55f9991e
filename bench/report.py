"""The numbers as text: percentiles, medians over rounds, the table, and the ratios against the targets.

Pure: takes measured values, gives values and lines. Called by __main__.py; tested in tests/unit/test_bench_harness.py.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

HTTP2_RATE_RATIO_MIN = 1.0
TYPESCRIPT_RATE_RATIO_MIN = 2 / 3
RATE_RATIO_MIN = 3.0
LATENCY_RATIO_MAX = 0.5
MEMORY_RATIO_MAX = 1 / 3
START_SECONDS_MAX = 1.0

TITLES = {
    "restate": "restate-server",
    "rewake-before": "rewake (before)",
    "rewake-http2": "rewake (HTTP/2)",
    "restate-typescript": "restate-server (TypeScript)",
    "rewake-typescript": "rewake (TypeScript)",
}
"""How a peer is called in the text, where it is not by its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One work with one number of callers on one peer: of one round, or the medians over the rounds.

    cores: processor seconds per second, by role.   memory_mib: of all the peer's processes while the load ran.
    """

    peer: str
    work: str
    callers: int
    runs_per_second: float
    median_ms: float
    p99_ms: float
    cores: dict[str, float]
    memory_mib: float
    error_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One start of a peer: spawn to first answer, and memory once it stands idle."""

    peer: str
    seconds: float
    idle_mib: float


def title(peer: str) -> str:
    """A peer as the reader knows it."""
    return TITLES.get(peer, peer)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of the values do not exceed (nearest rank); nan without values."""
    if not values:
        return math.nan
    rank = math.ceil(percent / 100 * len(values))
    return sorted(values)[max(rank, 1) - 1]


def over_rounds(rows: Iterable[Row]) -> list[Row]:
    """One row for each peer, work and number of callers: medians of the figures, the sum of the errors."""
    groups: dict[tuple[str, int, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.work, row.callers, row.peer), []).append(row)
    return [_median_row(group) for group in groups.values()]


def table(rows: Iterable[Row]) -> list[str]:
    """The rows as aligned lines under a heading."""
    heading = ("work", "callers", "peer", "runs/s", "median ms", "p99 ms", "cores used", "memory MiB", "errors")
    cells = [
        (
            row.work,
            str(row.callers),
            title(row.peer),
            f"{row.runs_per_second:.0f}",
            f"{row.median_ms:.2f}",
            f"{row.p99_ms:.2f}",
            ", ".join(f"{role} {cores:.2f}" for role, cores in row.cores.items()),
            f"{row.memory_mib:.0f}",
            str(row.error_count),
        )
        for row in rows
    ]
    return aligned([heading, *cells])


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Cells in columns: numbers to the right, words to the left."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    is_number = [all(_is_number(line[column]) for line in lines[1:]) for column in range(len(widths))]
    return [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, is_number, strict=True)
        ).rstrip()
        for line in lines
    ]


def ratio_lines(rows: Sequence[Row], starts: Sequence[Start], ours: str, theirs: str) -> list[str]:
    """One line for each target: what was measured, the ratio, and whether the target is met."""
    lines = []
    by_key = {(row.peer, row.work, row.callers): row for row in rows}
    for (peer, work, callers), our_row in by_key.items():
        their_row = by_key.get((theirs, work, callers))
        if peer != ours or their_row is None:
            continue
        if callers == 1:
            lines.append(_latency_line(our_row, their_row))
        else:
            lines.append(_rate_line(our_row, their_row))
    lines += _memory_lines(rows, starts, ours, theirs)
    seconds = [start.seconds for start in starts if start.peer == ours]
    if seconds:
        value = statistics.median(seconds)
        lines.append(f"start to first answer: {value:.2f} s, {_verdict(value < START_SECONDS_MAX)} (target < 1 s)")
    return lines


def http2_lines(rows: Sequence[Row], ours: str, theirs: str) -> list[str]:
    """One line for each work with many callers: our engine over HTTP/2 beside the real one, same app process."""
    return [
        _rate_line(row, other, HTTP2_RATE_RATIO_MIN, " over HTTP/2") for row, other in _busy_pairs(rows, ours, theirs)
    ]


def typescript_lines(rows: Sequence[Row], ours: str, theirs: str) -> list[str]:
    """The same for the TypeScript app, which asks less of us, and so says where we are behind."""
    lines = []
    for row, other in _busy_pairs(rows, ours, theirs):
        ratio = row.runs_per_second / other.runs_per_second if other.runs_per_second else math.nan
        behind = f"; behind restate-server by {1 - ratio:.0%}" if ratio < 1 else ""
        lines.append(_rate_line(row, other, TYPESCRIPT_RATE_RATIO_MIN, " with TypeScript", "2/3") + behind)
    return lines


def before_lines(rows: Sequence[Row], ours: str, theirs: str, commit: str) -> list[str]:
    """One line for each work and number of callers: this commit beside another one of ours."""
    by_key = {(row.peer, row.work, row.callers): row for row in rows}
    lines = []
    for row in rows:
        before = by_key.get((theirs, row.work, row.callers))
        if row.peer == ours and before is not None:
            lines.append(
                f"{row.work}, {row.callers} callers, against {commit}: "
                f"{row.runs_per_second:.0f} / {before.runs_per_second:.0f} runs/s = "
                f"{row.runs_per_second / before.runs_per_second:.2f}; processor time a run "
                f"{_processor_us(row):.0f} / {_processor_us(before):.0f} us = "
                f"{_processor_us(row) / _processor_us(before):.2f}"
            )
    return lines


def _processor_us(row: Row) -> float:
    """Of the peer, without the callers."""
    return sum(cores for role, cores in row.cores.items() if role != "callers") / row.runs_per_second * 1e6


def _busy_pairs(rows: Sequence[Row], ours: str, theirs: str) -> list[tuple[Row, Row]]:
    """Rows with many callers of the one peer, each with that of the other."""
    by_key = {(row.peer, row.work, row.callers): row for row in rows}
    pairs = [(row, by_key.get((theirs, row.work, row.callers))) for row in rows if row.peer == ours and row.callers > 1]
    return [(row, other) for row, other in pairs if other is not None]


def _rate_line(
    ours: Row, theirs: Row, ratio_min: float = RATE_RATIO_MIN, how: str = "", target: str | None = None
) -> str:
    ratio = ours.runs_per_second / theirs.runs_per_second if theirs.runs_per_second else math.nan
    return (
        f"{ours.work}, {ours.callers} callers{how}: {ours.runs_per_second:.0f} / {theirs.runs_per_second:.0f} runs/s = "
        f"{ratio:.2f}, {_verdict(ratio >= ratio_min)} (target >= {target or f'{ratio_min:g}'})"
    )


def _latency_line(ours: Row, theirs: Row) -> str:
    ratio = ours.median_ms / theirs.median_ms
    return (
        f"{ours.work}, 1 caller: median {ours.median_ms:.2f} / {theirs.median_ms:.2f} ms = "
        f"{ratio:.2f}, {_verdict(ratio <= LATENCY_RATIO_MAX)} (target <= 0.5)"
    )


def _memory_lines(rows: Sequence[Row], starts: Sequence[Start], ours: str, theirs: str) -> list[str]:
    """Idle is the median over the starts, under load the highest row."""
    lines = []
    idle = {peer: [start.idle_mib for start in starts if start.peer == peer] for peer in (ours, theirs)}
    load = {peer: [row.memory_mib for row in rows if row.peer == peer] for peer in (ours, theirs)}
    for label, values, combine in (("idle", idle, statistics.median), ("under load", load, max)):
        if values[ours] and values[theirs]:
            our_mib, their_mib = combine(values[ours]), combine(values[theirs])
            ratio = our_mib / their_mib
            verdict = _verdict(ratio <= MEMORY_RATIO_MAX)
            lines.append(
                f"memory, {label}: {our_mib:.0f} / {their_mib:.0f} MiB = {ratio:.2f}, {verdict} (target <= 1/3)"
            )
    return lines


def _median_row(group: Sequence[Row]) -> Row:
    first = group[0]
    return Row(
        peer=first.peer,
        work=first.work,
        callers=first.callers,
        runs_per_second=statistics.median(row.runs_per_second for row in group),
        median_ms=statistics.median(row.median_ms for row in group),
        p99_ms=statistics.median(row.p99_ms for row in group),
        cores={role: statistics.median(row.cores[role] for row in group) for role in first.cores},
        memory_mib=statistics.median(row.memory_mib for row in group),
        error_count=sum(row.error_count for row in group),
    )


def _verdict(is_met: bool) -> str:
    return "met" if is_met else "MISSED"


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
