"""A deployment reached by URL, at discovery: what never ends is cut off."""

from __future__ import annotations

import asyncio

import pytest

from rewake.deployments.http.address import parse_address
from rewake.deployments.http.client import HttpDeployment
from rewake.deployments.http.exchange import MANIFEST_BYTES_MAX
from rewake.errors import ErrorCode, RewakeError

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.restate.endpointmanifest.v4+json\r\n\r\n"


def test_a_manifest_that_never_ends_is_cut_at_its_limit_and_not_asked_for_again() -> None:
    """It was read far beyond the limit, three times: 620 MB."""
    sent: list[int] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        sent.append(0)
        writer.write(HEAD + b'{"a": "')
        try:
            while sent[-1] < 20 * MANIFEST_BYTES_MAX:
                writer.write(b"x" * 65_536)
                await writer.drain()
                sent[-1] += 65_536
        except ConnectionError:
            pass
        writer.transport.abort()

    async def main() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            deployment = HttpDeployment(parse_address(f"http://127.0.0.1:{port}"), http_version="HTTP/1.1")
            with pytest.raises(RewakeError) as caught:
                await deployment.discover()
            await deployment.close()
        assert caught.value.code is ErrorCode.DISCOVERY_INVALID
        assert f"larger than {MANIFEST_BYTES_MAX} bytes" in caught.value.message

    asyncio.run(main())
    assert len(sent) == 1
    assert sent[0] < 3 * MANIFEST_BYTES_MAX  # the rest is what sockets hold
