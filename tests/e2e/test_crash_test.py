"""`rewake crash-test` with real kills: a sound app passes everywhere, apps with a bug are found out, by name."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
from pathlib import Path
from subprocess import Popen
from subprocess import run as run_process
from typing import Final

import pytest
from cli_process import command, environment

ANIMALS: Final = Path(__file__).parents[1] / "zoo" / "animals"
pytestmark = pytest.mark.timeout(120)

SOUND = """
import restate

desk = restate.VirtualObject("Desk")
helper = restate.Service("Helper")


@helper.handler()
async def double(ctx: restate.Context, n: int) -> int:
    return await ctx.run_typed("Double", lambda: n * 2)


@desk.handler()
async def claim(ctx: restate.ObjectContext, n: int) -> dict:
    doubled = await ctx.service_call(double, n)
    name, answer = ctx.awakeable()
    await ctx.run_typed("Ask", lambda: name)
    return {"doubled": doubled, "answer": await answer}
"""

ENDLESS = """
import asyncio
import os

import restate

alive = os.open("alive", os.O_WRONLY)
desk = restate.Service("Desk")


@desk.handler()
async def wait(ctx: restate.Context) -> None:
    os.write(alive, str(os.getppid()).encode())
    await asyncio.Event().wait()
"""
ENDS_WITHIN_S: Final = 50


def crash_test(folder: Path, *args: str) -> tuple[int, dict[str, object], str]:
    """Exit code, report, and what was said meanwhile."""
    done = run_process(
        command("crash-test", "app.py", *args, "--json"),
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


def test_a_sound_app_is_right_after_every_kill(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(SOUND)
    call = ("--call", "Desk/ada/claim", "--body", "3", "--answer", '{"approved": true}')
    code, report, _ = crash_test(tmp_path, *call, "--kill", "both", "--limit", "1", "--page", "report.html")
    assert code == 0
    assert report["answer"] == {"value": {"doubled": 6, "answer": {"approved": True}}}
    assert int(str(report["boundaries"])) >= 20
    plays = report["plays"]
    assert isinstance(plays, list)
    assert [play["what"].split()[0] for play in plays] == ["worker", "engine", "suspended", "cancelled"]
    assert all(play["has_landed"] and play["is_same"] for play in plays)
    assert "Right after every kill" in (tmp_path / "report.html").read_text()


def test_nothing_is_left_of_a_lab_that_is_killed(tmp_path: Path) -> None:
    """The worker holds the pipe open, and ends when the process between lab and worker has ended."""
    (tmp_path / "app.py").write_text(ENDLESS)
    os.mkfifo(tmp_path / "alive")
    pipe = os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK)
    lab = Popen(
        command("crash-test", "app.py", "--call", "Desk/wait"), cwd=tmp_path, env=environment(TMPDIR=str(tmp_path))
    )
    try:
        assert select.select([pipe], [], [], ENDS_WITHIN_S)[0]
        between = int(os.read(pipe, 20))
        lab.kill()
        if not select.select([pipe], [], [], ENDS_WITHIN_S)[0]:
            os.kill(between, signal.SIGKILL)
            pytest.fail("the worker goes on")
        assert os.read(pipe, 20) == b""
    finally:
        lab.kill()
        lab.wait()
        os.close(pipe)


def test_a_bug_is_found_and_named(tmp_path: Path) -> None:
    """An animal of tests/zoo, which has all the others."""
    shutil.copy(ANIMALS / "mutated_arguments.py", tmp_path / "app.py")
    code, report, said = crash_test(tmp_path, "--call", "Zoo/go", "--always-replay")
    assert code == 1
    assert "suspended at every await: another answer" in said
    assert report["causes"] == ["mutation: step 'Add discount' changes argument 1"]


def test_a_call_that_does_not_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(SOUND)
    args = command("crash-test", "app.py", "--call", "Desk/ada/claim", "--body", "3", "--timeout", "2")
    done = run_process(args, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "RW1024" in done.stderr
    assert "--answer" in done.stderr
