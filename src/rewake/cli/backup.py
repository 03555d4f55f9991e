"""`rewake backup` and `rewake restore`: a copy of the database while it is in use, and putting one in its place."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from rewake.cli.settings import data_option
from rewake.cli.tables import print_json

_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.argument("directory", metavar="DIR", type=_FOLDER)
@data_option
@_json_option
def backup(directory: Path, data: Path, as_json: bool) -> None:
    """Copy the database into the folder DIR, while an engine uses it or not.

    DIR must not have a database yet. The copy is one file, checked and flushed to disk; it has everything that was
    stored when the command began. Nothing has to stop.
    """
    from rewake.store.backup import back_up

    size = back_up(data, directory)
    facts = {"directory": str(directory), "bytes": size}
    _tell(as_json, f"Backed up {data} to {directory}: {size / 1e6:.1f} MB.", facts)


@click.command()
@click.argument("backup", metavar="BACKUP", type=click.Path(path_type=Path))
@data_option
@_json_option
def restore(backup: Path, data: Path, as_json: bool) -> None:
    """Put a backup in place of the database: the folder `rewake backup` wrote, or any copy of rewake.db.

    The engine must be stopped. What was there is kept in a folder beside it, log included.
    """
    from rewake.store.backup import restore as put_back

    kept = put_back(backup, data, time.time_ns() // 1_000_000)
    text = f"Restored {backup} to {data}." + (f" What was there is in {kept}." if kept else "")
    _tell(as_json, text, {"directory": str(data), "kept": str(kept) if kept else None})


def _tell(as_json: bool, text: str, facts: dict[str, Any]) -> None:
    if as_json:
        print_json(facts)
    else:
        click.echo(text)
