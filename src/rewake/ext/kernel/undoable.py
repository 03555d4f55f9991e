"""Undo over calls: if a run fails for good, the effects of the services that it called are undone, too.

`undoable_call` asks the called service for the undo functions of its effects. `undoable(service, cancel)` makes the
service add their names and arguments to its answers. The caller keeps them with its own undo list; if it was called in
the same way, it passes all of them on with its own answer. So the run that fails has one list of the effects of all
calls, in the order in which they happened. It calls the handler `undo_effect` of each service, for the last effect
first.

Stored data: the header `x-rewake-undo: collect` of the call, and an answer in an envelope of the kind `undoable`. Uses
the SDK's public Context alone, like all of the kernel.
"""

from __future__ import annotations

import base64
import json
import logging
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeVar, overload

import restate
from restate import Context, RestateDurableFuture, TerminalError
from restate.handler import Handler, handler_from_callable
from restate.serde import Serde

from rewake.ext.kernel import envelope as envelopes
from rewake.ext.kernel.envelope import Envelope, EnvelopeUnreadable
from rewake.ext.kernel.errors import cannot_be_undone_from_elsewhere
from rewake.ext.kernel.ids import within
from rewake.ext.kernel.run import FRAMEWORK, Run, cancelled, current_run, handlers_run, raw_context
from rewake.ext.kernel.undo import Undo, outcome_of
from rewake.ext.kernel.values import decode, encode

I = TypeVar("I")  # noqa: E741 - as the SDK names it
O = TypeVar("O")  # noqa: E741
AnyService = TypeVar("AnyService", bound=restate.Service | restate.VirtualObject | restate.Workflow)

HEADER: Final = "x-rewake-undo"
COLLECT: Final = "collect"
UNDO_HANDLER: Final = "undo_effect"
KIND: Final = "undoable"
_log = logging.getLogger(__name__)


def undoable(service: AnyService, *functions: Callable[..., object]) -> AnyService:
    """Let callers of this service undo its effects: `restate.app([undoable(bookings, cancel)])`.

    functions: all `on_undo=` functions of its handlers and their tools. Each needs a name of its own: another process
    looks it up by that name, perhaps after a deploy. Call `undoable` when all handlers are defined. It adds the handler
    `undo_effect`, which the ingress does not offer. Raises ValueError if two functions have the same name, if one has
    none, or if the service is undoable already.
    """
    if UNDO_HANDLER in service.handlers:
        raise ValueError(f"{service.name} has a handler {UNDO_HANDLER!r} already: call undoable() once for a service.")
    named: dict[str, Callable[..., object]] = {}
    for function in functions:
        name = getattr(function, "__name__", "<lambda>")
        if name == "<lambda>" or named.setdefault(name, function) != function:
            raise ValueError(f"undoable() finds what undoes an effect by its name, and {name!r} is no name of its own.")
    for handler in service.handlers.values():
        io = handler.handler_io
        io.output_serde = _Answer(io.output_serde, service, named)
    _add_undo_handler(service, named)
    return service


@overload
async def undoable_call(
    ctx: Context,
    handler: Callable[[Any, I], Awaitable[O]],
    arg: I,
    *,
    key: str | None = None,
    idempotency_key: str | None = None,
    headers: dict[str, str] | None = None,
) -> O: ...


@overload
async def undoable_call(
    ctx: Context,
    handler: Callable[[Any], Awaitable[O]],
    arg: None = None,
    *,
    key: str | None = None,
    idempotency_key: str | None = None,
    headers: dict[str, str] | None = None,
) -> O: ...


@overload
async def undoable_call(
    ctx: Context,
    handler: str,
    arg: Any = None,
    *,
    key: str | None = None,
    idempotency_key: str | None = None,
    headers: dict[str, str] | None = None,
) -> Any: ...


async def undoable_call(
    ctx: Context,
    handler: Any,
    arg: Any = None,
    *,
    key: str | None = None,
    idempotency_key: str | None = None,
    headers: dict[str, str] | None = None,
) -> Any:
    """Call a handler of an `undoable` service; its effects are undone if this run fails for good or is cancelled.

    handler: the function, or "Service/handler" with JSON in and out.   key: of an object or a workflow.   The other
    parameters and the errors are those of `ctx.service_call` and `ctx.object_call`. If this run is cancelled during the
    call, it waits until the called run ends. That run either undoes its own effects, or has succeeded; then this run
    undoes them.
    """
    run = handlers_run(ctx)
    target = _Target.of(handler)
    await run.rounds.settle()
    run.turns.claim()
    future: RestateDurableFuture[bytes] = run.ctx.generic_call(
        target.service,
        target.handler,
        target.sent(arg),
        key,
        idempotency_key,
        {**(headers or {}), HEADER: COLLECT},
    )
    try:
        answer = await run.wait(future)
    except TerminalError as problem:
        if cancelled(problem) and (late := await outcome_of(future, run.wait)) is not None:
            _taken(run, target, late)
        raise
    return target.received(_taken(run, target, answer))


undoable_call.rewake_uses_context = True  # type: ignore[attr-defined]  # see detect.py


@dataclass(frozen=True)
class Elsewhere:
    """The undo of an effect of another invocation. told: as received from that invocation, see `_told`."""

    told: dict[str, Any]

    def begin(self, ctx: Context) -> RestateDurableFuture[Any]:
        """Call the service that undoes the effect. All runs that undo it make the same call, by its idempotency key."""
        return ctx.generic_call(
            self.told["service"],
            UNDO_HANDLER,
            json.dumps(self.told).encode(),
            self.told["key"],
            str(within(uuid.UUID(self.told["effect"]), "undo")),
        )


class _Answer(Serde[Any]):
    """Serializes a handler's answers, with the list of undo functions if the caller asked for it."""

    def __init__(self, inner: Serde[Any], service: Any, named: dict[str, Callable[..., object]]) -> None:
        self._inner, self._service = inner, service
        self._names = {function: name for name, function in named.items()}

    def deserialize(self, buf: bytes) -> Any:
        """Use the handler's own serde."""
        return self._inner.deserialize(buf)

    def serialize(self, obj: Any) -> bytes:
        """The handler's own bytes; in an envelope with the undo list if the caller asked for it."""
        answer = bytes(self._inner.serialize(obj))
        ctx = raw_context()
        if ctx is None or ctx.request().headers.get(HEADER) != COLLECT:
            return answer
        run = current_run()
        undos = [] if run is None else [self._told(ctx, each) for each in run.undos]
        return envelopes.encode(Envelope(kind=KIND, framework=FRAMEWORK, value=_packed(answer) | {"undo": undos}))

    def _told(self, ctx: Any, undo: Any) -> dict[str, Any]:
        if isinstance(undo, Elsewhere):
            return undo.told
        name = self._names.get(undo.function)
        if name is None:
            raise cannot_be_undone_from_elsewhere(undo.name, self._service.name)
        return {
            "service": self._service.name,
            "key": None if self._service.service_tag.kind == "service" else ctx.key(),
            "function": name,
            "args": encode(undo.args),
            "kwargs": encode(undo.kwargs),
            "name": undo.name,
            "step": undo.step,
            "effect": str(undo.key),
            "about": envelopes.as_json(undo.about),
        }


def _add_undo_handler(service: Any, named: dict[str, Callable[..., object]]) -> None:
    kind = {"kind": "shared"} if service.service_tag.kind == "object" else {}

    async def undo_effect(ctx: Context, told: dict[str, Any]) -> dict[str, Any]:
        """Undo one effect of an invocation that succeeded, because the run that called it has failed."""
        function = named.get(told["function"])
        if function is None:  # not final: the engine tries again until code with it is deployed
            raise LookupError(f"undoable({service.name}) does not name {told['function']!r}, which undoes an effect.")
        undo = Undo(
            step=told["step"],
            name=told["name"],
            key=uuid.UUID(told["effect"]),
            about=envelopes.decode(json.dumps(told["about"]).encode()),
            function=function,
            args=tuple(decode(told["args"])),
            kwargs=decode(told["kwargs"]),
        )
        run = handlers_run(ctx)
        stored = await outcome_of(undo.begin(ctx), run.wait)
        return {} if stored is None else dict(stored.value)

    service.handler(name=UNDO_HANDLER, ingress_private=True, **kind)(undo_effect)


@dataclass(frozen=True)
class _Target:
    """The called handler. given: its definition; None if only its name is known."""

    service: str
    handler: str
    given: Handler[Any, Any] | None = None

    @classmethod
    def of(cls, handler: Any) -> _Target:
        if isinstance(handler, str):
            service, _, name = handler.partition("/")
            return cls(service, name)
        given: Handler[Any, Any] = handler_from_callable(handler)
        return cls(given.service_tag.name, given.name, given)

    def sent(self, arg: Any) -> bytes:
        """The body of a call."""
        if self.given is None:
            return b"" if arg is None else json.dumps(arg).encode()
        return bytes(self.given.handler_io.input_serde.serialize(arg))

    def received(self, answer: bytes) -> Any:
        """The value in an answer."""
        if self.given is None:
            return json.loads(answer) if answer else None
        return self.given.handler_io.output_serde.deserialize(answer)


def _taken(run: Run, target: _Target, answer: bytes) -> bytes:
    """The handler's own answer. The undo list that came with it is added to the run's."""
    try:
        told = envelopes.decode(answer)
    except EnvelopeUnreadable:
        told = None
    if told is None or told.kind != KIND:
        _warn(target.service, target.handler)
        return answer
    run.undos.extend(Elsewhere(each) for each in told.value["undo"])
    return _unpacked(told.value)


@cache
def _warn(service: str, handler: str) -> None:
    """Warn that a service is not undoable; once per handler and process."""
    _log.warning("%s/%s is not undoable(): what it does is not undone when its caller fails", service, handler)


def _packed(answer: bytes) -> dict[str, Any]:
    try:
        return {"answer": answer.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(answer).decode()}


def _unpacked(value: dict[str, Any]) -> bytes:
    return base64.b64decode(value["base64"]) if "base64" in value else str(value["answer"]).encode()
