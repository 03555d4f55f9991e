"""app_reference: a folder becomes the file in it to run, and everything else is left to the loader."""

from __future__ import annotations

from pathlib import Path

import pytest

from rewake.cli.app_reference import resolve
from rewake.errors import ErrorCode, RewakeError

APP = "import restate\n\ndesk = restate.Service('Desk')\n"


@pytest.mark.parametrize("given", ["app.py", "package.module", "package.module:app", "no/such/folder"])
def test_what_is_no_folder_passes_through(given: str) -> None:
    assert resolve(given) == given


def test_the_main_file_of_a_folder_comes_first(tmp_path: Path) -> None:
    (tmp_path / "desk.py").write_text(APP)
    (tmp_path / "__main__.py").write_text("")
    assert resolve(str(tmp_path)) == str(tmp_path / "__main__.py")


def test_the_only_file_with_services(tmp_path: Path) -> None:
    (tmp_path / "desk.py").write_text(APP)
    (tmp_path / "models.py").write_text("import json\n")
    (tmp_path / "tools.py").write_text("from restate import Context\n")
    assert resolve(str(tmp_path)) == str(tmp_path / "desk.py")


def test_several_files_are_named(tmp_path: Path) -> None:
    for name in ("desk.py", "fraud.py"):
        (tmp_path / name).write_text(APP)
    with pytest.raises(RewakeError, match="has 2 files with services: desk.py, fraud.py") as caught:
        resolve(str(tmp_path))
    assert caught.value.code is ErrorCode.APP_NOT_FOUND
    assert "rewake run " in caught.value.hint


def test_a_folder_without_services(tmp_path: Path) -> None:
    with pytest.raises(RewakeError, match="no __main__.py and no Python file"):
        resolve(str(tmp_path))


def test_a_package_of_the_working_directory_is_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "desk").mkdir()
    (tmp_path / "desk" / "__init__.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    assert resolve("desk") == "desk"
