"""Watched handlers: those that were in flight at each recent death of a shared worker.

quarantine.py finds a single invocation that kills. But a handler that kills now and then, or that has a queue of
killing inputs, would cost several workers for each of them. So handlers that were in flight at each of the last deaths
get their own process for a while, where they harm only themselves. Pure; called by worker_pool.py.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from typing import Final

DEATHS_TO_WATCH: Final = 3
WATCHED_MAX: Final = 2
"""Handlers watched for the same deaths, those with the fewest attempts first: frequent ones are probably bystanders."""

WATCHED_FOR_S: Final = 60.0
"""A handler is watched for so long after the last death; deaths within this time are one series."""


class WatchedHandlers:
    """Handlers by name, with the end of their watch."""

    def __init__(self) -> None:
        self._deaths: deque[tuple[float, Counter[str]]] = deque(maxlen=DEATHS_TO_WATCH)
        self._until_s: dict[str, float] = {}

    def __bool__(self) -> bool:
        return bool(self._until_s)

    def on_death(self, in_flight: Iterable[str], now_s: float) -> list[str]:
        """A worker died under these, one name for each attempt. Returns the newly watched handlers."""
        counts = Counter(in_flight)
        for handler in self._until_s.keys() & counts.keys():
            self._until_s[handler] = now_s + WATCHED_FOR_S
        self._deaths.append((now_s, counts))
        if len(self._deaths) < DEATHS_TO_WATCH or self._deaths[0][0] < now_s - WATCHED_FOR_S:
            return []
        suspects = set.intersection(*(set(seen) for _, seen in self._deaths)) - self._until_s.keys()
        found = sorted(suspects, key=lambda handler: (counts[handler], handler))[:WATCHED_MAX]
        self._until_s |= dict.fromkeys(found, now_s + WATCHED_FOR_S)
        if found:
            self._deaths.clear()
        return found

    def is_watched(self, handler: str, now_s: float) -> bool:
        """Whether its attempts must run in a separate process."""
        until_s = self._until_s.get(handler)
        if until_s is None:
            return False
        if until_s < now_s:
            del self._until_s[handler]
            return False
        return True
