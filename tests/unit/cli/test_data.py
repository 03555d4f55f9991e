"""Commands on the database file: where the data is looked for, and what is printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from rewake.cli.main import main
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
    assert restored.stdout.startswith("Restored copy to there. What was there is in there/before-restore-")
    again = CliRunner().invoke(main, ["backup", "copy", "--data", "elsewhere"])
    assert again.exit_code == 1
    assert "RW5014  There is no database 'elsewhere/rewake.db'." in again.stderr


def test_compact_and_upgrade_tell_what_they_did(tmp_path: Path) -> None:
    Store.open(tmp_path, now_ms=1).close()
    compacted = CliRunner().invoke(main, ["compact", "--data", str(tmp_path), "--json"])
    assert compacted.exit_code == 0, compacted.output
    assert json.loads(compacted.stdout)["bytes"] == (tmp_path / "rewake.db").stat().st_size
    for options in (["--check"], []):
        upgraded = CliRunner().invoke(main, ["upgrade", *options, "--data", str(tmp_path)])
        assert upgraded.exit_code == 0, upgraded.output
        assert f"version {VERSION}, which is this release's" in upgraded.stdout
