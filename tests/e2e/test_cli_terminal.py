"""What a person sees on a terminal: the live view of `rewake run`, and progress bars."""

from __future__ import annotations

import json
import signal
import urllib.request
from pathlib import Path

import pytest
from cli_process import APP, Running, rewake

pytest.importorskip("pyte", reason="skip: pyte, the terminal emulator, is not installed")
from terminal import ROWS, Terminal

DESK = '''

desk = restate.VirtualObject("Desk")


def refuse() -> None:
    raise ConnectionError("the provider is overloaded")


@desk.handler()
async def route(ctx: restate.ObjectContext, question: str) -> str:
    """Picks a specialist, and waits for a person."""
    await ctx.run_typed("Pick specialist", lambda: {"specialist": "billing"})
    print("a line of the handler")
    _, answered = ctx.awakeable(type_hint=str)
    return await answered


@steps.handler()
async def overload(ctx: restate.Context, number: int) -> None:
    await ctx.run_typed("Ask model", refuse)


app = restate.app([steps, counter, desk])
'''


def port_of(terminal: Terminal, name: str) -> int:
    line = next(line for line in terminal.text.splitlines() if line.strip().startswith(f"{name} "))
    return int(line.rpartition(":")[2])


def start(url: str, body: object) -> None:
    """Call and do not wait."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        assert response.status in (200, 202)


def test_the_live_view_of_run(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP + DESK)
    with Terminal("run", "app.py", "--ingress-port", "0", "--admin-port", "0", cwd=tmp_path) as terminal:
        terminal.until(lambda: "0 running · 0 succeeded · 0 failed" in terminal.text)
        ingress = f"http://127.0.0.1:{port_of(terminal, 'ingress')}"
        start(f"{ingress}/Desk/alice/route/send", "Why was I charged twice?")
        start(f"{ingress}/Steps/overload/send", 1)
        start(f"{ingress}/Steps/two", 1)

        def is_shown() -> bool:
            status = "\n".join(terminal.lines[-7:])
            return all(
                part in status
                for part in (
                    "1 backing-off",
                    "Steps/overload    attempt ",
                    ": ConnectionError('the provider is overloaded')",
                    "Desk/alice/route  Desk: Pick specialist",
                    "2 succeeded · 0 failed",
                    f"http://127.0.0.1:{port_of(terminal, 'admin')}/ui/",
                )
            )

        terminal.until(is_shown)
        assert terminal.screen.margins is not None and terminal.screen.margins.bottom == ROWS - 8
        above = "\n".join(terminal.text.splitlines()[:-7])
        assert "a line of the handler" in above and "attempt_failed" in above
        assert "running ·" not in above, "no status has scrolled away into the log"

        terminal.resize(30, 60)
        terminal.until(lambda: any("1 backing-off" in line for line in terminal.lines[-7:]))
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 0
        assert terminal.screen.margins is None or terminal.screen.margins == (0, 29)
        assert "stopped" in terminal.lines[terminal.screen.cursor.y - 1]
        assert not any("running ·" in line for line in terminal.lines)


def test_no_live_view_when_it_is_off_or_the_log_is_for_programs(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    for options in (("--live", "off"), ("--log-format", "json")):
        with Terminal("run", "app.py", "--ingress-port", "0", "--admin-port", "0", *options, cwd=tmp_path) as terminal:
            terminal.until(lambda: "ready" in terminal.text)  # noqa: B023
            terminal.process.send_signal(signal.SIGINT)
            assert terminal.end() == 0
            assert terminal.screen.margins is None
            assert "running" not in terminal.text


def test_progress_bars_where_a_person_looks(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    with Running("run", "app.py", cwd=tmp_path) as engine:
        admin = ("--admin", f"http://127.0.0.1:{engine.admin_port}")
        for number in range(25):
            assert engine.call(f"/Counter/k{number}/add", 1) == (200, 1)
        with Terminal("state", "export", "out.jsonl", *admin, cwd=tmp_path) as terminal:
            assert terminal.end() == 0
            assert "Exporting" in terminal.text and "25/25" in terminal.text
            assert "Verifying" in terminal.text
            assert "25 keys, 25 entries" in terminal.text
        quiet = rewake("state", "import", "out.jsonl", *admin, cwd=tmp_path)
        assert (quiet.returncode, quiet.stderr) == (0, "")
