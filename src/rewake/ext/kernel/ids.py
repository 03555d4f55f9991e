"""Ids that are the same in each attempt: `uuid5(invocation, path of branches, n)`.

`ctx.uuid()` comes from one stream for the whole invocation, in order of use: branches that run side by side would draw
from it in another order at replay. Here each branch has a count of its own.
"""

from __future__ import annotations

import uuid
from typing import Final

_NAMESPACE: Final = uuid.UUID("5b2f7a53-8e0c-5c55-9d5f-3f0a63f5c1f4")

Path = tuple[str, ...]


class Ids:
    """The ids of one invocation."""

    def __init__(self, invocation_id: str) -> None:
        self._invocation_id = invocation_id
        self._drawn: dict[Path, int] = {}

    def draw(self, path: Path) -> uuid.UUID:
        """The next id of this branch."""
        number = self._drawn[path] = self._drawn.get(path, 0) + 1
        return uuid.uuid5(_NAMESPACE, "\n".join((self._invocation_id, *path, str(number))))


def within(key: uuid.UUID, label: str) -> uuid.UUID:
    """An id below another one. label: what it is for; the same label gives the same id."""
    return uuid.uuid5(key, label) if label else key
