"""A journal as people read it: one line for each command with its name, its result and how long it took.

A command and the completion that answers it become one line; signals that came from outside have their own. Takes
rows of sys_journal and sys_journal_events; knows only their public JSON forms.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from rewake.cli.durations import spoken_duration
from rewake.cli.tables import shortened, table_lines
from rewake.cli.times import at_ms

VALUE_CHARS_MAX: Final = 72
CANCEL_SIGNAL: Final = 1

Entry = dict[str, Any]


def journal_lines(journal: list[Entry], events: list[Entry]) -> list[str]:
    """The journal and the events of an invocation, as lines."""
    if not journal and not events:
        return ["The journal is empty or past its retention."]
    start_ms = min(moment for row in (*journal, *events) if (moment := at_ms(row.get("appended_at"))) is not None)
    lines = table_lines(("#", "at", "took", "entry", "name", "value"), _entry_rows(journal, start_ms))
    if events:
        lines += ["", *table_lines(("after #", "at", "event", "about"), [_event_row(row, start_ms) for row in events])]
    return lines


@dataclass(slots=True, frozen=True)
class JournalStep:
    """A command and what became of it. content: of a result that is a value.   child_id: of a call's callee."""

    index: int
    kind: str
    name: str
    start_ms: int | None
    end_ms: int | None
    is_failed: bool
    content: bytes | None
    child_id: str | None


def steps_of(journal: list[Entry]) -> list[JournalStep]:
    """The commands of a journal, each with its completion."""
    completions = _completions(journal)
    found = []
    for row in journal:
        body = _decoded(row.get("entry_json"))
        if "Command" in body:
            kind, command = next(iter(body["Command"].items()))
            found.append(_step(row, kind, command, completions))
    return found


def _step(row: Entry, kind: str, command: dict[str, Any], completions: dict[int, Any]) -> JournalStep:
    completion_id = command.get("result_completion_id", command.get("completion_id"))
    _, completion, completed_ms = completions.get(completion_id or 0, (None, None, None))
    result = completion.get("result") if completion is not None else None
    value = result.get("Success") if isinstance(result, dict) else None
    _, told, _ = completions.get(command.get("invocation_id_completion_id") or 0, (None, None, None))
    child_id = (told or {}).get("invocation_id") or command.get("request", {}).get("invocation_id")
    return JournalStep(
        index=row["index"],
        kind=kind,
        name=str(command.get("name") or row.get("name") or _subject(kind, command)),
        start_ms=at_ms(row.get("appended_at")),
        end_ms=completed_ms,
        is_failed=isinstance(result, dict) and "Failure" in result,
        content=_content(value),
        child_id=child_id if isinstance(child_id, str) else None,
    )


def _content(value: Any) -> bytes | None:
    try:
        return bytes(value) if isinstance(value, list) else None
    except (ValueError, TypeError):
        return None


def _entry_rows(journal: list[Entry], start_ms: int) -> list[tuple[Any, ...]]:
    completions = _completions(journal)
    rows = []
    for row in journal:
        body = _decoded(row.get("entry_json"))
        if "Command" in body:
            kind, command = next(iter(body["Command"].items()))
            rows.append(_command_row(row, kind, command, completions, start_ms))
        elif signal := body.get("Notification", {}).get("Signal"):
            name = _signal_name(signal["id"])
            rows.append((row["index"], _offset(row, start_ms), "", "Signal", name, _result(signal.get("result"))))
        elif not body:
            rows.append((row["index"], _offset(row, start_ms), "", row["entry_type"], row.get("name"), ""))
    return rows


def _completions(journal: list[Entry]) -> dict[int, tuple[str, dict[str, Any], int | None]]:
    """Completion id -> (kind, completion, when)."""
    found = {}
    for row in journal:
        for kind, completion in _decoded(row.get("entry_json")).get("Notification", {}).get("Completion", {}).items():
            found[completion["completion_id"]] = (kind, completion, at_ms(row.get("appended_at")))
    return found


def _command_row(
    row: Entry, kind: str, command: dict[str, Any], completions: dict[int, Any], start_ms: int
) -> tuple[Any, ...]:
    completion_id = command.get("result_completion_id", command.get("completion_id"))
    name = command.get("name") or row.get("name") or _subject(kind, command)
    _, completion, completed_ms = completions.get(completion_id or 0, (None, None, None))
    appended_ms = at_ms(row.get("appended_at"))
    took = "" if completed_ms is None or appended_ms is None else spoken_duration(max(completed_ms - appended_ms, 0))
    if completion_id is not None and completion is None:
        value = "not finished"
    elif completion is not None:
        value = _result(completion.get("result"))
    else:
        value = _own_value(command)
    return row["index"], _offset(row, start_ms), took, kind, name, value


def _subject(kind: str, command: dict[str, Any]) -> str:
    """What an unnamed command is about: the key of a state access, the target of a call."""
    request = command.get("request", {})
    if target := request.get("invocation_target"):
        parts = next(iter(target.values()))
        return "/".join(parts[part] for part in ("name", "key", "handler") if parts.get(part) is not None)
    if kind == "SendSignal":
        return f"{_signal_name(command.get('signal_id', {}))} to {command.get('target_invocation_id', '?')}"
    return str(command.get("key") or command.get("id") or "")


def _own_value(command: dict[str, Any]) -> str:
    """What a command without a completion carries: input, output, a state value, the id of what was called."""
    for field in ("payload", "value", "result"):
        if field in command:
            return _result(command[field])
    return str(command.get("request", {}).get("invocation_id", ""))


def _signal_name(signal_id: dict[str, Any]) -> str:
    if signal_id.get("Index") == CANCEL_SIGNAL:
        return "cancel"
    return str(signal_id.get("Name") or f"awakeable {signal_id.get('Index', '?')}")


def _result(result: Any) -> str:
    """A result as text: the value, `failed 409: message`, or nothing for void."""
    if isinstance(result, dict) and "Failure" in result:
        failure = result["Failure"]
        return shortened(f"failed {failure['code']}: {failure['message']}", VALUE_CHARS_MAX)
    if isinstance(result, dict):
        result = next(iter(result.values()), None)
    if isinstance(result, list):
        return shortened(_bytes_text(result), VALUE_CHARS_MAX)
    return "" if result in (None, "Void") else shortened(str(result), VALUE_CHARS_MAX)


def _bytes_text(numbers: list[Any]) -> str:
    try:
        content = bytes(numbers)
    except (ValueError, TypeError):
        return json.dumps(numbers)
    try:
        return content.decode()
    except UnicodeDecodeError:
        return f"{len(content)} bytes"


def _event_row(row: Entry, start_ms: int) -> tuple[Any, ...]:
    event = _decoded(row.get("event_json"))
    failure = event.get("last_failure") or event
    message = shortened(str(failure.get("error_message", "")), VALUE_CHARS_MAX)
    code = failure.get("restate_doc_error_code", "")
    step = failure.get("related_command_name")
    about = " ".join(part for part in (code, message, f"(in {step})" if step else "") if part)
    return row.get("after_journal_entry_index"), _offset(row, start_ms), row["event_type"], about


def _offset(row: Entry, start_ms: int) -> str:
    moment_ms = at_ms(row.get("appended_at"))
    return "" if moment_ms is None else f"+{(moment_ms - start_ms) / 1_000:.3f} s"


def _decoded(text: str | None) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
