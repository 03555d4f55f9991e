"""`rewake state export` and `rewake state import`: the state of objects and workflows, from one engine to another.

Both talk to a public admin API, Rewake's or a Restate server's, so state can move in either direction. After an
interruption, run the command again: an export continues after its last line, an import skips keys that already have
their state. At the end the written state is read back and compared, by count and hash. state_file.py knows the file;
state.py adds both to `rewake state`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Final

import click

from rewake.cli.admin_client import AdminClient, admin_options, segment, sql_text
from rewake.cli.durations import Duration
from rewake.cli.exits import did_you_mean, not_found
from rewake.cli.progress import with_progress
from rewake.cli.state_file import KeyState, StateFile, Sum, checked_file, record_line, resumable_part, sum_line
from rewake.cli.tables import print_json
from rewake.disclosure import is_sealed, opened
from rewake.errors import ErrorCode, RewakeError

PAGE_KEYS: Final = 500
BATCH_BYTES: Final = 4 * 1024 * 1024
"""Values in one answer; a single key may be larger."""

CHECK_KEYS: Final = 200
"""Keys that are looked up with one query."""

CHANGES_AT_ONCE: Final = 8
POLL_S: Final = 0.1
MOVING_S: Final = 10.0
"""How long a query is asked again while a cluster moves a partition."""

_FAILED: Final = 500
KEYED: Final = ("VirtualObject", "Workflow")
_TOO_LARGE: Final = 413


@click.command("export")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--service", "services", multiple=True, metavar="NAME", help="Only this service; may be repeated.")
@admin_options
def export_state(file: Path, services: tuple[str, ...], admin: AdminClient, as_json: bool) -> None:
    """Write the state of all objects and workflows to FILE.

    Let nothing run meanwhile: the export fails if the state changes while it is read. If it is interrupted, run it
    again; it continues where it stopped.
    """
    _require_whole(admin)
    wanted = _keyed_services(admin, services)
    part = file.with_name(file.name + ".part")
    total, last = resumable_part(part, wanted)
    resumed = total.keys
    with part.open("a", encoding="utf-8") as out:
        keys = _key_count(admin, wanted)
        for record in with_progress(_records(admin, wanted, last), "Exporting", keys - resumed):
            out.write(record_line(record))
            total.add(record)
        out.write(sum_line(total))
    found = Sum()
    for record in with_progress(_records(admin, wanted, None), "Verifying", total.keys):
        found.add(record)
    if found.shown() != total.shown():
        part.unlink()
        raise RewakeError(
            ErrorCode.STATE_NOT_TRANSFERRED,
            f"The state changed while it was exported.\nRead first: {total.shown()}; read again: {found.shown()}.",
            "Stop what calls these services, wait until nothing runs, and export again.",
        )
    part.replace(file)
    _tell(as_json, f"Exported to {file}", total.shown(), resumed=resumed)


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Replace state that keys have already.")
@click.option(
    "--wait", "wait_ms", default="30s", type=Duration(), show_default=True, help="Time to wait for busy keys."
)
@admin_options
def import_state(file: Path, force: bool, wait_ms: int, admin: AdminClient, as_json: bool) -> None:
    """Give keys the state that FILE has for them.

    The services must be registered. Keys that already have this state are skipped. If a key has other state, nothing is
    changed, unless with --force. A busy key gets its state when it is free.
    """
    source = checked_file(file)
    _check_services(admin, source)
    count = source.sum["keys"]
    pending = list(_pending(admin, with_progress(source.records(), "Comparing", count)))
    taken = [record for record, version in pending if version != _EMPTY_VERSION]
    if taken and not force:
        raise _taken(taken)
    with ThreadPoolExecutor(CHANGES_AT_ONCE) as senders:
        sent = senders.map(lambda change: _send(admin, *change), pending)
        for _ in with_progress(sent, "Importing", len(pending)):
            pass
    _wait_until_there(admin, [record for record, _ in pending], wait_ms)
    found = Sum()
    for record in with_progress(_as_there(admin, source.records()), "Verifying", count):
        found.add(record)
    if found.shown() != source.sum:
        raise RewakeError(
            ErrorCode.STATE_NOT_TRANSFERRED,
            f"The state there differs from the imported one.\nImported: {source.sum}; there: {found.shown()}.",
            "Stop what calls these services, and import again.",
        )
    _tell(as_json, f"Imported from {file}", found.shown(), unchanged=found.keys - len(pending))


# Reading an engine


def _require_whole(admin: AdminClient) -> None:
    """Raises RewakeError RW1014 when the engine would not show all of the state."""
    if admin.get("/version").get("hides_content"):
        raise RewakeError(
            ErrorCode.STATE_NOT_TRANSFERRED,
            "The engine hides content that its patterns match, so an export would not be whole.",
            "Start it without --redact for the export.",
        )


def _keyed_services(admin: AdminClient, wanted: Iterable[str]) -> dict[str, str]:
    """Type by name, of those wanted or of all that have state. Raises RewakeError for a name without state."""
    known = {service["name"]: service["ty"] for service in admin.get("/services")["services"]}
    keyed = {name: kind for name, kind in known.items() if kind in KEYED}
    for name in wanted:
        if name not in keyed:
            raise not_found("virtual object or workflow", name, did_you_mean(name, keyed), ErrorCode.SERVICE_NOT_FOUND)
    names = sorted(set(wanted) or keyed)
    return {name: keyed[name] for name in names}


def _records(admin: AdminClient, services: Iterable[str], after: KeyState | None) -> Iterator[KeyState]:
    """The state of all keys by service and key, from behind `after` on."""
    for service in sorted(services):
        if after is None or service > after.service:
            yield from _records_of(admin, service, None)
        elif service == after.service:
            yield from _records_of(admin, service, after.key)


def _records_of(admin: AdminClient, service: str, after: str | None) -> Iterator[KeyState]:
    of_service = f"service_name = {sql_text(service)}"
    while True:
        later = "" if after is None else f" and service_key > {sql_text(after)}"
        page = _rows(
            admin,
            f"select service_key, sum(value_length) as bytes from state where {of_service}{later} "
            f"group by service_key order by service_key limit {PAGE_KEYS}",
        )
        for keys in _batches(page):
            yield from _read(admin, service, keys)
        if len(page) < PAGE_KEYS:
            return
        after = page[-1]["service_key"]


def _key_count(admin: AdminClient, services: Iterable[str]) -> int:
    """Keys with state, of these services."""
    listed = ", ".join(sql_text(service) for service in services)
    if not listed:
        return 0
    rows = _rows(
        admin,
        "select count(*) as count from (select distinct service_name, service_key from state "
        f"where service_name in ({listed})) as keys",
    )
    return int(rows[0]["count"])


def _batches(page: list[dict[str, Any]]) -> Iterator[list[str]]:
    """Keys that are read together, by the size of their values."""
    keys: list[str] = []
    size = 0
    for row in page:
        if keys and (size + row["bytes"] > BATCH_BYTES or len(keys) == CHECK_KEYS):
            yield keys
            keys, size = [], 0
        keys.append(row["service_key"])
        size += row["bytes"]
    if keys:
        yield keys


def _read(admin: AdminClient, service: str, keys: Iterable[str]) -> list[KeyState]:
    """The state of these keys, in their order; empty for a key without state."""
    states: dict[str, dict[str, bytes]] = {key: {} for key in keys}
    listed = ", ".join(sql_text(key) for key in states)
    rows = _rows(
        admin,
        f"select service_key, key, value from state where service_name = {sql_text(service)} "
        f"and service_key in ({listed}) order by service_key, key",
    )
    for row in rows:
        states[row["service_key"]][row["key"]] = bytes.fromhex(row.get("value", ""))
    return [_opened(KeyState(service, key, state)) for key, state in states.items()]


def _opened(record: KeyState) -> KeyState:
    """With the values that this process has keys for opened."""
    state = {name: opened(value) for name, value in record.state.items()}
    return record if state == record.state else KeyState(record.service, record.key, state, record.version)


def _rows(admin: AdminClient, sql: str) -> list[dict[str, Any]]:
    """The rows of a query, asked again for a while: a cluster that moves a partition answers 500."""
    give_up_at_s = time.monotonic() + MOVING_S
    while True:
        try:
            return admin.query(sql)
        except RewakeError as error:
            if error.facts.get("http_status") != _FAILED or time.monotonic() > give_up_at_s:
                raise
        time.sleep(POLL_S)


def _as_there(admin: AdminClient, records: Iterable[KeyState]) -> Iterator[KeyState]:
    """For each record, the state that its key has in this engine."""
    for chunk in _chunks(records):
        by_service: dict[str, list[str]] = {}
        for record in chunk:
            by_service.setdefault(record.service, []).append(record.key)
        for service, keys in by_service.items():  # A file is ordered by service, so this keeps its order.
            yield from _read(admin, service, keys)


def _chunks(records: Iterable[KeyState]) -> Iterator[list[KeyState]]:
    remaining = iter(records)
    while chunk := list(islice(remaining, CHECK_KEYS)):
        yield chunk


# Writing to an engine

_EMPTY_VERSION: Final = KeyState("", "", {}).version


def _pending(admin: AdminClient, records: Iterable[KeyState]) -> Iterator[tuple[KeyState, str]]:
    """The records to write, each with the version of the state that is there now."""
    for chunk in _chunks(records):
        for record, there in zip(chunk, _as_there(admin, chunk), strict=True):
            if record.version != there.version:
                _require_readable(record, there)
                yield record, there.stored_version or there.version


def _require_readable(record: KeyState, there: KeyState) -> None:
    """Raises RewakeError RW1025 where a state cannot be compared with what is there, as that is encrypted."""
    has_sealed = any(map(is_sealed, there.state.values()))
    if has_sealed and not any(map(is_sealed, record.state.values())):
        message = f"The state of {record.service}/{record.key} is encrypted there, so it cannot be compared."
        raise RewakeError(ErrorCode.ENCRYPTION_KEYS_INVALID, message, "Name the keys: --encryption-keys SOURCE")


def _send(admin: AdminClient, record: KeyState, version: str) -> None:
    """Have the state of a key replaced, if it is still that version when the key is free."""
    body = {
        "object_key": record.key,
        "new_state": {name: _as_json(value) for name, value in record.state.items()},
        "version": version,
    }
    try:
        admin.ask("POST", f"/services/{segment(record.service)}/state", body)
    except RewakeError as error:
        if error.facts.get("http_status") != _TOO_LARGE:
            raise
        size = sum(len(value) for value in record.state.values())
        raise RewakeError(
            ErrorCode.STATE_NOT_TRANSFERRED,
            f"The state of {record.service}/{record.key} is larger than the admin API takes: {size} bytes.",
            "Make it smaller, or have a handler write it there. The other keys have their state.",
        ) from error


def _as_json(value: bytes) -> str | list[int]:
    """A value as the admin API takes it: text if it is text, a quarter of the size, else numbers."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return list(value)


def _wait_until_there(admin: AdminClient, records: list[KeyState], wait_ms: int) -> None:
    """Wait until all keys have their state. Raises RewakeError RW1014 when some do not have it in time."""
    give_up_at_s = time.monotonic() + wait_ms / 1_000
    while missing := [record for record, _ in _pending(admin, records)]:
        if time.monotonic() > give_up_at_s:
            raise RewakeError(
                ErrorCode.STATE_NOT_TRANSFERRED,
                f"{len(missing)} of the keys do not have their state yet: {_named(missing)}.\n"
                "Something runs on them, or changed them meanwhile.",
                "Wait until they are free, and import again: keys that have their state are skipped.",
            )
        records = missing
        time.sleep(POLL_S)


def _check_services(admin: AdminClient, source: StateFile) -> None:
    known = {service["name"]: service["ty"] for service in admin.get("/services")["services"]}
    for name, kind in source.services.items():
        if name not in known:
            hint = "Register its deployment first: rewake deployments register URL"
            raise not_found("service", name, hint, ErrorCode.SERVICE_NOT_FOUND)
        if known[name] != kind:
            raise RewakeError(
                ErrorCode.STATE_FILE_INVALID,
                f"{str(source.path)!r} cannot be imported.\n{name!r} is a {kind} there and a {known[name]} here.",
                "Register the service the file was exported from.",
            )


def _taken(records: list[KeyState]) -> RewakeError:
    return RewakeError(
        ErrorCode.STATE_NOT_TRANSFERRED,
        f"{len(records)} of the keys have other state already: {_named(records)}.\nNothing was changed.",
        "Replace it with --force, or clear it first.",
    )


def _named(records: list[KeyState]) -> str:
    shown = ", ".join(f"{record.service}/{record.key}" for record in records[:3])
    return shown + (f" and {len(records) - 3} more" if len(records) > 3 else "")


def _tell(as_json: bool, text: str, total: dict[str, Any], **more: int) -> None:
    if as_json:
        print_json(total | more)
        return
    counts = f"{total['keys']} keys, {total['entries']} entries"
    told = "".join(f", {count} {name}" for name, count in more.items() if count)
    click.echo(f"{text}: {counts}{told}. sha256 {total['sha256']}")
