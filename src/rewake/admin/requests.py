"""Reading requests: JSON bodies into types, query parameters, ids.

A request that cannot be read is refused as text (2.1).
"""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from rewake.admin.refusals import Refused, Undecodable
from rewake.core.ids import InvalidId, deployment_id_from_str, invocation_id_from_str
from rewake.durations import DurationError, parse_duration_ms
from rewake.errors import ErrorCode

BODY_BYTES_MAX: Final = 2 * 1024 * 1024

_INDEX_DIGITS_MAX: Final = 10

Duration = Annotated[str, "a duration such as 1h 30m or PT3S"]

_Body = TypeVar("_Body")


async def read_json(request: Request, kind: type[_Body]) -> _Body:
    """The body as `kind`; unknown fields are ignored. Raises Undecodable."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not (
        media_type.startswith("application/") and media_type.endswith("+json")
    ):
        raise Undecodable(415, "Expected request with `Content-Type: application/json`")
    require_plain(request)
    body = await body_within(request, BODY_BYTES_MAX)
    if body is None:
        raise Undecodable(413, "Failed to buffer the request body: length limit exceeded")
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise Undecodable(422, f"Failed to deserialize the JSON body into the target type: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Undecodable(400, f"Failed to parse the request body as JSON: {error}") from None


def require_plain(request: Request) -> None:
    """Raises Undecodable for a compressed body: none is ever unpacked here, so none can be a bomb."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise Undecodable(415, f"The body is compressed ({encoding!r}); send it as it is, without content-encoding")


async def body_within(request: Request, bytes_max: int) -> bytes | None:
    """The body, None when it has more than so many bytes."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > bytes_max:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def duration_ms(field: str, text: Duration | None) -> int | None:
    """Milliseconds of a body field, None when it is absent. Raises Undecodable."""
    if text is None:
        return None
    try:
        return parse_duration_ms(text)
    except DurationError as error:
        message = f"Failed to deserialize the JSON body into the target type: {field}: {error}"
        raise Undecodable(422, message) from None


def boolean_parameter(request: Request, name: str, *, default: bool = False) -> bool:
    text = request.query_params.get(name)
    if text is None:
        return default
    if text not in ("true", "false"):
        reason = "provided string was not `true` or `false`"
        raise Undecodable(400, f"Failed to deserialize query string: {name}: {reason}")
    return text == "true"


def index_parameter(request: Request, name: str) -> int:
    """A journal index, 0 when absent."""
    text = request.query_params.get(name, "0")
    if not (text.isascii() and text.isdigit() and len(text) <= _INDEX_DIGITS_MAX) or int(text) >= 2**32:
        raise Undecodable(400, f"Failed to deserialize query string: {name}: invalid digit found in string")
    return int(text)


def invocation_id_of(request: Request) -> bytes:
    try:
        return invocation_id_from_str(request.path_params["invocation_id"])
    except InvalidId as error:
        raise field_invalid("request field 'invocation_id'", error.reason) from None


def deployment_id_of(request: Request) -> str:
    """The deployment id in the path, checked to be one."""
    text: str = request.path_params["deployment"]
    try:
        deployment_id_from_str(text)
    except InvalidId as error:
        raise Undecodable(400, f"Invalid URL: Cannot parse `deployment` with value `{text}`: {error.reason}") from None
    return text


def deployment_choice(text: str | None, default: str, what: str) -> str:
    """`keep`, `latest` or a deployment id. what: where it was said, for the error."""
    if text is None:
        return default
    if text.lower() in ("keep", "latest"):
        return text.lower()
    try:
        deployment_id_from_str(text)
    except InvalidId as error:
        raise field_invalid(what, error.reason) from None
    return text


def field_invalid(what: str, reason: str) -> Refused:
    return Refused(400, ErrorCode.REQUEST_INVALID, f"The {what} is invalid. Reason: {reason}")


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(content), status, headers, media_type="application/json")
