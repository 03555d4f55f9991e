"""The file `rewake state export` writes: JSON lines, one object or workflow key each, between a head and a sum.

    {"rewake_state": 1, "services": {"Cart": "VirtualObject"}}
    {"service": "Cart", "key": "alice", "state": {"total": "NDI="}}
    {"keys": 1, "entries": 1, "sha256": "..."}

Values are base64. The sum is over services, keys and versions of states, in the order of the lines, so it can be taken
of any engine's state as well as of a file. Pure but for the file itself; transfer.py talks to the admin APIs.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rewake.errors import ErrorCode, RewakeError

FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class KeyState:
    """The state of one key. stored_version: that of the state as it is stored, where it is encrypted there."""

    service: str
    key: str
    state: Mapping[str, bytes]
    stored_version: str = ""

    @property
    def version(self) -> str:
        """The version the admin API gives this state."""
        from rewake.core.keyed import state_version

        return state_version({name.encode(): value for name, value in self.state.items()})


class Sum:
    """Counts and hash of records, in their order."""

    def __init__(self) -> None:
        self.keys = 0
        self.entries = 0
        self._hash = hashlib.sha256()

    def add(self, record: KeyState) -> None:
        self.keys += 1
        self.entries += len(record.state)
        for text in (record.service, record.key, record.version):
            said = text.encode()
            self._hash.update(len(said).to_bytes(8, "big") + said)

    def shown(self) -> dict[str, Any]:
        """As the last line of a file has it."""
        return {"keys": self.keys, "entries": self.entries, "sha256": self._hash.hexdigest()}


def head_line(services: Mapping[str, str]) -> str:
    """The first line. services: type by name."""
    return _line({"rewake_state": FORMAT, "services": dict(sorted(services.items()))})


def record_line(record: KeyState) -> str:
    state = {name: base64.b64encode(value).decode() for name, value in record.state.items()}
    return _line({"service": record.service, "key": record.key, "state": state})


def sum_line(total: Sum) -> str:
    """The last line."""
    return _line(total.shown())


@dataclass(frozen=True, slots=True)
class StateFile:
    """A file that is whole: the types of the services it has state of, and its sum."""

    path: Path
    services: dict[str, str]
    sum: dict[str, Any]

    def records(self) -> Iterator[KeyState]:
        """All of them, one after another from the file."""
        with self.path.open(encoding="utf-8") as file:
            next(file)
            for line in file:
                told = json.loads(line)
                if "service" in told:
                    yield _record_of(told)


def checked_file(path: Path) -> StateFile:
    """The file, read once to its end. Raises RewakeError RW1013 when it is no export, or not a whole one."""
    total = Sum()
    found: dict[str, Any] | None = None
    kinds: dict[str, str] = {}
    number = 1
    try:
        with path.open(encoding="utf-8") as file:
            services = _services_of(json.loads(next(file, "null")))
            for line in file:
                number += 1
                told = json.loads(line)
                if "service" not in told:
                    found = told
                    break
                record = _record_of(told)
                total.add(record)
                kinds[record.service] = services[record.service]
    except OSError as error:
        raise _invalid(path, f"It cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _invalid(path, f"Line {number} is not a line of an export.") from error
    if found is None:
        raise _invalid(path, "It ends before its sum, so the export was not finished.")
    if found != total.shown():
        raise _invalid(path, f"Its sum is {total.shown()}, but its last line has {found}.")
    return StateFile(path, kinds, found)


def resumable_part(path: Path, services: Mapping[str, str]) -> tuple[Sum, KeyState | None]:
    """The part that an interrupted export wrote: its sum so far and its last record. An incomplete line is cut off.

    A file of other services, or none, is begun anew, for its owner alone.
    """
    from rewake.store.private import make_private

    total, last, end = Sum(), None, 0
    wanted = head_line(services).encode()
    if path.exists():
        with path.open("rb") as file:
            if file.readline() == wanted:
                end = len(wanted)
                for line in file:
                    try:
                        record = _record_of(json.loads(line)) if line.endswith(b"\n") else None
                    except (ValueError, KeyError, TypeError):
                        record = None
                    if record is None:
                        break
                    total.add(record)
                    last, end = record, end + len(line)
    if end:
        with path.open("r+b") as file:
            file.truncate(end)
    else:
        make_private(path)
        path.write_bytes(wanted)
    return total, last


def _services_of(told: Any) -> dict[str, str]:
    if told["rewake_state"] != FORMAT:
        raise ValueError(told["rewake_state"])
    return dict(told["services"])


def _record_of(told: Any) -> KeyState:
    state = {name: base64.b64decode(value, validate=True) for name, value in told["state"].items()}
    return KeyState(told["service"], told["key"], state)


def _line(content: Mapping[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n"


def _invalid(path: Path, reason: str) -> RewakeError:
    return RewakeError(
        ErrorCode.STATE_FILE_INVALID,
        f"{str(path)!r} cannot be imported.\n{reason}",
        "Write it again, with: rewake state export FILE",
    )
