"""`rewake invocations show` and `watch` against a running engine: the picture of a run, and changes as they come."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from cli_process import ROOT, Running, command, environment, rewake
from speaking_app import ANSWER

SPEAKING = ROOT / "tests" / "adapters" / "speaking_app.py"

APP = """
import restate

desk = restate.Service("Desk")
billing = restate.VirtualObject("Billing")


@desk.handler()
async def route(ctx: restate.Context, name: str) -> str:
    await ctx.run_typed("pick", lambda: "billing")
    return await ctx.object_call(pay, "c-1", name)


@billing.handler()
async def pay(ctx: restate.ObjectContext, name: str) -> str:
    return await ctx.run_typed("charge", lambda: name)


app = restate.app([desk, billing])
"""


def test_the_picture_of_a_run_and_the_changes_of_many(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    with Running("run", "app.py", cwd=tmp_path) as engine:
        admin = ("--admin", f"http://127.0.0.1:{engine.admin_port}")
        assert engine.call("/Desk/route", "Ada") == (200, "Ada")
        listed = rewake("invocations", "list", "--service", "Desk", "--json", *admin, cwd=tmp_path)
        (run,) = json.loads(listed.stdout)

        shown = rewake("invocations", "show", run["id"], *admin, cwd=tmp_path, PYTHONIOENCODING="utf-8").stdout
        names = [line.split("━")[0].rstrip() for line in shown.splitlines() if "━" in line]
        assert names == ["Desk/route", "├ pick", "└ call Billing/c-1/pay", "  └ Billing/c-1/pay", "    └ charge"]
        assert "Desk ──→ Billing  handoff" in shown

        watched = rewake("invocations", "watch", run["id"], *admin, cwd=tmp_path, PYTHONIOENCODING="utf-8")
        assert watched.returncode == 0
        assert "call Billing/c-1/pay" in watched.stdout
        assert "\033" not in watched.stdout

        changes = subprocess.Popen(
            command("invocations", "watch", "--service", "Desk", "--interval", "20ms", *admin),
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert changes.stdout is not None
        assert run["id"] in changes.stdout.readline()
        assert engine.call("/Desk/route", "Grace") == (200, "Grace")
        assert "Desk/route" in changes.stdout.readline()
        changes.terminate()
        changes.wait(10)
        changes.stdout.close()

        unknown = rewake("invocations", "watch", run["id"][:-1] + "0", *admin, cwd=tmp_path)
        assert unknown.returncode != 0
        assert "RW4011" in unknown.stderr


def test_what_a_step_says_is_shown_on_a_terminal_and_taken_back(tmp_path: Path) -> None:
    pytest.importorskip("pyte", reason="skip: pyte, the terminal emulator, is not installed")
    from terminal import Terminal

    def may_say(count: int) -> None:
        (tmp_path / "words.new").write_text(str(count))
        (tmp_path / "words.new").rename(tmp_path / "words")

    may_say(3)
    with Running("run", SPEAKING, cwd=tmp_path, SPEAKING_FOLDER=str(tmp_path)) as engine:
        status, sent = engine.call("/Desk/ask/send")
        assert status == 202
        admin = ("--admin", f"http://127.0.0.1:{engine.admin_port}")
        with Terminal("invocations", "watch", sent["invocationId"], *admin, cwd=tmp_path) as terminal:
            terminal.until(lambda: "word0 word1 word2" in terminal.text)
            may_say(0)
            os.kill(engine.worker_pids[0], signal.SIGKILL)
            terminal.until(lambda: "word0" not in "\n".join(terminal.lines))
            may_say(len(ANSWER))
            assert terminal.end() == 0
            assert "completed" in terminal.text
