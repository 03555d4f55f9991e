"""Callers that are slow, or many, on every port Rewake opens."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest
from hostile_ports import Port, PortName, all_ports
from raw_http import Wire

from rewake.http_server.limits import Limits

BRIEF_S = 0.3
CONNECTIONS_MAX = 8


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[PortName, Port]]:
    """Ports that wait for nobody."""
    limits = Limits(idle_s=BRIEF_S, read_s=BRIEF_S, write_s=BRIEF_S, bytes_per_second_min=10_000)
    with all_ports(tmp_path_factory.mktemp("hasty") / "data", limits) as found:
        yield found


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[PortName, Port]]:
    """Ports with room for few."""
    with all_ports(tmp_path_factory.mktemp("small") / "data", Limits(connections_max=CONNECTIONS_MAX)) as found:
        yield found


@pytest.fixture(params=["ingress", "admin", "serve", "model"])
def port(hasty: dict[PortName, Port], request: pytest.FixtureRequest) -> Port:
    return hasty[request.param]


@pytest.fixture(params=["ingress", "admin", "serve", "model"])
def small_port(small: dict[PortName, Port], request: pytest.FixtureRequest) -> Port:
    return small[request.param]


def drip(wire: Wire, byte: bytes) -> bytes:
    """Send a byte now and then until the server hangs up; what it said. Fails after ten seconds."""
    wire.socket.settimeout(BRIEF_S / 10)
    deadline, said = time.monotonic() + 10, b""
    while time.monotonic() < deadline:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            wire.socket.sendall(byte)
        try:
            part = wire.socket.recv(65_536)
        except TimeoutError:
            continue
        except ConnectionResetError:
            return said
        if not part:
            return said
        said += part
    raise AssertionError(f"still open, having said {said!r}")


@pytest.mark.parametrize(
    "begin", [b"GET / HTTP/1.1\r\nx: ", b"GET /", b"POST / HTTP/1.1\r\nconnection: Upgrade\r\nupgrade: h2c\r\nx: "]
)
def test_a_head_that_never_ends_is_given_up(port: Port, begin: bytes) -> None:
    with Wire(port.port) as wire:
        wire.send(begin)
        assert drip(wire, b"a").startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("offer", [[], ["expect: 100-continue", "connection: Upgrade", "upgrade: h2c"]])
@pytest.mark.parametrize(
    ("length", "begin", "byte"),
    [
        ("content-length: 1000000", b"", b"x"),
        ("transfer-encoding: chunked", b"fffff\r\n", b"x"),
        ("transfer-encoding: chunked", b"", b"0"),
        ("transfer-encoding: chunked", b"0\r\nx: ", b"x"),
    ],
    ids=["body", "chunk", "chunk head", "trailer"],
)
def test_a_body_that_never_ends_is_given_up(
    port: Port, length: str, begin: bytes, byte: bytes, offer: list[str]
) -> None:
    with Wire(port.port) as wire:
        wire.send(port.head(*offer, length) + begin)
        said = drip(wire, byte).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert said.startswith((b"HTTP/1.1 408 ", b"HTTP/1.1 400 "))


@pytest.mark.parametrize("sent", [b"", b"P", b"PRI * HTTP/2.0\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"])
def test_a_connection_without_a_request_is_closed(port: Port, sent: bytes) -> None:
    with Wire(port.port) as wire:
        wire.send(sent)
        while wire.socket.recv(65_536):
            pass


def test_connections_are_bounded_and_idle_ones_make_room(small_port: Port) -> None:
    """A port that is full of unfinished requests refuses more callers; idle connections are closed for them."""
    with contextlib.ExitStack() as stack:
        for _ in range(CONNECTIONS_MAX):
            wire = stack.enter_context(Wire(small_port.port))
            wire.send(small_port.head("expect: 100-continue", "content-length: 1000"))
            wire._until(b"HTTP/1.1 100 Continue\r\n\r\n")
        with Wire(small_port.port) as refused:
            answer = refused.answer()
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert refused.is_closed()
    with contextlib.ExitStack() as stack:
        for _ in range(CONNECTIONS_MAX * 2):
            stack.callback(until_let_in(small_port).close)


def until_let_in(port: Port) -> socket.socket:
    """A connection that has been answered and is idle; tried again while the server has yet to see that others left."""
    while True:
        wire = Wire(port.port)
        try:
            if port.answer in wire.exchange(port.whole()).body:
                return wire.socket
        except OSError:
            pass
        wire.socket.close()
        time.sleep(0.01)
