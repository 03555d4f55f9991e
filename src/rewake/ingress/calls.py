"""Calls and sends: check the request against what the handler declares, invoke it, and render the outcome.

The hot path of the ingress: a handler's rules, content type and target are prepared once per revision.
The order of checks is the public server's (http-api.md 1.1): handler, public, idempotency key, method, input, delay.
"""

from __future__ import annotations

from typing import Any, Final, Protocol
from urllib.parse import parse_qsl

import msgspec

from rewake.core.effects import Reply, ReplyStatus
from rewake.core.ids import invocation_id_to_str
from rewake.core.model import HandlerSchema, ServiceSchema, Target
from rewake.disclosure import opened
from rewake.durations import DurationError, parse_duration_ms
from rewake.engine.calling import Calling
from rewake.errors import ErrorCode
from rewake.ingress.message import JSON, Head, Request, Response
from rewake.ingress.paths import CallRoute, Services, check_idempotency_key
from rewake.ingress.refusals import Refused, failure_response, method_not_allowed, overloaded
from rewake.ingress.streaming import id_header, stream_response
from rewake.names import nearest, some_of
from rewake.protocol.discovery import DEFAULT_OUTPUT, InputRules, OutputRules
from rewake.protocol.messages import Failure, Success
from rewake.streams.hub import Streams
from rewake.streams.sending import EVENT_STREAM
from rewake.timestamps import rfc3339_nanos, rfc3339_offset

INGRESS_PATH_HEADER: Final = "x-restate-ingress-path"
LIMIT_KEY_HEADER: Final = "x-restate-limit-key"

_NOT_FORWARDED: Final = ("connection", "host", "idempotency-key", "idempotency-expires")
_CALL_METHODS: Final = frozenset({"GET", "POST"})
_encode = msgspec.json.Encoder().encode


class CallsEngine(Calling, Protocol):
    """The engine's methods that calls use."""

    streams: Streams

    @property
    def services(self) -> Services: ...

    def full_for(self, service: str) -> str | None: ...


class Callee(msgspec.Struct):
    """Prepared facts of one handler. target: None if it depends on the key.   service: the revision."""

    service: ServiceSchema
    handler: HandlerSchema
    input: InputRules
    output: OutputRules
    target: Target | None


class Calls:
    """Calls and sends on one engine."""

    def __init__(self, engine: CallsEngine) -> None:
        self._engine = engine
        self._callees: dict[tuple[str, str], Callee] = {}

    async def handle(self, route: CallRoute, request: Request) -> Response:
        callee = self._callee(route)
        headers = request.headers
        idempotency_key = headers.get("idempotency-key")
        self._check(callee, request, idempotency_key)
        given = forwarded_headers(request)
        _check_input(callee.input, request)
        execute_at_ms = None
        if request.query or LIMIT_KEY_HEADER in headers:
            execute_at_ms = self._execute_at_ms(route, request)
        target = callee.target or self._resolve(route)
        if (limit := self._engine.full_for(target.service)) is not None:
            raise overloaded(limit)
        wants_events = not route.is_send and self._wants_events(callee, headers)
        reply = await self._engine.invoke(
            target,
            request.body,
            headers=given,
            idempotency_key=idempotency_key,
            execute_at_ms=execute_at_ms,
            traceparent=headers.get("traceparent"),
            wait=not route.is_send and not wants_events,
            **({"on_accepted": self._engine.streams.begin} if wants_events else {}),
        )
        if wants_events:
            assert reply.invocation_id is not None
            return stream_response(self._engine.streams, reply.invocation_id)
        return accepted_response(reply, execute_at_ms) if route.is_send else result_response(reply, callee.output)

    def _wants_events(self, callee: Callee, headers: dict[str, str]) -> bool:
        """Whether the caller asks for the run's events instead of its result."""
        is_asked = EVENT_STREAM in headers.get("accept", "")
        return is_asked and callee.output.content_type != EVENT_STREAM and self._engine.streams.is_usable

    def output_rules(self, target: Target | None) -> OutputRules:
        """The declared form of a target's result; JSON if the target is not registered."""
        service = self._engine.services.get(target.service) if target else None
        if service is None or target is None or target.handler not in service.handlers:
            return DEFAULT_OUTPUT
        return self._callee(CallRoute(service, target.handler, target.key, is_send=False)).output

    def _callee(self, route: CallRoute) -> Callee:
        """The handler's prepared facts. Raises Refused when there is no such handler."""
        name = (route.service.name, route.handler)
        callee = self._callees.get(name)
        if callee is not None and callee.service is route.service:
            return callee
        handler = route.service.handlers.get(route.handler)
        if handler is None:
            self._callees.pop(name, None)
            raise _no_handler(route.service, route.handler)
        target = None if route.service.is_keyed else self._resolve(route)
        callee = self._callees[name] = _prepare(route.service, handler, target)
        return callee

    def _resolve(self, route: CallRoute) -> Target:
        target = self._engine.resolve(route.service.name, route.handler, route.key)
        if target is None:
            raise _no_handler(route.service, route.handler)
        return target

    @staticmethod
    def _check(callee: Callee, request: Request, idempotency_key: str | None) -> None:
        if not callee.handler.options.public:
            hint = "Call it from another handler, or make it public with PATCH /services on the admin API."
            raise Refused(400, ErrorCode.HANDLER_PRIVATE, "the invoked service is not public", hint)
        if idempotency_key is not None:
            _check_idempotency_key(callee, idempotency_key)
        if request.method not in _CALL_METHODS:
            raise method_not_allowed()

    def _execute_at_ms(self, route: CallRoute, request: Request) -> int | None:
        """When a delayed send is due; None without a delay. Raises Refused, also for limit keys: they need a scope."""
        query = {name.lower(): value for name, value in reversed(parse_qsl(request.query, keep_blank_values=True))}
        delay = query.get("delay")
        execute_at_ms = None
        if delay is not None:
            if not route.is_send:
                message = "cannot use the delay query parameter with calls. The delay is supported only with sends"
                hint = "Put /send behind the handler's name, or leave the delay out."
                raise Refused(400, ErrorCode.DELAY_INVALID, message, hint)
            execute_at_ms = self._engine.now_ms() + _delay_ms(delay)
        if request.headers.get(LIMIT_KEY_HEADER) or query.get("limit-key"):
            message = "limit-key requires a scope to be set"
            raise Refused(400, ErrorCode.SCOPE_UNSUPPORTED, message, "Leave the limit key out.")
        return execute_at_ms


def forwarded_headers(request: Request) -> tuple[tuple[str, str], ...]:
    """The headers for the handler: the path as received, then all headers but those of the connection."""
    path = f"{request.path}?{request.query}" if request.query else request.path
    given = {INGRESS_PATH_HEADER: path, **request.headers}
    for name in _NOT_FORWARDED:
        given.pop(name, None)
    for name, value in given.items():
        if not (value.isascii() and value.isprintable()) and name != INGRESS_PATH_HEADER:
            _check_visible(name, value)
    return tuple(given.items())


def accepted_response(reply: Reply, execute_at_ms: int | None) -> Response:
    """The answer to a send, once the invocation is stored."""
    assert reply.invocation_id is not None
    text = invocation_id_to_str(reply.invocation_id)
    is_known = reply.status is ReplyStatus.PREVIOUSLY_ACCEPTED
    body = {"invocationId": text}
    if execute_at_ms is not None and not is_known:
        body["executionTime"] = rfc3339_nanos(execute_at_ms)
    body["status"] = "PreviouslyAccepted" if is_known else "Accepted"
    return Response(202, (id_header(reply.invocation_id), *JSON), _encode(body))


def result_response(reply: Reply, output: OutputRules) -> Response:
    """The answer that carries an invocation's result."""
    assert reply.invocation_id is not None
    head: Head = (id_header(reply.invocation_id),)
    if reply.expires_at_ms is not None:
        head += ((b"idempotency-expires", rfc3339_offset(reply.expires_at_ms).encode()),)
    result = reply.result
    if isinstance(result, Success):
        content = opened(result.content)
        content_type = output.content_type_for(is_empty=not content)
        if content_type is not None:
            head += ((b"content-type", content_type.encode("latin-1", "replace")),)
        return Response(200, head, content)
    assert isinstance(result, Failure)
    return failure_response(result, head)


def _prepare(service: ServiceSchema, handler: HandlerSchema, target: Target | None) -> Callee:
    rules = _rules(handler.manifest, "input", InputRules)
    return Callee(service, handler, rules, _rules(handler.manifest, "output", OutputRules), target)


def _rules(manifest: dict[str, Any], name: str, kind: type[Any]) -> Any:
    return msgspec.convert(manifest[name], kind)


def _check_idempotency_key(callee: Callee, key: str) -> None:
    if callee.handler.kind == "WORKFLOW":
        message = (
            "cannot use the idempotency key with workflow handlers."
            " The handler invocation will already be idempotent by the workflow key itself."
        )
        hint = "Leave the idempotency-key header out."
        raise Refused(400, ErrorCode.IDEMPOTENCY_KEY_INVALID, message, hint)
    _check_visible("idempotency-key", key)
    check_idempotency_key(key)


def _check_visible(name: str, value: str) -> None:
    if not all(character == "\t" or " " <= character <= "~" for character in value):
        message = f"bad header {name}: its value is not visible ASCII"
        raise Refused(400, ErrorCode.HEADER_INVALID, message, "Encode the value, for instance as base64.")


def _delay_ms(text: str) -> int:
    """A bare number means milliseconds: the Python SDK's client sends it so (the public server refuses it)."""
    try:
        return parse_duration_ms(text, bare_is_ms=True)
    except DurationError as error:
        message = f"bad delay query parameter, must be a ISO8601 duration: {error}"
        raise Refused(400, ErrorCode.DELAY_INVALID, message, "Such as 10s, 1h 30m, PT10S, or 500 (ms).") from None


def _no_handler(service: ServiceSchema, handler: str) -> Refused:
    message = (
        f"the service '{service.name}' exists, but the handler '{handler}' was not found,"
        " check that the handler exists in the latest registered service version."
    )
    similar = nearest(handler, service.handlers)
    hint = f"Did you mean '{similar}'?" if similar else f"Its handlers are: {some_of(service.handlers)}."
    if service.is_keyed:
        hint += f" Paths of this service have the form /{service.name}/KEY/HANDLER."
    return Refused(404, ErrorCode.HANDLER_NOT_FOUND, message, hint)


def _check_input(rules: InputRules, request: Request) -> None:
    reason = rules.violation(request.headers.get("content-type"), is_empty=not request.body)
    if reason is not None:
        hint = f"Send a body with the header 'content-type: {rules.content_type}'."
        if rules.content_type is None:
            hint = "Send neither a body nor a content-type header."
        raise Refused(400, ErrorCode.INPUT_INVALID, f"input validation error: {reason}", hint)
