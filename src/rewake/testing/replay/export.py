"""Journals of runs, open or ended, as files. rewake.runs reads them, from this engine, a folder or any server."""

from __future__ import annotations

from rewake.core.ids import invocation_id_to_str, random_seed_of
from rewake.core.model import Invocation
from rewake.core.writes import EntryRow
from rewake.protocol.journal_json import entry_type_name
from rewake.runs.reading import Reading
from rewake.runs.steps import version_of
from rewake.testing.replay.files import Entry, RecordedJournal
from rewake.timestamps import rfc3339_millis


def recorded(reading: Reading, invocation: Invocation, *, is_rewake: bool) -> RecordedJournal:
    """The journal of a run. is_rewake: the engine is a Rewake, which derives random seeds from the id."""
    entries = reading.entries(invocation.id, with_payload=True)
    summary = reading.summary(invocation.id)
    seed = invocation.random_seed or (random_seed_of(invocation.id) if is_rewake else None)
    return RecordedJournal(
        id=invocation_id_to_str(invocation.id),
        service=invocation.target.service,
        handler=invocation.target.handler,
        key=invocation.target.key,
        status=invocation.status.name.lower() if summary is None else summary.status,
        protocol_version=version_of(invocation),
        random_seed=seed,
        idempotency_key=invocation.idempotency_key,
        created_at=rfc3339_millis(invocation.created_at_ms),
        entries=tuple(_entry(row) for row in entries),
    )


def _entry(row: EntryRow) -> Entry:
    return Entry(type=entry_type_name(row.type_id), type_id=row.type_id, payload=row.payload, name=row.name or None)
