"""The results of replayed journals, as text and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from rewake.testing.replay.replayer import ReplayOutcome


class Report(NamedTuple):
    """The outcomes of all journals."""

    outcomes: Sequence[ReplayOutcome]

    @property
    def misfits(self) -> list[ReplayOutcome]:
        return [each for each in self.outcomes if not each.fits]

    @property
    def is_right(self) -> bool:
        return not self.misfits

    def as_json(self) -> dict[str, Any]:
        """The whole report for programs."""
        runs = [msgspec.to_builtins(each) | {"fits": each.fits} for each in self.outcomes]
        return {"runs": len(self.outcomes), "misfits": len(self.misfits), "outcomes": runs}

    def lines(self) -> list[str]:
        """Each run that does not fit, with the reason; then the totals."""
        lines: list[str] = []
        for each in self.misfits:
            lines.append(f"{each.target}  {each.id}  {each.status}: {_TITLES[each.end]}")
            lines += [f"    {line}" for line in _why(each)]
        differing = sum(each.answers_differ for each in self.outcomes)
        if differing:
            lines.append(f"{differing} of the ended runs would end with another result, which breaks no run.")
        lines.append(f"{len(self.outcomes) - len(self.misfits)} of {len(self.outcomes)} recorded runs fit.")
        return lines


_TITLES = {
    "ends": "ends",
    "goes on": "goes on",
    "waits": "waits for what the recorded run never got",
    "differs": "takes another way",
    "fails": "fails at the replay",
    "gone": "is not served any more",
    "hangs": "hangs outside its steps",
}


def _why(outcome: ReplayOutcome) -> list[str]:
    return outcome.detail.splitlines() if outcome.mismatch is None else outcome.mismatch.lines()
