"""mux: frames survive any chunking, big payloads travel in parts, garbage closes the link."""

from __future__ import annotations

import asyncio
import socket
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rewake.deployments import mux

Heard = list[tuple[int, int, bytes]]


class Recorder(mux.MuxProtocol):
    """Keeps what it hears; hangs up on the kind 99."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.heard: Heard = []
        self.lost: asyncio.Future[None] = loop.create_future()

    def frame_received(self, kind: int, stream_id: int, payload: bytes) -> None:
        if kind == 99:
            raise mux.MuxError("unknown")
        self.heard.append((kind, stream_id, payload))

    def link_lost(self, reason: Exception | None) -> None:
        self.lost.set_result(None)


async def connected() -> tuple[Recorder, Recorder]:
    loop = asyncio.get_running_loop()
    ends = []
    for sock in socket.socketpair():
        end = Recorder(loop)
        await loop.create_unix_connection(lambda end=end: end, sock=sock)  # type: ignore[misc]
        ends.append(end)
    return ends[0], ends[1]


async def close(*ends: Recorder) -> None:
    for end in ends:
        assert end.transport is not None
        end.transport.close()
    await asyncio.gather(*(end.lost for end in ends))


@given(
    frames=st.lists(st.tuples(st.integers(1, 8), st.integers(0, 2**32 - 1), st.binary(max_size=40)), max_size=8),
    cuts=st.lists(st.integers(0, 300), max_size=6),
)
def test_any_chunking_gives_the_same_frames(frames: Heard, cuts: list[int]) -> None:
    data = b"".join(mux.encode_frame(kind, stream_id, payload) for kind, stream_id, payload in frames)
    recorder = Recorder.__new__(Recorder)
    recorder.heard, recorder._rest = [], b""
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, stop in pairwise(edges):
        if start != stop:
            recorder.data_received(data[start:stop])
    assert recorder.heard == frames


def test_a_big_payload_travels_in_parts_and_an_open_continues_as_data() -> None:
    async def main() -> None:
        left, right = await connected()
        body = bytes(range(256)) * 1024
        left.write_frame(mux.OPEN, 7, body)
        left.write_frame(mux.HALF_CLOSE, 7)
        while not right.heard or right.heard[-1][0] != mux.HALF_CLOSE:
            await asyncio.sleep(0)
        kinds = [kind for kind, _, _ in right.heard]
        assert kinds == [mux.OPEN, mux.DATA, mux.DATA, mux.DATA, mux.HALF_CLOSE]
        assert b"".join(payload for _, _, payload in right.heard) == body
        await close(left, right)

    asyncio.run(main())


def test_garbage_closes_the_link() -> None:
    async def main() -> None:
        for garbage in (b"\xff" * 64, mux.encode_frame(99, 1)):
            left, right = await connected()
            assert left.transport is not None
            left.transport.write(garbage)
            await asyncio.gather(left.lost, right.lost)
            assert right.heard == []

    asyncio.run(main())


def test_a_writer_waits_while_the_peer_does_not_read() -> None:
    async def main() -> None:
        left, right = await connected()
        assert right.transport is not None
        right.transport.pause_reading()
        chunk = bytes(mux.CHUNK_BYTES_MAX)
        while not left.is_paused:
            left.write_frame(mux.BODY, 1, chunk)
            await asyncio.sleep(0)
        waiting = asyncio.ensure_future(left.drain())
        await asyncio.sleep(0)
        assert not waiting.done()
        right.transport.resume_reading()
        await waiting
        await close(left, right)

    asyncio.run(main())


def test_heads_round_trip() -> None:
    headers = [(b"content-type", b"a/b"), (b"x-empty", b"")]
    assert mux.decode_open(mux.encode_open(b"/invoke/A/b", headers, b"\0body")) == (b"/invoke/A/b", headers, b"\0body")
    assert mux.decode_head(mux.encode_head(503, headers)) == (503, tuple(headers))
    assert mux.decode_head(mux.encode_head(200, [])) == (200, ())


def test_so_much_is_buffered_for_a_peer_that_does_not_read() -> None:
    async def main() -> None:
        left, right = await connected()
        assert left.transport is not None and right.transport is not None
        assert left.transport.get_write_buffer_limits()[1] == mux.WRITE_BUFFER_BYTES_MAX
        right.transport.pause_reading()
        left.write_frame(mux.BODY, 1, bytes(mux.WRITE_BUFFER_BYTES_MAX // 2))
        left._flush()
        assert not left.is_paused
        left.write_frame(mux.BODY, 1, bytes(2 * mux.WRITE_BUFFER_BYTES_MAX))
        left._flush()
        assert left.is_paused
        right.transport.resume_reading()
        await left.drain()
        await close(left, right)

    asyncio.run(main())
