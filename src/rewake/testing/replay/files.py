"""A journal as a JSON file, one run each, named by its id. The format is a promise: every release reads version 1.

    {"format": "rewake-journal", "version": 1, "id": "inv_1...", "service": "Clerk", "handler": "file", "key": null,
     "status": "suspended", "protocol_version": 6, "random_seed": 42, "idempotency_key": null,
     "created_at": "2026-11-30T12:00:00.000Z",
     "entries": [{"type": "Command: Run", "type_id": 1041, "name": "pick", "payload": "base64"}, ...]}

`payload` is the entry in the service protocol's encoding, without its frame; `type` and `name` are for people. A file
holds the run's input and the results of its steps: protect it like that data.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from rewake.core.ids import EntryIndex, InvalidId, InvocationId, invocation_id_from_str
from rewake.core.writes import EntryRow
from rewake.errors import ErrorCode, RewakeError
from rewake.protocol.codec import decode_message
from rewake.protocol.errors import ProtocolViolation
from rewake.protocol.messages import Completion

FORMAT: Final = "rewake-journal"
VERSION: Final = 1
SUFFIX: Final = ".journal.json"

_HINT: Final = "Write journals with `rewake journal export`."


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry. type, name: for people.   payload: in the service protocol's encoding."""

    type: str
    type_id: int
    payload: bytes
    name: str | None = None


class RecordedJournal(msgspec.Struct, frozen=True, kw_only=True):
    """The journal of one run. random_seed: None if the server does not show it.   status: at the time of the export."""

    format: str = FORMAT
    version: int = VERSION
    id: str
    service: str
    handler: str
    key: str | None = None
    status: str
    protocol_version: int
    random_seed: int | None = None
    idempotency_key: str | None = None
    created_at: str | None = None
    entries: tuple[Entry, ...]

    @property
    def target(self) -> str:
        return "/".join(part for part in (self.service, self.key, self.handler) if part is not None)

    @property
    def raw_id(self) -> InvocationId:
        return invocation_id_from_str(self.id)

    def rows(self) -> list[EntryRow]:
        """The entries as rows of a journal."""
        return [self._row(index, entry) for index, entry in enumerate(self.entries)]

    def _row(self, index: int, entry: Entry) -> EntryRow:
        message = decode_message(entry.type_id, entry.payload, self.protocol_version)
        return EntryRow(
            invocation_id=self.raw_id,
            index=EntryIndex(index),
            type_id=entry.type_id,
            payload=entry.payload,
            appended_at_ms=0,
            name=entry.name,
            completion_id=getattr(message, "completion_id", None),
            signal=getattr(message, "signal", None) if not isinstance(message, Completion) else None,
        )


def encoded(journal: RecordedJournal) -> bytes:
    """The file of a journal."""
    return msgspec.json.format(msgspec.json.encode(journal), indent=1) + b"\n"


def decoded(content: bytes, where: str) -> RecordedJournal:
    """The journal in a file. Raises RewakeError RW1026, which names `where`, for any other content."""
    try:
        journal = msgspec.json.decode(content, type=RecordedJournal)
        if journal.format != FORMAT:
            raise _invalid(where, f"Its format is {journal.format!r}, not {FORMAT!r}.")
        if journal.version > VERSION:
            raise _invalid(where, f"Its version is {journal.version}; this release reads up to {VERSION}.")
        journal.rows()
    except (msgspec.MsgspecError, InvalidId, ProtocolViolation) as error:
        raise _invalid(where, f"{error}.") from error
    return journal


def write_journal(journal: RecordedJournal, folder: Path) -> Path:
    """Write one journal into a folder, readable by its owner alone. Returns its path."""
    path = folder / f"{journal.id}{SUFFIX}"
    path.touch(mode=0o600)
    path.write_bytes(encoded(journal))
    return path


def read_journals(paths: Sequence[Path]) -> Iterator[RecordedJournal]:
    """The journals in files, and in the files of folders. Raises RewakeError RW1026 for any other file."""
    for path in paths:
        files = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
        if not files:
            raise _invalid(str(path), f"There is no file in it that ends with {SUFFIX!r}.")
        for file in files:
            try:
                content = file.read_bytes()
            except OSError as error:
                raise _invalid(str(file), f"{error.strerror}.") from error
            yield decoded(content, str(file))


def _invalid(where: str, why: str) -> RewakeError:
    return RewakeError(ErrorCode.JOURNAL_FILE_INVALID, f"{where!r} is no journal that can be read.\n{why}", _HINT)
