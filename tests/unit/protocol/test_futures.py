"""The await tree on the wire, flat and nested; what it means is in test_awaiting.py."""

from __future__ import annotations

import protocol_strategies as strategies
import pytest
from hypothesis import given

from rewake.protocol.awaiting import AWAIT_DEPTH_MAX
from rewake.protocol.codec import decode_message, encode_message
from rewake.protocol.errors import ProtocolViolation
from rewake.protocol.futures import decode_future, encode_future
from rewake.protocol.messages import AwaitingOn, Future, Suspension


@given(strategies.futures)
def test_every_tree_survives(tree: Future) -> None:
    assert decode_future(encode_future(tree)) == tree


def test_repeated_numbers_one_by_one_and_packed() -> None:
    packed = bytes.fromhex("0a 02 01 02 12 01 11")
    one_by_one = bytes.fromhex("08 01 08 02 10 11")
    expected = Suspension(Future((1, 2), (17,)))
    assert decode_message(1, packed, 6) == decode_message(1, one_by_one, 6) == expected


def _nested(depth: int) -> Future:
    future = Future((1,))
    for _ in range(depth - 1):
        future = Future(nested=(future,))
    return future


def test_trees_up_to_the_depth_limit() -> None:
    payload = encode_message(Suspension(_nested(AWAIT_DEPTH_MAX)), 7)
    suspension = decode_message(1, payload, 7)
    assert isinstance(suspension, Suspension)
    assert encode_message(suspension, 7) == payload


@pytest.mark.parametrize(("type_id", "version"), [(1, 7), (6, 7)])
def test_deeper_trees_are_refused(type_id: int, version: int) -> None:
    message = Suspension(_nested(AWAIT_DEPTH_MAX + 1)) if type_id == 1 else AwaitingOn(_nested(AWAIT_DEPTH_MAX + 1))
    with pytest.raises(ProtocolViolation, match=f"deeper than {AWAIT_DEPTH_MAX} levels") as caught:
        decode_message(type_id, encode_message(message, 7), version)
    assert caught.value.code == "RT0025"
