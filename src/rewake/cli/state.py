"""`rewake state`: the state of a virtual object or workflow key.

The admin API replaces the whole state of a key. So a change reads it, changes a copy, and sends the copy with the
version it was made from; the engine drops the change if the state was written in between.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from rewake.cli.admin_client import AdminClient, admin_options, segment, sql_text
from rewake.cli.exits import Group, did_you_mean, not_found
from rewake.cli.tables import print_json, print_table
from rewake.cli.transfer import export_state, import_state
from rewake.disclosure import is_sealed, sealed, shown_content
from rewake.errors import ErrorCode, RewakeError
from rewake.formats import ENCRYPTED
from rewake.printable import printable


@click.group(cls=Group)
def state() -> None:
    """Read and change the state of virtual objects and workflows."""


state.add_command(export_state)
state.add_command(import_state)


@state.command()
@click.argument("service")
@click.argument("key")
@click.argument("name", required=False)
@admin_options
def get(service: str, key: str, name: str | None, admin: AdminClient, as_json: bool) -> None:
    """Show the state of KEY, or the value of one NAME in it as it is stored."""
    found = _read(admin, service, key)
    if name is not None:
        if name not in found:
            raise not_found("state", name, f"{service}/{key} has no value of that name. {did_you_mean(name, found)}")
        if as_json:
            print_json(_shown(shown_content(found[name])))
        else:
            sys.stdout.buffer.write(_opened(found[name], f"{service}/{key}: {name}") + b"\n")
    elif as_json:
        print_json({each: _shown(shown_content(value)) for each, value in found.items()})
    elif not found:
        _require_service(admin, service)
        click.echo(f"{service}/{key} has no state.", err=True)
    else:
        print_table(("name", "value"), [(each, _text(shown_content(value))) for each, value in found.items()])


@state.command("set")
@click.argument("service")
@click.argument("key")
@click.argument("name")
@click.argument("value")
@click.option("--raw", is_flag=True, help="Store VALUE as it is, even if it is not JSON.")
@click.option("--force", is_flag=True, help="Even if the state changes in between.")
@admin_options
def set_value(
    service: str, key: str, name: str, value: str, raw: bool, force: bool, admin: AdminClient, as_json: bool
) -> None:
    """Set NAME to VALUE (JSON), after the runs that hold or wait for KEY now."""
    if not raw:
        check_json(value)
    found = _read(admin, service, key)
    _replace(admin, service, key, found, found | {name: value.encode()}, force=force)
    confirm(as_json, f"{service}/{key}: {name} is set as soon as the key is free.")


@state.command()
@click.argument("service")
@click.argument("key")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--force", is_flag=True, help="Even if the state changes in between.")
@admin_options
def clear(service: str, key: str, names: tuple[str, ...], force: bool, admin: AdminClient, as_json: bool) -> None:
    """Clear all state of KEY, or only the given names."""
    found = _read(admin, service, key)
    for name in names:
        if name not in found:
            raise not_found("state", name, f"{service}/{key} has no value of that name. {did_you_mean(name, found)}")
    kept = {each: value for each, value in found.items() if names and each not in names}
    if not found:
        _require_service(admin, service)
    _replace(admin, service, key, found, kept, force=force)
    cleared = ", ".join(names) or "all state"
    confirm(as_json, f"{service}/{key}: {cleared} is cleared as soon as the key is free.")


def _read(admin: AdminClient, service: str, key: str) -> dict[str, bytes]:
    rows = admin.query(
        f"select key, value from state where service_name = {sql_text(service)} "
        f"and service_key = {sql_text(key)} order by key"
    )
    return {row["key"]: bytes.fromhex(row.get("value", "")) for row in rows}


def _replace(
    admin: AdminClient, service: str, key: str, old: dict[str, bytes], new: dict[str, bytes], *, force: bool
) -> None:
    from rewake.core.keyed import state_version

    version = state_version({name.encode(): value for name, value in old.items()})
    body = {
        "object_key": key,
        "new_state": {name: list(sealed(value, service, key)) for name, value in new.items()},
        "version": None if force else version,
    }
    admin.ask("POST", f"/services/{segment(service)}/state", body)


def _require_service(admin: AdminClient, service: str) -> None:
    """Raise the server's 404 for an unknown service: empty state would hide a misspelt name."""
    admin.get(f"/services/{segment(service)}")


def check_json(value: str) -> None:
    try:
        json.loads(value)
    except ValueError as error:
        raise click.BadParameter(
            f"{value!r} is not JSON ({error}). A text needs its quotes: '\"{value}\"'. Use --raw for anything else.",
            param_hint="VALUE",
        ) from error


def _shown(value: bytes) -> Any:
    """The decoded JSON; other text as text, other bytes as hex."""
    if is_sealed(value):
        return ENCRYPTED
    try:
        return json.loads(value)
    except ValueError:
        return _text(value)


def _opened(value: bytes, name: str) -> bytes:
    """The value. Raises RewakeError RW1025 if it stays sealed, so that no program takes sealed bytes for the value."""
    value = shown_content(value)
    if is_sealed(value):
        message = f"{name} is encrypted, and no key here opens it."
        raise RewakeError(ErrorCode.ENCRYPTION_KEYS_INVALID, message, "Name the keys: --encryption-keys SOURCE")
    return value


def _text(value: bytes) -> str:
    if is_sealed(value):
        return ENCRYPTED
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.hex()


def confirm(as_json: bool, text: str) -> None:
    if as_json:
        print_json({"accepted": True})
    else:
        click.echo(printable(text))
