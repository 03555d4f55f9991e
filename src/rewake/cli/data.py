"""`rewake backup`, `restore`, `compact` and `upgrade` work on the database file itself, without an engine."""

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
    stored when the command began. The secret of signed links and the file of tokens go with it. Nothing has to stop.
    """
    from rewake.store.backup import back_up

    size = back_up(data, directory, _files_beside())
    facts = {"directory": str(directory), "bytes": size}
    _tell(as_json, f"Backed up {data} to {directory}: {size / 1e6:.1f} MB.", facts)


@click.command()
@click.argument("backup", metavar="BACKUP", type=click.Path(path_type=Path))
@data_option
@_json_option
def restore(backup: Path, data: Path, as_json: bool) -> None:
    """Put a backup in place of the database: the folder `rewake backup` wrote, or any copy of rewake.db.

    The engine must be stopped. The old database and its log are kept in a folder beside it. Signed links of the backup
    work again. Tokens stay those of the data folder; one without any gets those of the backup.
    """
    from rewake.store.backup import restore as put_back

    links, tokens = _files_beside()
    kept = put_back(backup, data, time.time_ns() // 1_000_000, replaced=[links], completed=[tokens])
    text = f"Restored {backup} to {data}." + (f" The old database is in {kept}." if kept else "")
    _tell(as_json, text, {"directory": str(data), "kept": str(kept) if kept else None})


@click.command()
@data_option
@_json_option
def compact(data: Path, as_json: bool) -> None:
    """Shrink the database file to the size of its contents. The engine must be stopped.

    A running engine frees space by itself, bit by bit; this command frees all of it.
    """
    from rewake.store import upkeep

    before, after = upkeep.compact(data, time.time_ns() // 1_000_000)
    text = f"Compacted {data}: {before / 1e6:.1f} MB before, {after / 1e6:.1f} MB now."
    _tell(as_json, text, {"directory": str(data), "bytes_before": before, "bytes": after})


@click.command()
@click.option("--check", is_flag=True, help="Only report what would be done; may run beside an engine.")
@data_option
@_json_option
def upgrade(check: bool, data: Path, as_json: bool) -> None:
    """Bring the database to the version of this release, as the engine does when it starts.

    The whole database is checked first. A damaged one, or one of a newer release, is not changed.
    """
    from rewake.store import upkeep

    before, after = upkeep.check_upgrade(data) if check else upkeep.upgrade(data, time.time_ns() // 1_000_000)
    if before == after:
        text = f"{data} has version {before}, which is this release's. It is sound."
    elif check:
        text = f"{data} has version {before}; this release makes it {after} when it starts. Run `rewake backup` first."
    else:
        text = f"Upgraded {data} from version {before} to {after}."
    _tell(as_json, text, {"directory": str(data), "version": before, "release_version": after})


def _files_beside() -> tuple[str, str]:
    """The secret of signed links, and the tokens: a backup that is put back must not revive revoked ones."""
    from rewake.access.token_file import FILE_NAME
    from rewake.engine.approval_links import FILE

    return FILE, FILE_NAME


def _tell(as_json: bool, text: str, facts: dict[str, Any]) -> None:
    if as_json:
        print_json(facts)
    else:
        click.echo(text)
