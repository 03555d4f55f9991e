"""The file of `rewake state export`: written, cut off, gone on with, and checked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewake.cli.state_file import KeyState, Sum, checked_file, head_line, record_line, resumable_part, sum_line
from rewake.errors import ErrorCode, RewakeError

SERVICES = {"Cart": "VirtualObject", "Flow": "Workflow"}
RECORDS = [
    KeyState("Cart", "alice", {"total": b"42", "note": "für später".encode()}),
    KeyState("Cart", "bob\n\u2028\x00", {"bytes": bytes(range(256))}),
    KeyState("Flow", "", {"empty": b""}),
]

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
records = st.lists(st.builds(KeyState, st.just("Cart"), text, st.dictionaries(text, st.binary(max_size=8), max_size=3)))


def write(path: Path, written: list[KeyState], services: dict[str, str] = SERVICES) -> Path:
    total = Sum()
    for record in written:
        total.add(record)
    path.write_text(head_line(services) + "".join(map(record_line, written)) + sum_line(total), encoding="utf-8")
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    found = checked_file(write(tmp_path / "s", RECORDS))
    assert list(found.records()) == RECORDS
    assert found.services == SERVICES
    assert (found.sum["keys"], found.sum["entries"]) == (3, 4)


def test_services_without_state_are_not_asked_for(tmp_path: Path) -> None:
    assert checked_file(write(tmp_path / "s", RECORDS[:1])).services == {"Cart": "VirtualObject"}


@given(records)
def test_any_state_survives(written: list[KeyState]) -> None:
    for record in written:
        line = record_line(record)
        assert line.count("\n") == 1
        told = json.loads(line)
        assert (told["service"], told["key"]) == (record.service, record.key)


@given(records, records)
def test_the_sum_tells_records_apart(one: list[KeyState], other: list[KeyState]) -> None:
    sums = []
    for written in (one, other):
        total = Sum()
        for record in written:
            total.add(record)
        sums.append(total.shown())
    assert (sums[0] == sums[1]) == (one == other)


def test_an_export_that_was_cut_off_goes_on_after_its_last_whole_line(tmp_path: Path) -> None:
    whole = (head_line(SERVICES) + "".join(map(record_line, RECORDS))).encode()
    second_end = len((head_line(SERVICES) + "".join(map(record_line, RECORDS[:2]))).encode())
    part = tmp_path / "part"
    for size in (second_end, second_end + 1, len(whole) - 1):
        part.write_bytes(whole[:size])
        total, last = resumable_part(part, SERVICES)
        assert (total.keys, last) == (2, RECORDS[1])
        assert part.read_bytes() == whole[:second_end]


@pytest.mark.parametrize("content", [None, b"", b"{", b"nonsense\n", head_line({"Cart": "VirtualObject"}).encode()])
def test_a_part_of_something_else_is_begun_anew(tmp_path: Path, content: bytes | None) -> None:
    part = tmp_path / "part"
    if content is not None:
        part.write_bytes(content)
    total, last = resumable_part(part, SERVICES)
    assert (total.keys, last) == (0, None)
    assert part.read_text() == head_line(SERVICES)


def test_an_export_is_its_owners_alone(tmp_path: Path) -> None:
    """State is what the database keeps from others; a file that somebody left there, too."""
    for name in ("new", "left"):
        part = tmp_path / name
        if name == "left":
            part.write_text("")
            part.chmod(0o644)
        resumable_part(part, SERVICES)
        assert part.stat().st_mode & 0o777 == 0o600


def test_a_part_that_was_finished_is_not_counted_twice(tmp_path: Path) -> None:
    total, last = resumable_part(write(tmp_path / "part", RECORDS), SERVICES)
    assert (total.keys, last) == (3, RECORDS[2])
    assert (tmp_path / "part").read_text(encoding="utf-8").endswith(record_line(RECORDS[2]))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda text: text.rpartition('{"keys"')[0], "was not finished"),
        (lambda text: text.replace('"alice"', '"alicia"'), "Its sum is"),
        (lambda text: "".join(line for line in text.splitlines(True) if "alice" not in line), "Its sum is"),
        (lambda text: text.replace("NDI=", "????"), "Line 2"),
        (lambda text: text.replace('{"rewake_state":1', '{"rewake_state":2'), "Line 1"),
        (lambda text: "", "Line 1"),
        (lambda text: "\x00\x01", "Line 1"),
        (lambda text: text.replace('"Flow":"Workflow"', '"Flo":"Workflow"'), "Line 4"),
    ],
)
def test_a_spoilt_file_is_refused(tmp_path: Path, spoil: object, words: str) -> None:
    path = write(tmp_path / "s", RECORDS)
    content = spoil(path.read_text(encoding="utf-8"))  # type: ignore[operator]  # a lambda of the table
    path.write_text(content, encoding="utf-8")
    with pytest.raises(RewakeError) as refused:
        checked_file(path)
    assert refused.value.code is ErrorCode.STATE_FILE_INVALID
    assert words in refused.value.message


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RewakeError) as refused:
        checked_file(tmp_path)
    assert refused.value.code is ErrorCode.STATE_FILE_INVALID
