"""`rewake journal`: journals of runs as files, for `rewake replay-test` and for people."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from rewake.cli.admin_client import AdminClient, admin_option
from rewake.cli.exits import Group, not_found
from rewake.cli.tables import print_json
from rewake.cli.times import now_ms
from rewake.errors import ErrorCode, RewakeError

if TYPE_CHECKING:
    from rewake.runs.reading import Reading

OPEN_QUERY: Final = "select id from sys_invocation where status <> 'completed'"
_FOLDER: Final = click.Path(file_okay=False, path_type=Path)


@click.group(cls=Group)
def journal() -> None:
    """Write journals of runs to files."""


@journal.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--query", metavar="SQL", help="Runs whose ids this query returns in a column `id`.")
@click.option("--open", "is_open", is_flag=True, help="All runs that have not ended.")
@click.option("--to", "folder", type=_FOLDER, default=Path("journals"), show_default=True, help="Folder for the files.")
@click.option("--data", type=_FOLDER, metavar="FOLDER", help="Read this data folder, whether its engine runs or not.")
@click.option("--json", "as_json", is_flag=True, help="Print the paths as JSON.")
@admin_option
def export(
    ids: tuple[str, ...],
    query: str | None,
    is_open: bool,
    folder: Path,
    data: Path | None,
    as_json: bool,
    admin: AdminClient,
) -> None:
    """Write the journals of runs, open or ended, one file each.

    Of any server: by ids, by a query such as "select id from sys_invocation where target_service_name = 'Desk'", or all
    open ones. A file holds what the run was given and what its steps returned, as they are stored.
    """
    from rewake.core.ids import invocation_id_from_str
    from rewake.testing.replay.export import recorded
    from rewake.testing.replay.files import write_journal

    if not (ids or query or is_open):
        raise click.UsageError("Name the runs: by id, with --query, or --open.")
    with _source(admin, data) as source:
        wanted = [*ids, *source.ids_of(query), *source.ids_of(OPEN_QUERY if is_open else None)]
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for run in dict.fromkeys(wanted):
            invocation = source.reading.invocation(invocation_id_from_str(_checked(run)))
            if invocation is None:
                raise not_found("invocation", run, "See `rewake invocations list`.", ErrorCode.INVOCATION_NOT_FOUND)
            paths.append(write_journal(recorded(source.reading, invocation, is_rewake=source.is_rewake), folder))
    if as_json:
        print_json([str(path) for path in paths])
    else:
        click.echo(f"Wrote {len(paths)} journal{'' if len(paths) == 1 else 's'} to {folder}.")


def _checked(run: str) -> str:
    from rewake.cli.invocations import check_id

    check_id(run)
    return run


class _Source(NamedTuple):
    """Where runs are read. data: the folder, None for a server."""

    reading: Reading
    admin: AdminClient
    data: Path | None
    is_rewake: bool

    def ids_of(self, query: str | None) -> Sequence[str]:
        """The ids that a query returns. Raises RewakeError RW5009 without a column `id`."""
        if query is None:
            return []
        if self.data is None:
            rows = self.admin.query(query)
        else:
            from rewake.sql.query import run_query

            rows = run_query(self.data, query).json_rows()
        if any("id" not in row for row in rows):
            hint = 'Write it as "select id from sys_invocation where ...".'
            raise RewakeError(ErrorCode.QUERY_INVALID, "The query returns no column `id`.", hint)
        return [str(row["id"]) for row in rows]


@contextlib.contextmanager
def _source(admin: AdminClient, data: Path | None) -> Iterator[_Source]:
    if data is not None:
        from rewake.runs.local.database import local_reading

        with local_reading(data, now_ms()) as reading:
            yield _Source(reading, admin, data, is_rewake=True)
        return
    from rewake.runs.elsewhere.reading import ReadingElsewhere

    with admin:
        about = admin.get("/version")
        if about.get("hides_content"):
            message = f"The engine at {admin.url!r} hides content, so its journals would not be whole."
            raise RewakeError(ErrorCode.ADMIN_REFUSED, message, "Read its folder instead: --data FOLDER")
        is_rewake = bool(about.get("rewake_version"))
        yield _Source(ReadingElsewhere(admin, now_ms(), is_rewake=is_rewake), admin, None, is_rewake)
