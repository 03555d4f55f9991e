"""`rewake state`: the state of a virtual object or workflow key.

The admin API replaces the whole state of a key, so a change reads it, changes a copy and sends that back with the
version it was made from; the engine drops it when something else was written in between.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from rewake.cli.admin_client import AdminClient, admin_options, segment, sql_text
from rewake.cli.exits import Group, nearest, not_found
from rewake.cli.tables import print_json, print_table
from rewake.cli.transfer import export_state, import_state
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
            raise not_found("state", name, f"{service}/{key} has none of that name. {nearest(name, found)}")
        if as_json:
            print_json(_shown(found[name]))
        else:
            sys.stdout.buffer.write(found[name] + b"\n")
    elif as_json:
        print_json({each: _shown(value) for each, value in found.items()})
    elif not found:
        _require_service(admin, service)
        click.echo(f"{service}/{key} has no state.", err=True)
    else:
        print_table(("name", "value"), [(each, _text(value)) for each, value in found.items()])


@state.command("set")
@click.argument("service")
@click.argument("key")
@click.argument("name")
@click.argument("value")
@click.option("--raw", is_flag=True, help="Store VALUE as it is, even if it is not JSON.")
@click.option("--force", is_flag=True, help="Also when the state changes in between.")
@admin_options
def set_value(
    service: str, key: str, name: str, value: str, raw: bool, force: bool, admin: AdminClient, as_json: bool
) -> None:
    """Set NAME to VALUE (JSON), behind whatever runs on KEY now."""
    if not raw:
        check_json(value)
    found = _read(admin, service, key)
    _replace(admin, service, key, found, found | {name: value.encode()}, force=force)
    confirm(as_json, f"{service}/{key}: {name} is set as soon as the key is free.")


@state.command()
@click.argument("service")
@click.argument("key")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--force", is_flag=True, help="Also when the state changes in between.")
@admin_options
def clear(service: str, key: str, names: tuple[str, ...], force: bool, admin: AdminClient, as_json: bool) -> None:
    """Clear all state of KEY, or only what is named."""
    found = _read(admin, service, key)
    for name in names:
        if name not in found:
            raise not_found("state", name, f"{service}/{key} has none of that name. {nearest(name, found)}")
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
        "new_state": {name: list(value) for name, value in new.items()},
        "version": None if force else version,
    }
    admin.ask("POST", f"/services/{segment(service)}/state", body)


def _require_service(admin: AdminClient, service: str) -> None:
    """Raise the server's 404 for a service nobody knows: no state is not the same as a misspelt name."""
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
    try:
        return json.loads(value)
    except ValueError:
        return _text(value)


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.hex()


def confirm(as_json: bool, text: str) -> None:
    if as_json:
        print_json({"accepted": True})
    else:
        click.echo(printable(text))
