"""What hostile input may do to each parser: give a value, or the error that its docstring names. Nothing else.

A target takes a Random and plays one input. Everything follows from the seed, so a failing one is played again by its
number. Used by test_fuzz.py with a budget, and by `python -m tests.fuzz` for as long as one likes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from hyperframe.frame import DataFrame, Frame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame
from tests.fuzz.inputs import NUMBERS, text, value
from tests.fuzz.surfaces import end_engine, surfaces
from tests.unit.core.play import Play, target_of
from tests.unit.deployments.test_framed_attempt import HEAD, Peer

from rewake.admin.refusals import Undecodable
from rewake.admin.requests import index_parameter
from rewake.core import commands, ids
from rewake.deployments.framed_attempt import discovery_response
from rewake.deployments.http.connect_errors import ConnectionBroken
from rewake.deployments.http.exchange import ClientExchange, HttpOptions
from rewake.deployments.http.http2_state import Http2State
from rewake.durations import DURATION_MS_MAX, DurationError, parse_duration_ms
from rewake.errors import ErrorCode, RewakeError
from rewake.ingress.paths import parse_path
from rewake.ingress.refusals import Refused
from rewake.protocol.codec import decode_message
from rewake.protocol.discovery import ManifestError, parse_manifest
from rewake.protocol.errors import ProtocolViolation
from rewake.protocol.framing import encode_frame
from rewake.protocol.messages import MessageType
from rewake.protocol.protobuf import varint
from rewake.sql.query import run_query
from rewake.store.store import Store

Target = Callable[[Random], None]

TYPES = tuple(MessageType)
QUERY_CODES = {ErrorCode.QUERY_INVALID, ErrorCode.QUERY_NOT_READ_ONLY, ErrorCode.QUERY_TOO_LARGE,
               ErrorCode.QUERY_TIMED_OUT}  # fmt: skip


def payload(rng: Random, depth: int = 0) -> bytes:
    """Protobuf that is well formed as far as tags go: any field, any number, nested a few times."""
    parts = []
    for _ in range(rng.randrange(6)):
        number = rng.choice((*range(1, 18), rng.randrange(1, 2**29)))
        if rng.random() < 0.5:
            parts.append(varint(number << 3) + varint(rng.choice(NUMBERS)))
        else:
            body = payload(rng, depth + 1) if depth < 3 and rng.random() < 0.5 else text(rng).encode()
            parts.append(varint(number << 3 | 2) + varint(len(body)) + body)
    return damaged(rng, b"".join(parts))


def damaged(rng: Random, data: bytes) -> bytes:
    if not data or rng.random() < 0.6:
        return data
    at = rng.randrange(len(data))
    match rng.randrange(3):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + rng.randbytes(rng.randrange(1, 5)) + data[at:]
        case _:
            return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def frames(rng: Random) -> None:
    """Bytes of a handler's answer, in any pieces: messages, or one failure of the attempt."""
    peer = Peer()
    peer.attempt.on_head(200, HEAD)
    data = damaged(rng, b"".join(encode_frame(rng.choice(TYPES), payload(rng)) for _ in range(rng.randrange(5))))
    while data:
        size = rng.randrange(1, len(data) + 1)
        peer.attempt.on_data(data[:size])
        data = data[size:]
    peer.attempt.on_end()
    assert len(peer.failures) + ("closed" in peer.log) == 1


def messages(rng: Random) -> None:
    """Whatever a handler says that can be decoded, the core takes it, and its rows can be stored."""
    play = Play()
    first = play.call(rng.choice(("greeter/greet", "cart/a/add", "signup/k/run")))
    play.skip()
    said: list[Any] = []
    while len(said) < 6:
        type_id = rng.choice(TYPES)
        data = payload(rng)
        try:
            said.append((decode_message(type_id, data, 6), type_id, data, rng.choice((0, 0x8000))))
        except ProtocolViolation:
            if rng.random() < 0.2:
                break
    epoch = play.state.invocations[first].epoch
    play.submit(
        commands.SdkMessages(
            now_ms=play.now_ms,
            invocation_id=first,
            epoch=epoch,
            delivered=ids.EntryIndex(1),
            messages=said,
            seed=rng.randbytes(16),
        )
    )
    batch, _ = play.state.seal()
    outcomes: list[BaseException | None] = []
    store = stored()
    store.submit(batch, outcomes.append)
    store.resume()
    assert outcomes == [None], outcomes
    store.submit(type(batch)(deletes=[first, *(item.id for item in batch.inserts)], abandoned=[first]), outcomes.append)


class _Anybody:
    """Carrier and responder: hears everything, does nothing."""

    def on_written(self, *_: Any, **__: Any) -> None: ...

    on_finished = on_reset = on_head = on_data = on_end = on_error = on_written


def http2_frame(rng: Random) -> Frame:
    stream_id, number, data = rng.choice((1, 1, 1, 2, 3)), rng.choice(NUMBERS) % 2**31, rng.randbytes(rng.randrange(20))
    match rng.randrange(6):
        case 0:
            return DataFrame(stream_id, data)
        case 1:
            return HeadersFrame(stream_id, data, flags=["END_HEADERS"])
        case 2:
            return PingFrame(0, b"12345678")
        case 3:
            return SettingsFrame(0, {rng.randrange(8): number})
        case 4:
            return WindowUpdateFrame(rng.choice((0, stream_id)), window_increment=number or 1)
        case _:
            return RstStreamFrame(stream_id, error_code=number)


def http2(rng: Random) -> None:
    """Frames of a server: they are taken, or the connection ends."""

    state = Http2State(b"http", b"here", HttpOptions())
    state.begin()
    data = SettingsFrame(0).serialize()
    try:
        state.receive(data)
        exchange = ClientExchange(b"POST", b"/", [])
        exchange.carrier = exchange.responder = _Anybody()
        state.open(exchange)
        for _ in range(rng.randrange(1, 8)):
            frame = http2_frame(rng)
            state.receive(damaged(rng, frame.serialize()))
            state.pump()
    except ConnectionBroken:
        return


def manifest(rng: Random) -> None:
    """A manifest with a few of its fields replaced."""
    handler = {"name": "go", "ty": None, "input": {"contentType": "*/*"}, "output": {"contentType": "a/b"},
               "journalRetention": 1, "retryPolicyMaxAttempts": 3, "metadata": {"a": "b"}}  # fmt: skip
    service = {"name": "S", "ty": "SERVICE", "handlers": [handler], "abortTimeout": 5}
    endpoint = {"protocolMode": "BIDI_STREAM", "minProtocolVersion": 5, "maxProtocolVersion": 7, "services": [service]}
    for _ in range(rng.randrange(4)):
        part: Any = rng.choice((endpoint, service, handler))
        part[rng.choice(list(part))] = value(rng)
    body = damaged(rng, json.dumps(endpoint).encode())
    if rng.random() < 0.05:
        body = body.replace(b'"a"', b"[" * rng.randrange(100_000))
    try:
        parse_manifest(body)
    except ManifestError as error:
        assert error.message.isprintable() or len(error.message) < 2_000
    content_type = rng.choice(("application/vnd.restate.endpointmanifest.v4+json", text(rng)))
    try:
        discovery_response(rng.choice((200, 404)), {"content-type": content_type}, body, where="It", is_foreign=True)
    except RewakeError as error:
        assert error.code in (ErrorCode.DISCOVERY_REFUSED, ErrorCode.DISCOVERY_INVALID)


def names(rng: Random) -> None:
    """Ids, durations, indexes and paths: what callers put into addresses."""
    for parse in (ids.invocation_id_from_str, ids.awakeable_id_parse, ids.deployment_id_from_str):
        prefix = rng.choice(("inv_1", "sign_1", "dp_1", "prom_1", ""))
        try:
            parse(prefix + text(rng) * rng.randrange(3))
        except ids.InvalidId as error:
            assert error.reason
    duration = rng.choice(("", "P", "PT", "-")) + text(rng) + rng.choice("smhd")
    with contextlib.suppress(DurationError):
        assert 0 <= parse_duration_ms(duration) <= DURATION_MS_MAX
    request: Any = type("Request", (), {"query_params": {"from": text(rng)}})
    with contextlib.suppress(Undecodable):
        assert 0 <= index_parameter(request, "from") < 2**32
    try:
        parse_path("/" + "/".join(text(rng) for _ in range(rng.randrange(8))), services())
    except Refused as refused:
        assert 400 <= refused.status < 500


def heads(rng: Random) -> None:
    """The head of a handler's answer: it fits, or the attempt fails with a delay that can be added to a clock."""
    peer = Peer()
    name = rng.choice((b"retry-after", b"content-type", text(rng).encode()))
    date = f"Mon, 01 Jan {rng.choice(NUMBERS)} 00:00:00 {rng.choice(('GMT', '+9999', '-0000', '+' + text(rng)))}"
    given = rng.choice((date, str(rng.choice(NUMBERS)), text(rng), "9" * rng.randrange(5_000)))
    peer.attempt.on_head(rng.choice((200, 429, 503, 999)), [(name, given.encode())])
    for failure in peer.failures:
        assert failure.retry_after_ms is None or 0 <= failure.retry_after_ms < 2**60


_SQL = """
select * from sys_invocation sys_journal state where id = 'a' 1 ( ) , and like '%' null count(*) limit -- /* :: int
case when end with as zeroblob(9) x'00' delete pragma attach describe ; cast over [ ] { $1 date_bin(0,now()) order by
union all interval instr('a','b') information_schema.tables load_extension('x') to_timestamp(1e300) is not group 'e'
"""
WORDS = (*_SQL.split(), "interval '1 day'", "9" * 400, "\x00", "\u202e", "'\u00e9'")


def sql(rng: Random) -> None:
    """Words in any order: rows, or the asker's mistake; nothing is changed by it."""
    query = ("select " if rng.random() < 0.8 else "") + " ".join(rng.choice(WORDS) for _ in range(rng.randrange(1, 12)))
    store = stored()
    before = store._connection.execute("pragma data_version").get
    try:
        msgspec.json.encode(run_query(store.path.parent, query, deadline_s=5, rows_max=100).json_rows())
    except RewakeError as error:
        assert error.code in QUERY_CODES, (query, error)
    assert store._connection.execute("pragma data_version").get == before, query


@cache
def stored() -> Store:
    """A store of its own for all inputs of a process."""
    folder = tempfile.TemporaryDirectory(prefix="rewake-fuzz-")
    store = Store.open(Path(folder.name) / "data", now_ms=1)
    store.folder = folder  # type: ignore[attr-defined]
    return store


def close() -> None:
    """End the engine and the store that all inputs of a process share, and remove their folders."""
    end_engine()
    if stored.cache_info().currsize:
        store = stored()
        stored.cache_clear()
        store.close()
        store.folder.cleanup()  # type: ignore[attr-defined]


@cache
def services() -> Any:
    play = Play()
    assert target_of("greeter/greet")
    return play.state.services


TARGETS: dict[str, Target] = {
    each.__name__: each for each in (frames, messages, http2, manifest, names, heads, sql, surfaces)
}


def play_seed(name: str, seed: int) -> None:
    """One input, played again by its number."""

    async def main() -> None:
        TARGETS[name](Random(f"{name} {seed}"))

    asyncio.run(main())
