"""Large values, stored apart from their rows: equal ones once, similar ones as differences.

An agent's session is read and written at every turn, each time a little longer. If every copy were stored whole, the
journal would grow with the square of the turns. So a value of LARGE_BYTES_MIN or more goes into the table
`large_value`, by its hash, and rows refer to it. If it begins like a stored value, only the bytes between their common
start and common end are stored. Data of moderate length is compressed. A value is deleted when no row and no value
refers to it.

`LargeValues` writes, in writing.py's transaction. `load_value` reads, also as the SQL functions of the views `journal`
and `state`. The format is a promise: see docs/explanation/architecture.md.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from typing import Any, Final

import apsw

LARGE_BYTES_MIN: Final = 2_048
"""Shorter values stay in their row."""

DEPTH_MAX: Final = 200
"""Length of a chain of values that build on each other. Reading unpacks each of them (15 to 25 us)."""

START_LENGTHS: Final = tuple(LARGE_BYTES_MIN * 4**power for power in range(8))
"""A value's start is hashed at the longest of these lengths that fits; later values find it by that hash."""

PACKED_BYTES_MIN: Final = 256
PACKED_BYTES_MAX: Final = 256 * 1024
"""Data of these sizes is compressed, 2 to 5 us a KiB; longer data would delay the engine."""

_PLAIN: Final = 0
_ZLIB: Final = 1
_ZLIB_LEVEL: Final = 1
_HASH_BYTES: Final = 16
_CACHE_BYTES: Final = 16 * 1024 * 1024
_ONLY_FIELD: Final = 0x0A
"""Tag of field 1, length-delimited: a message around one value."""

Execute = Callable[..., apsw.Cursor]


def load_value(execute: Execute, value_id: int) -> bytes:
    """A value, assembled from the values it builds on. Raises KeyError if it is missing."""
    size, base, prefix, suffix_at, data = _row(execute, value_id)
    if base is None:
        return data
    value = bytearray(size)
    wanted = [(0, size, 0)]
    while base is not None:
        wanted = _taken(value, wanted, prefix, suffix_at, data)
        _, base, prefix, suffix_at, data = _row(execute, base)
    for start, length, target in wanted:
        value[target : target + length] = data[start : start + length]
    return bytes(value)


def _row(execute: Execute, value_id: int) -> tuple[int, int | None, int, int, bytes]:
    found = execute(
        "select size, base, prefix, suffix_at, packing, data from large_value where id = ?", (value_id,)
    ).fetchone()
    if found is None:
        raise KeyError(value_id)
    size, base, prefix, suffix_at, packing, data = found
    return size, base, prefix, suffix_at, zlib.decompress(data) if packing == _ZLIB else data


def _taken(
    value: bytearray, wanted: list[tuple[int, int, int]], prefix: int, suffix_at: int, data: bytes
) -> list[tuple[int, int, int]]:
    """Copy those of the wanted (start, length, target) that `data` has; returns the others, as places in its base."""
    left = []
    end_of_data = prefix + len(data)
    for start, length, target in wanted:
        end = start + length
        if start < prefix:
            left.append((start, min(end, prefix) - start, target))
        first, last = max(start, prefix), min(end, end_of_data)
        if first < last:
            value[target + first - start : target + last - start] = data[first - prefix : last - prefix]
        first = max(start, end_of_data)
        if first < end:
            left.append((suffix_at + first - end_of_data, end - first, target + first - start))
    return left


def whole(execute: Execute, payload: bytes, value_at: int, value_id: int) -> bytes:
    """An entry's payload, with the value that is stored apart inserted."""
    return b"".join((payload[:value_at], load_value(execute, value_id), payload[value_at:]))


def register_functions(connection: apsw.Connection) -> None:
    """Register the functions of the views: `large_value(id)` and `whole_payload(payload, at, id)`."""
    connection.create_scalar_function("large_value", partial(_value_or_null, connection.execute), 1)
    connection.create_scalar_function("whole_payload", partial(whole, connection.execute), 3)


def _value_or_null(execute: Execute, value_id: int | None) -> bytes | None:
    return None if value_id is None else load_value(execute, value_id)


def span_of_value(payload: bytes) -> tuple[int, int] | None:
    """Start and end of the value in an encoded message: its longest field, inside wrappers with only that field."""
    longest = (0, 0)
    at = 0
    while at < len(payload):
        tag, at = _varint(payload, at)
        match tag & 7:
            case 0:
                _, at = _varint(payload, at)
            case 1:
                at += 8
            case 2:
                length, at = _varint(payload, at)
                if length > longest[1] - longest[0]:
                    longest = (at, at + length)
                at += length
            case 5:
                at += 4
            case _:
                return None
    start, end = longest
    if at != len(payload):
        return None
    while end - start > 2 and payload[start] == _ONLY_FIELD:
        length, inner = _varint(payload, start + 1)
        if inner + length != end:
            break
        start = inner
    return start, end


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number that begins at `at`, and its end. A number that is cut off reads as if zeros followed."""
    number = shift = 0
    while at < len(data):
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    return number, at


class LargeValues:
    """Stores values, and deletes those without a reference. Belongs to the writing connection."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._execute: Execute = connection.execute
        self._recent: OrderedDict[int, bytes] = OrderedDict()
        self._recent_bytes = 0
        self.is_used = bool(self._execute("select exists (select 1 from large_value)").get)
        """False until the first large value; until then deleted rows need no lookup."""

    def store(self, value: bytes, similar_to: int | None = None) -> int:
        """The id of a value; a new one is stored. similar_to: id of a value that probably resembles it."""
        digest, starts = _hashes(value)
        known: int | None = self._execute("select id from large_value where hash = ?", (digest,)).get
        if known is not None:
            return known
        self.is_used = True
        *row, data = self._based_on_similar(value, starts, similar_to) or (None, 0, 0, 0, len(value), value)
        self._execute(
            "insert into large_value (hash, start, size, base, prefix, suffix_at, depth, weight, packing, data) "
            "values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (digest, starts[-1], len(value), *row, *_packed(data)),
        )
        new_id: int = self._execute("select last_insert_rowid()").get
        self._remember(new_id, value)
        return new_id

    def _based_on_similar(self, value: bytes, starts: list[int], similar_to: int | None) -> tuple[Any, ...] | None:
        """The row of a value that builds on a similar one: base, prefix, suffix_at, depth, weight, data."""
        for candidate in (similar_to, self._begins_alike(starts)):
            if candidate is not None and (row := self._based_on(value, candidate)) is not None:
                return row
        return None

    def _begins_alike(self, starts: list[int]) -> int | None:
        """The latest value with the longest start in common."""
        for start in reversed(starts):
            found: int | None = self._execute(
                "select id from large_value where start = ? order by id desc limit 1", (start,)
            ).get
            if found is not None:
                return found
        return None

    def _based_on(self, value: bytes, base_id: int) -> tuple[Any, ...] | None:
        depth, weight = self._execute("select depth, weight from large_value where id = ?", (base_id,)).get
        if depth >= DEPTH_MAX:
            return None
        base = self._load(base_id)
        prefix = _common(value, base)
        suffix = _common_end(value, base, min(len(value), len(base)) - prefix)
        data = value[prefix : len(value) - suffix]
        weight += len(data)
        if len(data) > len(value) // 2 or weight > 2 * len(value):
            return None
        return base_id, prefix, len(base) - suffix, depth + 1, weight, data

    def _load(self, value_id: int) -> bytes:
        value = self._recent.get(value_id)
        if value is None:
            value = load_value(self._execute, value_id)
            self._remember(value_id, value)
        else:
            self._recent.move_to_end(value_id)
        return value

    def _remember(self, value_id: int, value: bytes) -> None:
        self._recent[value_id] = value
        self._recent_bytes += len(value)
        while self._recent_bytes > _CACHE_BYTES:
            _, oldest = self._recent.popitem(last=False)
            self._recent_bytes -= len(oldest)

    def forget_unused(self, value_ids: set[int]) -> None:
        """Delete those of these values without a reference, and then the values that only they were built on."""
        while value_ids:
            value_id = value_ids.pop()
            if self._execute(_IS_USED, (value_id,)).get:
                continue
            found = self._execute("delete from large_value where id = ? returning base", (value_id,)).fetchone()
            if value_id in self._recent:
                self._recent_bytes -= len(self._recent.pop(value_id))
            if found is not None and found[0] is not None:
                value_ids.add(found[0])

    def clear_cache(self) -> None:
        """Clear after a rollback: an id may be used again for another value."""
        self._recent.clear()
        self._recent_bytes = 0


_IS_USED: Final = (
    "select exists (select 1 from journal_entry where value_id = ?1) "
    "or exists (select 1 from invocation where result_value_id = ?1) "
    "or exists (select 1 from state_value where value_id = ?1) "
    "or exists (select 1 from large_value where base = ?1)"
)


def _packed(data: bytes) -> tuple[int, bytes]:
    """The stored form of data: compressed if that is quick and saves a quarter or more."""
    if PACKED_BYTES_MIN <= len(data) <= PACKED_BYTES_MAX:
        packed = zlib.compress(data, _ZLIB_LEVEL)
        if len(packed) <= len(data) * 3 // 4:
            return _ZLIB, packed
    return _PLAIN, data


def _hashes(value: bytes) -> tuple[bytes, list[int]]:
    """The hash of the whole value, and those of its starts of START_LENGTHS as signed 64-bit numbers, in one pass."""
    running = blake2b(digest_size=_HASH_BYTES)
    view, at, starts = memoryview(value), 0, []
    for length in START_LENGTHS:
        if length > len(value):
            break
        running.update(view[at:length])
        starts.append(int.from_bytes(running.digest()[:8], "big", signed=True))
        at = length
    running.update(view[at:])
    return running.digest(), starts


def _common_end(one: bytes, other: bytes, high: int) -> int:
    """Length of the common end, `high` at most."""
    low = 0
    while low < high:
        middle = (low + high + 1) // 2
        if one[len(one) - middle : len(one) - low] == other[len(other) - middle : len(other) - low]:
            low = middle
        else:
            high = middle - 1
    return low


def _common(one: bytes, other: bytes) -> int:
    """Length of the common start."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
