"""Results of earlier invocations: attach, output, lookup. Also completes awakeables.

An unknown id gets 404 from both `output` and `attach`. For `output` the ingress refuses the request; `attach` answers
like a failed invocation, because public clients expect that. Lookup computes an id and checks nothing.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

import msgspec

from rewake.core.calls import NOT_FOUND
from rewake.core.effects import Reply, ReplyStatus
from rewake.core.ids import (
    InvalidId,
    awakeable_id_parse,
    idempotent_invocation_id,
    invocation_id_to_str,
    workflow_invocation_id,
)
from rewake.core.model import Target
from rewake.errors import ErrorCode
from rewake.ingress.calls import Calls, result_response
from rewake.ingress.message import JSON, Request, Response
from rewake.ingress.paths import AwakeableRoute, BodyRoute, ResultRoute, check_idempotency_key, parse_invocation_id
from rewake.ingress.refusals import Refused, failure_response, method_not_allowed
from rewake.ingress.streaming import id_header
from rewake.protocol.messages import Failure, Success

REJECTED_CODE: Final = 500


class ResultsEngine(Protocol):
    """The engine's methods that results use."""

    def target_of(self, invocation_id: bytes) -> Target | None: ...

    async def attach(self, invocation_id: bytes) -> Reply: ...

    async def output(self, invocation_id: bytes) -> Reply: ...

    async def complete_awakeable(self, invocation_id: bytes, signal: int, result: Success | Failure) -> Reply: ...


class WorkflowRun(msgspec.Struct, tag_field="target", tag="workflow", rename="camel"):
    """A workflow's run, by its key."""

    workflow_name: str
    workflow_key: str
    scope: str | None = None


class IdempotentTarget(msgspec.Struct, tag_field="target", tag="idempotentInvocation", rename="camel"):
    """A call with an idempotency key. key: of the object."""

    service: str
    handler: str
    idempotency_key: str
    key: str | None = None
    scope: str | None = None


class IdTarget(msgspec.Struct, tag_field="target", tag="invocation", rename="camel"):
    """An invocation by its id."""

    invocation_id: str


_Target = WorkflowRun | IdempotentTarget | IdTarget
_decode: Final = msgspec.json.Decoder(_Target).decode


class Results:
    """Results on one engine."""

    def __init__(self, engine: ResultsEngine, calls: Calls) -> None:
        self._engine = engine
        self._calls = calls

    async def by_path(self, route: ResultRoute, request: Request) -> Response:
        if request.method != "GET":
            raise method_not_allowed()
        invocation_id = route.invocation_id or parse_invocation_id(route.text)
        return await self._result(invocation_id, is_attach=route.is_attach)

    async def by_body(self, route: BodyRoute, request: Request) -> Response:
        """Answer a request that names its invocation in the body. Any content type is accepted."""
        if request.method != "POST":
            raise method_not_allowed()
        invocation_id = _id_of(_parse_target(request.body, "lookup" if route.verb == "lookup" else "request"))
        if route.verb == "lookup":
            return Response(200, JSON, msgspec.json.encode({"invocationId": invocation_id_to_str(invocation_id)}))
        return await self._result(invocation_id, is_attach=route.verb == "attach")

    async def complete_awakeable(self, route: AwakeableRoute, request: Request) -> Response:
        """Complete an awakeable. Every completion is accepted; the first one counts."""
        if request.method != "POST":
            raise method_not_allowed()
        try:
            invocation_id, signal = awakeable_id_parse(route.text)
        except InvalidId as error:
            message = f"bad awakeable id '{route.text}': {error.reason}"
            hint = "Use the id that the handler got with its awakeable; it begins with sign_1."
            raise Refused(400, ErrorCode.ID_INVALID, message, hint) from None
        await self._engine.complete_awakeable(invocation_id, signal, _outcome(route, request.body))
        return Response(202)

    async def _result(self, invocation_id: bytes, *, is_attach: bool) -> Response:
        target = self._engine.target_of(invocation_id)
        reply = await (self._engine.attach(invocation_id) if is_attach else self._engine.output(invocation_id))
        match reply.status:
            case ReplyStatus.COMPLETED:
                return result_response(reply, self._calls.output_rules(target))
            case ReplyStatus.PENDING:
                message = "the invocation exists but has not completed yet"
                hint = f"Wait for it with GET /restate/attach/{invocation_id_to_str(invocation_id)}."
                raise Refused(470, ErrorCode.INVOCATION_NOT_COMPLETED, message, hint)
            case _ if is_attach:
                return failure_response(NOT_FOUND, (id_header(invocation_id),))
            case _:
                hint = "Results are kept for the handler's retention, one day unless set otherwise."
                raise Refused(404, ErrorCode.INVOCATION_NOT_FOUND, "invocation not found", hint)


def _parse_target(body: bytes, what: str) -> _Target:
    """The invocation that a body names. (A body that cannot be parsed gets 500, as from the public server.)"""
    try:
        target: Any = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"cannot read body: invalid {what} body: {error}"
        hint = 'Such as {"target":"workflow","workflowName":"Signup","workflowKey":"ada"}.'
        raise Refused(500, ErrorCode.BODY_INVALID, message, hint) from None
    return target  # type: ignore[no-any-return]  # msgspec types a decoder of a union as Any


def _id_of(target: _Target) -> bytes:
    match target:
        case WorkflowRun(workflow_name, workflow_key, scope):
            return workflow_invocation_id(workflow_name, workflow_key, scope=scope)
        case IdempotentTarget(service, handler, idempotency_key, key, scope):
            check_idempotency_key(idempotency_key)
            return idempotent_invocation_id(service, key, handler, idempotency_key, scope=scope)
        case IdTarget(invocation_id):
            return parse_invocation_id(invocation_id)


def _outcome(route: AwakeableRoute, body: bytes) -> Success | Failure:
    if route.is_resolve:
        return Success(body)
    return Failure(REJECTED_CODE, body.decode(errors="replace"))
