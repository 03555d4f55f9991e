"""A small protobuf: tables of fields become decoders and encoders made of plain closures.

It handles varints, length-delimited fields, oneofs, presence and unknown fields. shapes.py has the tables: a Shape
lists the fields of one message, a Kind reads and writes one field. Decoders accept every field at every version (the
engine decides what to refuse); encoders leave out fields that are newer than the given version. Invalid bytes raise
ProtocolViolation, or IndexError and UnicodeDecodeError, which codec.py translates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec

from rewake.protocol.errors import ProtocolViolation

VARINT: Final = 0
FIXED64: Final = 1
LENGTH: Final = 2
FIXED32: Final = 5

_UINT64_MASK: Final = 0xFFFF_FFFF_FFFF_FFFF
_VARINT_BITS_MAX: Final = 63
_ONE_BYTE: Final = tuple(bytes((number,)) for number in range(128))

Decode = Callable[[Any], Any]
Encode = Callable[[Any], bytes]


class Presence(Enum):
    """When a field is written, and what its absence means."""

    IMPLICIT = "written unless empty; absent reads as the empty value"
    OPTIONAL = "written unless None; absent reads as None"
    REQUIRED = "always written; absence breaks the protocol"
    REPEATED = "written once per item, a tuple"


class Kind(NamedTuple):
    """Reads and writes one value. A varint kind reads an int, a length kind the field's bytes.

    writer: gets the protocol version and returns the function from value to bytes (without tag and length).
    carries: type of the value, by which a oneof chooses its member.   empty: value of an absent implicit field.
    """

    wire_type: int
    read: Decode
    writer: Callable[[int], Encode]
    carries: type
    empty: Any = None


class Field(NamedTuple):
    """One row of a message's table. Rows with the same attribute are the members of a oneof."""

    number: int
    attribute: str
    kind: Kind
    presence: Presence = Presence.IMPLICIT
    since: int = 5


class Shape(NamedTuple):
    """One message: its values, in order, and the fields with them.

    split: inverse of build, the values as a tuple.   fixed: values without a field.
    """

    title: str
    attributes: tuple[str, ...]
    build: Callable[..., Any]
    split: Callable[[Any], tuple[Any, ...]]
    fields: tuple[Field, ...]
    fixed: Mapping[str, Any] = MappingProxyType({})


def struct_shape(struct: type[msgspec.Struct], *fields: Field, **fixed: Any) -> Shape:
    """Shape of a message that is a struct of its own."""
    return Shape(struct.__name__, struct.__struct_fields__, struct, msgspec.structs.astuple, fields, fixed)


def truncated() -> ProtocolViolation:
    """The error for bytes that end inside a field."""
    return ProtocolViolation("message ends in the middle of a field")


# Decoding


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """The unsigned 64-bit number at `position` and the position after it."""
    number = shift = 0
    while True:
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & _UINT64_MASK, position
        shift += 7
        if shift > _VARINT_BITS_MAX:
            raise ProtocolViolation("varint is longer than 10 bytes")


def skip_field(data: bytes, position: int, tag: int) -> int:
    """Position after the unknown field whose tag was just read. Groups do not exist in proto3."""
    wire_type = tag & 7
    if tag < 8 or wire_type not in (VARINT, FIXED64, LENGTH, FIXED32):
        raise ProtocolViolation(f"field tag {tag} is not possible")
    if wire_type == VARINT:
        return read_varint(data, position)[1]
    if wire_type == LENGTH:
        size, position = read_varint(data, position)
    else:
        size = 8 if wire_type == FIXED64 else 4
    if position + size > len(data):
        raise truncated()
    return position + size


def compile_decoder(shape: Shape) -> Decode:  # noqa: C901 - one flat loop, because it is hot
    """Function from payload bytes to the value of `shape`. Unknown fields are skipped; the last of a oneof wins."""
    fields, defaults = _fields_by_tag(shape), _defaults(shape)
    repeated = _slots(shape, Presence.REPEATED)
    required = _slots(shape, Presence.REQUIRED)
    build = shape.build

    def decode(data: bytes) -> Any:  # noqa: C901 - the same loop
        values: list[Any] = defaults.copy()
        for slot in repeated:
            values[slot] = []
        position, end = 0, len(data)
        while position < end:
            tag = data[position]
            position += 1
            if tag > 127:
                second = data[position]
                if second < 128:
                    tag, position = tag & 0x7F | second << 7, position + 1
                else:
                    tag, position = read_varint(data, position - 1)
            field = fields.get(tag)
            if field is None and (tag & 7 != LENGTH or tag < 8):
                position = skip_field(data, position, tag)
                continue
            number = data[position]
            position += 1
            if number > 127:
                number, position = read_varint(data, position - 1)
            if field is None:  # skipped here, because nearly all commands have such a field: their line
                position += number
                if position > end:
                    raise truncated()
                continue
            slot, is_repeated, read = field
            if tag & 7:
                start, position = position, position + number
                if position > end:
                    raise truncated()
                value = read(data[start:position])
            else:
                value = read(number)
            if is_repeated:
                values[slot].append(value)
            else:
                values[slot] = value
        for slot in repeated:
            values[slot] = tuple(values[slot])
        for slot in required:
            if values[slot] is None:
                raise ProtocolViolation(f"{shape.title} without {shape.attributes[slot]}")
        return build(*values)

    return decode


def _fields_by_tag(shape: Shape) -> dict[int, tuple[int, bool, Decode]]:
    """For each tag: the place of its value, whether it may repeat, and its reader."""
    return {
        row.number << 3 | row.kind.wire_type: (
            shape.attributes.index(row.attribute),
            row.presence is Presence.REPEATED,
            row.kind.read,
        )
        for row in shape.fields
    }


def _defaults(shape: Shape) -> list[Any]:
    empty = {row.attribute: row.kind.empty for row in shape.fields if row.presence is Presence.IMPLICIT}
    known = {**empty, **shape.fixed}
    return [known.get(attribute) for attribute in shape.attributes]


def _slots(shape: Shape, presence: Presence) -> tuple[int, ...]:
    found = {shape.attributes.index(row.attribute): None for row in shape.fields if row.presence is presence}
    return tuple(found)


# Encoding


def varint(number: int) -> bytes:
    """`number` in 7-bit groups, least significant first."""
    if 0 <= number < 128:
        return _ONE_BYTE[number]
    if not 0 < number <= _UINT64_MASK:
        raise ValueError(f"{number} is not an unsigned 64-bit number")
    groups = bytearray()
    while number > 127:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def compile_encoder(shape: Shape, version: int) -> Encode:
    """Function from the value of `shape` to payload bytes, fields in ascending order as the SDKs write them."""
    groups: dict[str, list[Field]] = {}
    for row in sorted(shape.fields):
        if row.since <= version:
            groups.setdefault(row.attribute, []).append(row)
    writers = [
        (
            shape.attributes.index(attribute),
            rows[0].presence is not Presence.IMPLICIT,
            _attribute_writer(shape, rows, version),
        )
        for attribute, rows in groups.items()
    ]
    split = shape.split

    def encode(value: Any) -> bytes:
        values = split(value)
        parts = []
        for slot, is_explicit, write in writers:
            item = values[slot]
            if item or (is_explicit and item is not None):
                parts.append(write(item))
        return b"".join(parts)

    return encode


def _attribute_writer(shape: Shape, rows: list[Field], version: int) -> Encode:
    """The encoder of one attribute, which has one field or is a oneof of several."""
    if rows[0].presence is Presence.REQUIRED:
        return _typed_writer(shape, rows, version)
    write = _field_writer(rows[0], version)
    if rows[0].presence is Presence.REPEATED:
        return lambda items: b"".join([write(item) for item in items])
    return write


def _typed_writer(shape: Shape, rows: list[Field], version: int) -> Encode:
    """An encoder that chooses the field by the value's type, and raises if the message cannot have such a result."""
    writers = {row.kind.carries: _field_writer(row, version) for row in rows}

    def write(value: Any) -> bytes:
        write_field = writers.get(type(value))
        if write_field is None:
            raise ValueError(f"{shape.title}.{rows[0].attribute} cannot be {value!r}")
        return write_field(value)

    return write


@cache
def _heads(tag: bytes) -> tuple[bytes, ...]:
    """A tag with each number behind it that takes one byte, as nearly all do."""
    return tuple(tag + number for number in _ONE_BYTE)


def _field_writer(row: Field, version: int) -> Encode:
    tag = varint(row.number << 3 | row.kind.wire_type)
    heads = _heads(tag)
    write_body = row.kind.writer(version)
    if row.kind.wire_type == VARINT:
        return lambda number: heads[number] if 0 <= number < 128 else tag + write_body(number)

    def write(value: Any) -> bytes:
        body = write_body(value)
        size = len(body)
        return (heads[size] if size < 128 else tag + varint(size)) + body

    return write
