"""Connections with sockets: pooling, clocks and losses, against a small HTTP/2 server in the same loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, PingReceived, RequestReceived, StreamReset
from h2.settings import SettingCodes
from http2_peer import Waiting
from hyperframe.frame import PingFrame

from rewake.core.model import Blame
from rewake.deployments.http import http2
from rewake.deployments.http.address import parse_address
from rewake.deployments.http.exchange import ClientExchange, HttpOptions
from rewake.deployments.http.http2_frames import FRAMES_PER_TURN_MAX, IDLE_FRAMES_MAX
from rewake.deployments.http.http2_pool import Http2Pool
from rewake.deployments.http.http2_state import WINDOW_DEFAULT_BYTES

DEADLINE_S = 10.0


class Server(asyncio.Protocol):
    """One connection of the server. Answers at once, unless told to hold; or reads nothing at all."""

    connections: ClassVar[list[Server]]
    made_count: ClassVar[int]
    holds = False
    is_deaf = False
    streams_max = 100

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.h2 = H2Connection(H2Configuration(client_side=False))
        self.h2.initiate_connection()
        self.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: self.streams_max})
        self.open: list[int] = []
        self.opened_count = self.read_bytes = self.ping_count = 0
        self.connections.append(self)
        type(self).made_count += 1
        transport.write(self.h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        if self.is_deaf:
            return
        for event in self.h2.receive_data(data):
            if isinstance(event, RequestReceived):
                assert event.stream_id is not None
                self.open.append(event.stream_id)
                self.opened_count += 1
            elif isinstance(event, DataReceived):
                self.read_bytes += len(event.data or b"")
            elif isinstance(event, PingReceived):
                self.ping_count += 1
            elif isinstance(event, StreamReset) and event.stream_id in self.open:
                self.open.remove(event.stream_id)
        if not self.holds:
            self.answer_all()
        self.transport.write(self.h2.data_to_send())

    def answer_all(self) -> None:
        for stream_id in self.open:
            self.h2.send_headers(stream_id, [(":status", "200")], end_stream=True)
        self.open.clear()
        self.transport.write(self.h2.data_to_send())

    def connection_lost(self, exc: Exception | None) -> None:
        self.connections.remove(self)


def submit(pool: Http2Pool, *, is_ended: bool = True) -> tuple[ClientExchange, Waiting]:
    exchange, heard = ClientExchange(b"POST", b"/", []), Waiting()
    exchange.responder = heard
    exchange.is_ended = is_ended
    pool.submit(exchange)
    return exchange, heard


Scenario = Callable[[Http2Pool, type[Server]], Awaitable[None]]


def play(scenario: Scenario, *, options: HttpOptions | None = None, **attributes: Any) -> None:
    """Run a scenario with a pool and the server it connects to."""

    async def main() -> None:
        kind: type[Server] = type("ThisServer", (Server,), {"connections": [], "made_count": 0, **attributes})
        server = await asyncio.get_running_loop().create_server(kind, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        pool = Http2Pool(parse_address(f"http://127.0.0.1:{port}"), None, options or HttpOptions(), lambda: None)
        try:
            async with asyncio.timeout(DEADLINE_S):
                await scenario(pool, kind)
        finally:
            await pool.close()
            server.close()
            while kind.connections:
                await asyncio.sleep(0)

    asyncio.run(main())


async def until(is_so: Callable[[], Any]) -> None:
    while not is_so():
        await asyncio.sleep(0)


def test_exchanges_share_a_connection() -> None:
    async def scenario(pool: Http2Pool, server: type[Server]) -> None:
        heard = [submit(pool)[1] for _ in range(50)]
        await asyncio.gather(*(each.done.wait() for each in heard))
        assert [each.ends for each in heard] == [[None]] * 50
        assert [each.opened_count for each in server.connections] == [50]
        assert pool.is_idle

    play(scenario)


def test_more_than_fit_get_another_connection_and_then_wait() -> None:
    async def scenario(pool: Http2Pool, server: type[Server]) -> None:
        heard = [submit(pool)[1] for _ in range(10)]
        await until(lambda: sum(each.opened_count for each in server.connections) == 8)
        assert sorted(len(each.open) for each in server.connections) == [4, 4]
        assert not pool.is_idle
        for each in server.connections:
            each.answer_all()
        await until(lambda: sum(each.opened_count for each in server.connections) == 10)
        for each in server.connections:
            each.answer_all()
        await asyncio.gather(*(each.done.wait() for each in heard))
        assert max(each.opened_count for each in server.connections) <= 6

    options = HttpOptions(connections_max=2, streams_per_connection_max=50)
    play(scenario, options=options, holds=True, streams_max=4)


def test_what_waits_can_be_given_up() -> None:
    async def scenario(pool: Http2Pool, server: type[Server]) -> None:
        first, _ = submit(pool)
        waiting, heard = submit(pool)
        last, heard_last = submit(pool)
        waiting.reset()
        await until(lambda: server.connections and server.connections[0].open)
        first.reset()
        await until(lambda: server.connections[0].opened_count == 2)
        server.connections[0].answer_all()
        await heard_last.done.wait()
        assert heard.ends == [] and heard_last.ends == [None]
        last.reset()

    play(scenario, options=HttpOptions(connections_max=1), holds=True, streams_max=1)


def test_a_lost_connection_fails_all_on_it_and_the_next_goes_to_a_new_one() -> None:
    async def scenario(pool: Http2Pool, server: type[Server]) -> None:
        heard = [submit(pool)[1] for _ in range(3)]
        await until(lambda: server.connections and len(server.connections[0].open) == 3)
        server.connections[0].transport.abort()
        await asyncio.gather(*(each.done.wait() for each in heard))
        assert {each.ends[0] for each in heard} <= {
            "The connection was lost: Connection reset by peer.",
            "The connection was lost: the server closed it.",
        }
        assert {each.blame for each in heard} == {Blame.LOST}
        server.holds = False
        _, after = submit(pool)
        await after.done.wait()
        assert after.ends == [None]

    play(scenario, holds=True)


def test_nobody_there() -> None:
    async def scenario(pool: Http2Pool, server: type[Server]) -> None:
        nowhere = Http2Pool(parse_address("http://127.0.0.1:1"), None, HttpOptions(), lambda: None)
        heard = [submit(nowhere)[1] for _ in range(3)]
        assert not heard[0].ends  # never from within the call
        await asyncio.gather(*(each.done.wait() for each in heard))
        assert [each.ends for each in heard] == [["The deployment could not be reached: Connection refused."]] * 3
        await nowhere.close()

    play(scenario)


def test_a_server_that_accepts_and_says_nothing() -> None:
    async def scenario(pool: Http2Pool, server: type[Server]) -> None:
        _, heard = submit(pool)
        await heard.done.wait()
        assert heard.ends == ["The deployment could not be reached: no answer in time."]

    def nothing(self: Server, transport: asyncio.BaseTransport) -> None:
        self.connections.append(self)

    play(scenario, options=HttpOptions(connect_timeout_s=0.05), connection_made=nothing, is_deaf=True)


def test_an_unanswered_ping_ends_the_connection() -> None:
    async def scenario(pool: Http2Pool, server: type[Server]) -> None:
        _, heard = submit(pool)
        await until(lambda: server.connections and server.connections[0].open)
        server.is_deaf = True
        await heard.done.wait()
        assert heard.ends == ["The server did not answer a PING within 0.05 s."]

    play(scenario, options=HttpOptions(ping_interval_s=0.05, ping_timeout_s=0.05), holds=True)


def test_an_answered_ping_keeps_it_and_idleness_closes_it() -> None:
    async def scenario(pool: Http2Pool, server: type[Server]) -> None:
        _, heard = submit(pool)
        await until(lambda: server.connections and server.connections[0].ping_count == 3)
        assert not heard.ends
        server.connections[0].answer_all()
        await until(lambda: not server.connections)
        assert heard.ends == [None]

    play(scenario, options=HttpOptions(ping_interval_s=0.1, ping_timeout_s=0.1, idle_timeout_s=0.05), holds=True)


def test_a_finished_exchange_whose_answer_does_not_end_is_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "DRAIN_CHECK_S", 0.01)

    async def scenario(pool: Http2Pool, server: type[Server]) -> None:
        exchange, heard = submit(pool, is_ended=False)
        await until(lambda: server.connections and server.connections[0].open)
        exchange.finish()
        await until(lambda: pool.is_idle)
        assert heard.ends == [] and exchange.is_reset

    play(scenario, options=HttpOptions(drain_timeout_s=0.01), holds=True)


def test_connections_are_replaced_after_so_many_requests() -> None:
    async def scenario(pool: Http2Pool, server: type[Server]) -> None:
        for _ in range(9):
            _, heard = submit(pool)
            await heard.done.wait()
            assert heard.ends == [None]
        assert server.made_count == 3
        await until(lambda: not server.connections)

    play(scenario, options=HttpOptions(requests_per_connection_max=3))


def test_goaway_and_silence() -> None:
    """A server that says it leaves, and then does not even answer a PING: what it promised to finish must not hang."""

    async def scenario(pool: Http2Pool, server: type[Server]) -> None:
        _, heard = submit(pool)
        await until(lambda: server.connections and server.connections[0].open)
        leaving = server.connections[0]
        leaving.h2.close_connection(last_stream_id=1)
        leaving.transport.write(leaving.h2.data_to_send())
        leaving.is_deaf = True
        await heard.done.wait()
        assert heard.ends == ["The server did not answer a PING within 0.05 s."]

    play(scenario, options=HttpOptions(ping_timeout_s=0.05), holds=True)


def test_close_is_silent() -> None:
    async def scenario(pool: Http2Pool, server: type[Server]) -> None:
        _, heard = submit(pool)
        await until(lambda: server.connections and server.connections[0].open)
        _, waiting = submit(pool)
        await pool.close()
        await until(lambda: not server.connections)
        assert heard.ends == waiting.ends == []

    play(scenario, holds=True, streams_max=1)


def test_a_flood_is_taken_in_turns_and_nothing_of_it_is_lost() -> None:
    """Other tasks run between two parts of it; what was sent last arrives although the server is gone."""

    async def scenario(pool: Http2Pool, server: type[Server]) -> None:
        _, heard = submit(pool)
        await until(lambda: server.connections and server.connections[0].open)
        peer = server.connections[0]
        (stream_id,) = peer.open
        peer.h2.send_headers(stream_id, [(":status", "200")])
        count = 5 * FRAMES_PER_TURN_MAX
        for _ in range(count):
            peer.h2.send_data(stream_id, b"8 bytes.")
        peer.h2.end_stream(stream_id)
        peer.transport.write(peer.h2.data_to_send())
        peer.transport.close()
        await heard.done.wait()
        assert heard.ends == [None]
        assert b"".join(heard.chunks) == b"8 bytes." * count
        assert all(len(chunk) <= 8 * FRAMES_PER_TURN_MAX for chunk in heard.chunks)

    play(scenario, holds=True)


def test_a_peer_that_floods_without_end_is_cut_off() -> None:
    async def scenario(pool: Http2Pool, server: type[Server]) -> None:
        _, heard = submit(pool)
        await until(lambda: server.connections and server.connections[0].open)
        server.connections[0].transport.write(PingFrame(0, b"12345678").serialize() * (2 * IDLE_FRAMES_MAX))
        await heard.done.wait()
        assert heard.ends[0] is not None and "without content" in heard.ends[0]

    play(scenario, holds=True)


@pytest.mark.parametrize("size", [5_000_000])
def test_a_peer_that_does_not_read_does_not_stop_the_others(size: int) -> None:
    """Its connection fills up; new exchanges go to another one."""

    async def scenario(pool: Http2Pool, server: type[Server]) -> None:
        exchange, _ = submit(pool, is_ended=False)
        await until(lambda: server.connections and server.connections[0].open)
        stuck = server.connections[0]
        exchange.write(b"x" * size)
        await until(lambda: stuck.read_bytes == WINDOW_DEFAULT_BYTES)  # It is used up and never opened.
        server.holds = False
        _, heard = submit(pool)
        await heard.done.wait()
        assert heard.ends == [None]
        assert stuck.opened_count == 1 and len(server.connections) == 2

    play(scenario, holds=True)
