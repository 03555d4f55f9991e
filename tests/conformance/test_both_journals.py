"""Journals of both engines as files, open runs and ended ones, and against the code that made them and other code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from subject import Subject

from rewake.cli.main import main

APP = f"{Path(__file__).parent / 'both_app.py'}:app"


def cli(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def exported(subject: Subject, folder: Path, *what: str) -> list[str]:
    result = cli(
        "journal", "export", *what, "--to", folder, "--json", "--admin", f"http://127.0.0.1:{subject.admin_port}"
    )
    assert result.exit_code == 0, result.output
    return [Path(path).name.partition(".")[0] for path in json.loads(result.stdout)]


def replayed(app: str, folder: Path) -> tuple[int, dict[str, Any]]:
    result = cli("replay-test", app, folder, "--json")
    return result.exit_code, json.loads(result.stdout)


def test_runs_fit_the_code_that_made_them_and_not_other_code(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = tmp_path / "stage"
    (stage / "marks").mkdir(parents=True)
    monkeypatch.setenv("REWAKE_TEST_STAGE", str(stage))
    ended, asleep = subject.send("Steps/route", "Ada"), subject.send("BriefCancels/asleep")
    subject.result(ended)
    subject.reaches(asleep, "suspended")
    assert exported(subject, tmp_path, ended, asleep) == [ended, asleep]
    query = f"select id from sys_invocation where id = '{ended}'"
    assert exported(subject, tmp_path / "by query", "--query", query) == [ended]
    assert asleep in exported(subject, tmp_path / "open", "--open")

    code, report = replayed(APP, tmp_path)
    ends = {each["id"]: (each["end"], each["fits"]) for each in report["outcomes"]}
    assert (code, ends) == (0, {ended: ("ends", True), asleep: ("waits", True)})

    assert {(stage / "marks" / run).read_text() for run in (ended, asleep)} == {"attempt\n"}, "no step acts"

    other = tmp_path / "other.py"
    other.write_text(OTHER)
    code, report = replayed(str(other), tmp_path)
    found = {each["id"]: each for each in report["outcomes"]}
    assert (code, report["misfits"]) == (1, 2)
    assert found[ended]["mismatch"]["source"]["text"] == 'await ctx.run_typed("choose", lambda: "x")'
    assert found[asleep]["end"] == "gone"
    subject.operate(asleep, "kill")


OTHER = """
import restate

steps = restate.Service("Steps")


@steps.handler()
async def route(ctx: restate.Context, name: str) -> None:
    await ctx.run_typed("choose", lambda: "x")
"""


def test_what_cannot_be_exported_or_replayed(subject: Subject, tmp_path: Path) -> None:
    admin = ("--admin", f"http://127.0.0.1:{subject.admin_port}")
    unknown = "inv_1c4el6YeNASd6ovb5xzfXJ6PGLKlh7jATD"
    assert cli("journal", "export", unknown, "--to", tmp_path, *admin).exit_code == 3
    assert cli("journal", "export", "--to", tmp_path, *admin).exit_code == 2
    without_ids = cli("journal", "export", "--query", "select 1 as one", "--to", tmp_path, *admin)
    assert (without_ids.exit_code, "no column `id`" in without_ids.output) == (1, True)
    (tmp_path / "x.journal.json").write_text("{}")
    assert cli("replay-test", APP, tmp_path).exit_code == 2


def test_a_mismatch_is_shown_with_both_sides(subject: Subject) -> None:
    """Of any server: made of the events it shows. The handlers run in a server of the SDK's, which sends no trace."""
    invocation_id = subject.send("Retries/changes_its_mind")
    subject.reaches(invocation_id, "paused")
    shown = cli("invocations", "show", invocation_id, "--admin", f"http://127.0.0.1:{subject.admin_port}").output
    facts = shown.partition("The last attempt took another way than the journal:")[2]
    assert "the journal has     Run one as command 1" in facts
    assert "the code asked for  Sleep" in facts
    assert "usual causes        - The code was changed while the run was open." in facts
    subject.operate(invocation_id, "kill")
