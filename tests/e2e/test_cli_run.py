"""`rewake run` and `rewake server` as users start and stop them: what is printed, what survives, what is refused."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from cli_process import APP, WAIT_S, Running, command, environment, rewake
from raw_http import fetch_json

NOISY = """
import sys
import restate

noisy = restate.Service("Noisy")

@noisy.handler()
async def talk(ctx: restate.Context) -> str:
    print("x" * 200_000)
    print("y" * 200_000, file=sys.stderr)
    return "said"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


def in_thread(function: Any, *args: Any) -> tuple[threading.Thread, list[Any]]:
    """Run a call beside the test; its result arrives in the list."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(function(*args)), daemon=True)
    thread.start()
    return thread, results


MODEL_APP = """
import restate
from openai import AsyncOpenAI

model = restate.Service("Model")


async def ask_model() -> str:
    return str(AsyncOpenAI(max_retries=0))


@model.handler()
async def ask(ctx: restate.Context) -> str:
    return await ctx.run_typed("Ask", ask_model)
"""


def run_until_exit(*args: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return rewake("run", *args, "--ingress-port", "0", "--admin-port", "0", cwd=cwd, **env)


# Starting


def test_it_says_where_it_is_and_how_to_call(folder: Path) -> None:
    process = subprocess.Popen(
        command("run", "app.py", "--ingress-port", "0", "--admin-port", "0", "--log-format", "text"),
        cwd=folder,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    text = ""
    for line in process.stderr:
        text += line
        if "/Steps/wait" in line:
            break
    process.terminate()
    text += process.stderr.read()
    assert process.wait(WAIT_S) == 0
    process.stderr.close()
    assert "ingress   http://127.0.0.1:" in text
    assert "admin     http://127.0.0.1:" in text
    assert "web UI    http://127.0.0.1:" in text
    assert "/ui/\n" in text
    assert f"data      {folder / '.rewake'}" in text
    assert "handlers  app.py: Counter, Steps; process " in text
    assert "/Counter/my-key/add --json 1" in text
    assert "info    worker_became_ready pid=" in text
    assert "info    stopped" in text


def test_a_folder_with_a_file_that_makes_services_and_no_app(folder: Path) -> None:
    """Its services are served; a log for programs begins with the settings file and two lines for people.

    That file comes with the working directory, so nobody may have asked for it.
    """
    (folder / "rewake.toml").write_text("concurrency = 7\n")
    with Running("run", ".", cwd=folder, log_format="auto") as engine:
        assert engine.call("/Steps/two", 3) == (200, 5)
        assert (folder / ".rewake" / ".gitignore").read_text() == "*\n"
        assert json.loads(engine.lines[0])["path"] == str((folder / "rewake.toml").resolve())
        assert f"ingress http://127.0.0.1:{engine.ingress_port}" in engine.lines[1]
        assert "--log-format text" in engine.lines[2]


def test_a_missing_key_is_reported_at_the_start_and_a_traceback_once(folder: Path) -> None:
    (folder / "model.py").write_text(MODEL_APP)
    with Running("run", "model.py", cwd=folder, OPENAI_API_KEY="") as engine:
        assert engine.wait_for("provider_key_missing")["variable"] == "OPENAI_API_KEY"
        assert engine.call("/Model/ask/send")[0] == 202
        for attempt in (1, 2, 3):
            assert engine.wait_for("attempt_failed")["attempt"] == attempt
        assert sum("Traceback (most recent call last)" in line for line in engine.lines) <= 2  # one, and its cause


def test_module_and_app_by_name(folder: Path) -> None:
    (folder / "shop.py").write_text(APP + "\nmy_app = restate.app([counter])\n")
    with Running("run", "shop:my_app", cwd=folder) as engine:
        assert engine.call("/Counter/k/add", 2) == (200, 2)
        assert engine.call("/Steps/two", 3)[0] == 404


def test_in_process(folder: Path) -> None:
    with Running("run", "app.py", "--in-process", cwd=folder) as engine:
        assert engine.worker_pids == []
        assert engine.call("/Steps/pid", method="GET") == (200, engine.process.pid)


def test_server_alone(folder: Path) -> None:
    with Running("server", cwd=folder) as engine:
        assert engine.call("/restate/health", method="GET") == (200, {"services": []})
        assert engine.stop() == 0


# Surviving


def test_a_killed_worker_is_replaced_and_the_open_request_is_answered(folder: Path) -> None:
    with Running("run", "app.py", cwd=folder) as engine:
        thread, results = in_thread(engine.call, "/Steps/nap", 0.5)
        engine.until("select id from sys_invocation where status = 'running'")
        os.kill(engine.worker_pids[0], signal.SIGKILL)
        ready_before = engine.wait_for("worker_became_ready")
        exited = engine.wait_for("worker_exited")
        assert (exited["pid"], exited["level"]) == (engine.worker_pids[0], "warning")
        assert engine.wait_for("attempt_failed")["code"] == "RT0010"
        assert engine.wait_for("worker_became_ready")["pid"] != ready_before["pid"]
        thread.join(WAIT_S)
        assert results == [(200, "rested")]


def test_calls_are_answered_while_nobody_reads_the_output(tmp_path: Path) -> None:
    """Neither the engine's log nor what handlers print waits for the reader of a pipe."""
    (tmp_path / "app.py").write_text(NOISY)
    arguments = ("run", "app.py", "--ingress-port", "0", "--admin-port", "0", "--log-format", "json")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command(*arguments), cwd=tmp_path, env=environment(), **pipes) as process:  # type: ignore[call-overload]
        try:
            port = next(
                event["ingress_port"] for line in process.stderr if (event := json.loads(line))["event"] == "ready"
            )
            for _ in range(10):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
                connection.request("POST", "/Noisy/talk")
                assert connection.getresponse().read() == b'"said"'
                connection.close()
            process.terminate()
            printed, log = process.communicate(timeout=WAIT_S)
        finally:
            process.kill()
    assert process.returncode == 0
    assert printed.count(b"x") == log.count(b"y") == 10 * 200_000


def test_a_handler_that_blocks_stalls_neither_ingress_nor_other_workers(folder: Path) -> None:
    with Running("run", "app.py", "--workers", "2", cwd=folder) as engine:
        thread, results = in_thread(engine.call, "/Steps/block", 1.5)
        engine.until("select id from sys_invocation where status = 'running'")
        started_s = time.monotonic()
        assert engine.call("/Steps/pid", method="GET")[0] == 200
        assert time.monotonic() - started_s < 1.2
        assert thread.is_alive()
        thread.join(WAIT_S)
        assert results == [(200, "done")]


def test_a_changed_file_is_reloaded_and_one_that_is_broken_is_not(folder: Path) -> None:
    with Running("run", "app.py", "--reload", cwd=folder) as engine:
        (folder / "app.py").write_text(APP + "\ndef broken(\n")
        assert engine.wait_for("reload_failed")["code"] == "RW1001"
        assert any("SyntaxError" in line for line in engine.lines)
        assert engine.call("/Steps/two", 3) == (200, 5)
        more = (
            "\n\n@steps.handler()\nasync def three(ctx: restate.Context, number: int) -> int:\n    return number + 3\n"
        )
        (folder / "app.py").write_text(APP + more)
        engine.wait_for("deployment_updated")
        assert engine.call("/Steps/three", 3) == (200, 6)


def test_work_of_a_killed_engine_goes_on_at_the_next_start(folder: Path) -> None:
    with Running("run", "app.py", cwd=folder) as engine:
        invocation_id = engine.send("/Steps/nap", 0.3)
        engine.until("select id from sys_invocation where status = 'running'")
        engine.process.kill()
    with Running("run", "app.py", cwd=folder) as engine:
        assert engine.call(f"/restate/attach/{invocation_id}", method="GET") == (200, "rested")


# Stopping


def test_stopping_lets_open_calls_end(folder: Path) -> None:
    with Running("run", "app.py", cwd=folder) as engine:
        thread, results = in_thread(engine.call, "/Steps/nap", 0.6)
        engine.until("select id from sys_invocation where status = 'running'")
        assert engine.stop(signal.SIGTERM) == 0
        thread.join(WAIT_S)
        assert results == [(200, "rested")]
        with pytest.raises(ProcessLookupError):
            os.kill(engine.worker_pids[0], 0)


def test_a_second_signal_stops_at_once(folder: Path) -> None:
    with Running("run", "app.py", "--stop-grace", "1h", cwd=folder) as engine, engine.connection() as connection:
        connection.request("POST", "/Steps/wait", "1", {"content-type": "application/json"})
        engine.until("select id from sys_invocation where status = 'running'")
        engine.process.send_signal(signal.SIGINT)
        engine.wait_for("stopping")
        assert engine.stop(signal.SIGINT) == 130


def test_what_is_open_past_the_grace_is_cut(folder: Path) -> None:
    with Running("run", "app.py", "--stop-grace", "100ms", cwd=folder) as engine, engine.connection() as connection:
        connection.request("POST", "/Steps/wait", "1", {"content-type": "application/json"})
        engine.until("select id from sys_invocation where status = 'running'")
        assert engine.stop() == 0


# Settings


def test_settings_come_from_the_environment_and_the_file(folder: Path) -> None:
    (folder / "rewake.toml").write_text('data = "from-file"\nadmin-port = 0\nlog-level = "error"\n')
    with Running("run", "app.py", cwd=folder, REWAKE_DATA="from-env", REWAKE_LOG_LEVEL="info"):
        assert (folder / "from-env" / "rewake.lock").exists()
        assert not (folder / "from-file").exists()


def test_an_unknown_key_of_the_file(folder: Path) -> None:
    (folder / "rewake.toml").write_text("ingres_port = 1\n")
    result = run_until_exit("app.py", cwd=folder)
    assert result.returncode == 2
    assert "RW1003" in result.stderr
    assert "Did you mean ingress-port" in result.stderr
    assert not (folder / ".rewake").exists()


# Refusing


def test_an_app_that_does_not_import(folder: Path) -> None:
    (folder / "broken.py").write_text("import restate\n\nvalue = 1 / 0\n")
    for more in ((), ("--in-process",)):
        result = run_until_exit("broken.py", *more, cwd=folder)
        assert result.returncode == 1
        before, _, after = result.stderr.partition("RW1001")
        assert "Traceback (most recent call last):" in before
        assert 'broken.py", line 3' in before.replace('\\"', '"')  # in the log, which is JSON here
        assert "ZeroDivisionError: division by zero" in before
        assert "src/rewake" not in before
        assert "'broken.py' could not be imported" in after
        assert "Traceback" not in after


def test_a_file_without_services(folder: Path) -> None:
    (folder / "empty.py").write_text("")
    result = run_until_exit("empty.py", cwd=folder)
    assert result.returncode == 1
    assert "RW1002" in result.stderr


def test_a_file_that_is_not_there(folder: Path) -> None:
    result = run_until_exit("ap.py", cwd=folder)
    assert result.returncode == 1
    assert "RW1001" in result.stderr
    assert "app.py" in result.stderr


@pytest.mark.parametrize("option", ["--ingress-port", "--admin-port"])
def test_a_port_in_use(folder: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ports = {"--ingress-port": "0", "--admin-port": "0", option: port}
        result = rewake("run", "app.py", *[part for pair in ports.items() for part in pair], cwd=folder)
    assert result.returncode == 1
    assert f"RW1005  Port {port} on 127.0.0.1 is already in use." in result.stderr
    assert option in result.stderr
    assert "Traceback" not in result.stderr


def test_a_second_engine_on_the_same_data(folder: Path) -> None:
    with Running("run", "app.py", cwd=folder) as engine:
        result = run_until_exit("app.py", cwd=folder)
        assert result.returncode == 1
        assert "RW5001" in result.stderr
        assert f"process {engine.process.pid}" in result.stderr
        assert engine.call("/Steps/two", 3) == (200, 5)


def test_a_data_folder_that_is_a_file(folder: Path) -> None:
    (folder / "taken").write_text("")
    result = run_until_exit("app.py", "--data", "taken", cwd=folder)
    assert result.returncode == 2
    assert "taken" in result.stderr


def test_options_that_do_not_go_together(folder: Path) -> None:
    result = run_until_exit("app.py", "--in-process", "--reload", cwd=folder)
    assert result.returncode == 2
    assert "--reload needs worker processes" in result.stderr


def test_what_waits_has_limits(folder: Path) -> None:
    limits = ("--concurrency", "1", "--waiting-max", "1", "--open-calls-max", "2", "--open-mib-max", "1")
    with Running("run", "app.py", *limits, cwd=folder) as engine:
        answer = fetch_json(engine.ingress_port, "POST", "/Steps/two/send", "x" * (2 << 20))
        assert (answer.status, "open-mib-max" in answer.json["hint"]) == (429, True)
        for _ in range(2):
            engine.send("/Steps/block", 20.0)
        engine.until("select count(*) as n from sys_invocation where status in ('ready', 'running') having n = 2")
        full = engine.call("/Steps/block/send", 20.0)
        assert (full[0], "waiting-max" in full[1]["hint"]) == (429, True)
