"""Commands on the database file: where the data is looked for, and what is printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from rewake.cli.main import main
from rewake.core.ids import InvocationId, awakeable_id_format
from rewake.engine.approval_links import ApprovalLinks, Link
from rewake.store.schema import VERSION
from rewake.store.store import Store


def test_the_data_folder_is_that_of_the_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rewake.toml").write_text('data = "there"\ningress-port = 1234\n')
    Store.open("there", now_ms=1).close()
    made = CliRunner().invoke(main, ["backup", "copy", "--json"])
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout) == {"directory": "copy", "bytes": Path("copy/rewake.db").stat().st_size}
    restored = CliRunner().invoke(main, ["restore", "copy"])
    assert restored.exit_code == 0, restored.output
    assert restored.stdout.startswith("Restored copy to there. The old database is in there/before-restore-")
    again = CliRunner().invoke(main, ["backup", "copy", "--data", "elsewhere"])
    assert again.exit_code == 1
    assert "RW5014  There is no database 'elsewhere/rewake.db'." in again.stderr


def test_signed_links_outlive_a_restore_and_revoked_tokens_stay_revoked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*args: str) -> None:
        done = CliRunner().invoke(main, [*args])
        assert done.exit_code == 0, done.output

    def links(folder: str) -> ApprovalLinks:
        return ApprovalLinks(tmp_path / folder, lambda: "http://127.0.0.1:9070/")

    monkeypatch.chdir(tmp_path)
    link = Link(awakeable_id_format(InvocationId(bytes(24)), 17), "d", "Ada", 10)
    for folder in ("there", "other"):
        Store.open(folder, now_ms=1).close()
        links(folder).link(link)
    token = links("there").link(link).rpartition("/")[2]
    Path("there/tokens.json").write_text("old")
    run("backup", "copy", "--data", "there")
    Path("there/tokens.json").write_text("new")
    for folder, tokens in (("new", "old"), ("there", "new"), ("other", "old")):
        run("restore", "copy", "--data", folder)
        assert links(folder).read(token, now_ms=1) == link
        assert Path(folder, "tokens.json").read_text() == tokens
        assert Path(folder, "approvals.key").stat().st_mode & 0o777 == 0o600
    assert len(list(Path("other").glob("before-restore-*/approvals.key"))) == 1


def test_compact_and_upgrade_tell_what_they_did(tmp_path: Path) -> None:
    Store.open(tmp_path, now_ms=1).close()
    compacted = CliRunner().invoke(main, ["compact", "--data", str(tmp_path), "--json"])
    assert compacted.exit_code == 0, compacted.output
    assert json.loads(compacted.stdout)["bytes"] == (tmp_path / "rewake.db").stat().st_size
    for options in (["--check"], []):
        upgraded = CliRunner().invoke(main, ["upgrade", *options, "--data", str(tmp_path)])
        assert upgraded.exit_code == 0, upgraded.output
        assert f"version {VERSION}, which is this release's" in upgraded.stdout
