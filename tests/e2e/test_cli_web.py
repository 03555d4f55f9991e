"""`rewake run` serves the app's own web app beside the engine, in a process of its own or in its own process."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import time
from pathlib import Path

import pytest
from cli_process import WAIT_S, Running

APP = """
import os
import restate

greeter = restate.Service("Greeter")


@greeter.handler()
async def greet(ctx: restate.Context, name: str) -> str:
    return f"hello {name}"


async def web(scope, receive, send):
    told = f"{os.getpid()} {os.environ['REWAKE_INGRESS_URL']} VERSION"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": told.encode()})
"""


def ask(port: int, method: str = "GET", **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
    try:
        connection.request(method, "/", headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def eventually(port: int, version: str, not_pid: int = 0) -> int:
    """The pid of the process that serves this version."""
    deadline_s = time.monotonic() + WAIT_S
    while True:
        try:
            pid, _, served = ask(port)[1].split()
        except (OSError, http.client.HTTPException, ValueError):
            pid, served = "0", ""
        if served == version and int(pid) != not_pid:
            return int(pid)
        assert time.monotonic() < deadline_s, f"{served} by {pid}"
        time.sleep(0.02)


def test_a_web_app_beside_the_engine(tmp_path: Path) -> None:
    """Knows the ingress, keeps pages of others out, comes back when it dies, and follows its code."""
    file = tmp_path / "app.py"
    file.write_text(APP.replace("VERSION", "one"))
    with Running("run", file, "--reload", "--web-port", "0", cwd=tmp_path) as engine:
        pid = eventually(engine.web_port, "one")
        assert pid not in (engine.process.pid, *engine.worker_pids)
        assert f"http://127.0.0.1:{engine.ingress_port}/" in ask(engine.web_port)[1]
        assert ask(engine.web_port, "POST", origin="https://evil.example")[0] == 403
        os.kill(pid, signal.SIGKILL)
        pid = eventually(engine.web_port, "one", not_pid=pid)
        file.write_text(APP.replace("VERSION", "two"))
        pid = eventually(engine.web_port, "two")
        engine.process.send_signal(signal.SIGTERM)
        assert engine.process.wait(WAIT_S) == 0
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_web_app_asks_for_tokens_where_the_ingress_does(tmp_path: Path) -> None:
    """And has a token of its own for the ingress."""
    file = tmp_path / "app.py"
    file.write_text(APP.replace("VERSION", "{os.environ['REWAKE_TOKEN']}"))
    secret = "a-secret-that-is-long-enough"
    options = ("--require-tokens", "--web-port", "0")
    with Running(
        "run", file, *options, cwd=tmp_path, REWAKE_TOKENS=f"me:call:{secret} you:read:{secret[::-1]}"
    ) as engine:
        assert ask(engine.web_port)[0] == 401
        assert ask(engine.web_port, authorization=f"Bearer {secret[::-1]}")[0] == 403
        status, said = ask(engine.web_port, authorization=f"Bearer {secret}")
        assert status == 200
        own = said.split()[-1]
        caller = http.client.HTTPConnection("127.0.0.1", engine.ingress_port, timeout=WAIT_S)
        with contextlib.closing(caller):
            caller.request(
                "POST", "/Greeter/greet", '"Ada"', {"x-rewake-token": own, "content-type": "application/json"}
            )
            assert caller.getresponse().read() == b'"hello Ada"'


def test_a_web_app_in_the_engines_process(tmp_path: Path) -> None:
    file = tmp_path / "app.py"
    file.write_text(APP.replace("VERSION", "one"))
    with Running("run", file, "--in-process", "--web-port", "0", cwd=tmp_path) as engine:
        assert eventually(engine.web_port, "one") == engine.process.pid
