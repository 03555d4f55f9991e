"""Durations on the command line: a click type for options, and a short form for people.

rewake.durations knows the forms; a bare number has no unit and is refused.
"""

from __future__ import annotations

from typing import Any

import click


def spoken_duration(duration_ms: float) -> str:
    """Short and readable: 3 ms, 1.2 s, 4 m 10 s, 2 h 5 m, 3 d 1 h."""
    if duration_ms < 1_000:
        return f"{duration_ms:.0f} ms"
    if duration_ms < 60_000:
        return f"{duration_ms / 1_000:.1f} s"
    seconds = round(duration_ms / 1_000)
    for unit, size, lower, lower_size in (("d", 86_400, "h", 3_600), ("h", 3_600, "m", 60), ("m", 60, "s", 1)):
        if seconds >= size:
            return f"{seconds // size} {unit} {seconds % size // lower_size} {lower}"
    raise AssertionError(duration_ms)


class Duration(click.ParamType[int]):
    """A click type whose values are milliseconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Milliseconds; numbers pass through, as they are defaults of ours."""
        if not isinstance(value, str):
            self.fail(f"{value!r} is not a duration; write it with a unit, such as 30s or 1h", param, ctx)
        from rewake.durations import parse_duration_ms

        try:
            return parse_duration_ms(value)
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)
