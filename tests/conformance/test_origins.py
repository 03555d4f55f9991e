"""Web pages that call the ports of a server on loopback, as a browser sends it."""

from __future__ import annotations

from collections.abc import Iterator

import http_app
import pytest
from raw_http import Answer, Wire
from running_server import RunningServer, running_server

APP = "http://localhost:3000"
EVIL = "https://evil.example"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("origins") / "data"
    with running_server(folder, http_app.app, allowed_hosts=["claims.example"], allowed_origins=[APP]) as found:
        yield found


def ask(port: int, line: str, *headers: str, host: str = "localhost:8080", body: bytes = b"") -> Answer:
    lines = [f"{line} HTTP/1.1", f"host: {host}", *headers, f"content-length: {len(body)}", "", ""]
    with Wire(port) as wire:
        return wire.exchange("\r\n".join(lines).encode() + body)


def test_a_foreign_page_neither_calls_nor_reads(here: RunningServer) -> None:
    """A simple request needs no preflight; the handler must not run."""
    for origin in (EVIL, "null", "http://localhost:3001"):
        for line in ("POST /Greeter/greet", "GET /Greeter/nothing", "OPTIONS /Greeter/greet", "GET /restate/health"):
            answer = ask(here.ingress_port, line, f"origin: {origin}", "content-type: application/json", body=b'"x"')
            assert (answer.status, answer.json["error_code"]) == (403, "RW4024")
            assert "x-restate-id" not in answer.headers
            assert not [name for name in answer.headers if name.startswith("access-control-")]
    answer = ask(here.ingress_port, "GET /Greeter/nothing", "sec-fetch-site: cross-site", "sec-fetch-mode: no-cors")
    assert (answer.status, answer.json["error_code"]) == (403, "RW4024")


def test_a_page_that_is_allowed_calls_and_reads(here: RunningServer) -> None:
    asked = ("access-control-request-method: POST", "access-control-request-headers: content-type")
    preflight = ask(here.ingress_port, "OPTIONS /Greeter/greet", f"origin: {APP}", *asked)
    assert (preflight.status, preflight.body) == (200, b"")
    assert preflight.headers["access-control-allow-origin"] == APP
    assert preflight.headers["access-control-allow-methods"] == "POST"
    assert preflight.headers["access-control-allow-headers"] == "content-type"
    called = ask(
        here.ingress_port, "POST /Greeter/greet", f"origin: {APP}", "content-type: application/json", body=b'"bob"'
    )
    assert called.json == "hi bob"
    assert called.headers["access-control-allow-origin"] == APP
    assert "origin" in called.headers["vary"]


def test_the_admin_api_is_for_its_own_pages(here: RunningServer) -> None:
    query = b'{"query":"select 1"}'
    as_json = ("content-type: application/json", "accept: application/json")
    for origin in (EVIL, APP):
        answer = ask(here.admin_port, "POST /query", f"origin: {origin}", *as_json, body=query)
        assert (answer.status, answer.json["code"]) == (403, "RW4024")
    assert ask(here.admin_port, "POST /query", "origin: http://localhost:8080", *as_json, body=query).status == 200


def test_a_link_to_a_page_of_the_admin_port_may_be_followed(here: RunningServer) -> None:
    followed = ("sec-fetch-site: cross-site", "sec-fetch-mode: navigate", "sec-fetch-dest: document")
    assert ask(here.admin_port, "GET /health", *followed).status == 200
    assert ask(here.admin_port, "POST /query", *followed).status == 403
    assert ask(here.ingress_port, "GET /Greeter/nothing", *followed).status == 403


def test_a_name_that_somebody_points_here_is_refused(here: RunningServer) -> None:
    """DNS rebinding: for the browser the attacker's page and this server are one site."""
    for port, field in ((here.ingress_port, "error_code"), (here.admin_port, "code")):
        for host in ("evil.example", "evil.example:8080", "127.0.0.1.evil.example"):
            answer = ask(port, "GET /health", f"origin: http://{host}", host=host)
            assert (answer.status, answer.json[field]) == (403, "RW4025")
        for host in ("127.0.0.1", "[::1]:9070", "rewake:8080", "claims.example"):
            assert ask(port, "GET /health", host=host).status != 403
