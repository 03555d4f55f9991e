"""Offers of this attempt's engine beyond the public protocol: headers that begin with `x-rewake-`.

Callers cannot forge them: headers of a call are not headers of the attempt. Other engines send none, and the library
takes the portable way.
"""

from __future__ import annotations

from restate import Context

PREFIX = "x-rewake-"
STREAM = "stream"
"""Where the bodies of steps may say live what they do: see deltas.py."""


def offer(ctx: Context, name: str) -> str | None:
    """The value of the header `x-rewake-{name}` of this attempt, None where the engine does not offer it."""
    return ctx.request().attempt_headers.get(PREFIX + name)
