"""The part of the FlatBuffers format that Arrow's messages need: tables, strings, and vectors of tables and structs.

A buffer is written front to back, each object after the one that refers to it, and the references are filled in then.
Writes only; knows nothing of Arrow. Called by arrow.py.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

_REFERENCE: Final = "<I"
_ALIGNMENT: Final = 8
"""Of tables and of elements of structs: the largest any scalar here needs."""


class Scalar(NamedTuple):
    """A number stored in its table. format: of the struct module, with `<`."""

    format: str
    value: int


class Structs(NamedTuple):
    """A vector of structs, each of two 64-bit numbers."""

    items: Sequence[tuple[int, int]]


Table = Mapping[int, "Value"]
"""Values by the slot of their field; slots left out have their default."""

Value = Scalar | str | Structs | Table | Sequence[Table]


def flatbuffer(root: Table) -> bytes:
    """The buffer whose root is this table, padded to 8 bytes."""
    out = bytearray(4)
    _refer(out, 0, _write_table(out, root))
    _align(out, _ALIGNMENT)
    return bytes(out)


def _write(out: bytearray, value: str | Structs | Table | Sequence[Table]) -> int:
    """Append an object; where it begins."""
    if isinstance(value, str):
        return _write_string(out, value)
    if isinstance(value, Structs):
        return _write_structs(out, value)
    if isinstance(value, Mapping):
        return _write_table(out, value)
    return _write_tables(out, value)


def _write_table(out: bytearray, table: Table) -> int:
    """The table's field offsets (its vtable), then the table, then what it refers to."""
    inline = {slot: value if isinstance(value, Scalar) else None for slot, value in table.items()}
    offsets, size = {}, 4
    for slot, scalar in sorted(inline.items(), key=lambda item: -_size(item[1])):
        width = _size(scalar)
        size += -size % width
        offsets[slot] = size
        size += width
    slots = [offsets.get(slot, 0) for slot in range(max(offsets, default=-1) + 1)]
    vtable = struct.pack(f"<{len(slots) + 2}H", 4 + 2 * len(slots), size, *slots)
    _align(out, 2)
    vtable_at = len(out)
    out += vtable
    _align(out, _ALIGNMENT)
    at = len(out)
    out += bytes(size)
    struct.pack_into("<i", out, at, at - vtable_at)
    for slot, value in table.items():
        place = at + offsets[slot]
        if isinstance(value, Scalar):
            struct.pack_into(value.format, out, place, value.value)
        else:
            _refer(out, place, _write(out, value))
    return at


def _write_string(out: bytearray, text: str) -> int:
    data = text.encode()
    _align(out, 4)
    at = len(out)
    out += struct.pack(_REFERENCE, len(data)) + data + b"\0"
    return at


def _write_structs(out: bytearray, vector: Structs) -> int:
    while len(out) % _ALIGNMENT != 4:  # the count has four bytes, the elements after it are aligned
        out.append(0)
    at = len(out)
    out += struct.pack(_REFERENCE, len(vector.items))
    for item in vector.items:
        out += struct.pack("<qq", *item)
    return at


def _write_tables(out: bytearray, tables: Sequence[Table]) -> int:
    _align(out, 4)
    at = len(out)
    out += struct.pack(_REFERENCE, len(tables)) + bytes(4 * len(tables))
    for index, table in enumerate(tables):
        _refer(out, at + 4 + 4 * index, _write_table(out, table))
    return at


def _refer(out: bytearray, place: int, target: int) -> None:
    struct.pack_into(_REFERENCE, out, place, target - place)


def _size(scalar: Scalar | None) -> int:
    return 4 if scalar is None else struct.calcsize(scalar.format)


def _align(out: bytearray, alignment: int) -> None:
    out += bytes(-len(out) % alignment)
