"""Boundary: a place in one call at which a process is killed. Each play finds it again by its entry's name."""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

Who = Literal["worker", "engine"]

_VARYING: Final = re.compile(r"[0-9a-fA-F-]{24,}|\d{5,}")
"""Ids and times in a name. They differ in each life, so names are compared without them."""


class Boundary(msgspec.Struct, frozen=True):
    """A place to kill at. when: `before` or `after` the entry is stored, `inside` a step's body, `at` a model's call.

    entry: its type and name.   occurrence: number among equal entries in invocations of this target, from 1.
    """

    when: str
    target: str
    entry: str
    occurrence: int = 1

    def __str__(self) -> str:
        again = f" (no. {self.occurrence})" if self.occurrence > 1 else ""
        return f"{self.when} {self.target}: {self.entry}{again}"


class Kill(msgspec.Struct, frozen=True):
    who: Who
    at: Boundary


def without_what_varies(name: str) -> str:
    """A name without ids and times, which differ in each play."""
    return _VARYING.sub("#", name)
