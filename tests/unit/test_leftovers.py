"""The check at the end of a test run finds a process that its test forgot, even one whose parent is gone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

PLUGIN = """
from tests.conftest import pytest_sessionfinish
from tests.leftovers import mark_session

def pytest_configure(config):
    mark_session()
"""

FORGETFUL = """
import subprocess, sys

def test_forgets():
    sleeper = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
    starter = f"import subprocess; subprocess.Popen({sleeper!r})"
    started = subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE)
    assert started.stdout.readline() == b"up\\n"
"""


def test_a_forgotten_process_fails_the_run_and_is_ended(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(PLUGIN)
    (tmp_path / "test_it.py").write_text(FORGETFUL)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)]
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'e2e'}", "PATH": "/usr/bin"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert "1 processes were left behind" in done.stdout
    assert "test_it.py::test_forgets" in done.stdout and "time.sleep(600)" in done.stdout
