"""Two runs side by side: which turns differ, and how."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.agents.recorded import load

from rewake.agents.replies import ModelReply, ToolCall
from rewake.protocol import messages as m
from rewake.protocol.codec import decode_message, encode_message
from rewake.runs.local.database import local_reading
from rewake.runs.turns import Turn
from rewake.store.connection import DATABASE_FILE, open_writer
from rewake.ui.compare import compare_page, turn_difference


def turn(kind: str, **facts: Any) -> Turn:
    return Turn(kind=kind, run_id="inv_1", index=1, at_ms=1, **facts)


def reply(text: str, *calls: str) -> dict[str, Any]:
    made = ModelReply(framework="x", text=text, calls=tuple(ToolCall(name) for name in calls))
    return {"text": text, "reply": made}


@pytest.mark.parametrize(
    ("left", "right", "difference"),
    [
        (None, turn("answer"), "only"),
        (turn("answer"), None, "only"),
        (turn("user", text="Hi"), turn("user", text="Hi"), "same"),
        (turn("decision", choice="car"), turn("decision", choice="Car"), "same"),
        (turn("decision", choice="car"), turn("decision", choice="medical"), "choice"),
        (turn("decision", choice=None), turn("decision", choice="medical"), "choice"),
        (turn("handoff", title="car"), turn("handoff", title="medical"), "choice"),
        (turn("handoff", title="car"), turn("step", title="car"), "turn"),
        (turn("step", title="Pay"), turn("step", title="Refuse"), "turn"),
        (turn("model", agent="car", **reply("Hi")), turn("model", agent="medical", **reply("Hi")), "agent"),
        (turn("model", **reply("Hi")), turn("model", **reply("Hi")), "same"),
        (turn("model", **reply("Hi", "a")), turn("model", **reply("Hi", "b")), "words"),
        (turn("answer", agent="car", text="no"), turn("answer", agent="medical", text="yes"), "answer"),
        (turn("problem", text="no", is_failure=True), turn("problem", text="no"), "words"),
    ],
)
def test_turns_differ_in_one_word(left: Turn | None, right: Turn | None, difference: str) -> None:
    assert turn_difference(left, right) == difference


def test_steps_differ_also_where_the_preview_ends(tmp_path: Path) -> None:
    """The stored conversation is longer than a line: its last message alone differs."""
    data = load("claim_handoffs", tmp_path)
    connection = open_writer(data / DATABASE_FILE)
    run_id: bytes = connection.execute("select id from invocation order by created_at_ms limit 1").get
    found_at: tuple[int, bytes] = connection.execute(
        "select idx, payload from journal where invocation_id = ? and type = ? order by idx limit 1",
        (run_id, m.MessageType.SET_STATE),
    ).get
    index, payload = found_at
    other_id = run_id[:8] + bytes(16)
    for table, key in (("invocation", "id"), ("journal_entry", "invocation_id")):
        names = [name for (name,) in connection.execute("select name from pragma_table_info(?)", (table,))]
        others = ", ".join(name for name in names if name != key)
        connection.execute(
            f"insert into {table} ({key}, {others}) select ?, {others} from {table} where {key} = ?",
            (other_id, run_id),
        )
    message = decode_message(m.MessageType.SET_STATE, payload, 6)
    assert isinstance(message, m.SetStateCommand) and len(message.value) > 400
    changed = msgspec.structs.replace(message, value=message.value[:-2] + b", 1]")
    connection.execute(
        "update journal_entry set payload = ? where invocation_id = ? and idx = ?",
        (encode_message(changed, 6), other_id, index),
    )
    connection.close()
    with local_reading(data, 1 << 42) as found:
        old, new = found.invocation(run_id), found.invocation(other_id)
        assert old is not None and new is not None
        page = compare_page(found, old, new)
    assert page is not None
    assert [pair.difference for pair in page.pairs if pair.difference != "same"] == ["result"]
    (pair,) = (pair for pair in page.pairs if pair.difference == "result")
    assert pair.before is not None and pair.after is not None
    assert (pair.before.title, pair.before.preview) == (pair.after.title, pair.after.preview)
    assert {pair.difference for pair in page.turns} == {"same"}
