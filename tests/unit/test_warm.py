"""A process from a nursery is what one that is started would be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.warm import Warm, framework_of, run_warm

SCRIPT = """
import os, sys
print(os.getppid(), os.getcwd(), os.environ["WORD"], "HOME" in os.environ, sys.argv[1:], sys.path[0])
print(sys.stdin.read(), file=sys.stderr)
sys.exit(3)
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "script.py").write_text(SCRIPT)
    return tmp_path / "inner" / "script.py"


def test_it_is_a_child_with_the_folder_environment_and_files_that_it_is_given(script: Path, tmp_path: Path) -> None:
    with (tmp_path / "input").open("w+") as given:
        given.write("as said")
        given.seek(0)
        done = run_warm([sys.executable, script, "a", "b"], cwd=tmp_path, env={"WORD": "hello"}, stdin=given)
    assert done.stdout == f"{os.getpid()} {tmp_path} hello False ['a', 'b'] {script.parent}\n"
    assert done.stderr == "as said\n"
    assert done.returncode == 3


def test_it_can_be_killed(tmp_path: Path) -> None:
    (tmp_path / "waits.py").write_text("import os, signal\nprint(os.getpid(), flush=True)\nsignal.pause()\n")
    with Warm([sys.executable, "waits.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) == process.pid
        process.kill()
        assert process.wait(10) == -signal.SIGKILL


def test_what_an_app_imports_is_found_beside_it_too(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import restate\nfrom desk import router\n")
    (tmp_path / "desk.py").write_text("from agents import Agent\nfrom openai import AsyncOpenAI\n")
    assert framework_of(tmp_path / "app.py") == "agents"
    assert framework_of(tmp_path / "script.py") == ""
