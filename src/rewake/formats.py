"""Formats durations, times, sizes, and users' bytes as safe text.

All functions return plain text; the templates escape it. The input is not trusted: content is shown as JSON, as text or
as a dump of bytes, whatever it is, and cut at a limit, which the result reports.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any, Final

import msgspec

from rewake.disclosure import is_sealed, shown_content, shown_text
from rewake.printable import INVISIBLE

ENCRYPTED: Final = "(encrypted)"
"""Shown instead of content that this process has no key for."""

SHOWN_CHARS_MAX: Final = 20_000
JSON_DEPTH_MAX: Final = 60
_DUMPED_BYTES_MAX: Final = 512


class Shown(msgspec.Struct, frozen=True):
    """Content as text. kind: `json`, `text`, `bytes`, `encrypted` or `empty`.   is_cut: the text is incomplete."""

    kind: str
    text: str
    size: int
    is_cut: bool = False


def shown(content: bytes | None, chars_max: int = SHOWN_CHARS_MAX) -> Shown:
    """Any content as safe text."""
    if not content:
        return Shown("empty", "", 0)
    content = shown_content(content)
    size = len(content)
    if is_sealed(content):
        return Shown("encrypted", ENCRYPTED, size)
    if size <= chars_max * 4:
        try:
            return _cut("json", pretty(msgspec.json.decode(content)), size, chars_max)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
            pass
    try:
        text = content[: chars_max * 4].decode()
    except UnicodeDecodeError as error:
        if error.start < len(content[: chars_max * 4]) - 4:
            return Shown("bytes", _dump(content[:_DUMPED_BYTES_MAX]), size, size > _DUMPED_BYTES_MAX)
        text = content[: error.start].decode()
    made = _cut("text", text, size, chars_max)
    return made if len(content) <= chars_max * 4 else msgspec.structs.replace(made, is_cut=True)


def pretty(value: Any) -> str:
    """A decoded JSON value on many lines; deeply nested parts are shortened."""
    try:
        return json.dumps(_bounded(value, JSON_DEPTH_MAX), ensure_ascii=False, indent=2)
    except (RecursionError, ValueError, TypeError):
        return "(too deep to show)"


def compact(value: Any) -> str:
    """A decoded JSON value, on one line if it is short; a text unchanged."""
    if isinstance(value, str):
        return value
    text = pretty(value)
    return " ".join(part.strip() for part in text.split("\n")) if len(text) <= 100 and "\\n" not in text else text


def line(content: Any, chars_max: int = 120) -> str:
    """Content or a decoded value on one line: a string without its quotes, anything else as compact JSON."""
    if isinstance(content, bytes):
        content = shown_content(content)
        found = shown(content, chars_max * 8)
        if found.kind == "json":
            try:
                content = msgspec.json.decode(content)
            except (msgspec.DecodeError, ValueError):
                content = found.text
        else:
            content = found.text
    if content is None:
        return ""
    try:
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    except (RecursionError, ValueError, TypeError):
        text = "(too deep to show)"
    return shortened(safe(" ".join(shown_text(text)[: chars_max * 8].split())), chars_max)


def safe(text: str) -> str:
    """Text to show, without characters that hide or reorder others, and without lone surrogates."""
    return shown_text(text).translate(INVISIBLE).encode("utf-8", "replace").decode()


def shortened(text: str, chars_max: int) -> str:
    return text if len(text) <= chars_max else text[: chars_max - 1] + "…"


def _bounded(value: Any, depth: int) -> Any:
    if depth == 0:
        return "…" if isinstance(value, dict | list) else value
    if isinstance(value, dict):
        return {key: _bounded(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_bounded(item, depth - 1) for item in value]
    return value


def _cut(kind: str, text: str, size: int, chars_max: int) -> Shown:
    return Shown(kind, safe(text[:chars_max]), size, len(text) > chars_max)


def _dump(content: bytes) -> str:
    lines = []
    for start in range(0, len(content), 16):
        part = content[start : start + 16]
        letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"{start:04x}  {part.hex(' '):<47}  {letters}")
    return "\n".join(lines)


def duration(ms: float | None) -> str:
    """`12 ms`, `3.4 s`, `2 min 5 s`, `3 h 12 min`, `2 d 4 h`."""
    if ms is None:
        return ""
    if ms < 1_000:
        return f"{ms:.0f} ms"
    seconds = ms / 1_000
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, second = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {second} s" if second else f"{minutes} min"
    hours, minute = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minute} min" if minute else f"{hours} h"
    days, hour = divmod(hours, 24)
    return f"{days} d {hour} h" if hour else f"{days} d"


def moment(at_ms: int | None) -> str:
    """`2026-11-22 16:39:39 UTC`."""
    return "" if at_ms is None else f"{_utc(at_ms):%Y-%m-%d %H:%M:%S} UTC"


def iso(at_ms: int | None) -> str:
    """For <time datetime>."""
    return "" if at_ms is None else _utc(at_ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ago(at_ms: int | None, now_ms: int) -> str:
    """`4 s ago`, or `in 5 min`."""
    if at_ms is None:
        return ""
    apart = abs(now_ms - at_ms) // 1_000
    for unit, seconds in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if apart >= seconds:
            text = f"{apart // seconds} {unit}"
            break
    else:
        if apart < 1:
            return "now"
        text = f"{apart} s"
    return f"in {text}" if at_ms > now_ms else f"{text} ago"


def size(count: int) -> str:
    """`312 B`, `4.2 KB`."""
    if count < 1_000:
        return f"{count} B"
    for unit in ("KB", "MB", "GB"):
        count_in_unit = count / 1_000
        if count_in_unit < 1_000 or unit == "GB":
            return f"{count_in_unit:.1f} {unit}"
        count //= 1_000
    return ""


def number(value: int) -> str:
    """`1,204,311`."""
    return f"{value:,}"


def _utc(at_ms: int) -> dt.datetime:
    bounded = min(max(at_ms, 0), 253_402_300_799_000)
    return dt.datetime.fromtimestamp(bounded / 1_000, tz=dt.UTC)
