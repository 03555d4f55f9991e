"""The table of effects: one row for each effect of `rewake.ext`, from the results of its steps."""

from __future__ import annotations

from typing import Final

from rewake.agents.effects import effect_in
from rewake.protocol.codec import decode_message
from rewake.protocol.errors import ProtocolViolation
from rewake.protocol.messages import MessageType, Success

_FIELDS: Final = ("name", "key", "state", "agent", "who", "why")
COLUMNS: Final = {
    "partition_key": "partition_key(e.invocation_id)",
    "id": "public_id(e.invocation_id)",
    **{name: f"effect_field(e.stored, '{name}', e.is_over)" for name in _FIELDS},
    "index": "e.idx",
}


def source(version: str) -> str:
    """The SQL that makes the table. version: the protocol version of an entry j, in SQL."""
    entries = (
        f"select j.invocation_id, j.idx, j.appended_at_ms, effect_of(j.type, j.payload, {version}) as stored "
        f"from main.journal j where j.type = {int(MessageType.RUN_COMPLETION)} "
        """and instr(j.payload, cast('"kind":"effect"' as blob))"""
    )
    # The last entry of an effect counts: with max() the other columns come from the same row.
    return (
        "(select invocation_id, max(idx) as idx, stored, appended_at_ms, "
        "(select status = 5 from main.invocation i where i.id = invocation_id) as is_over "
        f"from ({entries}) where stored is not null group by invocation_id, effect_field(stored, 'key', 0)) e"
    )


def effect_of(type_id: int, payload: bytes, version: int) -> bytes | None:
    """The result of a step, if it is one of an effect."""
    try:
        result = getattr(decode_message(type_id, payload, version), "result", None)
    except ProtocolViolation:
        return None
    content = result.content if isinstance(result, Success) else None
    return None if effect_in(content) is None else content


def effect_field(stored: bytes, name: str, is_over: int | None) -> str | None:
    """A field of an effect. is_over: whether its run has ended."""
    effect = effect_in(stored)
    if effect is None:
        return None
    found: str = getattr(effect.as_it_ended() if is_over else effect, name)
    return found or None
