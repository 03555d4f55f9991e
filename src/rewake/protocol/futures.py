"""The encoding of await trees. They nest in themselves, so they are read and written with an explicit stack.

A tree deeper than AWAIT_DEPTH_MAX is refused with RT0025 before it can exhaust the interpreter's stack.
Sub-trees are read in place: copying each level would let a small message cost gigabytes.
The flat lists of a V5 or V6 suspension have the same field numbers. Used by codec.py; evaluated by awaiting.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from rewake.protocol.awaiting import AWAIT_DEPTH_MAX, too_deep
from rewake.protocol.kinds import UINT32, future_kind, read_combinator
from rewake.protocol.messages import Combinator, Future
from rewake.protocol.protobuf import LENGTH, VARINT, Kind, read_varint, skip_field, truncated, varint

_COMPLETIONS: Final = 1
_SIGNALS: Final = 2
_NAMED_SIGNALS: Final = 3
_NESTED: Final = 4
_COMBINATOR: Final = 5


class _Node:
    """A Future under construction, whose bytes end at `end`."""

    __slots__ = ("combinator", "completions", "end", "named_signals", "nested", "signals")

    def __init__(self, end: int) -> None:
        self.end = end
        self.completions: list[int] = []
        self.signals: list[int] = []
        self.named_signals: list[str] = []
        self.nested: list[Future] = []
        self.combinator = Combinator.UNKNOWN

    def build(self) -> Future:
        return Future(
            tuple(self.completions),
            tuple(self.signals),
            tuple(self.named_signals),
            tuple(self.nested),
            self.combinator,
        )


def decode_future(data: bytes) -> Future:
    """The tree in `data`. Raises like protobuf.py, and RT0025 for a tree that is too deep."""
    stack = [_Node(len(data))]
    position = 0
    while True:
        node = stack[-1]
        if position == node.end:
            future = stack.pop().build()
            if not stack:
                return future
            stack[-1].nested.append(future)
            continue
        tag, position = read_varint(data, position)
        if tag == _NESTED << 3 | LENGTH:
            size, position = read_varint(data, position)
            if len(stack) == AWAIT_DEPTH_MAX:
                raise too_deep()
            stack.append(_Node(position + size))
            next_position = position + size
        else:
            next_position = position = _read_leaf_field(node, data, position, tag)
        if next_position > node.end:
            raise truncated()


def _read_leaf_field(node: _Node, data: bytes, position: int, tag: int) -> int:
    """Read a field that is not a nested node into `node`; returns the position after it. Numbers may be packed."""
    number, wire_type = tag >> 3, tag & 7
    numbers = {_COMPLETIONS: node.completions, _SIGNALS: node.signals}.get(number)
    if numbers is not None and wire_type == VARINT:
        value, position = read_varint(data, position)
        numbers.append(UINT32.read(value))
    elif numbers is not None and wire_type == LENGTH:
        size, position = read_varint(data, position)
        position = _read_packed(numbers, data, position, position + size)
    elif tag == _NAMED_SIGNALS << 3 | LENGTH:
        size, start = read_varint(data, position)
        position = start + size
        node.named_signals.append(data[start:position].decode())
    elif tag == _COMBINATOR << 3 | VARINT:
        value, position = read_varint(data, position)
        node.combinator = read_combinator(value)
    else:
        position = skip_field(data, position, tag)
    return position


def _read_packed(numbers: list[int], data: bytes, position: int, end: int) -> int:
    while position < end:
        value, position = read_varint(data, position)
        numbers.append(UINT32.read(value))
    if position > end:
        raise truncated()
    return position


def encode_future(future: Future) -> bytes:
    """`future` as bytes, fields in ascending order."""
    order = [future]
    for node in order:
        order.extend(node.nested)
    # Level by level from the deepest: the bytes of a node's children are always the oldest unused ones.
    waiting: deque[bytes] = deque()
    for node in reversed(order):
        children = [waiting.popleft() for _ in node.nested]
        waiting.append(_encode_node(node, reversed(children)))
    return waiting.pop()


def _encode_node(node: Future, children: Iterable[bytes]) -> bytes:
    parts = [_packed(_COMPLETIONS, node.completions), _packed(_SIGNALS, node.signals)]
    parts += [_length_field(_NAMED_SIGNALS, name.encode()) for name in node.named_signals]
    parts += [_length_field(_NESTED, child) for child in children]
    if node.combinator is not Combinator.UNKNOWN:
        parts.append(varint(_COMBINATOR << 3 | VARINT) + varint(node.combinator))
    return b"".join(parts)


def _packed(number: int, values: tuple[int, ...]) -> bytes:
    return _length_field(number, b"".join([varint(value) for value in values])) if values else b""


def _length_field(number: int, body: bytes) -> bytes:
    return varint(number << 3 | LENGTH) + varint(len(body)) + body


FUTURE: Final[Kind] = future_kind(decode_future, encode_future)
