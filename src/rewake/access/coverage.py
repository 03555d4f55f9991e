"""Coverage: the services that the token of the current request is for.

The admin port sets it for the length of a request; readings and operations look here, also on the threads of the
request. Without a token, or with one for all services, everything is covered.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_services: ContextVar[tuple[str, ...]] = ContextVar("services", default=())


def covered_services() -> tuple[str, ...]:
    """The services that the request may see, by name; () for all."""
    return _services.get()


def covers(service: str) -> bool:
    services = _services.get()
    return not services or service in services


@contextmanager
def covering(services: tuple[str, ...]) -> Iterator[None]:
    """Within it, only these services are covered; () for all."""
    before = _services.set(tuple(sorted(services)))
    try:
        yield
    finally:
        _services.reset(before)
