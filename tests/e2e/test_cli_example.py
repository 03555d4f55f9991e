"""`rewake`, `rewake example` and what needs no engine."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from cli_process import environment, rewake

import rewake as package
from rewake.cli import example
from rewake.examples import EXAMPLES


def test_help_and_version(tmp_path: Path) -> None:
    text = rewake("--help", cwd=tmp_path).stdout
    for name in ("run", "server", "demo", "example", "invocations", "services", "deployments", "state", "sql"):
        assert f"\n  {name} " in text
    assert "Exit codes:" in text
    assert rewake("--version", cwd=tmp_path).stdout == f"rewake {package.__version__}\n"


def test_help_imports_no_engine() -> None:
    """Or it takes a second: what is heavy is imported by the command that needs it."""
    shown = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "rewake", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
    )
    imported = {line.rpartition("|")[2].strip() for line in shown.stderr.splitlines()}
    assert "rewake.cli.main" in imported
    assert not imported & {"apsw", "jinja2", "restate", "rewake.engine", "starlette", "structlog", "uvloop"}


def test_an_unknown_command_is_guessed(tmp_path: Path) -> None:
    result = rewake("invocation", "list", cwd=tmp_path)
    assert result.returncode == 2
    assert "Did you mean invocations" in result.stderr


def test_examples_are_listed(tmp_path: Path) -> None:
    assert [line.split()[0] for line in rewake("example", cwd=tmp_path).stdout.splitlines()] == [
        each.name for each in EXAMPLES
    ]


@pytest.mark.parametrize("name", [each.name for each in EXAMPLES])
def test_an_example_is_written_whole(tmp_path: Path, name: str) -> None:
    result = rewake("example", name.replace("_", "-"), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    folder = tmp_path / name
    own = {"app.ts", "models.json", "package-lock.json"} if name.startswith("ts_") else {"app.py", "models.py"}
    assert {"README.md", *own} <= {path.name for path in folder.iterdir()}
    assert not {path.name for path in folder.rglob("*")} & {"__pycache__", "node_modules"}
    for path in folder.glob("*.py"):
        ast.parse(path.read_text())
    hint = [line.strip() for line in result.stderr.splitlines() if line.startswith("  ")]
    assert f"cd {name}" in hint
    readme = (folder / "README.md").read_text()
    for line in hint:  # README.md explains all that starts something.
        if line.startswith(("rewake", "npm", "python", "export")):
            assert line.removesuffix(" &") in readme


def test_what_is_missing_is_installed_from_where_rewake_came(monkeypatch: pytest.MonkeyPatch) -> None:
    origin = '{"url": "file:///home/ada/re%20wake", "dir_info": {"editable": true}}'
    monkeypatch.setattr("importlib.metadata.PathDistribution.read_text", lambda _self, _name: origin)
    assert example._install("openai") == "pip install '/home/ada/re wake[openai]'"
    monkeypatch.setattr("importlib.metadata.PathDistribution.read_text", lambda _self, _name: None)
    assert example._install("openai") == "pip install 'rewake[openai]'"


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "app.py").write_text("precious")
    result = rewake("example", "claim_handoffs", "mine", cwd=tmp_path)
    assert result.returncode == 1
    assert "RW1007" in result.stderr
    assert [path.read_text() for path in (tmp_path / "mine").iterdir()] == ["precious"]


def test_an_empty_folder_may_be_named(tmp_path: Path) -> None:
    assert rewake("example", "support_router", ".", cwd=tmp_path).returncode == 0
    assert (tmp_path / "app.py").is_file()


def test_an_unknown_example(tmp_path: Path) -> None:
    result = rewake("example", "claim_handof", cwd=tmp_path)
    assert result.returncode == 3
    assert "RW1006  There is no example 'claim_handof'." in result.stderr
    assert "Did you mean claim_handoffs" in result.stderr
    assert list(tmp_path.iterdir()) == []
