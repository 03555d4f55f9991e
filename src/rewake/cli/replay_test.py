"""`rewake replay-test`: recorded journals against the code as it is. The replayer is rewake.testing.replay."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click

from rewake.cli.exits import FAILED
from rewake.cli.settings import COUNT_MAX
from rewake.cli.tables import print_json


@click.command("replay-test")
@click.argument("app", metavar="FILE.py|MODULE:APP|FOLDER")
@click.argument("journals", type=click.Path(exists=True, path_type=Path), nargs=-1, required=True)
@click.option(
    "--timeout", type=click.IntRange(1, COUNT_MAX), default=10, show_default=True, help="Seconds a replay may take."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def replay_test(app: str, journals: tuple[Path, ...], timeout: int, as_json: bool) -> None:
    """Replay recorded runs on this code, and report those that it no longer fits.

    JOURNALS are files of `rewake journal export`, or folders of them. Each is served to the code as a replay; where the
    journal ends the replay ends, so no step runs and nothing is called. Exit code 0 when all runs fit, 1 when one does
    not, 2 when a file is no journal.
    """
    from rewake.cli.app_reference import resolve
    from rewake.deployments.app_loader import load_app
    from rewake.testing.replay.files import read_journals
    from rewake.testing.replay.replayer import replay_all
    from rewake.testing.replay.report import Report

    logging.getLogger("restate").setLevel(logging.CRITICAL)  # it logs each mismatch, which is what is reported
    loaded = load_app(resolve(app))
    outcomes = []
    for outcome in replay_all(loaded, read_journals(journals), timeout_s=timeout):
        outcomes.append(outcome)
        if sys.stderr.isatty():
            click.echo(f"{outcome.target}  {outcome.id}: {outcome.end}", err=True)
    report = Report(outcomes)
    if as_json:
        print_json(report.as_json())
    else:
        click.echo("\n".join(report.lines()))
    if not report.is_right:
        sys.exit(FAILED)
