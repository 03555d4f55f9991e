"""Two runs side by side: a restart or a fork and the run it came from, step by step, with what differs marked."""

from __future__ import annotations

from itertools import zip_longest

import msgspec

from rewake.core.model import Invocation
from rewake.ui.reading import Reading, RunSummary
from rewake.ui.run import Row, rows_of

ROWS_MAX = 500


class Pair(msgspec.Struct, frozen=True):
    """The steps at one place of both runs. difference: `same`, `result`, `step` or `only` (in one)."""

    before: Row | None
    after: Row | None
    difference: str


class ComparePage(msgspec.Struct):
    """before: the run that was restarted.   run: the one made from it."""

    run: RunSummary
    before: RunSummary
    pairs: list[Pair]
    same_count: int


def compare_page(reading: Reading, old: Invocation, new: Invocation) -> ComparePage | None:
    """None when one of them has just been forgotten."""
    before, after = reading.summary(old.id), reading.summary(new.id)
    if before is None or after is None:
        return None
    pairs = [
        Pair(left, right, _difference(left, right))
        for left, right in zip_longest(rows_of(reading, old, ROWS_MAX), rows_of(reading, new, ROWS_MAX))
    ]
    return ComparePage(after, before, pairs, sum(pair.difference == "same" for pair in pairs))


def _difference(left: Row | None, right: Row | None) -> str:
    if left is None or right is None:
        return "only"
    if (left.kind, left.title) != (right.kind, right.title):
        return "step"
    return "same" if (left.preview, left.is_failure) == (right.preview, right.is_failure) else "result"
