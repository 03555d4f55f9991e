"""Refusals: the errors of the admin API and how they look.

JSON `{"message", "restate_code"}` as public clients know it, with `code` (RW4xxx), `hint` and `docs` on top. A request
whose body, query or path cannot be decoded gets plain text, as from the public server.
"""

from __future__ import annotations

from typing import Final

import msgspec
from starlette.responses import Response

from rewake.clients.admin import OWN_WORDS
from rewake.engine.registration import META_CODES
from rewake.errors import EXPLAIN, ErrorCode, RewakeError
from rewake.protocol.discovery import ManifestError

_RETRY_AFTER: Final = {"retry-after": "1"}
_QUERY_STATUSES: Final = {"unknown_table": 500, "unknown_column": 500, "several_statements": 500, "timed_out": 504}
"""By the `reason` of a query error; the 500s are the public server's, other mistakes are 400."""

_QUERY_MESSAGES: Final = {
    "empty": "Error during planning: No SQL statements were provided in the query string",
    "several_statements": (
        "This feature is not implemented: The context currently only supports a single SQL statement"
    ),
    "syntax": 'SQL error: ParserError("{detail}")',
    "unknown_column": "Schema error: No field named {name}. Valid fields are {fields}.",
    "unknown_table": "Error during planning: table 'restate.public.{name}' not found",
}
"""The public server's wording, by `reason`. Other errors have our own wording."""

_QUERY_CODES: Final = frozenset(
    {
        ErrorCode.QUERY_INVALID,
        ErrorCode.QUERY_NOT_READ_ONLY,
        ErrorCode.QUERY_TIMED_OUT,
        ErrorCode.QUERY_TOO_LARGE,
    }
)

_NOT_READING: Final = {
    "create": "DDL not supported: CreateMemoryTable",
    "delete": "DML not supported: Delete",
    "drop": "DDL not supported: DropTable",
    "insert": "DML not supported: Insert Into",
    "update": "DML not supported: Update",
}


class Refused(Exception):
    """A request that is answered with an error in the admin shape."""

    def __init__(self, status: int, code: ErrorCode, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint


class Undecodable(Exception):
    """A request whose body, query or path is not what the operation takes; answered as plain text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def refused_response(refused: Refused, headers: dict[str, str] | None = None) -> Response:
    return error_response(refused.status, refused.code, refused.message, refused.hint, headers)


def undecodable_response(undecodable: Undecodable) -> Response:
    return Response(undecodable.text, undecodable.status, media_type="text/plain")


def engine_failed(error: RewakeError) -> Response:
    """The answer when the engine refused: a query's own mistake, a passing fault (503), or a bug of ours (500)."""
    if error.code in _QUERY_CODES:
        status = _QUERY_STATUSES.get(error.facts.get("reason", ""), 400)
        message = _query_message(error)
        own_words = {} if message == error.message else {OWN_WORDS: error.message}
        return error_response(status, error.code, message, error.hint, more=own_words)
    if error.code in META_CODES:
        return _registration_refused(error)
    if error.code.value.startswith("RW2"):
        return error_response(400, error.code, error.message, error.hint)
    if error.code.value.startswith("RW5") or error.code is ErrorCode.ENGINE_STOPPED:
        return error_response(503, error.code, error.message, error.hint, _RETRY_AFTER)
    return error_response(500, error.code, error.message, error.hint)


def _registration_refused(error: RewakeError) -> Response:
    """With the documented code before the text, twice when discovery failed, as public clients know it."""
    status, meta = META_CODES[error.code]
    message = error.message
    if meta is not None:
        message = f"[{meta}] " * (2 if status >= 500 else 1) + message
    return error_response(status, error.code, message, error.hint, restate_code=meta)


def _query_message(error: RewakeError) -> str:
    wording = _QUERY_MESSAGES.get(error.facts.get("reason", ""))
    if error.facts.get("statement") in _NOT_READING:
        wording = f"Error during planning: {_NOT_READING[error.facts['statement']]}"
    if wording is None:
        return error.message
    facts = {"detail": error.message, **error.facts, "fields": ", ".join(error.facts.get("fields", ()))}
    return "Datafusion error: " + wording.format(**facts)


def manifest_refused(error: ManifestError) -> Response:
    """The answer when a deployment describes itself in a way that cannot be registered."""
    message = f"[{error.code}] [{error.code}] {error.message}"
    return error_response(400, ErrorCode.DISCOVERY_INVALID, message, "", restate_code=error.code)


def error_response(
    status: int,
    code: ErrorCode,
    message: str,
    hint: str,
    headers: dict[str, str] | None = None,
    restate_code: str | None = None,
    more: dict[str, str] | None = None,
) -> Response:
    body = {
        "message": message,
        "restate_code": restate_code,
        "code": code.value,
        "hint": hint,
        "docs": EXPLAIN + code.value,
        **(more or {}),
    }
    return Response(msgspec.json.encode(body), status, headers, media_type="application/json")


def service_not_found(name: str) -> Refused:
    message = f"The requested service '{name}' does not exist"
    return Refused(404, ErrorCode.SERVICE_NOT_FOUND, message, "GET /services lists what is registered.")


def handler_not_found(service: str, handler: str) -> Refused:
    message = f"The requested handler '{handler}' on service '{service}' does not exist"
    return Refused(404, ErrorCode.HANDLER_NOT_FOUND, message, f"GET /services/{service} lists its handlers.")


def unsupported(message: str, hint: str) -> Refused:
    return Refused(501, ErrorCode.OPERATION_UNSUPPORTED, message, hint)
