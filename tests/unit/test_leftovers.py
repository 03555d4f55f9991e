"""The check at the end of a test run finds what a test forgot: a process, even one whose parent is gone, and files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

PLUGIN = """
from tests import leftovers
from tests.conftest import pytest_sessionfinish

def pytest_configure(config):
    leftovers.LEAVES_WITHIN_S = 0.1
    leftovers.mark_session()
"""

FORGETFUL = """
import subprocess, sys, tempfile

def test_forgets(tmp_path):
    sleeper = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
    starter = f"import subprocess; subprocess.Popen({sleeper!r})"
    started = subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE)
    assert started.stdout.readline() == b"up\\n"
    tempfile.mkdtemp(prefix="forgotten-")
    assert tempfile.gettempdir() not in str(tmp_path)
"""


def test_what_was_forgotten_fails_the_run_and_is_removed(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    (tmp_path / "conftest.py").write_text(PLUGIN)
    (tmp_path / "test_it.py").write_text(FORGETFUL)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)]
    environment = {
        "PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'e2e'}",
        "PATH": "/usr/bin",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "TMPDIR": str(temporary),
    }
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert "1 processes were left behind" in done.stdout
    assert "test_it.py::test_forgets" in done.stdout and "time.sleep(600)" in done.stdout
    assert "1 temporary files were left behind:\n  forgotten-" in done.stdout
    assert not [path for path in temporary.iterdir() if not path.name.startswith("pytest-of-")]
