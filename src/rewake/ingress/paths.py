"""Paths: a request path becomes a Route. Pure.

One trailing slash is trimmed. The first segment is `restate` (the reserved API) or a service. The service's type
decides whether a key segment follows. Segments stay as received; only keys are percent-decoded, and `+` stays `+`.
Sources: http-api.md 1.1, and the public server's answers to each malformed form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec

from rewake.core.ids import InvalidId, idempotent_invocation_id, invocation_id_from_str, workflow_invocation_id
from rewake.core.model import ServiceSchema
from rewake.core.settings import IDEMPOTENCY_KEY_BYTES_MAX, KEY_BYTES_MAX
from rewake.errors import ErrorCode
from rewake.ingress.refusals import Refused, bad_path, not_found
from rewake.names import nearest, some_of

SLASHES_MIN: Final = 2
SLASHES_MAX: Final = 7

BAD_CALL: Final = "bad path, expected either /:service-name/:handler or /:object-name/:object-key/:handler"
BAD_RESTATE: Final = (
    "bad path, expected /restate/call/:service/:handler, /restate/send/:service/:handler,"
    " /restate/scope/:scope/call/:service/:handler, /restate/attach/:invocation_id, /restate/output/:invocation_id,"
    " or /restate/lookup"
)
BAD_AWAKEABLE: Final = "bad path, expected either /restate/awakeables/:id/resolve or /restate/awakeables/:id/reject"
BAD_INVOCATION: Final = (
    "bad path, expected either /restate/invocation/:invocation_id/output or /restate/invocation/:invocation_id/attach"
    " or /restate/invocation/:invocation_target/:idempotency_key/output"
    " or /restate/invocation/:invocation_target/:idempotency_key/attach"
)
BAD_WORKFLOW: Final = (
    "bad path, expected either /restate/workflow/:workflow_name/:workflow_key/output"
    " or /restate/workflow/:workflow_name/:workflow_key/attach"
)

_RESULT_VERBS: Final = frozenset({"attach", "output"})
_STREAM_VERBS: Final = frozenset({"stream", "stop"})

Services = Mapping[str, ServiceSchema]


class CallRoute(msgspec.Struct):
    """Call or send to a handler that may not exist. key: decoded, None for plain services."""

    service: ServiceSchema
    handler: str
    key: str | None
    is_send: bool


class ResultRoute(msgspec.Struct):
    """GET the result of an invocation. is_attach: wait for it.   invocation_id: None if `text` has to be parsed."""

    is_attach: bool
    text: str
    invocation_id: bytes | None = None


class StreamRoute(msgspec.Struct):
    """GET the events of an invocation, or POST to stop it. invocation_id: None if `text` still has to be parsed."""

    is_stop: bool
    text: str
    invocation_id: bytes | None = None


class BodyRoute(msgspec.Struct):
    """POST with an invocation's name in its body. verb: attach, output or lookup."""

    verb: str


class AwakeableRoute(msgspec.Struct):
    """POST the outcome of an awakeable."""

    text: str
    is_resolve: bool


class HealthRoute(msgspec.Struct):
    """GET the names of all services."""


Route = CallRoute | ResultRoute | StreamRoute | BodyRoute | AwakeableRoute | HealthRoute


def parse_path(path: str, services: Services) -> Route:
    """The route of a request path. Raises Refused if the path has no known form."""
    trimmed = path[:-1] if len(path) > 1 and path[-1] == "/" else path
    segments = trimmed.split("/")
    if not SLASHES_MIN <= len(segments) - 1 <= SLASHES_MAX:
        raise bad_path(f"bad path: {trimmed}")
    first = segments[1]
    if first == "restate":
        return _reserved(segments[2], segments[3:], services)
    if first == "openapi":
        raise not_found()
    return _call(segments, find_service(services, first))


def find_service(services: Services, name: str) -> ServiceSchema:
    service = services.get(name)
    if service is not None:
        return service
    message = f"service '{name}' not found, make sure to register the service before calling it."
    similar = nearest(name, services)
    hint = f"Did you mean '{similar}'?" if similar else f"Registered are: {some_of(services)}."
    raise Refused(404, ErrorCode.SERVICE_NOT_FOUND, message, hint)


def decode_key(raw: str) -> str:
    """The object or workflow key in a path segment. Raises Refused."""
    if "%" not in raw:
        key = raw
    else:
        try:
            key = unquote_to_bytes(raw).decode()
        except UnicodeDecodeError as error:
            raise Refused(
                400,
                ErrorCode.KEY_INVALID,
                f"bad path, cannot decode key: not UTF-8 from byte {error.start} on",
                "Percent-encode the UTF-8 bytes of the key.",
            ) from None
    if len(key) > KEY_BYTES_MAX // 4 and len(key.encode()) > KEY_BYTES_MAX:
        message = f"bad path, the key has more than {KEY_BYTES_MAX} bytes"
        raise Refused(400, ErrorCode.KEY_INVALID, message, "Use a shorter key, such as a hash of the long one.")
    return key


def check_idempotency_key(key: str) -> None:
    if len(key) > IDEMPOTENCY_KEY_BYTES_MAX:
        message = f"bad header idempotency-key: it has more than {IDEMPOTENCY_KEY_BYTES_MAX} bytes"
        hint = "Use a shorter key, such as a hash of the long one."
        raise Refused(400, ErrorCode.IDEMPOTENCY_KEY_INVALID, message, hint)


def parse_invocation_id(text: str) -> bytes:
    try:
        return invocation_id_from_str(text)
    except InvalidId as error:
        message = f"bad invocation id '{text}': {error.reason}"
        hint = "Invocation ids look like inv_1aDcgkwRzurf63EjxyzWlE7fxLFXQM1sVg."
        raise Refused(400, ErrorCode.ID_INVALID, message, hint) from None


def _call(segments: list[str], service: ServiceSchema) -> CallRoute:
    """`/service/handler` or `/object/key/handler`, and each with `/send` behind it."""
    handler_at = 3 if service.is_keyed else 2
    length = len(segments)
    is_send = length == handler_at + 2 and segments[-1] == "send"
    if length != handler_at + 1 and not is_send:
        raise bad_path(BAD_CALL)
    key = decode_key(segments[2]) if service.is_keyed else None
    return CallRoute(service, segments[handler_at], key, is_send)


def _reserved(word: str, rest: list[str], services: Services) -> Route:
    """The route of a path below `/restate/`."""
    match word:
        case "call" | "send":
            return _reserved_call(rest, services, is_send=word == "send")
        case "health":
            return HealthRoute()
        case "awakeables" | "a":
            return _awakeable(rest)
        case "stream" | "stop":
            return _by_id(word, rest)
        case "attach" | "output" | "lookup":
            return _by_id_or_body(word, rest)
        case "invocation":
            return _invocation(rest, services)
        case "workflow":
            return _workflow(rest)
        case "scope":
            return _scoped(rest, services)
        case _:
            raise not_found()


def _reserved_call(rest: list[str], services: Services, *, is_send: bool) -> CallRoute:
    """`service[/key]/handler` behind `/restate/call/` or `/restate/send/`."""
    if not rest:
        raise bad_path(BAD_RESTATE)
    service = find_service(services, rest[0])
    if len(rest) != (3 if service.is_keyed else 2):
        raise bad_path(BAD_RESTATE)
    return CallRoute(service, rest[-1], decode_key(rest[1]) if service.is_keyed else None, is_send)


def _scoped(rest: list[str], services: Services) -> Route:
    """Scopes are not supported. A well-formed path gets that answer, as from a server with the feature off."""
    if len(rest) < 3 or rest[1] not in ("call", "send"):
        raise bad_path(BAD_RESTATE)
    _reserved_call(rest[2:], services, is_send=rest[1] == "send")
    message = "scoped invocations require vqueues to be enabled"
    raise Refused(400, ErrorCode.SCOPE_UNSUPPORTED, message, "Call the handler without a scope.")


def _by_id_or_body(word: str, rest: list[str]) -> Route:
    """`/restate/attach`, `/restate/output` and `/restate/lookup`; the first two may have an id."""
    if not rest:
        return BodyRoute(word)
    if len(rest) > 1 or word == "lookup":
        raise bad_path(BAD_RESTATE)
    return ResultRoute(word == "attach", rest[0])


def _by_id(word: str, rest: list[str]) -> StreamRoute:
    """`/restate/stream/{id}` and `/restate/stop/{id}`."""
    if len(rest) != 1:
        raise bad_path(BAD_RESTATE)
    return StreamRoute(word == "stop", rest[0])


def _awakeable(rest: list[str]) -> Route:
    if len(rest) < 2:
        raise bad_path(BAD_AWAKEABLE)
    if rest[1] not in ("resolve", "reject"):
        raise not_found()
    return AwakeableRoute(rest[0], rest[1] == "resolve")


def _invocation(rest: list[str], services: Services) -> Route:
    """An invocation's id or service[/key]/handler/idempotency key, then the verb."""
    if len(rest) < 2:
        raise bad_path(BAD_INVOCATION)
    if len(rest) == 2:
        return _known_route(rest[1], rest[0], None)
    service = find_service(services, rest[0])
    handler_at = 2 if service.is_keyed else 1
    if len(rest) < handler_at + 3:
        raise bad_path(BAD_INVOCATION)
    key = decode_key(rest[1]) if service.is_keyed else None
    handler, idempotency_key, verb = rest[handler_at : handler_at + 3]
    invocation_id = idempotent_invocation_id(service.name, key, handler, idempotency_key)
    return _known_route(verb, "", invocation_id)


def _workflow(rest: list[str]) -> Route:
    if len(rest) < 3:
        raise bad_path(BAD_WORKFLOW)
    return _known_route(rest[2], "", workflow_invocation_id(rest[0], decode_key(rest[1])))


def _known_route(verb: str, text: str, invocation_id: bytes | None) -> ResultRoute | StreamRoute:
    """The route of a verb: get the result now, wait for it, read the events, or stop the invocation."""
    if verb in _STREAM_VERBS:
        return StreamRoute(verb == "stop", text, invocation_id)
    if verb not in _RESULT_VERBS:
        raise not_found()
    return ResultRoute(verb == "attach", text, invocation_id)
