"""The queue of attempts that wait for a place: services take turns, then keys of a service; a key's are in order.

So a call waits one turn for another service's flood, not for the whole flood. Called by live_attempts.py.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

from rewake.core.effects import StartAttempt

_Name = TypeVar("_Name")
_Turns = OrderedDict[_Name, "OrderedDict[bytes, StartAttempt]"]


class AttemptQueue:
    """Each operation takes the same time, however many attempts of a service wait."""

    def __init__(self) -> None:
        self._by_id: dict[bytes, StartAttempt] = {}
        self._services: OrderedDict[str, _Turns[str | None]] = OrderedDict()
        self._counts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def count_of(self, service: str) -> int:
        """How many attempts of a service wait."""
        return self._counts.get(service, 0)

    def get(self, invocation_id: bytes) -> StartAttempt | None:
        return self._by_id.get(invocation_id)

    def add(self, effect: StartAttempt) -> None:
        """Add an attempt behind those of its key. If its invocation already waits, replace that one in its place."""
        target, invocation_id = effect.target, effect.invocation_id
        if invocation_id not in self._by_id:
            self._counts[target.service] = self._counts.get(target.service, 0) + 1
        self._by_id[invocation_id] = effect
        keys = self._services.setdefault(target.service, OrderedDict())
        keys.setdefault(target.key, OrderedDict())[invocation_id] = effect

    def take(self, may_start: Callable[[str], bool] = lambda _: True) -> StartAttempt | None:
        """Remove and return the next attempt of a service that may start one; None if no service may."""
        service = next((service for service in self._services if may_start(service)), None)
        if service is None:
            return None
        keys = self._services[service]
        key = next(iter(keys))
        effect = next(iter(keys[key].values()))
        keys.move_to_end(key)
        self._services.move_to_end(service)
        self.remove(effect)
        return effect

    def remove(self, effect: StartAttempt) -> None:
        """Remove a waiting attempt."""
        service, key = effect.target.service, effect.target.key
        del self._by_id[effect.invocation_id]
        keys = self._services[service]
        del keys[key][effect.invocation_id]
        self._counts[service] -= 1
        if not keys[key]:
            del keys[key]
        if not keys:
            del self._services[service], self._counts[service]
