"""How the workers of an app are named; that they run is in tests/conformance/test_workers.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from rewake.engine.workers import uri_of


@pytest.mark.parametrize(
    ("app", "uri"),
    [
        ("shop:app", "worker:shop:app"),
        ("app.py", "worker:app.py"),
        ("/project/agents/app.py", "worker:agents/app.py"),
        ("/elsewhere/app.py", "worker:../elsewhere/app.py"),
    ],
)
def test_a_file_is_named_from_the_working_directory(app: str, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a project that is moved with its data finds its deployment again."""
    monkeypatch.setattr("os.getcwd", lambda: "/project")
    assert uri_of(app, Path("/project")) == uri


def test_without_a_directory_it_is_the_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert uri_of(str(tmp_path / "app.py")) == "worker:app.py"
