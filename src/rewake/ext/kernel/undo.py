"""Undoing: if a run fails for good or is cancelled, its effects are undone, the last one first.

Each undo is a step of its own. It runs after the handler has ended and before the failure is stored, so after a crash
the run continues with the remaining ones. A failed attempt that will be retried undoes nothing. The effects of called
services are undone by calls of these services: see undoable.py.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

import restate
from restate import Context, RestateDurableFuture, RunOptions, TerminalError
from restate.exceptions import RetryableError

from rewake.ext.kernel.acts import Act, with_key
from rewake.ext.kernel.envelope import Envelope, EnvelopeSerde
from rewake.ext.kernel.failures import fate
from rewake.ext.kernel.ids import within
from rewake.ext.kernel.steps import Body, InPlace, called, prepared
from rewake.ext.kernel.turns import CANCELLED, is_completed

T = TypeVar("T")


class Undoing(Protocol):
    """One entry of a run's undo list."""

    def begin(self, ctx: Context) -> RestateDurableFuture[Any]:
        """Start the journal entry that undoes the effect."""


@dataclass(frozen=True, kw_only=True)
class Undo:
    """The undo of one effect. key: of the effect; the step's key is derived from it.   about: the effect's envelope.

    function: as the user gave it.   args, kwargs: its arguments.
    """

    step: str
    name: str
    key: uuid.UUID
    about: Envelope
    function: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def begin(self, ctx: Context) -> RestateDurableFuture[Envelope]:
        """Start the step that undoes the effect."""
        body = Body(self.step, within(self.key, "undo"))
        options: RunOptions[Any] = RunOptions(serde=EnvelopeSerde())
        return ctx.run_typed(self.step, prepared(body, self._body, InPlace()), options)

    async def _body(self) -> Envelope:
        """Call the undo function. A final failure is stored as a result, so the remaining effects are still undone."""
        function = with_key(str(self.key), partial(self.function, *self.args, **self.kwargs))
        act = Act(name=self.name, key=str(self.key), about=self.about, function=function)
        try:
            await called(function)
        except Exception as problem:
            if isinstance(found := fate(problem), TerminalError):
                return act.told("undo_failed", why=found.message)
            raise
        return act.told("undone")


async def undo_all(ctx: Context, undos: list[Undoing]) -> None:
    """Undo all effects, the last one first. ctx: of a handler that has ended, with all of its branches."""
    while undos:
        await outcome_of(undos.pop().begin(ctx), _raw)


async def outcome_of(
    future: RestateDurableFuture[T], wait: Callable[[RestateDurableFuture[T]], Awaitable[T]]
) -> T | None:
    """Wait for a result, even if the run is cancelled meanwhile. Returns None if it failed for good."""
    while True:
        try:
            return await wait(future)
        except TerminalError as problem:
            if problem.status_code != CANCELLED or is_completed(future):
                return None


async def _raw(future: RestateDurableFuture[T]) -> T:
    # If the run is cancelled while a future is awaited, the cancellation becomes its result. wait_completed avoids it.
    if not is_completed(future):
        await restate.wait_completed(future)
    return await future


def is_final(problem: BaseException | None) -> bool:
    """Whether a handler that raises this has failed for good, by the SDK's rule, which also looks at causes."""
    if not isinstance(problem, Exception):
        return False
    cause: BaseException | None = problem
    while cause is not None:
        if isinstance(cause, TerminalError):
            return True
        if isinstance(cause, RetryableError) or not isinstance(cause, Exception):
            return False
        cause = cause.__cause__
    return False
