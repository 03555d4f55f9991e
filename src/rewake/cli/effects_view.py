"""What a run has done to the world, as lines of `rewake invocations show`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from rewake.agents.effects import Effect
from rewake.cli.tables import one_line, shortened, table_lines

_WHY_CHARS: Final = 80


def effect_lines(effects: Sequence[Effect]) -> list[str]:
    """A table with the state of each; no lines without any."""
    if not effects:
        return []
    rows = [
        (
            one_line(each.name),
            each.state,
            each.key,
            shortened(": ".join(filter(None, (each.who, each.why))), _WHY_CHARS),
        )
        for each in effects
    ]
    return ["", *table_lines(("effect", "state", "key", "why"), rows)]


def effects_json(effects: Sequence[Effect]) -> list[dict[str, Any]]:
    """The same for programs, without what the functions returned."""
    told: list[dict[str, Any]] = msgspec.to_builtins([msgspec.structs.replace(each, result=None) for each in effects])
    return [{name: value for name, value in each.items() if name != "result"} for each in told]
