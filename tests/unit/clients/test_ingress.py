"""The ingress of a server elsewhere: where it probably is, and what it says of failures."""

from __future__ import annotations

import pytest

from rewake.clients.ingress import IngressClient, checked_url, failure_in, url_beside
from rewake.errors import ErrorCode, RewakeError
from rewake.protocol.messages import Failure, SignalResult, Success


@pytest.mark.parametrize(
    ("admin", "told", "ingress"),
    [
        ("http://127.0.0.1:9070", "http://127.0.0.1:8081/", "http://127.0.0.1:8081"),
        ("http://127.0.0.1:9070", "http://0.0.0.0:8081/", "http://127.0.0.1:8081"),
        ("http://127.0.0.1:9070", None, "http://127.0.0.1:8080"),
        ("http://127.0.0.1:9070", "https://claims.example/", "https://claims.example"),
        ("http://node1:9070", "http://127.0.0.1:8081/", "http://node1:8081"),
        ("http://node1:9070", "http://localhost/", "http://node1:8080"),
        ("https://node1/admin", "unix:/run/restate.sock", "https://node1:8080"),
        ("http://node1:9070", "http://node2:99999/", "http://node1:8080"),
        ("http://[fd00::1]:9070", "http://[::1]:8081/", "http://[fd00::1]:8081"),
    ],
)
def test_where_the_ingress_probably_is(admin: str, told: str | None, ingress: str) -> None:
    assert url_beside(admin, told) == ingress


@pytest.mark.parametrize(
    ("status", "content", "failure"),
    [
        (404, b'{"code": 404, "message": "no such account", "source": "invocation"}', Failure(404, "no such account")),
        (503, b"busy", Failure(503, "busy")),
        (502, b"", Failure(502, "status 502")),
        (500, b'"text"', Failure(500, '"text"')),
        (500, b"{}", Failure(500, "{}")),
    ],
)
def test_what_an_ingress_says_of_a_failure(status: int, content: bytes, failure: Failure) -> None:
    assert failure_in(status, content) == failure


@pytest.mark.parametrize(
    ("result", "sent"),
    [
        (Success(b"true"), ("/restate/awakeables/sign_1a/resolve", b"true", {"content-type": "application/json"})),
        (Success(b""), ("/restate/awakeables/sign_1a/resolve", b"", {})),
        (Failure(500, "no"), ("/restate/awakeables/sign_1a/reject", b"no", {"content-type": "text/plain"})),
    ],
)
def test_an_answer_to_an_awakeable(result: SignalResult, sent: object) -> None:
    client, asked = IngressClient("http://127.0.0.1:1"), []

    def send(method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        asked.append((path, body, headers))
        return (202, b"") if len(asked) == 1 else (404, b'{"message": "no such awakeable"}')

    client.send = send  # type: ignore[method-assign, assignment]
    client.answer("sign_1a", result)
    assert asked == [sent]
    with pytest.raises(RewakeError, match="no such awakeable"):
        client.answer("sign_1a", result)


def test_an_address_is_checked_before_it_is_used() -> None:
    assert checked_url("http://node1:8080/") == "http://node1:8080"
    with pytest.raises(RewakeError) as raised:
        checked_url("node1:8080")
    assert raised.value.code is ErrorCode.SETTING_INVALID


def test_an_ingress_that_is_not_there() -> None:
    with pytest.raises(RewakeError) as caught:
        IngressClient("http://127.0.0.1:1").send("GET", "/restate/health", b"", {})
    assert caught.value.code is ErrorCode.INGRESS_UNREACHABLE
    assert caught.value.message == "Could not reach the ingress at 'http://127.0.0.1:1'.\nConnection refused."
