"""The file of what has been sent: it grows no larger than its slack, and survives what may happen to a file."""

from __future__ import annotations

from pathlib import Path

from rewake.telemetry.sent import FILE_NAME, SLACK_MS, SentInvocations


def id_of(number: int) -> bytes:
    return number.to_bytes(24, "big")


def test_the_next_start_knows_what_was_sent(tmp_path: Path) -> None:
    SentInvocations(tmp_path, 1_000).add([(id_of(1), 5_000), (id_of(2), 5_000)])
    sent = SentInvocations(tmp_path, 9_000)
    assert not sent.is_new
    assert sent.until_ms == 5_000 - SLACK_MS
    assert sent.has(id_of(1), 5_000)
    assert not sent.has(id_of(3), 5_000)
    # The same id again: a workflow key or an idempotency key that was used anew after its retention.
    assert not sent.has(id_of(1), 5_001)


def test_only_the_latest_ids_are_kept(tmp_path: Path) -> None:
    sent = SentInvocations(tmp_path, 0)
    for number in range(1_000):
        sent.add([(id_of(number), number * 10)])
    assert len((tmp_path / FILE_NAME).read_bytes()) < 2_000
    assert sent.has(id_of(999), 9_990)


def test_a_first_start_and_a_damaged_file_begin_now(tmp_path: Path) -> None:
    assert SentInvocations(tmp_path, 7_000).until_ms == 7_000
    (tmp_path / FILE_NAME).write_bytes(b'{"until_ms": 1')
    sent = SentInvocations(tmp_path, 8_000)
    assert sent.is_new
    assert sent.until_ms == 8_000


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    SentInvocations(tmp_path / "missing", 0).add([(id_of(1), 10)])
