"""Whose turn it is among attempts that wait for a place."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from rewake.core.effects import StartAttempt
from rewake.core.model import Target
from rewake.engine.attempt_queue import AttemptQueue
from rewake.protocol.discovery import HandlerKind, ServiceType


class Waiting(msgspec.Struct):
    """What the queue looks at."""

    invocation_id: bytes
    target: Target


def waiting(name: str, service: str, key: str | None = None) -> StartAttempt:
    target = Target(service, "h", key, ServiceType.SERVICE, HandlerKind.PLAIN)
    return cast("StartAttempt", Waiting(name.encode(), target))


def taken(queue: AttemptQueue) -> list[str]:
    return [cast("Any", queue.take()).invocation_id.decode() for _ in range(len(queue))]


def test_services_take_turns_and_keys_within_them() -> None:
    queue = AttemptQueue()
    for number in range(4):
        queue.add(waiting(f"a{number}", "A"))
    for number in range(3):
        queue.add(waiting(f"x{number}", "B", "x"))
    queue.add(waiting("y0", "B", "y"))
    assert (len(queue), queue.count_of("A"), queue.count_of("C")) == (8, 4, 0)
    assert taken(queue) == ["a0", "x0", "a1", "y0", "a2", "x1", "a3", "x2"]
    assert (len(queue), queue.count_of("A")) == (0, 0)


def test_a_service_that_may_not_start_keeps_its_turn() -> None:
    queue = AttemptQueue()
    for name, service in (("a0", "A"), ("b0", "B"), ("a1", "A")):
        queue.add(waiting(name, service))
    assert cast("Any", queue.take(lambda service: service == "B")).invocation_id == b"b0"
    assert queue.take(lambda service: service == "B") is None
    assert taken(queue) == ["a0", "a1"]


def test_who_leaves_is_passed_over_and_who_comes_again_keeps_its_place() -> None:
    queue = AttemptQueue()
    first, second, other = waiting("a0", "A"), waiting("a1", "A"), waiting("b0", "B")
    for each in (first, second, other):
        queue.add(each)
    again = waiting("a0", "A")
    queue.add(again)
    assert queue.get(b"a0") is again
    assert (len(queue), queue.count_of("A")) == (3, 2)
    queue.remove(again)
    assert queue.get(b"a0") is None
    assert taken(queue) == ["a1", "b0"]


def test_a_flood_costs_another_service_one_turn() -> None:
    queue = AttemptQueue()
    for number in range(10_000):
        queue.add(waiting(f"f{number}", "Flood"))
    queue.add(waiting("b", "Bystander"))
    assert [cast("Any", queue.take()).target.service for _ in range(2)] == ["Flood", "Bystander"]
