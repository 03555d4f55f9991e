"""The client of the admin API: what it sends, what it makes of bad answers, and the connection it keeps."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from rewake.clients.admin import AdminClient, sql_text
from rewake.errors import ErrorCode, RewakeError

Answer = Callable[[str, bytes], tuple[int, bytes]]


class Seen:
    """What a server was asked: (port of the caller, method and target, body)."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[tuple[int, str, bytes]] = []


@contextmanager
def server(answer: Answer) -> Iterator[Seen]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            seen.requests.append((self.client_address[1], f"{self.command} {self.path}", body))
            status, content = answer(self.path, body)
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_PATCH = do_GET  # noqa: N815 - the names are http.server's

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        seen = Seen(f"http://127.0.0.1:{listening.server_address[1]}")
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield seen
        finally:
            listening.shutdown()
            thread.join()


def test_a_query_is_a_post_and_its_answer_rows() -> None:
    with server(lambda _, body: (200, json.dumps({"rows": [json.loads(body)]}).encode())) as seen:
        assert AdminClient(seen.url).query("select 'ä'") == [{"query": "select 'ä'"}]
    assert seen.requests[0][1] == "POST /query"


def test_parameters_that_are_none_are_left_out() -> None:
    with server(lambda *_: (202, b"")) as seen:
        client = AdminClient(f"{seen.url}/behind/a/proxy/")
        assert client.ask("PATCH", "/invocations/inv_1/resume", deployment="a b", other=None) is None
        client.send("PATCH", "/invocations/inv_1/restart-as-new", b'{"result": 1.0}', {"from": "3"})
    assert [request[1:] for request in seen.requests] == [
        ("PATCH /behind/a/proxy/invocations/inv_1/resume?deployment=a+b", b""),
        ("PATCH /behind/a/proxy/invocations/inv_1/restart-as-new?from=3", b'{"result": 1.0}'),
    ]


def test_inside_a_with_one_connection_serves_all_requests() -> None:
    with server(lambda *_: (200, b"{}")) as seen:
        with AdminClient(seen.url) as client:
            for _ in range(3):
                client.get("/version")
        client.get("/version")
        client.get("/version")
    ports = [port for port, _, _ in seen.requests]
    assert (len(set(ports[:3])), len(set(ports))) == (1, 3)


def refused(answer: Answer, url_path: str = "") -> RewakeError:
    with server(answer) as seen, pytest.raises(RewakeError) as raised:
        AdminClient(seen.url + url_path).get("/version")
    return raised.value


def test_a_refusal_has_the_servers_words() -> None:
    told = {"code": "RW4019", "message": "No such deployment.", "hint": "Look again."}
    error = refused(lambda *_: (404, json.dumps(told).encode()))
    assert (error.code, error.message, error.hint) == (
        ErrorCode.DEPLOYMENT_NOT_FOUND,
        "No such deployment.",
        "Look again.",
    )
    assert error.facts["http_status"] == 404
    public = refused(lambda *_: (500, b'{"message": "Datafusion error", "restate_code": "META0003"}'))
    assert (public.code, public.message) == (ErrorCode.ADMIN_REFUSED, "Datafusion error")
    assert "status 502" in refused(lambda *_: (502, b"")).message


def test_a_code_that_is_said_twice_is_told_once() -> None:
    told = {"message": "[META0003] [META0003] Could not reach it", "restate_code": "META0003", "code": "RW2003"}
    error = refused(lambda *_: (500, json.dumps(told).encode()))
    assert (error.code, error.message) == (ErrorCode.DEPLOYMENT_UNREACHABLE, "[META0003] Could not reach it")


def test_an_ingress_is_told_from_an_admin_api() -> None:
    error = refused(lambda *_: (400, b'{"code": 400, "message": "bad path: /query"}'))
    assert error.code is ErrorCode.ADMIN_NOT_FOUND
    assert "8080 is its ingress" in error.hint
    stranger = refused(lambda *_: (404, b"Not Found"))
    assert (stranger.code, stranger.hint) == (ErrorCode.ADMIN_REFUSED, "Is that the address of an admin API?")


def test_what_is_no_json_is_no_admin_api() -> None:
    error = refused(lambda *_: (200, b"<!doctype html>"))
    assert (error.code, "not JSON" in error.message) == (ErrorCode.ADMIN_REFUSED, True)


def test_a_server_that_is_silent_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(RewakeError) as raised:
        AdminClient(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.05).query("select 1")
    assert raised.value.code is ErrorCode.ADMIN_UNREACHABLE
    assert "not answered within 0.05 s" in raised.value.message


def test_after_a_failure_a_kept_connection_is_made_anew() -> None:
    answers = iter([(200, b"{}"), (200, b"{}")])
    with server(lambda *_: next(answers)) as seen, AdminClient(seen.url) as client:
        client.get("/version")
        assert client._http._kept is not None
        client._http._kept.close()
        assert client._http._kept.sock is None
        client.get("/version")
    assert len({port for port, _, _ in seen.requests}) == 2


@pytest.mark.parametrize(
    "url", ["", "localhost:9070", "ftp://localhost", "http://", "http://h:99999", "http://h:x", "http://[::1"]
)
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(RewakeError) as raised:
        AdminClient(url)
    assert raised.value.code is ErrorCode.SETTING_INVALID


def test_text_in_sql() -> None:
    assert sql_text("it's") == "'it''s'"
    assert sql_text("a\0b") == "'a\ufffdb'"
