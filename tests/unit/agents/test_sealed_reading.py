"""Recorded runs of agents whose values are encrypted: with the key they read as they are, without it as plain steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.agents.recorded import JOURNALS, load

from rewake import formats
from rewake.core.ids import invocation_id_from_str
from rewake.disclosure import SEALED, opening
from rewake.ext.sealed import Keyring, Sealer, Values
from rewake.protocol import messages as m
from rewake.protocol.codec import decode_message, encode_message
from rewake.protocol.errors import ProtocolViolation
from rewake.runs.agents import agent_trace
from rewake.runs.filters import RunFilter
from rewake.runs.local.database import local_reading
from rewake.runs.turns import AgentTrace
from rewake.store.connection import DATABASE_FILE, open_writer

NOW_MS = 1 << 42
SEALER = Sealer(Values(Keyring({"test": b"k" * 32})))


def sealed_entry(type_id: int, payload: bytes) -> bytes:
    """The entry as a handler with a codec says it."""
    try:
        message: Any = decode_message(type_id, payload, 6)
    except ProtocolViolation:
        return payload
    for name in ("value", "parameter", "result"):
        content = getattr(message, name, None)
        if isinstance(content, bytes):
            message = type(message)(**{**fields(message), name: SEALER.seal(content, "", None)})
        elif isinstance(content, m.Success):
            message = type(message)(**{**fields(message), name: m.Success(SEALER.seal(content.content, "", None))})
    return encode_message(message, 6)


def fields(message: Any) -> dict[str, Any]:
    return {name: getattr(message, name) for name in message.__struct_fields__}


def seal(folder: Path) -> None:
    connection = open_writer(folder / DATABASE_FILE)
    entries = list(connection.execute("select invocation_id, idx, type, payload from journal_entry"))
    for run_id, index, type_id, payload in entries:
        values = (sealed_entry(type_id, payload), run_id, index)
        connection.execute("update journal_entry set payload = ? where invocation_id = ? and idx = ?", values)
    connection.close()


def traces(folder: Path) -> list[AgentTrace]:
    with local_reading(folder, NOW_MS) as reading:
        ids = [
            invocation_id_from_str(run.id)
            for run in reading.find(RunFilter(), {**reading.open_counts(), **reading.ended_counts()}).runs
        ]
        found = [reading.invocation(each) for each in ids]
        return [agent_trace(reading, each) for each in found if each is not None]


def shown(all_traces: list[AgentTrace], what: Callable[[AgentTrace], object]) -> list[object]:
    return [what(trace) for trace in all_traces]


@pytest.mark.parametrize("name", sorted(path.stem for path in JOURNALS.glob("*.json")))
def test_agents_of_encrypted_runs(name: str, tmp_path: Path) -> None:
    folder = load(name, tmp_path)
    plain = traces(folder)
    seal(folder)
    with opening(SEALER):
        opened = traces(folder)
    for what in (
        lambda trace: [(turn.kind, turn.agent, turn.title, turn.text) for turn in trace.turns],
        lambda trace: [(item.source, item.target, item.kind) for item in trace.handoffs],
        lambda trace: trace.total,
    ):
        assert shown(opened, what) == shown(plain, what)
    closed = traces(folder)
    assert not any(trace.usage for trace in closed)
    texts = [turn.text for trace in closed for turn in trace.turns]
    assert formats.ENCRYPTED in "".join(texts)
    assert not [text for text in texts if SEALED.decode()[1:] in text]
