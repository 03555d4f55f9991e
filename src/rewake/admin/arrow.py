"""Query results as an Arrow IPC stream, the format the official command line tool reads (http-api.md 2.6).

A message with the schema, one for each batch of rows, an end mark; all buffers are aligned to 64 bytes. Only the types
of rewake.sql.catalog, written by hand: a library for Arrow is some hundred times this size. Called by query.py.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from rewake.admin.flatbuffers import Scalar, Structs, Table, flatbuffer
from rewake.sql.catalog import ColumnType
from rewake.sql.query import QueryResult

ARROW_MEDIA_TYPE: Final = "application/vnd.apache.arrow.stream"
BATCH_ROWS: Final = 4096

_END: Final = struct.pack("<Ii", 0xFFFFFFFF, 0)
_BUFFER_ALIGNMENT: Final = 64
_METADATA_V5: Final = 4
_SCHEMA, _RECORD_BATCH = 1, 3
"""Kinds of message."""

_TRUE: Final = Scalar("<B", 1)
_MILLISECOND: Final = Scalar("<h", 1)
_DOUBLE: Final = Scalar("<h", 2)
_LIST: Final = 12

_LARGE_TEXT: Final[tuple[int, Table]] = (20, {})
_TYPES: Final[dict[ColumnType, tuple[int, Table]]] = {
    ColumnType.TEXT: _LARGE_TEXT,
    ColumnType.BINARY: (19, {}),
    ColumnType.UINT32: (2, {0: Scalar("<i", 32)}),
    ColumnType.UINT64: (2, {0: Scalar("<i", 64)}),
    ColumnType.INT64: (2, {0: Scalar("<i", 64), 1: _TRUE}),
    ColumnType.FLOAT64: (3, {0: _DOUBLE}),
    ColumnType.BOOLEAN: (6, {}),
    ColumnType.TIMESTAMP: (10, {0: _MILLISECOND, 1: "+00:00"}),
    ColumnType.DURATION: (18, {0: _MILLISECOND}),
}
"""Number of the type in Arrow's schema, and its table there."""

_ELEMENTS: Final = {ColumnType.LIST_UINT32: ColumnType.UINT32, ColumnType.LIST_TEXT: ColumnType.TEXT}

Node = tuple[int, int]
"""Count of values, count of nulls."""


def arrow_stream(result: QueryResult) -> Iterator[bytes]:
    """The stream in parts: schema, batches, end."""
    fields = [_field(name, type_) for name, type_ in zip(result.columns, result.types, strict=True)]
    yield _message(_SCHEMA, {1: fields}, b"")
    for start in range(0, len(result.rows), BATCH_ROWS):
        yield _batch(result.types, result.rows[start : start + BATCH_ROWS])
    yield _END


def _field(name: str, type_: ColumnType) -> Table:
    if type_ in _ELEMENTS:
        return {0: name, 1: _TRUE, 2: Scalar("<B", _LIST), 3: {}, 5: [_field("item", _ELEMENTS[type_])]}
    number, table = _TYPES[type_]
    return {0: name, 1: _TRUE, 2: Scalar("<B", number), 3: table, 5: []}


def _batch(types: Sequence[ColumnType], rows: Sequence[tuple[Any, ...]]) -> bytes:
    nodes: list[Node] = []
    buffers: list[bytes] = []
    for index, type_ in enumerate(types):
        _column(type_, [row[index] for row in rows], nodes, buffers)
    places, body, size = [], [], 0
    for buffer in buffers:
        places.append((size, len(buffer)))
        padded = buffer + bytes(-len(buffer) % _BUFFER_ALIGNMENT)
        body.append(padded)
        size += len(padded)
    return _message(_RECORD_BATCH, {0: Scalar("<q", len(rows)), 1: Structs(nodes), 2: Structs(places)}, b"".join(body))


def _message(kind: int, header: Table, body: bytes) -> bytes:
    message: Table = {0: Scalar("<h", _METADATA_V5), 1: Scalar("<B", kind), 2: header, 3: Scalar("<q", len(body))}
    metadata = flatbuffer(message)
    metadata += bytes(-(len(metadata) + 8) % _BUFFER_ALIGNMENT)  # so that the body is aligned in the stream as well
    return struct.pack("<Ii", 0xFFFFFFFF, len(metadata)) + metadata + body


# Columns


def _column(type_: ColumnType, values: Sequence[Any], nodes: list[Node], buffers: list[bytes]) -> None:
    """One column: its node and its buffers, in the order Arrow lays down: validity, offsets, data."""
    null_count = sum(value is None for value in values)
    nodes.append((len(values), null_count))
    buffers.append(_bits([value is not None for value in values]) if null_count else b"")
    if type_ in _ELEMENTS:
        lists: list[list[Any]] = [[] if value is None else msgspec.json.decode(value) for value in values]
        buffers.append(_offsets("i", lists))
        _column(_ELEMENTS[type_], [item for items in lists for item in items], nodes, buffers)
    elif type_ is ColumnType.BOOLEAN:
        buffers.append(_bits(values))
    elif type_ in _NUMBERS:
        format_, number = _NUMBERS[type_]
        numbers = (0 if value is None else number(value) for value in values)
        buffers.append(struct.pack(f"<{len(values)}{format_}", *numbers))
    else:
        texts = [b"" if value is None else _bytes(value) for value in values]
        buffers.append(_offsets("q", texts))
        buffers.append(b"".join(texts))


def _bits(values: Sequence[Any]) -> bytes:
    """One bit a value, the first in the lowest bit."""
    packed = 0
    for index, value in enumerate(values):
        if value:
            packed |= 1 << index
    return packed.to_bytes((len(values) + 7) // 8, "little")


def _offsets(format_: str, items: Sequence[Sequence[Any]]) -> bytes:
    """Where each item begins in the data, and where the last one ends."""
    ends, end = [0], 0
    for item in items:
        end += len(item)
        ends.append(end)
    return struct.pack(f"<{len(ends)}{format_}", *ends)


def _bytes(value: Any) -> bytes:
    """Text as UTF-8; a column of mixed values has numbers among it."""
    return value if isinstance(value, bytes) else str(value).encode()


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _timestamp_ms(text: str) -> int:
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(milliseconds=1)


_NUMBERS: Final[dict[ColumnType, tuple[str, Callable[[Any], int | float]]]] = {
    ColumnType.UINT32: ("I", lambda value: value & 0xFFFFFFFF),
    ColumnType.UINT64: ("Q", lambda value: value & 0xFFFFFFFFFFFFFFFF),
    ColumnType.INT64: ("q", int),
    ColumnType.FLOAT64: ("d", float),
    ColumnType.TIMESTAMP: ("q", _timestamp_ms),
    ColumnType.DURATION: ("q", int),
}
"""How a number is packed, and how it is made of what SQLite gave."""
