"""Places: how many attempts run at once, and how many of them one service may hold.

A place that is held is not taken away. So one service never gets all: handlers of it that run for minutes leave some
places to the calls of other services. Called by live_attempts.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

RESERVED_SHARE: Final = 8
"""One of so many places is kept from a service that holds all others; below so many places, none is."""


class Places:
    """The places of one engine. service_count: how many services it knows now; a single one may hold all places."""

    def __init__(self, count_max: int, service_count: Callable[[], int]) -> None:
        self._count_max = count_max
        self._service_max = count_max - count_max // RESERVED_SHARE
        self._service_count = service_count
        self._taken: Counter[str] = Counter()
        self._count = 0

    @property
    def is_full(self) -> bool:
        return self._count >= self._count_max

    def has_one_for(self, service: str) -> bool:
        """Whether an attempt of this service may start."""
        if self._count >= self._count_max:
            return False
        return self._taken[service] < self._service_max or self._service_count() <= 1

    def take(self, service: str) -> None:
        self._taken[service] += 1
        self._count += 1

    def give_back(self, service: str) -> None:
        self._count -= 1
        self._taken[service] -= 1
        if not self._taken[service]:
            del self._taken[service]

    def clear(self) -> None:
        """Give back all."""
        self._taken.clear()
        self._count = 0
