"""What a batch and its rows say of themselves."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.unit.core.play import NOW_MS

from rewake.core.ids import EntryIndex, InvocationId
from rewake.core.writes import Batch, EntryRow
from rewake.protocol.messages import MessageType

CONTENT = [field.name for field in msgspec.structs.fields(Batch) if field.name != "sequence"]


def test_a_batch_of_nothing_is_empty_whatever_its_number() -> None:
    assert Batch(sequence=7).is_empty
    assert Batch().sequence == 0


@pytest.mark.parametrize("name", CONTENT)
def test_a_batch_with_any_row_is_not(name: str) -> None:
    content: Any = [0] if isinstance(getattr(Batch(), name), list) else {0: None}
    assert not Batch(**{name: content}).is_empty


@pytest.mark.parametrize(
    ("kind", "is_command"),
    [
        (MessageType.INPUT, True),
        (MessageType.RUN, True),
        (MessageType.RUN_COMPLETION, False),
        (MessageType.GET_LAZY_STATE_COMPLETION, False),
        (MessageType.SIGNAL, False),
    ],
)
def test_an_entry_is_a_command_or_a_notification(kind: MessageType, is_command: bool) -> None:
    row = EntryRow(InvocationId(b"1" * 24), EntryIndex(0), kind, b"", NOW_MS)
    assert (row.is_command, row.is_failure) == (is_command, False)
