"""Streams from end to end: handlers in workers and over HTTP, readers on real sockets; test_streams_kills.py kills."""

from __future__ import annotations

import http.client
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import self_signed
from cli_process import ROOT, WAIT_S, Running, rewake
from http_service import HTTP1_SERVERS, ServerKind, Service
from node_tour import EngineKind
from speaking_app import ANSWER
from stream_reader import Reader
from subject import Subject

HERE = Path(__file__).parent
TEXT = "".join(ANSWER)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with start(tmp_path_factory.mktemp("speaking")) as engine:
        yield engine


def start(folder: Path, *args: str) -> Running:
    return Running("run", HERE / "speaking_app.py", *args, cwd=folder, SPEAKING_FOLDER=str(folder))


def hears_all(reader: Reader, folder: Path) -> None:
    """The rest is said once somebody hears: what a body says that is faster than its connection is left out."""
    reader.until("delta", "".join(ANSWER[:3]))
    made = folder / "words.new"
    made.write_text(str(len(ANSWER)))
    made.rename(folder / "words")
    assert reader.until("ended")["result"] == TEXT + "0"
    assert reader.text == TEXT
    reader.close()
    (folder / "words").write_text("3")


def test_a_call_gives_its_events_and_its_result(running: Running) -> None:
    reader = Reader(running.ingress_port, "/Desk/ask", method="POST", idempotency_key="mine")
    ended = reader.until("ended")
    assert (ended["outcome"], ended["result"]) == ("result", TEXT + "0")
    assert reader.text == TEXT
    assert reader.kinds == ["started", "step_started", "delta", "step_committed", "ended"]
    reader.rest()
    reader.close()
    for name in (reader.invocation_id, "Desk/ask/mine"):
        again = Reader(running.ingress_port, f"/restate/invocation/{name}/stream?from={ended['offset']}")
        again.rest()
        assert again.events == [ended]
        again.close()


def test_a_workflow_is_read_by_its_key(running: Running) -> None:
    reader = Reader(running.ingress_port, "/Signup/ada/run", method="POST")
    reader.until("ended")
    reader.close()
    again = Reader(running.ingress_port, "/restate/workflow/Signup/ada/stream")
    again.rest()
    assert (again.invocation_id, again.text, again.events) == (reader.invocation_id, TEXT, reader.events)
    again.close()


def test_a_try_that_fails_in_place_is_void(running: Running) -> None:
    reader = Reader(running.ingress_port, "/Desk/again", method="POST")
    assert reader.until("ended")["result"] == "at last"
    assert reader.text == "never mind at last"
    assert "void" in reader.kinds
    reader.close()


def test_a_reader_that_leaves_stops_nothing_and_a_stop_does(running: Running) -> None:
    reader = Reader(running.ingress_port, "/Desk/wait", method="POST")
    reader.until("started")
    reader.close()
    other = Reader(running.ingress_port, f"/restate/stream/{reader.invocation_id}")
    status, answer = running.call(f"/restate/stop/{reader.invocation_id}")
    assert (status, answer["status"]) == (202, "Stopping")
    assert other.until("ended")["outcome"] == "cancelled"
    other.close()
    status, answer = running.call(f"/restate/stop/{reader.invocation_id}")
    assert (status, answer["status"]) == (202, "AlreadyCompleted")


def test_stopping_the_engine_does_not_wait_for_readers(tmp_path: Path) -> None:
    with start(tmp_path) as engine:
        reader = Reader(engine.ingress_port, "/Desk/wait", method="POST")
        reader.until("started")
        began = time.monotonic()
        assert engine.stop() == 0
        assert time.monotonic() - began < 4.0  # the grace of open calls is 5 s
        reader.rest()
        reader.close()


def test_nobody_writes_without_the_capability(running: Running) -> None:
    reader = Reader(running.ingress_port, "/Desk/wait", method="POST")
    reader.until("started")
    run = reader.invocation_id
    for capability in ("x", f"{run}.1.{'0' * 32}", f"{run}.1."):
        assert running.call(f"/restate/deltas/{capability}", {"step": "x"})[0] == 404
    reader.close()


def test_handlers_write_without_a_token_and_readers_show_theirs(tmp_path: Path) -> None:
    secret = rewake("tokens", "create", "web", "--role", "call", cwd=tmp_path).stdout.strip()
    limited = rewake("tokens", "create", "limited", "--service", "Desk", cwd=tmp_path).stdout.strip()
    with start(tmp_path, "--require-tokens") as engine:
        reader = Reader(engine.ingress_port, "/Desk/ask", method="POST", secret=secret)
        reader.until("ended")
        assert reader.text == TEXT
        reader.close()
        path = f"/restate/stream/{reader.invocation_id}"
        by_key = "/restate/invocation/Desk/ask/some-key/stream"
        for shown, asked, expected in (("", path, 401), (limited, path, 200), (limited, by_key, 403)):
            connection = http.client.HTTPConnection("127.0.0.1", engine.ingress_port, timeout=WAIT_S)
            connection.request("GET", asked, headers={"authorization": f"Bearer {shown}"} if shown else {})
            assert connection.getresponse().status == expected
            connection.close()


def test_over_tls_from_a_worker_and_from_a_deployment_by_address(tmp_path: Path) -> None:
    """Neither has to trust the certificate, which is for the name that others use."""
    certificate, key = self_signed(tmp_path)
    (tmp_path / "words").write_text("3")
    environment = {"SPEAKING_FOLDER": str(tmp_path), "PYTHONPATH": os.pathsep.join([str(HERE), str(ROOT / "src")])}
    service = Service("speaking_app:app", "hypercorn", options=(), **environment)
    try:
        with start(tmp_path, "--tls-cert", str(certificate), "--tls-key", str(key)) as engine:
            for is_by_address in (False, True):
                if is_by_address:
                    admin = f"https://127.0.0.1:{engine.admin_port}"
                    registering = ("deployments", "register", service.uri, "--admin", admin)
                    registered = rewake(*registering, cwd=tmp_path, SSL_CERT_FILE=str(certificate))
                    assert registered.returncode == 0, registered.stderr
                reader = Reader(engine.ingress_port, "/Desk/ask", method="POST", trusts=certificate)
                hears_all(reader, tmp_path)
    finally:
        service.kill()


PAIRS: list[tuple[EngineKind, ServerKind]] = [("rewake", "hypercorn"), ("restate", "uvicorn")]


@pytest.mark.parametrize(("kind", "server"), PAIRS, ids=["rewake", "restate"])
def test_over_http_and_on_a_restate_server(kind: EngineKind, server: ServerKind, tmp_path: Path) -> None:
    """The same app: with deltas on Rewake, without on the other, and the same answer."""
    environment = {"SPEAKING_FOLDER": str(tmp_path), "PYTHONPATH": os.pathsep.join([str(HERE), str(ROOT / "src")])}
    service = Service("speaking_app:app", server, options=(), **environment)
    subject = Subject(kind, tmp_path, service, use_http_11=server in HTTP1_SERVERS)
    try:
        if kind == "rewake":
            (tmp_path / "words").write_text("3")
            hears_all(Reader(subject.ingress_port, "/Desk/ask", method="POST"), tmp_path)
        else:
            assert subject.call("Desk/ask").json == TEXT + "0"
            run = subject.send("Desk/ask")
            assert subject.result(run) == TEXT + "0"
            assert subject.ingress("GET", f"/restate/stream/{run}").status in (400, 404)
    finally:
        subject.close()
