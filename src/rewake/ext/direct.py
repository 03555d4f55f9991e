"""How handlers in the engine's own process, or in one of its workers, find the engine: without a connection each time.

An engine puts a function here under a name that nobody can guess, and offers attempts `direct:{name}/{capability}` in
the place of a URL. Knows nothing of either side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

SCHEME: Final = "direct:"


class Writing(Protocol):
    """A try of a step that speaks; see rewake.ext.kernel.deltas."""

    def put(self, deltas: list[bytes]) -> None:
        """Take deltas, each one JSON without line breaks."""

    def end(self) -> None:
        """The try has succeeded."""

    def cut(self) -> None:
        """The try failed."""


Open = Callable[[str, dict[str, Any]], Writing | None]

doors: Final[dict[str, Open]] = {}
"""Opens the stream of a step, by the engine's name: from a capability and the first line of a request."""


relay: Open | None = None
"""Passes on, from the whole URL, what is meant for an engine of which this process is a worker."""


def open_direct(url: str, head: dict[str, Any]) -> Writing | None:
    """The stream of a step. None when the engine is gone or takes nothing."""
    name, _, capability = url.removeprefix(SCHEME).partition("/")
    if (door := doors.get(name)) is not None:
        return door(capability, head)
    return None if relay is None else relay(url, head)
