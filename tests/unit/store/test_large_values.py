"""Large values apart from their rows: what is stored comes back byte for byte, once, and goes when nobody needs it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import apsw
import pytest
from store_samples import NOW_MS, entry, invocation, invocation_id, submit

from rewake.core.model import Status
from rewake.core.writes import Batch
from rewake.protocol.codec import decode_message, encode_message
from rewake.protocol.messages import (
    CallCommand,
    Completion,
    GetEagerStateCommand,
    InputCommand,
    Message,
    MessageType,
    OutputCommand,
    SetStateCommand,
    Success,
)
from rewake.store import large_values
from rewake.store.large_values import LARGE_BYTES_MIN, span_of_value
from rewake.store.store import Store


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def state_batch(values: dict[bytes, bytes | None], key: str = "ada") -> Batch:
    return Batch(state={("Desk", key, name): value for name, value in values.items()})


def sql(store: Store, statement: str) -> Any:
    return store._connection.execute(statement).get  # noqa: SLF001


def bytes_kept(store: Store) -> int:
    found: int = sql(store, "select coalesce(sum(length(data)), 0) from large_value")
    return found


def turn(number: int, before: bytes, reply: bytes, after: bytes) -> Batch:
    """One turn of a session in one batch: read, a model's answer, written."""
    messages: list[tuple[MessageType, Message]] = [
        (MessageType.INPUT, InputCommand((), b"?")),
        (MessageType.GET_EAGER_STATE, GetEagerStateCommand(b"items", Success(before))),
        (MessageType.RUN_COMPLETION, Completion(MessageType.RUN_COMPLETION, 1, Success(reply))),
        (MessageType.SET_STATE, SetStateCommand(b"items", after)),
        (MessageType.OUTPUT, OutputCommand(Success(reply))),
    ]
    return Batch(
        inserts=[invocation(number)],
        entries=[
            entry(number, index, type_id, encode_message(message, 6))
            for index, (type_id, message) in enumerate(messages)
        ],
        state={("Desk", "ada", b"items"): after},
    )


def test_a_session_of_120_turns_costs_at_most_three_times_its_content(store: Store) -> None:
    """Each turn reads it whole and writes it whole; 96 MiB for 0.66 MB when stored as it comes."""
    session = b"[]"
    content = 0
    for number in range(1, 121):
        reply = b'{"text":"' + noise(2_750, number).hex().encode() + b'"}'
        after = session[:-1] + (b"," if number > 1 else b"") + reply + b"]"
        submit(store, turn(number, session, reply, after))
        session, content = after, content + len(reply)
    assert store.reader.state("Desk", "ada") == {b"items": session}
    stored = store.reader.journal(invocation_id(120))
    written = decode_message(stored[3].type_id, stored[3].payload, 6)
    assert isinstance(written, SetStateCommand) and written.value == session
    assert sql(store, "select sum(payload_bytes) from journal") > 80_000_000
    assert sql(store, "pragma page_count") * 4096 < 3 * content


def test_the_log_grows_with_what_is_new_not_with_the_session(store: Store) -> None:
    session = noise(1_000_000)
    submit(store, state_batch({b"items": session}))
    pages = store.wal_pages
    submit(store, turn(1, session, b"reply", session + b"reply"))
    assert store.wal_pages - pages < 30


def test_equal_values_are_stored_once_however_they_are_wrapped(store: Store) -> None:
    value = noise(50_000)
    messages: list[tuple[MessageType, Message]] = [
        (MessageType.INPUT, InputCommand((("a", "b"),), value)),
        (
            MessageType.CALL,
            CallCommand(
                "Desk",
                "ask",
                value,
                headers=(),
                key="k",
                idempotency_key=None,
                scope=None,
                limit_key=None,
                invocation_id_completion_id=1,
                result_completion_id=2,
            ),
        ),
        (MessageType.CALL_COMPLETION, Completion(MessageType.CALL_COMPLETION, 2, Success(value))),
        (MessageType.OUTPUT, OutputCommand(Success(value))),
    ]
    rows = [
        entry(1, index, type_id, encode_message(message, 6), name="n")
        for index, (type_id, message) in enumerate(messages)
    ]
    submit(store, Batch(inserts=[invocation(1)], entries=rows))
    submit(store, state_batch({b"x": value}))
    assert store.reader.journal(invocation_id(1)) == rows
    assert [len(row.payload) for row in store.reader.journal_rows(invocation_id(1))] == [0] * 4
    assert bytes_kept(store) == len(value)


def test_a_large_result_is_the_output_of_its_journal(store: Store) -> None:
    value = noise(20_000)
    rows = [entry(1, 0, MessageType.OUTPUT, encode_message(OutputCommand(Success(value)), 6))]
    running = invocation(1)
    submit(store, Batch(inserts=[running], entries=rows))
    done = invocation(1, status=Status.COMPLETED, result=Success(value))
    submit(store, Batch(updates=[done]))
    found = store.reader.invocation(invocation_id(1))
    assert found is not None and found.result == Success(value)
    assert bytes_kept(store) == len(value)
    submit(store, Batch(journal_deletes=[invocation_id(1)]))
    submit(store, Batch(inserts=[invocation(2, status=Status.COMPLETED, result=Success(value))]))
    submit(store, Batch(deletes=[invocation_id(1)]))
    found = store.reader.invocation(invocation_id(2))
    assert found is not None and found.result == Success(value)
    submit(store, Batch(deletes=[invocation_id(2)]))
    assert bytes_kept(store) == 0


def test_text_is_compressed_if_that_is_quick(store: Store) -> None:
    text = b"a sentence that occurs again and again; " * 2_000
    values = {b"items": text, b"long": text * (large_values.PACKED_BYTES_MAX // len(text) + 1), b"noise": noise(80_000)}
    submit(store, state_batch({**values}))
    assert store.reader.state("Desk", "ada") == values
    assert sql(store, f"select length(data) from large_value where size = {len(text)} and packing = 1") < 2_000
    assert sql(store, "select count(*) from large_value where packing = 0") == 2


def test_views_show_whole_payloads_and_their_sizes(store: Store) -> None:
    value = noise(LARGE_BYTES_MIN)
    payload = encode_message(SetStateCommand(b"a", value), 6)
    rows = [entry(1, 0, MessageType.SET_STATE, payload), entry(1, 1, MessageType.SET_STATE, b"short")]
    submit(store, Batch(entries=rows, state={("Desk", "ada", b"a"): value, ("Desk", "ada", b"b"): b"short"}))
    reader = store._read_connection.execute  # noqa: SLF001
    assert reader("select payload, payload_bytes from journal order by idx").fetchall() == [
        (payload, len(payload)),
        (b"short", 5),
    ]
    assert reader("select value, value_bytes from state order by name").fetchall() == [
        (value, len(value)),
        (b"short", 5),
    ]


def test_a_value_goes_with_the_last_that_needs_it(store: Store) -> None:
    """Whoever that is: a journal, a state, or a value built on it."""
    first, reply = noise(100_000), noise(10_000, 1)
    second = first + reply
    submit(store, state_batch({b"items": first}))
    submit(store, turn(1, first, reply, second))
    submit(store, state_batch({b"items": b"short"}))
    assert bytes_kept(store) == len(first) + 2 * len(reply)
    submit(store, Batch(deletes=[invocation_id(1)]))
    assert bytes_kept(store) == 0
    submit(store, state_batch({b"items": first}))
    submit(store, state_batch({b"items": second}))
    assert bytes_kept(store) == len(second)
    submit(store, state_batch({b"items": None}))
    assert sql(store, "select count(*) from large_value") == 0


def test_what_begins_alike_is_found_without_a_hint(store: Store) -> None:
    """A history that is passed on in calls grows like a session, and so do two at the same time."""
    one, other = noise(300_000, 1), noise(300_000, 2)
    for number in range(10):
        one += noise(1_000, 10 + number)
        other += noise(1_000, 30 + number)
        messages = [InputCommand((), one), InputCommand((), other)]
        rows = [entry(number, index, MessageType.INPUT, encode_message(item, 6)) for index, item in enumerate(messages)]
        submit(store, Batch(inserts=[invocation(number)], entries=rows))
        assert store.reader.journal(invocation_id(number)) == rows
    assert bytes_kept(store) == len(one) + len(other)


def test_a_chain_ends_before_it_gets_deep_or_heavy(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_values, "DEPTH_MAX", 5)
    value = noise(20_000)
    for number in range(30):
        value = value[:-4_000] + noise(4_000, number)
        submit(store, state_batch({b"a": value}))
        assert store.reader.state("Desk", "ada") == {b"a": value}
        assert sql(store, "select max(depth) from large_value") <= 5
        assert sql(store, "select max(weight - 2 * size) from large_value") <= 0
    assert bytes_kept(store) <= 2 * len(value)


@pytest.mark.parametrize("seed", range(5))
def test_any_history_of_edits_and_deletions_reads_back(tmp_path: Path, seed: int) -> None:
    """Against a dict, with rollbacks and restarts in between; at the end nothing is left over."""
    draw = random.Random(seed)
    store = Store.open(tmp_path, now_ms=NOW_MS)
    states: dict[bytes, bytes] = {}
    journals: dict[int, list[Any]] = {}
    for number in range(120):
        name = draw.choice((b"a", b"b", b"c"))
        value = edited(draw, draw.choice([*states.values(), b""]))
        batch = Batch(state={("Desk", "ada", name): value if draw.random() < 0.9 else None})
        batch.entries = [entry(number, 0, MessageType.SET_STATE, encode_message(SetStateCommand(name, value), 6))]
        if journals and draw.random() < 0.4:
            gone = draw.choice(list(journals))
            batch.journal_deletes = [invocation_id(gone)]
        if draw.random() < 0.1:
            fail_once(store, batch)
            continue
        submit(store, batch)
        if batch.journal_deletes:
            del journals[gone]
        journals[number] = batch.entries
        states = {key: held for key, held in states.items() if key != name}
        if batch.state["Desk", "ada", name] is not None:
            states[name] = value
        if draw.random() < 0.05:
            store.close()
            store = Store.open(tmp_path, now_ms=NOW_MS)
        assert store.reader.state("Desk", "ada") == states
    assert {key: store.reader.journal(invocation_id(key)) for key in journals} == journals
    submit(store, Batch(journal_deletes=[invocation_id(key) for key in journals], state={}))
    submit(store, state_batch(dict.fromkeys(states)))
    assert sql(store, "select count(*) from large_value") == 0
    store.close()


def edited(draw: random.Random, value: bytes) -> bytes:
    """A value made from another one by growing, cutting or replacing, of any size around the limits."""
    at = draw.randrange(len(value) + 1)
    size = draw.choice((1, 100, LARGE_BYTES_MIN - 1, LARGE_BYTES_MIN, 30_000))
    match draw.randrange(5):
        case 0:
            return value + draw.randbytes(size)
        case 1:
            return value[:at] + draw.randbytes(size) + value[at:]
        case 2:
            return value[:at] + value[at + size :]
        case 3:
            return value
        case _:
            return draw.randbytes(size)


def fail_once(store: Store, batch: Batch) -> None:
    """The batch is written and then rolled back."""
    duplicate = Batch(
        entries=[*batch.entries, *batch.entries], state=batch.state, journal_deletes=batch.journal_deletes
    )
    outcomes: list[BaseException | None] = []
    store.submit(duplicate, outcomes.append)
    assert isinstance(outcomes[0], Exception)
    store.resume()


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (encode_message(SetStateCommand(b"key", b"v" * 200), 6), b"v" * 200),
        (encode_message(GetEagerStateCommand(b"key", Success(b"v" * 200)), 6), b"v" * 200),
        (encode_message(OutputCommand(Success(b"\n\x01a")), 6), b"a"),  # split elsewhere, and put together alike
        (b"", b""),
        (b"\x0a\x05ab", None),
        (b"not a message", None),
        (b"\x09\x01\x02\x03\x04\x05\x06\x07\x08\x15\x01\x02\x03\x04\x12\x01a", b"a"),
    ],
)
def test_where_the_value_of_a_message_is(payload: bytes, value: bytes | None) -> None:
    span = span_of_value(payload)
    if value is None:
        assert span is None
    else:
        assert span is not None and payload[span[0] : span[1]] == value


def test_a_missing_value_is_an_error_not_an_empty_one(store: Store) -> None:
    with pytest.raises(KeyError):
        large_values.load_value(store._connection.execute, 4711)  # noqa: SLF001
    with pytest.raises((KeyError, apsw.Error)):
        sql(store, "select large_value(4711)")
