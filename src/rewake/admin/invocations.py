"""Operations on invocations: cancel, kill, pause, resume, restart, purge, one by one or many (http-api.md 2.4).

Reading invocations is done by SQL. A table here holds what each operation answers, by the invocation's status; the
statuses themselves are the core's (ReplyStatus).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from rewake.admin.covered import covers_run
from rewake.admin.engine_port import EnginePort
from rewake.admin.reading import reader_of
from rewake.admin.refusals import Refused, Undecodable, unsupported
from rewake.admin.requests import (
    boolean_parameter,
    deployment_choice,
    index_parameter,
    invocation_id_of,
    json_response,
    read_json,
)
from rewake.core.effects import Reply, ReplyStatus
from rewake.core.ids import InvalidId, InvocationId, invocation_id_from_str, invocation_id_to_str
from rewake.disclosure import is_hiding, require_whole
from rewake.errors import ErrorCode
from rewake.operations import Operation
from rewake.streams.sending import HEAD, last_read, sent_events

BATCH_SIZE_MAX: Final = 1000
DELETE_MODES: Final = ("Cancel", "cancel", "Kill", "kill", "Purge", "purge")

_ACCEPTED: Final = {ReplyStatus.ACCEPTED: 202, ReplyStatus.DONE: 200}


class Refusal(msgspec.Struct, frozen=True):
    """One way an operation is refused. message: with the id; batch: the short text of batch operations."""

    status: int
    message: str
    batch: str
    hint: str = ""


_NOT_FOUND: Final = Refusal(
    404,
    "The requested invocation '{id}' does not exist",
    "Invocation '{id}' not found",
    "It may have been forgotten: completed invocations are kept for the handler's retention.",
)
_COMPLETED: Final = Refusal(
    409, "The invocation '{id}' was already completed.", "Invocation '{id}' was already completed"
)
_NOT_COMPLETED: Final = Refusal(
    409,
    "The invocation '{id}' is not yet completed.",
    "Invocation '{id}' is not yet completed",
    "Cancel or kill it first.",
)
_CANNOT_PAUSE: Final = Refusal(
    409,
    "The invocation '{id}' is not running, cannot be paused.",
    "Invocation '{id}' is not running, cannot be paused",
)

_TERMINATE: Final = {ReplyStatus.NOT_FOUND: _NOT_FOUND, ReplyStatus.ALREADY_COMPLETED: _COMPLETED}
_PURGE: Final = {ReplyStatus.NOT_FOUND: _NOT_FOUND, ReplyStatus.NOT_COMPLETED: _NOT_COMPLETED}
_PAUSE: Final = {
    ReplyStatus.NOT_FOUND: _NOT_FOUND,
    ReplyStatus.ALREADY_COMPLETED: _CANNOT_PAUSE,
    ReplyStatus.NOT_RUNNING: _CANNOT_PAUSE,
}
_PINNED: Final = Refusal(
    409,
    "The invocation '{id}' is still running or the deployment id is not pinned yet, deployment id cannot be changed.",
    "Invocation '{id}' is still running or its deployment is not pinned yet, deployment id cannot be changed",
    "Pause it first.",
)
_RESUME: Final = {
    ReplyStatus.NOT_FOUND: _NOT_FOUND,
    ReplyStatus.ALREADY_COMPLETED: Refusal(
        409,
        "The invocation '{id}' is completed, cannot be resumed.",
        "Invocation '{id}' is completed, cannot be resumed",
        "Restart it as a new one instead.",
    ),
    ReplyStatus.NOT_STARTED: Refusal(
        425,
        "The invocation '{id}' is either inboxed or scheduled, cannot be resumed.",
        "Invocation '{id}' is either inboxed or scheduled, cannot be resumed",
    ),
    ReplyStatus.NOT_PINNED: _PINNED,
    ReplyStatus.DEPLOYMENT_NOT_FOUND: Refusal(
        400,
        "The given deployment was not found when trying to resume the invocation '{id}'.",
        "The deployment to resume invocation '{id}' on was not found",
        "GET /deployments lists them; it must serve the same handler.",
    ),
}
_RESTART: Final = {
    ReplyStatus.NOT_FOUND: _NOT_FOUND,
    ReplyStatus.IN_PROGRESS: Refusal(
        409,
        "The invocation '{id}' is still running.",
        "Invocation '{id}' is still running",
        "Cancel or kill it first; or keep steps of it with 'from', then it may run on beside the new one.",
    ),
    ReplyStatus.NOT_STARTED: Refusal(
        425,
        "The invocation '{id}' cannot be restarted because it's not running yet.",
        "Invocation '{id}' cannot be restarted because it's not running yet",
    ),
    ReplyStatus.INPUT_GONE: Refusal(
        410,
        "The invocation '{id}' cannot be restarted because the input is not available."
        " This indicates that the journal was already purged, or not retained at all.",
        "Invocation '{id}' cannot be restarted because the input is not available",
        "Keep journals longer: journal_retention of the service.",
    ),
    ReplyStatus.UNSUPPORTED: Refusal(
        422,
        "Restarting the invocation '{id}' is not supported. Workflow runs happen once for each key.",
        "Restarting invocation '{id}' is not supported",
        "Purge the run, then submit the workflow again.",
    ),
    ReplyStatus.INCOMPLETE_PREFIX: Refusal(
        400,
        "The prefix of the journal '{id}' up to 'from' (included)"
        " contains some Commands without respective Completions.",
        "The journal prefix of invocation '{id}' contains commands without completions",
        "Choose an earlier entry, or 0 to keep only the input.",
    ),
    ReplyStatus.NO_STEP: Refusal(
        400,
        "The entry 'from' of the journal '{id}' is no Run with a result that could be replaced.",
        "The journal entry of invocation '{id}' is no Run with a result",
        "The indexes are in sys_journal.",
    ),
    ReplyStatus.OPEN_AWAKEABLE: Refusal(
        409,
        "The journal of the invocation '{id}' up to 'from' holds the id of an awakeable that is not completed yet."
        " Whoever has the id completes it there, not in a new invocation.",
        "The journal prefix of invocation '{id}' holds the id of an awakeable that is not completed yet",
        "Complete it first, or choose an entry before the one that holds the id.",
    ),
    ReplyStatus.DEPLOYMENT_NOT_FOUND: Refusal(
        400,
        "The given deployment was not found when trying to restart as new the invocation '{id}'.",
        "The deployment to restart invocation '{id}' on was not found",
        "GET /deployments lists them; it must serve the same handler.",
    ),
}
REFUSALS: Final[dict[Operation, dict[ReplyStatus, Refusal]]] = {
    Operation.CANCEL: _TERMINATE,
    Operation.KILL: _TERMINATE,
    Operation.PAUSE: _PAUSE,
    Operation.RESUME: _RESUME,
    Operation.PURGE: _PURGE,
    Operation.PURGE_JOURNAL: _PURGE,
    Operation.RESTART: _RESTART,
}
"""Operation -> how each of its unhappy outcomes is answered."""


class BatchBody(msgspec.Struct):
    """Body of a batch operation. deployment: for resume and restart-as-new."""

    invocation_ids: list[str]
    deployment: str | None = None


class Fork(msgspec.Struct):
    """Body of restart-as-new, which may be absent. result: JSON in place of what the step at `from` returned."""

    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class Invocations:
    """Endpoints under /invocations and /internal/invocations_batch_operations."""

    def __init__(self, engine: EnginePort) -> None:
        self._engine = engine
        self._read = reader_of(engine)

    def operation(self, operation: Operation) -> Callable[[Request], Awaitable[Response]]:
        """The endpoint of one operation on one invocation."""

        async def operate(request: Request) -> Response:
            invocation_id = invocation_id_of(request)
            default = _default_deployment(operation)
            asked = request.query_params.get("deployment")
            deployment = deployment_choice(asked, default, "query parameter 'deployment'")
            if operation is not Operation.RESTART:
                reply = await self._engine.operate(operation, invocation_id, deployment=deployment)
            else:
                from_index, result = index_parameter(request, "from"), await _replaced_result(request)
                reply = await self._engine.restart_as_new(
                    invocation_id,
                    from_index=from_index,
                    deployment=deployment,
                    result=result,
                    overwrite_state=boolean_parameter(request, "overwrite-state"),
                )
            return _answer(operation, invocation_id, reply)

        operate.__doc__ = f"{operation.capitalize()} an invocation."
        return operate

    async def delete(self, request: Request) -> Response:
        """Deprecated: cancel, kill or purge, whether the invocation exists or not."""
        mode = request.query_params.get("mode", "cancel")
        if mode not in DELETE_MODES:
            expected = ", ".join(f"`{each}`" for each in DELETE_MODES)
            reason = f"unknown variant `{mode}`, expected one of {expected}"
            raise Undecodable(400, f"Failed to deserialize query string: mode: {reason}")
        await self._engine.operate(Operation(mode.lower()), invocation_id_of(request))
        return Response(status_code=202)

    async def stream(self, request: Request) -> Response:
        """The events of a run as they come: tokens, steps, the end."""
        run = InvocationId(invocation_id_of(request))
        streams = self._engine.streams
        if is_hiding():  # what a pattern matches may come in pieces
            raise unsupported("Streams are not shown by an engine that hides content.", "Start it without --redact.")
        after = last_read(request.headers.get("last-event-id", ""))
        if not (await covers_run(self._read, run) and streams.begin(run)):
            raise Refused(
                _NOT_FOUND.status,
                ErrorCode.INVOCATION_NOT_FOUND,
                _NOT_FOUND.message.format(id=invocation_id_to_str(run)),
            )
        if after and streams.is_read(run, after):
            return Response(status_code=204)
        return StreamingResponse(sent_events(streams, run, after), headers=HEAD)

    async def batch(self, request: Request) -> Response:
        """One operation on up to 1000 invocations; each succeeds or fails by itself."""
        try:
            operation = Operation(request.path_params["operation"])
        except ValueError:
            return Response(status_code=404)
        batch = await read_json(request, BatchBody)
        invocation_ids = _batch_ids(batch)
        default = _default_deployment(operation)
        deployment = deployment_choice(batch.deployment, default, "request field 'deployment'")
        succeeded: list[Any] = []
        failed: list[dict[str, str]] = []
        for text, invocation_id in invocation_ids.items():
            reply = await self._engine.operate(operation, invocation_id, deployment=deployment)
            refusal = REFUSALS[operation].get(reply.status)
            if refusal is not None:
                failed.append({"invocation_id": text, "error": refusal.batch.format(id=text)})
            elif operation is Operation.RESTART:
                succeeded.append({"old_invocation_id": text, "new_invocation_id": _new_id(reply)})
            else:
                succeeded.append(text)
        return json_response({"succeeded": succeeded, "failed": failed})


async def _replaced_result(request: Request) -> bytes | None:
    """The result in the body, exactly as sent; None without one."""
    if request.headers.get("content-length", "0") == "0" and "transfer-encoding" not in request.headers:
        return None
    fork = await read_json(request, Fork)
    if isinstance(fork.result, msgspec.UnsetType):
        return None
    require_whole(bytes(fork.result))
    return bytes(fork.result)


def _default_deployment(operation: Operation) -> str:
    return "keep" if operation is Operation.RESUME else "latest"


def _answer(operation: Operation, invocation_id: bytes, reply: Reply) -> Response:
    refusal = REFUSALS[operation].get(reply.status)
    if refusal is not None:
        code = ErrorCode.INVOCATION_NOT_FOUND if refusal is _NOT_FOUND else ErrorCode.OPERATION_CONFLICT
        raise Refused(
            refusal.status, code, refusal.message.format(id=invocation_id_to_str(invocation_id)), refusal.hint
        )
    if operation is Operation.RESTART:
        return json_response({"new_invocation_id": _new_id(reply)})
    return Response(status_code=_ACCEPTED[reply.status])


def _new_id(reply: Reply) -> str:
    assert reply.invocation_id is not None
    return invocation_id_to_str(reply.invocation_id)


def _batch_ids(batch: BatchBody) -> dict[str, bytes]:
    """The ids, decoded, each once."""
    size = len(batch.invocation_ids)
    if size > BATCH_SIZE_MAX:
        message = f"Batch size {size} exceeds maximum allowed size of {BATCH_SIZE_MAX}"
        raise Refused(400, ErrorCode.REQUEST_INVALID, message, "Split the ids over several requests.")
    decoded: dict[str, bytes] = {}
    for index, text in enumerate(batch.invocation_ids):
        try:
            decoded[text] = invocation_id_from_str(text)
        except InvalidId as error:
            message = (
                f"Failed to deserialize the JSON body into the target type: invocation_ids[{index}]: {error.reason}"
            )
            raise Undecodable(422, message) from None
    return decoded
