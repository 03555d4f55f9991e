"""A run with all runs below it, level by level: summaries and named steps, for pictures.

It is cheaper than a Record: only commands that a name needs are read. Bounded in runs and in steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from rewake.core import ids
from rewake.runs.facts import RunSummary
from rewake.runs.reading import Reading
from rewake.runs.steps import DEFAULT_VERSION, Step, decoded, name_step, steps_of

RUNS_MAX: Final = 100
NAMED_STEPS_MAX: Final = 200
"""Steps of one run that get a name from their commands."""

_NAME_BYTES_MAX: Final = 4_096


class Branch(msgspec.Struct):
    """One run and the runs it called, in the order of the calls. A run appears once in a tree."""

    run: RunSummary
    steps: list[Step]
    children: list[Branch] = []

    @property
    def id(self) -> bytes:
        return ids.invocation_id_from_str(self.run.id)

    def walk(self) -> Iterator[Branch]:
        """This branch and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


def fetch_tree(reading: Reading, invocation_id: bytes, *, runs_max: int = RUNS_MAX) -> Branch | None:
    """The tree of a run, without deleted runs. None if the run itself is deleted."""
    root = _branch(reading, invocation_id)
    level, placed = [] if root is None else [root], {invocation_id}
    while level and len(placed) < runs_max:
        below: list[Branch] = []
        for branch in level:
            for step in branch.steps:
                if step.child is None or step.child in placed or len(placed) >= runs_max:
                    continue
                child = _branch(reading, step.child)
                if child is not None:
                    placed.add(step.child)
                    branch.children.append(child)
                    below.append(child)
        level = below
    return root


def _branch(reading: Reading, invocation_id: bytes) -> Branch | None:
    run = reading.summary(invocation_id)
    if run is None:
        return None
    steps = steps_of(reading.entries(invocation_id))
    _name(reading, invocation_id, steps)
    return Branch(run, steps)


def _name(reading: Reading, invocation_id: bytes, steps: list[Step]) -> None:
    unnamed = [step for step in steps if step.display.is_timed and step.kind != "step"][:NAMED_STEPS_MAX]
    if not unnamed:
        return
    invocation = reading.invocation(invocation_id)
    version = None if invocation is None else invocation.pinned_version
    payloads, _ = reading.payloads_within(
        invocation_id, [step.index for step in unnamed], each_max=_NAME_BYTES_MAX, all_max=1 << 20
    )
    for step in unnamed:
        if step.index in payloads:
            name_step(step, decoded(step.type, payloads[step.index], version or DEFAULT_VERSION))
