"""What hostile inputs are made of: numbers at the edges, texts that steer, any JSON."""

from __future__ import annotations

from random import Random
from typing import Any

NUMBERS = (0, 1, 17, 2**16, 2**31, 2**32 - 1, 2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1)
TEXTS = ("", "a", "\x00", "\r\n", "\x1b[2J", "\u202e", "\U0001f600", "é" * 50, "9" * 5_000, "..", "%", "%ff", "'\"")


def text(rng: Random) -> str:
    if rng.random() < 0.5:
        return rng.choice(TEXTS)
    return "".join(
        chr(rng.choice((rng.randrange(128), rng.randrange(0xD800), 0x1F600))) for _ in range(rng.randrange(12))
    )


def value(rng: Random, depth: int = 0) -> Any:
    """Any JSON."""
    kind = rng.randrange(7 if depth < 4 else 4)
    if kind >= 5:
        return {text(rng): value(rng, depth + 1) for _ in range(rng.randrange(4))}
    if kind == 4:
        return [value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return (text(rng), rng.choice(NUMBERS), rng.random() * 1e308, rng.choice((None, True, False)))[kind]
