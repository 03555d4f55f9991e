"""Lines of the app are stored once, and come back at the end of each command that they made."""

from __future__ import annotations

from pathlib import Path

import pytest
from store_samples import NOW_MS, entry, invocation_id, submit

from rewake.core.writes import Batch, EntryRow
from rewake.protocol.line_field import field_of
from rewake.protocol.messages import MessageType
from rewake.store import source_lines
from rewake.store.large_values import LARGE_BYTES_MIN
from rewake.store.store import Store

FIRST, SECOND = field_of("app.py:1\nf\nctx.sleep(x)"), field_of("app.py:2\nf\nctx.sleep(\N{SNOWMAN})")
NUL = b"\x08\x00"


def command(number: int, index: int, payload: bytes) -> EntryRow:
    return entry(number, index, MessageType.SLEEP, payload)


def lines(store: Store) -> list[bytes]:
    return [field for (field,) in store._connection.execute("select field from source_line order by id")]  # noqa: SLF001


def payloads(store: Store, number: int) -> list[bytes]:
    """What the reader and the view have, which must be the same."""
    found = [each.payload for each in store.reader.journal(invocation_id(number))]
    view = "select payload, payload_bytes from journal where invocation_id = ? order by idx"
    rows = store._connection.execute(view, (invocation_id(number),))  # noqa: SLF001
    assert [(each, len(each)) for each in found] == list(rows)
    return found


def test_each_line_is_stored_once_and_comes_back(tmp_path: Path) -> None:
    store = Store.open(tmp_path, now_ms=NOW_MS)
    sent = {number: [b"in", NUL + FIRST, NUL + SECOND, NUL + FIRST, FIRST] for number in (1, 2)}
    for number, each in sent.items():
        submit(store, Batch(entries=[command(number, index, payload) for index, payload in enumerate(each)]))
    store.close()
    store = Store.open(tmp_path, now_ms=NOW_MS)
    submit(store, Batch(entries=[command(3, 1, NUL + SECOND)]))
    assert lines(store) == [FIRST, SECOND]
    assert {number: payloads(store, number) for number in sent} == sent
    assert payloads(store, 3) == [NUL + SECOND]
    rows = store._connection.execute("select distinct payload from journal_entry where idx > 0")  # noqa: SLF001
    assert {payload for (payload,) in rows} == {NUL, b""}
    store.close()


def test_inputs_results_and_large_values_keep_what_looks_like_a_line(store: Store) -> None:
    large = b"\x0a\x80\x10" + b"v" * LARGE_BYTES_MIN + FIRST
    sent = [FIRST, FIRST, large]
    types = (MessageType.INPUT, MessageType.RUN_COMPLETION, MessageType.SET_STATE)
    rows = [entry(1, index, type_id, sent[index]) for index, type_id in enumerate(types)]
    submit(store, Batch(entries=rows))
    assert (payloads(store, 1), lines(store)) == (sent, [])


def test_a_line_of_a_batch_that_was_refused_is_stored_with_the_next(store: Store) -> None:
    refused = Batch(entries=[command(1, 1, NUL + FIRST), command(1, 1, NUL + FIRST)])
    outcomes: list[BaseException | None] = []
    store.submit(refused, outcomes.append)
    assert outcomes[0] is not None
    store.resume()
    submit(store, Batch(entries=[command(2, 1, NUL + SECOND), command(2, 2, NUL + FIRST)]))
    assert (payloads(store, 2), lines(store)) == ([NUL + SECOND, NUL + FIRST], [SECOND, FIRST])


def test_lines_beyond_the_limit_stay_in_their_commands(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_lines, "LINES_MAX", 1)
    submit(store, Batch(entries=[command(1, 1, NUL + FIRST), command(1, 2, NUL + SECOND)]))
    assert (payloads(store, 1), lines(store)) == ([NUL + FIRST, NUL + SECOND], [FIRST])
