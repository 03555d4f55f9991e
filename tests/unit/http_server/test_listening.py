"""Listening sockets: connections of theirs send small answers at once, on asyncio's own loop too."""

from __future__ import annotations

import asyncio
import re
import socket
from pathlib import Path

import pytest

from rewake.http_server.listening import listening_socket

SOURCE = Path(__file__).parents[3] / "src" / "rewake"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_accepted_connections_do_not_wait_for_acknowledgements(host: str) -> None:
    async def main() -> int:
        accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepted.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        try:
            listener = listening_socket(host, 0, backlog=8)
        except OSError:
            pytest.skip(f"{host} is not of this machine")
        async with await asyncio.start_server(serve, sock=listener):
            _, writer = await asyncio.open_connection(*listener.getsockname()[:2])
            try:
                return await accepted
            finally:
                writer.close()

    assert asyncio.run(main()) == 1


def test_a_port_in_use_is_refused_and_nothing_stays_open() -> None:
    with listening_socket("127.0.0.1", 0, backlog=8) as taken, pytest.raises(OSError, match="in use"):
        listening_socket("127.0.0.1", taken.getsockname()[1], backlog=8)


def test_every_listener_of_ours_is_made_here() -> None:
    others = re.compile(r"socket\.create_server\(|\.listen\(\w*\)|start_server\(")
    found = [path.name for path in SOURCE.rglob("*.py") if others.search(path.read_text(encoding="utf-8"))]
    assert found == ["listening.py"]
