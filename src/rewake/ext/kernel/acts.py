"""One act on the outside world, as the body of a step: whether it may be done now, and what its failure means.

An act that was sent may have been done, even if its answer was lost. So a body that is not the first to send it asks
the other side before it sends it again, or stores that the outcome is unknown. Called by effects.py, which settles
unknown outcomes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeVar

from restate import TerminalError

from rewake.ext.kernel.envelope import Envelope
from rewake.ext.kernel.failures import Transient, fate, for_the_engine, status_of
from rewake.ext.kernel.steps import called
from rewake.ext.kernel.values import encode

T = TypeVar("T")

State = Literal["sent", "done", "verified", "not_done", "failed", "unknown", "undone", "undo_failed"]
LOST: Final = "The attempt ended after it may have been sent, and before its answer was stored."
PAUSES_S: Final = (0.25, 1.0, None)  # between tries in place; after the last one the engine, or a timer, goes on
_WHY_CHARS_MAX: Final = 500
_REQUEST_TIMEOUT, _CONFLICT, _TOO_MANY = 408, 409, 429
_NOT_CONNECTED: Final = frozenset(
    {
        "ConnectionRefusedError",
        "gaierror",
        "ConnectError",  # httpx, httpcore
        "ConnectTimeout",  # httpx, httpcore, requests
        "PoolTimeout",
        "ClientConnectorError",  # aiohttp
        "NewConnectionError",  # urllib3
        "ConnectTimeoutError",
    }
)
"""Errors of client libraries that are raised before a byte of the request has left."""


@dataclass(frozen=True)
class Done(Generic[T]):
    """What `verify` returns when the act was done. value: what the function would have returned."""

    value: T


_key_here: ContextVar[str | None] = ContextVar("rewake_effect_key", default=None)


def effect_key() -> str:
    """The key of the effect whose function, `verify` or `on_undo` runs now. Raises RuntimeError elsewhere."""
    key = _key_here.get()
    if key is None:
        raise RuntimeError("effect_key() works in the functions of an effect only: it, its verify, its on_undo.")
    return key


def with_key(key: str, function: Callable[[], Any]) -> Callable[[], Awaitable[Any]]:
    """A call of a function of an effect; the function gets the key with `effect_key()`."""

    async def keyed() -> Any:
        token = _key_here.set(key)
        try:
            return await called(function)
        finally:
            _key_here.reset(token)

    return keyed


class NotDone(Exception):
    """Raised by a function if its act was certainly not done and may be tried again."""


Verdict = Literal["refused", "not_done", "unknown"]


def verdict_on(problem: Exception) -> Verdict:
    """The meaning of an act's failure.

    `refused`: the other side refused it for good (a TerminalError, a 4xx).   `not_done`: nothing was sent, or the other
    side asks for a later try (429).   `unknown`: everything else, above all a timeout and a 5xx.
    """
    if isinstance(problem, TerminalError):
        return "refused"
    if any(isinstance(each, NotDone) or type(each).__name__ in _NOT_CONNECTED for each in _chain(problem)):
        return "not_done"
    status = status_of(problem)
    if status is None or not 400 <= status < 500 or status in (_REQUEST_TIMEOUT, _CONFLICT):
        return "unknown"
    return "not_done" if status == _TOO_MANY else "refused"


@dataclass(kw_only=True)
class Act:
    """One act of an effect. about: the step's envelope without a value.

    is_fresh: it cannot have been sent yet.   settle_s: time within which a sent act may still be done.
    """

    name: str
    key: str
    about: Envelope
    function: Callable[[], Any]
    verify: Callable[[], Any] | None = None
    settle_s: float = 0.0
    is_fresh: bool = False

    def told(self, state: State, **more: Any) -> Envelope:
        """The envelope to store for the act in this state."""
        at_ms = time.time_ns() // 1_000_000
        return self.about.with_value({"effect": self.name, "key": self.key, "state": state, "at_ms": at_ms} | more)

    async def marked(self) -> Envelope:
        """The body of the marker. Afterwards the act may have been sent."""
        self.is_fresh = True
        return self.told("sent")

    async def keyed(self) -> Envelope:
        """The body of a step that may run again: the other side accepts the key, and does the act once."""
        try:
            return self._done("done", await called(self.function))
        except Exception as problem:
            if isinstance(found := fate(problem), TerminalError):
                return self._failed(found)
            raise

    async def once(self) -> Envelope:
        """The body of a step behind a marker: it sends the act only if it was not sent, or was not done."""
        for pause_s in PAUSES_S:
            if not self.is_fresh and (known := await self._known()) is not None:
                return known
            self.is_fresh = False
            try:
                return self._done("done", await called(self.function))
            except Exception as problem:
                match verdict_on(problem):
                    case "refused":
                        found = fate(problem)
                        return self._failed(found if isinstance(found, TerminalError) else TerminalError(str(problem)))
                    case "not_done":
                        self.is_fresh = True
                        if pause_s is None and self.verify is None:
                            return self.told("not_done", why=_why(problem), after_s=_after_s(problem))
                    case "unknown" if self.verify is None:
                        return self.told("unknown", why=_why(problem))
                if pause_s is None:
                    raise for_the_engine(problem) from problem
            await asyncio.sleep(pause_s)
        raise AssertionError("the last try returns or raises")

    async def _known(self) -> Envelope | None:
        """The outcome, None if it was not done. Raises failures that may pass; the body then runs again."""
        if self.verify is None:
            return self.told("unknown", why=LOST)
        try:
            found = await self._asked()
            if found is None and self.settle_s:
                await asyncio.sleep(self.settle_s)  # what was sent may be on its way still
                found = await self._asked()
        except Exception as problem:
            if isinstance(fate(problem), Transient):
                raise
            return self.told("unknown", why=f"verify could not say: {_why(problem)}")
        return None if found is None else self._done("verified", found.value)

    async def _asked(self) -> Done[Any] | None:
        assert self.verify is not None
        found = await called(self.verify)
        if found is None or isinstance(found, Done):
            return found
        raise TerminalError(f"it returned {type(found).__name__}, and must return Done(value), or None for not done")

    def _done(self, state: State, result: Any) -> Envelope:
        return self.told(state, result=encode(result))

    def _failed(self, problem: TerminalError) -> Envelope:
        return self.told("failed", why=problem.message[:_WHY_CHARS_MAX], code=problem.status_code)


def _after_s(problem: Exception) -> float | None:
    found = fate(problem)
    return found.after_s if isinstance(found, Transient) else None


def _why(problem: BaseException) -> str:
    return f"{type(problem).__name__}: {problem}"[:_WHY_CHARS_MAX]


def _chain(problem: BaseException) -> list[BaseException]:
    """A problem and its causes, as client libraries wrap them: by cause, by context, or as an argument."""
    found: list[BaseException] = []
    left: list[Any] = [problem]
    while left and len(found) < 20:
        each = left.pop()
        if isinstance(each, BaseException) and each not in found:
            found.append(each)
            left += [each.__cause__, getattr(each, "reason", None), *each.args]
    return found
