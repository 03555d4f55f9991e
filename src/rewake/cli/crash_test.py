"""`rewake crash-test`: one call of an app, killed at every boundary. The lab is rewake.testing.crash."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from rewake.cli.exits import FAILED
from rewake.cli.settings import COUNT_MAX
from rewake.cli.state import check_json

if TYPE_CHECKING:
    from rewake.testing.crash.boundary import Who

KILLED: Final[dict[str, tuple[Who, ...]]] = {"worker": ("worker",), "engine": ("engine",), "both": ("worker", "engine")}


@click.command("crash-test")
@click.argument("app", metavar="FILE.py|MODULE:APP|FOLDER")
@click.option("--call", "path", required=True, metavar="SERVICE[/KEY]/HANDLER", help="The handler to call.")
@click.option("--body", metavar="JSON", help="Body of the call.")
@click.option("--answer", metavar="JSON", help='Answer to every awakeable, such as {"approved": true}.')
@click.option("--models", metavar="FILE.py", help="Rules of a scripted model server, which then answers and counts.")
@click.option("--kill", type=click.Choice(tuple(KILLED)), default="worker", show_default=True, help="What is killed.")
@click.option("--limit", type=click.IntRange(1, COUNT_MAX), help="Boundaries at most, evenly spread; all by default.")
@click.option(
    "--schedule", "schedules", type=click.IntRange(0, COUNT_MAX), default=0, help="Orders of parallel results to try."
)
@click.option("--always-replay", is_flag=True, help="Kill nothing: suspend at every await, which takes seconds.")
@click.option("--jobs", type=click.IntRange(1, 64), default=2, show_default=True, help="Plays at once.")
@click.option(
    "--timeout", type=click.IntRange(1, COUNT_MAX), default=60, show_default=True, help="Seconds a play may take."
)
@click.option("--page", type=click.Path(dir_okay=False, path_type=Path), help="Write the report as an HTML page.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def crash_test(
    app: str,
    path: str,
    body: str | None,
    answer: str | None,
    models: str | None,
    kill: str,
    limit: int | None,
    schedules: int,
    always_replay: bool,
    jobs: int,
    timeout: int,
    page: Path | None,
    as_json: bool,
) -> None:
    """Kill an app at every boundary of one call, and compare with a run that nobody killed.

    A boundary is an entry just before and just after it is stored in a journal, the body of a step, and a call to
    CRASH_TEST_URL, a server of the lab that counts what is done to it. Each play starts from nothing and ends with an
    answer: it must be the same, no step whose result was stored may run again, and nothing may be done to the world
    twice. Where something is wrong, likely causes are named with their lines. Exit code 1 then.
    """
    from rewake.cli.app_reference import resolve
    from rewake.cli.tables import print_facts, print_json
    from rewake.testing.crash.lab import crash_everywhere
    from rewake.testing.crash.playing import Call
    from rewake.testing.crash.report import Play

    for text in (body, answer):
        if text is not None:
            check_json(text)
    service, *key, handler = _parts(path)
    call = Call(
        app=resolve(app),
        service=service,
        handler=handler,
        key="/".join(key) or None,
        body=body,
        answer=answer,
        rules=models,
    )

    def on_play(done: int, of: int, play: Play) -> None:
        if play.problem or sys.stderr.isatty():
            said = play.problem or ("as it should" if play.has_landed else "the boundary was not reached")
            click.echo(f"{done:>4}/{of}  {play.what}: {said}", err=True)

    report = crash_everywhere(
        call,
        who=() if always_replay else KILLED[kill],
        jobs=jobs,
        limit=limit,
        schedules=schedules,
        cancels=not always_replay,
        timeout_s=timeout,
        on_play=on_play,
    )
    if page is not None:
        page.write_text(report.as_page(), encoding="utf-8")
    if as_json:
        print_json(report.as_json())
    else:
        print_facts(report.facts())
        for play in report.not_landed:
            click.echo(f"not reached: {play.what}")
    if not report.is_right:
        sys.exit(FAILED)


def _parts(path: str) -> list[str]:
    parts = [part for part in path.split("/") if part]
    if len(parts) < 2:
        said = f"{path!r} names no handler; write Service/handler or Object/key/handler"
        raise click.BadParameter(said, param_hint="--call")
    return parts
