"""Failures: an attempt's error as it is stored and shown.

Texts are cut to their limits and codes to their range. retries.py has the policy.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from rewake.core.model import ALIKE_MIN, AttemptError
from rewake.core.settings import MESSAGE_CHARS_MAX, STACKTRACE_CHARS_MAX
from rewake.protocol.messages import Error, MessageType

JOURNAL_MISMATCH = 570
PROTOCOL_VIOLATION = 571
CODE_UNKNOWN = 500

_RUN_OF_ITS_OWN: Final = re.compile(r"\b(?=[\w-]*\d)[\w-]{8,}\b")
"""Parts of an error's text that differ between equal errors: ids of requests, times."""


def compared(error: AttemptError, before: AttemptError | None) -> AttemptError:
    """The error with its count of attempts that ended alike. before: the last attempt's, None after progress."""
    if before is None or _kind_of(error) != _kind_of(before):
        return error
    return msgspec.structs.replace(error, alike=before.alike + 1)


def _kind_of(error: AttemptError) -> tuple[object, ...]:
    message = _RUN_OF_ITS_OWN.sub("", error.message)
    return error.code, error.restate_code, message, error.related_command_index


def error_of(message: Error) -> AttemptError:
    """The stored form of an Error message, with texts cut to their limits."""
    code = message.code if message.code <= 0xFFFF else CODE_UNKNOWN
    restate_code = {JOURNAL_MISMATCH: "RT0016", PROTOCOL_VIOLATION: "RT0012"}.get(code, "RT0007")
    type_id = message.related_command_type
    return AttemptError(
        code=code,
        message=message.message[:MESSAGE_CHARS_MAX],
        restate_code=restate_code,
        stacktrace=message.stacktrace[:STACKTRACE_CHARS_MAX],
        related_command_index=message.related_command_index,
        related_command_name=message.related_command_name,
        related_command_type=_type_name(type_id) if type_id is not None else None,
    )


def _type_name(type_id: int) -> str | None:
    try:
        return "".join(part.capitalize() for part in MessageType(type_id).name.split("_"))
    except ValueError:
        return None


def facts_of(error: AttemptError) -> dict[str, object]:
    """The error in the form of `sys_journal_events.event_json`, without absent facts."""
    facts: dict[str, object] = {"error_code": error.code, "error_message": error.message}
    optional = {
        "error_stacktrace": error.stacktrace or None,
        "restate_doc_error_code": error.restate_code,
        "related_command_index": error.related_command_index,
        "related_command_name": error.related_command_name,
        "related_command_type": error.related_command_type,
        "attempts_alike": error.alike if error.alike >= ALIKE_MIN else None,
    }
    return facts | {name: value for name, value in optional.items() if value is not None}
