"""Draws: bytes of the system, each given out once."""

from __future__ import annotations

import os

import pytest

from rewake.engine import draws
from rewake.engine.draws import Draws


def test_each_byte_of_the_system_is_given_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draws, "PORTION_BYTES", 26)
    portions = [bytes(range(26)), bytes(range(100, 126)), bytes(range(200, 226))]
    rest = iter(portions)
    monkeypatch.setattr(os, "urandom", lambda _: next(rest))
    drawn = Draws()
    taken = [drawn.take(count) for count in (16, 10, 16, 16)]
    assert taken == [portions[0][:16], portions[0][16:], portions[1][:16], portions[2][:16]]


def test_they_are_of_the_system() -> None:
    drawn = Draws()
    taken = [drawn.take(16) for _ in range(1_000)]
    assert len(set(taken)) == 1_000
    assert {len(each) for each in taken} == {16}
