"""The server: ports taken together or not at all, started and stopped as one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from tests.unit.ingress.fake_engine import FakeEngine

from rewake.core.settings import Settings
from rewake.errors import ErrorCode, RewakeError
from rewake.server import Server, new_event_loop


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def server(**options: Any) -> Server:
    engine: Any = FakeEngine()
    engine.settings = Settings()
    engine.deployments = {}
    return Server(engine, **{"ingress_port": 0, "admin_port": 0, **options})


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.mark.parametrize(("port", "option"), [("ingress_port", "--ingress-port"), ("admin_port", "--admin-port")])
def test_a_port_in_use_is_named_with_the_option_to_change(taken: int, port: str, option: str) -> None:
    other = "admin_port" if port == "ingress_port" else "ingress_port"
    free = free_port()
    with pytest.raises(RewakeError) as caught:
        asyncio.run(server(**{port: taken, other: free}).start())
    assert caught.value.code is ErrorCode.PORT_IN_USE
    assert str(caught.value) == (
        f"RW1005  Port {taken} on 127.0.0.1 is already in use.\n"
        f"        Stop the program that uses it, or choose another port: {option} PORT"
        f" (or REWAKE_{option.strip('-').replace('-', '_').upper()})"
    )
    with socket.create_server(("127.0.0.1", free)):
        pass  # Nothing was left listening on the other one.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"host": "203.0.113.1"}, "cannot be listened on"),
        ({"host": "no such host"}, "cannot be listened on"),
        ({"admin_port": 70_000}, "Port 70000 on '127.0.0.1' cannot be listened on"),
    ],
)
def test_an_address_that_is_none_is_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RewakeError, match=message) as caught:
        asyncio.run(server(**options).start())
    assert caught.value.code is ErrorCode.PORT_IN_USE


def test_callers_may_connect_before_the_engine_is_up_and_are_answered_then() -> None:
    async def main() -> bytes:
        early = server()
        early.bind()
        assert early.ingress_port != 0
        assert early.ingress_url == f"http://127.0.0.1:{early.ingress_port}/"
        assert early.admin_url == f"http://127.0.0.1:{early.admin_port}/"
        reader, writer = await asyncio.open_connection("127.0.0.1", early.ingress_port)
        writer.write(b"GET /restate/health HTTP/1.1\r\nconnection: close\r\n\r\n")
        async with early:
            answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer

    assert asyncio.run(main()).startswith(b"HTTP/1.1 200 OK")


def test_stopping_twice_or_before_the_start_does_nothing() -> None:
    async def main() -> None:
        stopped = server()
        await stopped.stop()
        await stopped.start()
        await stopped.stop()
        await stopped.stop()

    asyncio.run(main())


def test_a_bound_server_that_never_starts_gives_its_ports_back() -> None:
    async def main() -> int:
        bound = server()
        bound.bind()
        await bound.stop()
        return bound.ingress_port

    with socket.create_server(("127.0.0.1", asyncio.run(main()))):
        pass


@pytest.mark.parametrize("host", ["0.0.0.0", "::1", "::"])
def test_urls_are_ones_this_machine_can_use(host: str) -> None:
    async def main() -> None:
        async with server(host=host) as here:
            assert here.ingress_url == f"http://{'127.0.0.1' if host == '0.0.0.0' else '[::1]'}:{here.ingress_port}/"

    if ":" in host and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    asyncio.run(main())


def test_the_loop_is_one() -> None:
    loop = new_event_loop()
    assert isinstance(loop, asyncio.AbstractEventLoop)
    loop.close()
