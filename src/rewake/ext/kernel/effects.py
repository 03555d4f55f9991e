"""Effects: acts on the outside world that must not happen twice unnoticed, such as a payment or a message.

If the other side accepts an idempotency key, one step with that key is enough: `on_unknown="retry"`. Otherwise a marker
is stored directly before the act. A marker without an outcome means that the act may have happened: the effect is
unknown. Then, as the code chooses, it is verified, a person is asked, or the run fails. The act is never repeated on a
guess.

Entries, stored data: `send NAME` (the marker) and `effect NAME` (the outcome), with the agent's name in front as in
`Medical: send NAME`; `undo NAME` if the run fails. An engine sends the attempt header `x-rewake-resumed: clean` if the
previous attempt was suspended, not lost: a marker without an outcome is then fresh. Without this header every such
marker counts as unknown.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Concatenate, Final, Literal, ParamSpec, Protocol, TypeVar, overload

from restate import Context, TerminalError

from rewake.ext.kernel.acts import Act, Done, with_key
from rewake.ext.kernel.approvals import Outcome
from rewake.ext.kernel.asking import Approvals, asked, asker_here
from rewake.ext.kernel.envelope import Envelope
from rewake.ext.kernel.errors import effect_unknown
from rewake.ext.kernel.offers import offer
from rewake.ext.kernel.run import FRAMEWORK, Run, cancelled, current_run, handlers_run
from rewake.ext.kernel.steps import NeedsBranch, body_here, called
from rewake.ext.kernel.undo import Undo, outcome_of
from rewake.ext.kernel.values import decode, encode

P = ParamSpec("P")
T = TypeVar("T")
OnUnknown = Literal["verify", "ask", "retry", "fail"]

RESUMED: Final = "resumed"
CLEAN: Final = "clean"
SETTLE: Final = timedelta(seconds=1)
PAUSE_S: Final = 1.0  # before the next try of an act that was not done; doubled each time
_PAUSE_S_MAX: Final = 300.0


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How to settle an effect whose outcome is unknown. Raises ValueError for options that contradict each other."""

    verify: Callable[..., Any] | None = None
    on_unknown: OnUnknown | None = None
    on_undo: Callable[..., Any] | None = None
    settle: timedelta = SETTLE
    approvals: Approvals = field(default_factory=Approvals)

    def __post_init__(self) -> None:
        if self.on_unknown not in (None, "verify", "ask", "retry", "fail"):
            raise ValueError(f"on_unknown is {self.on_unknown!r}: it must be 'verify', 'ask', 'retry' or 'fail'.")
        if self.on_unknown == "verify" and self.verify is None:
            raise ValueError("on_unknown='verify' needs verify=, which asks the other side whether it was done.")
        if self.on_unknown in ("retry", "fail") and self.verify is not None:
            raise ValueError(f"on_unknown={self.on_unknown!r} never calls verify: leave one of the two out.")

    @property
    def chosen(self) -> OnUnknown:
        """The policy. Default: verify if there is a `verify` function, else ask a person."""
        return self.on_unknown or ("ask" if self.verify is None else "verify")


@overload
async def effect(
    ctx: Context,
    name: str,
    function: Callable[[str], Awaitable[T]],
    *,
    verify: Callable[[str], Awaitable[Done[T] | None]] | None = None,
    on_unknown: Literal["verify", "retry", "fail"],
    on_undo: Callable[[str, T], Awaitable[object]] | None = None,
    args: Any = None,
    settle: timedelta = SETTLE,
    approvals: Approvals | None = None,
) -> T: ...


@overload
async def effect(
    ctx: Context,
    name: str,
    function: Callable[[str], Awaitable[T]],
    *,
    verify: Callable[[str], Awaitable[Done[T] | None]],
    on_unknown: None = None,
    on_undo: Callable[[str, T], Awaitable[object]] | None = None,
    args: Any = None,
    settle: timedelta = SETTLE,
    approvals: Approvals | None = None,
) -> T: ...


@overload
async def effect(
    ctx: Context,
    name: str,
    function: Callable[[str], Awaitable[T]],
    *,
    verify: Callable[[str], Awaitable[Done[T] | None]] | None = None,
    on_unknown: OnUnknown | None = None,
    on_undo: Callable[[str, T], Awaitable[object]] | None = None,
    args: Any = None,
    settle: timedelta = SETTLE,
    approvals: Approvals | None = None,
) -> T | None: ...


async def effect(
    ctx: Context,
    name: str,
    function: Callable[[str], Awaitable[T]],
    *,
    verify: Callable[[str], Awaitable[Done[T] | None]] | None = None,
    on_unknown: OnUnknown | None = None,
    on_undo: Callable[[str, T], Awaitable[object]] | None = None,
    args: Any = None,
    settle: timedelta = SETTLE,
    approvals: Approvals | None = None,
) -> T | None:
    """Do something to the outside world once, or find out that its outcome is unknown.

    function: does it; gets an idempotency key that is equal in each attempt.   verify: gets the same key; returns
    `Done(what the function would have returned)`, or None if it was not done.   on_unknown: what to do if the answer is
    lost. "retry" does it again with the same key, if the other side accepts keys; "verify" calls `verify`, and does it
    again if it was not done; "ask" asks a person (after `verify`, if that cannot tell); "fail" raises. Default:
    "verify" if there is a `verify`, else "ask".   on_undo: gets the key and the result; undoes the effect if the
    invocation fails for good or is cancelled.   args: shown to people who are asked.   settle: time within which a sent
    request may still take effect; `verify` is called again after it.   approvals: who is asked.

    Returns the result of the function or of `verify`, as JSON, pydantic model or dataclass; None if a person said that
    it was done. Raises TerminalError if the other side refused it (a TerminalError of the function, a 4xx except 408,
    409, 429), EffectUnknown if nobody could find out whether it was done, ValueError for options that contradict each
    other.
    """
    policy = Policy(
        verify=verify,
        on_unknown=on_unknown,
        on_undo=on_undo,
        settle=settle,
        approvals=approvals or Approvals(),
    )
    run = handlers_run(ctx)
    work = _Effect(run, policy, name, function, args)
    work.verify = verify
    if on_undo is not None:
        work.undo = lambda key, result: (on_undo, (key, result), {})
    found: T | None = await work.outcome()
    return found


effect.rewake_uses_context = True  # type: ignore[attr-defined]  # see detect.py


class ToolDecorator(Protocol):
    """A decorator for async functions of any kind."""

    def __call__(self, function: Callable[P, Awaitable[T]], /) -> Callable[P, Coroutine[Any, Any, T]]: ...


@overload
def external(
    *,
    on_unknown: Literal["ask", "retry", "fail"] | None = None,
    settle: timedelta = SETTLE,
    approvals: Approvals | None = None,
) -> ToolDecorator: ...


@overload
def external(
    *,
    verify: Callable[P, Awaitable[Done[T] | None]] | None = None,
    on_unknown: OnUnknown | None = None,
    on_undo: Callable[Concatenate[T, P], Awaitable[object]] | None = None,
    settle: timedelta = SETTLE,
    approvals: Approvals | None = None,
) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Coroutine[Any, Any, T]]]: ...


def external(
    *,
    verify: Callable[..., Awaitable[Done[Any] | None]] | None = None,
    on_unknown: OnUnknown | None = None,
    on_undo: Callable[..., Awaitable[object]] | None = None,
    settle: timedelta = SETTLE,
    approvals: Approvals | None = None,
) -> Any:
    """A decorator for tools that act on the outside world; put it below the framework's own. Options: as for `effect`.

    verify: has the tool's parameters.   on_undo: has the result, then the tool's parameters. The key of the call is
    `idempotency_key()` in the tool, and `effect_key()` in all three functions. Outside a handler the tool runs
    unchanged. If the outcome of a call stays unknown, the agent's run ends with EffectUnknown: the model must not call
    the tool again.
    """
    policy = Policy(
        verify=verify,
        on_unknown=on_unknown,
        on_undo=on_undo,
        settle=settle,
        approvals=approvals or Approvals(),
    )

    def made(function: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
        @functools.wraps(function)
        async def tool(*args: P.args, **kwargs: P.kwargs) -> T:
            run = current_run()
            if run is None:
                if body_here.get() is not None:
                    raise NeedsBranch(f"the tool {function.__name__!r} has entries of its own")
                outside: T = await called(functools.partial(function, *args, **kwargs))
                return outside
            call = asker_here.get()
            name = (call and call.tool) or function.__name__
            shown = _shown(function, args, kwargs)
            work = _Effect(run, policy, name, lambda _: called(functools.partial(function, *args, **kwargs)), shown)
            if verify is not None:
                work.verify = lambda _: called(functools.partial(verify, *args, **kwargs))
            if on_undo is not None:
                work.undo = lambda _, result: (on_undo, (result, *args), kwargs)
            found: T = await work.for_a_model()
            return found

        tool.rewake_uses_context = True  # type: ignore[attr-defined]  # see detect.py
        return tool

    return made


def undo_on_failure(ctx: Context, name: str, function: Callable[[], Awaitable[object]]) -> None:
    """Register a function that undoes something if the invocation fails for good or is cancelled, for example by calls.

    name: of its step.   function: runs in that step, after the functions that were registered later. For a service that
    undoes its own effects, use `undoable_call` instead.
    """
    run = handlers_run(ctx)
    about = Envelope(kind="effect", framework=FRAMEWORK, tool=name)
    run.undos.append(Undo(step=f"undo {name}", name=name, key=run.draw_id(), about=about, function=function))


_Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
"""A function and its arguments."""


class _Effect:
    """One effect of a run. function, verify: get the key.   undo: returns the undo call for a key and a result."""

    def __init__(self, run: Run, policy: Policy, name: str, function: Callable[[str], Any], args: Any) -> None:
        self.run, self.policy, self.name, self.args = run, policy, name, args
        self.key = run.draw_id()
        """Replaced by the key in the journal, if it has one: a fork keeps the keys of its original run."""
        self.function = function
        self.verify: Callable[[str], Any] | None = None
        self.undo: Callable[[str, Any], _Call] | None = None
        call = asker_here.get()
        about = Envelope(kind="effect", framework=FRAMEWORK, tool=name) if call is None else call
        self.about = dataclasses.replace(about, kind="effect", tool=name, value=None, attempts=1, branch=False)
        self.pause_s = PAUSE_S

    async def outcome(self) -> Any:
        """Do it. Returns its result; None if a person said that it was done."""
        while True:
            told = await self._tried()
            match told["state"]:
                case "done" | "verified":
                    return self._kept(decode(told["result"]))
                case "failed":
                    raise TerminalError(told["why"], status_code=told["code"])
                case "not_done":
                    await self._pause(told.get("after_s"))
                case _:
                    if await self._was_done(told["why"]):
                        return self._kept(None)

    async def for_a_model(self) -> Any:
        """The same for a tool of an agent: the agent's run ends if the outcome stays unknown."""
        with self.run.ending_on_unknown():
            return await self.outcome()

    # Within

    async def _tried(self) -> dict[str, Any]:
        """Try once. Returns the content of the last entry that was stored."""
        if self.policy.chosen == "retry":
            return await self._acted(self._act().keyed)
        marker = self._act(is_fresh=offer(self.run.ctx, RESUMED) == CLEAN)
        self._keyed(await self.run.record(self._named("send"), marker.marked))
        return await self._acted(self._act(is_fresh=marker.is_fresh).once)

    def _act(self, *, is_fresh: bool = False) -> Act:
        key = str(self.key)
        return Act(
            name=self.name,
            key=key,
            about=self.about,
            function=with_key(key, functools.partial(self.function, key)),
            verify=None if self.verify is None else with_key(key, functools.partial(self.verify, key)),
            settle_s=self.policy.settle.total_seconds(),
            is_fresh=is_fresh,
        )

    def _keyed(self, stored: Envelope) -> dict[str, Any]:
        """The stored content of an entry. Its key becomes the key of the effect."""
        told: dict[str, Any] = stored.value
        self.key = uuid.UUID(told["key"])
        return told

    async def _acted(self, body: Callable[[], Awaitable[Envelope]]) -> dict[str, Any]:
        """Run the step of the act. A cancelled invocation waits for its end: the act may have to be undone."""
        await self.run.rounds.settle()
        future = self.run.start(self._named("effect"), body, key=self.key)
        try:
            stored = await self.run.wait(future)
        except TerminalError as problem:
            if cancelled(problem) and (found := await outcome_of(future, self.run.wait)) is not None:
                told = self._keyed(found)
                if told["state"] in ("done", "verified"):
                    self._kept(decode(told["result"]))
            raise
        self.run.tell(stored)
        return self._keyed(stored)

    async def _was_done(self, why: str) -> bool:
        """Settle an unknown outcome. Returns False if it was not done. Raises EffectUnknown if nobody can tell."""
        if self.policy.chosen != "ask":
            raise effect_unknown(self.name, str(self.key), why)
        question = f"Was {self.name!r} done? Approve if it was. Deny if it was not: then it is done now. {why}"
        shown = {"effect": self.name, "key": str(self.key), "arguments": self.args}
        decision = await asked(
            self.run, self.policy.approvals.terms(question, shown), dataclasses.replace(self.about, kind="approval")
        )
        if decision.outcome is Outcome.EXPIRED:
            raise effect_unknown(self.name, str(self.key), "Nobody answered in time.")
        if decision.is_approved:
            act = self._act()

            async def body() -> Envelope:
                return act.told("verified", result=None, who=decision.who, why=decision.why)

            await self.run.record(self._named("effect"), body)
        return decision.is_approved

    def _kept(self, result: Any) -> Any:
        """Register the undo of a result, and return the result."""
        if self.undo is not None:
            function, args, kwargs = self.undo(str(self.key), result)
            self.run.undos.append(
                Undo(
                    step=self._named("undo"),
                    name=self.name,
                    key=self.key,
                    about=self.about,
                    function=function,
                    args=args,
                    kwargs=kwargs,
                )
            )
        return result

    async def _pause(self, after_s: float | None) -> None:
        """Sleep durably before the next try of an act that was not done."""
        length_s, self.pause_s = max(self.pause_s, after_s or 0.0), min(self.pause_s * 2, _PAUSE_S_MAX)
        await self.run.rounds.settle()
        self.run.turns.claim()
        await self.run.wait(self.run.ctx.sleep(timedelta(seconds=length_s), self._named("pause")))

    def _named(self, what: str) -> str:
        named = f"{what} {self.name}"
        return named if self.about.agent is None else f"{self.about.agent}: {named}"


def _shown(function: Callable[..., Any], args: Any, kwargs: Any) -> dict[str, Any]:
    """The tool's arguments that are plain data, equal in each attempt; the framework's context is left out."""
    bound = inspect.signature(function).bind(*args, **kwargs).arguments
    stored = {name: encode(value) for name, value in bound.items()}
    return {name: each for name, each in stored.items() if not (isinstance(each, dict) and "$type" in each)}
