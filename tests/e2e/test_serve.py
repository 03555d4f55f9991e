"""`rewake serve` and `rewake deployments`: a file served over HTTP, registered with an engine in another process."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil
import pytest
from certificates import self_signed
from cli_process import APP, Running, command, environment, rewake
from node_tour import make_engine

MORE: Final = '''

@steps.handler()
async def size(ctx: restate.Context, text: str) -> str:
    return text + str(len(text))


@steps.handler()
async def pause(ctx: restate.Context, seconds: float) -> str:
    """Holds its attempt open without holding up the process."""
    import asyncio
    await asyncio.sleep(seconds)
    return "done"
'''


@contextmanager
def serving(folder: Path, *args: str, app: str = APP + MORE) -> Iterator[Running]:
    (folder / "app.py").write_text(app)
    with Running("serve", "app.py", *args, cwd=folder) as served:
        yield served


@contextmanager
def registered(folder: Path, *args: str, http1: bool = False) -> Iterator[tuple[Running, Running]]:
    """An app and an engine that knows it."""
    with serving(folder) as app, Running("server", *args, cwd=folder) as engine:
        result = engine.cli("deployments", "register", url(app), *(["--http1"] if http1 else []))
        assert result.returncode == 0, result.stderr
        yield app, engine


def url(app: Running) -> str:
    return f"http://127.0.0.1:{app.port}"


def test_an_engine_calls_what_is_served(tmp_path: Path) -> None:
    """Many at once, and large ones; what waits is suspended and comes back."""
    with registered(tmp_path, "--inactivity-timeout", "100ms") as (app, engine), ThreadPoolExecutor(50) as callers:
        assert engine.call("/Steps/two", 3) == (200, 5)
        assert engine.call("/Counter/k/add", 2) == (200, 3)
        assert engine.call("/Steps/refuse", 1)[0] == 418
        assert engine.call("/Steps/pid") == (200, app.process.pid)
        rows = engine.rows("select id, entry_type, name from sys_journal where name = 'first'")
        assert [row["entry_type"] for row in rows] == ["Command: Run"]

        invocation_id = engine.send("/Steps/nap", 1.0)
        engine.until(f"select id from sys_invocation where id = '{invocation_id}' and status = 'suspended'")
        engine.until(f"select id from sys_invocation where id = '{invocation_id}' and status = 'completed'")

        answers = list(callers.map(lambda number: engine.call("/Steps/two", number), range(150)))
        assert {status for status, _ in answers} == {200}
        text = "ä" * 5_000_000
        assert engine.call("/Steps/size", text) == (200, text + "5000000")


def test_killed_in_the_middle_and_started_again(tmp_path: Path) -> None:
    with registered(tmp_path) as (app, engine):
        invocation_id = engine.send("/Steps/pause", 0.5)
        engine.until(f"select id from sys_invocation where id = '{invocation_id}' and status = 'running'")
        app.process.kill()
        app.process.wait()
        with Running("serve", "app.py", "--port", str(app.port), cwd=tmp_path):
            engine.until(f"select id from sys_invocation where id = '{invocation_id}' and status = 'completed'")


def test_a_stop_lets_attempts_finish(tmp_path: Path) -> None:
    with registered(tmp_path) as (app, engine), ThreadPoolExecutor(1) as callers:
        answer = callers.submit(engine.call, "/Steps/pause", 1.0)
        engine.until("select id from sys_invocation where status = 'running'")
        app.process.send_signal(signal.SIGTERM)
        assert app.wait_for("stopping")["attempts"] == 1
        assert answer.result() == (200, "done")
        assert app.process.wait(10) == 0


def test_a_stop_cuts_what_does_not_finish(tmp_path: Path) -> None:
    with serving(tmp_path, "--stop-grace", "100ms") as app, Running("server", cwd=tmp_path) as engine:
        assert engine.cli("deployments", "register", url(app)).returncode == 0
        invocation_id = engine.send("/Steps/pause", 600)
        engine.until(f"select id from sys_invocation where id = '{invocation_id}' and status = 'running'")
        assert app.stop() == 0
        engine.until(f"select id from sys_invocation where id = '{invocation_id}' and status = 'backing-off'")


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    with registered(tmp_path) as (app, engine):
        engine.send("/Steps/pause", 600)
        engine.until("select id from sys_invocation where status = 'running'")
        app.process.send_signal(signal.SIGINT)
        app.wait_for("stopping")
        assert app.stop(signal.SIGINT) == 130


def test_it_is_one_process_which_hangs_up_on_garbage(tmp_path: Path) -> None:
    """And which ends with the program that started it, if that asks for it."""
    headers_on_stream_0 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x04\x01\x04\x00\x00\x00\x00abcd"
    with serving(tmp_path) as app:
        assert psutil.Process(app.process.pid).children() == []
        for garbage in (headers_on_stream_0, b"EHLO there\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", app.port), timeout=10) as connection:
                connection.sendall(garbage)
                while connection.recv(4096):
                    pass
        assert get(app.port, "/health")[0] == 200
    words = command("serve", "app.py", "--port", "0", "--log-format", "json", "--exit-with-stdin")
    with subprocess.Popen(
        words, cwd=tmp_path, env=environment(), stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stderr is not None
        assert json.loads(process.stderr.readline())["event"] == "ready"
        process.stdin.close()
        assert process.wait(10) == 0


def test_unsigned_requests_are_refused_and_signed_ones_are_not(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    made = rewake("identity", "new", "key.pem", cwd=tmp_path)
    public = made.stdout.strip()
    assert public.startswith("publickeyv1_")
    assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600
    assert rewake("identity", "show", "key.pem", cwd=tmp_path).stdout.strip() == public
    assert "RW1012" in rewake("identity", "new", "key.pem", cwd=tmp_path).stderr
    guarded = APP + f"\n\napp = restate.app([steps, counter], identity_keys=[{public!r}])\n"
    with serving(tmp_path, app=guarded) as app:
        with Running("server", cwd=tmp_path) as engine:
            refused = engine.cli("deployments", "register", url(app))
            assert (refused.returncode, "401" in refused.stderr) == (1, True)
        with Running("server", "--identity-key", "key.pem", cwd=tmp_path) as engine:
            assert engine.cli("deployments", "register", url(app)).returncode == 0
            assert engine.call("/Steps/two", 3) == (200, 5)


def get(port: int, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """Over HTTP/1.1."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers=headers or {})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def test_http1_is_answered_too(tmp_path: Path) -> None:
    """For health checks, and for deployments of request and response."""
    with registered(tmp_path, "--inactivity-timeout", "100ms", http1=True) as (app, engine):
        assert get(app.port, "/health")[0] == 200
        accept = {"accept": "application/vnd.restate.endpointmanifest.v3+json"}
        assert json.loads(get(app.port, "/discover", accept)[1])["protocolMode"] == "REQUEST_RESPONSE"
        assert engine.call("/Steps/two", 3) == (200, 5)
        assert engine.call("/Steps/refuse", 1)[0] == 418
        text = "x" * 5_000_000
        assert engine.call("/Steps/size", text) == (200, text + "5000000")
        invocation_id = engine.send("/Steps/nap", 0.3)
        engine.until(f"select id from sys_invocation where id = '{invocation_id}' and status = 'completed'")
        (deployment,) = json.loads(engine.cli("deployments", "list", "--json").stdout)
        assert (deployment["http_version"], deployment["protocol_type"]) == ("HTTP/1.1", "RequestResponse")


def test_a_restate_server_calls_what_is_served(tmp_path: Path) -> None:
    """One that is not ours, over HTTP/2 and then over HTTP/1.1."""
    engine = make_engine(tmp_path, "restate")
    with serving(tmp_path) as app:
        try:
            engine.start()
            words = ("deployments", "register", url(app), "--admin", f"http://127.0.0.1:{engine.port}")
            for count, version in enumerate(((), ("--http1", "--force")), start=1):
                result = rewake(*words, *version, cwd=tmp_path)
                assert result.returncode == 0, result.stderr
                assert engine.call("/Steps/two", 3).body == 4 + count
                assert engine.call("/Steps/size", "abc").body == "abc3"
        finally:
            engine.kill()


def test_over_tls(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    both = tmp_path / "both.pem"
    both.write_text(certificate.read_text() + key.read_text())
    trust = {"SSL_CERT_FILE": str(certificate)}
    with serving(tmp_path, "--tls-cert", str(both)) as app, Running("server", cwd=tmp_path, **trust) as engine:
        result = engine.cli("deployments", "register", url(app).replace("http:", "https:"))
        assert result.returncode == 0, result.stderr
        assert engine.call("/Steps/two", 3) == (200, 5)
        (deployment,) = json.loads(engine.cli("deployments", "list", "--json").stdout)
        assert (deployment["http_version"], deployment["protocol_type"]) == ("HTTP/2.0", "BidiStream")
        context = ssl.create_default_context(cafile=certificate)
        connection = http.client.HTTPSConnection("127.0.0.1", app.port, timeout=10, context=context)
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200
        connection.close()
        assert engine.cli("deployments", "register", url(app)).returncode == 1


def test_a_certificate_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    result = rewake("serve", "app.py", "--port", "0", "--tls-cert", "missing.pem", cwd=tmp_path)
    assert (result.returncode, result.stderr.count("RW1018  ")) == (1, 1), result.stderr
    assert rewake("serve", "app.py", "--tls-key", "key.pem", cwd=tmp_path).returncode == 2


BLOCKS: Final = """
import json, sys, time
print(json.dumps({"event": "importing"}), file=sys.stderr, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("os_signal", [signal.SIGTERM, signal.SIGINT])
def test_an_import_that_takes_for_ever_can_be_stopped(tmp_path: Path, os_signal: signal.Signals) -> None:
    """At a reload, while the old process still serves."""
    with serving(tmp_path, "--reload") as app:
        (tmp_path / "app.py").write_text(BLOCKS)
        app.wait_for("importing")
        children = psutil.Process(app.process.pid).children()
        assert len(children) == 2
        assert app.stop(os_signal) == 0
    assert not psutil.wait_procs(children, timeout=20)[1]


def test_changed_files_are_served(tmp_path: Path) -> None:
    """What is new serves before what is old stops; code that cannot start changes nothing."""
    with serving(tmp_path, "--reload") as app, Running("server", cwd=tmp_path) as engine:
        assert engine.cli("deployments", "register", url(app)).returncode == 0
        with ThreadPoolExecutor(1) as callers:
            answer = callers.submit(engine.call, "/Steps/pause", 2.0)
            engine.until("select id from sys_invocation where status = 'running'")
            first = engine.call("/Steps/pid")[1]
            (tmp_path / "app.py").write_text(APP + MORE.replace("str(len(text))", "'!'"))
            second = app.wait_for("reloaded")["pid"]
            assert second != first
            assert answer.result() == (200, "done")
        assert engine.call("/Steps/size", "a") == (200, "a!")
        (tmp_path / "app.py").write_text("broken")
        assert app.wait_for("reload_failed")["code"] == 1
        assert engine.call("/Steps/pid") == (200, second)
        (tmp_path / "app.py").write_text(APP + MORE)
        app.wait_for("reloaded")
        children = psutil.Process(app.process.pid).children()
        assert app.stop() == 0
        assert not psutil.wait_procs(children, timeout=20)[1]


def test_the_process_that_serves_ends_with_its_parent(tmp_path: Path) -> None:
    with serving(tmp_path, "--reload", "--stop-grace", "0s") as app:
        children = psutil.Process(app.process.pid).children()
        assert len(children) == 1
        app.process.kill()
        app.process.wait()
        assert not psutil.wait_procs(children, timeout=20)[1]


def test_a_process_that_ends_by_itself_ends_its_parent(tmp_path: Path) -> None:
    with serving(tmp_path, "--reload") as app:
        (child,) = psutil.Process(app.process.pid).children()
        child.kill()
        assert app.process.wait(20) != 0


def test_what_cannot_be_served_is_one_clear_error(tmp_path: Path) -> None:
    for options in ([], ["--reload"]):
        result = rewake("serve", "nothing.py", "--port", "0", *options, cwd=tmp_path)
        assert (result.returncode, result.stderr.count("RW1001  ")) == (1, 1), result.stderr
    with serving(tmp_path) as app:
        result = rewake("serve", "app.py", "--port", str(app.port), cwd=tmp_path)
        assert result.returncode == 1
        assert "RW1005" in result.stderr
        assert "--port" in result.stderr


def test_deployments_are_registered_and_removed(tmp_path: Path) -> None:
    with serving(tmp_path) as app, Running("server", cwd=tmp_path) as engine:
        dry = engine.cli("deployments", "register", url(app), "--dry-run")
        assert "would be registered" in dry.stdout
        assert json.loads(engine.cli("deployments", "list", "--json").stdout) == []

        labels = ("--header", "x-team=claims", "--metadata", "team=x=y")
        first = json.loads(engine.cli("deployments", "register", url(app), *labels, "--json").stdout)
        shown = json.loads(engine.cli("deployments", "show", first["id"], "--json").stdout)
        assert shown["additional_headers"] == {"x-team": "claims"}
        assert shown["metadata"] == {"team": "x=y"}
        assert "unchanged" in engine.cli("deployments", "register", url(app)).stdout
        assert "registered anew" in engine.cli("deployments", "register", url(app), "--force").stdout
        assert engine.cli("deployments", "register", url(app), "--header", "nothing").returncode == 2
        nobody = engine.cli("deployments", "register", "http://127.0.0.1:1")
        assert (nobody.returncode, "RW2003" in nobody.stderr) == (1, True)

        needed = engine.cli("deployments", "remove", first["id"])
        assert (needed.returncode, "RW2013" in needed.stderr) == (5, True)
        assert engine.cli("deployments", "remove", first["id"], "--force").returncode == 0
        assert engine.cli("deployments", "remove", first["id"]).returncode == 3
