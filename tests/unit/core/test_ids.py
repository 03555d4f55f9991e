"""Ids against the published vectors, and both directions of every string form."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewake.core import ids
from rewake.core.ids import InvocationId
from rewake.ext.kernel.keeping import question_id

ID = bytes.fromhex("cfc466fc6ed27d0a0a6bc76a46154fa695150f0fac7251cc")
ID_TEXT = "inv_10TQrTAvFmkT6dxEHEmRIP6KDxv1vem1oC"
QUESTION = "ask_1LXEWQrcmsEQBRGVzay9hZGEvMSDDqQ"
AWAKEABLE = "sign_1z8Rm_G7SfQoKa8dqRhVPppUVDw-sclHMAAAAEQ"


def test_invocation_id_vector() -> None:
    assert ids.invocation_id_to_str(ID) == ID_TEXT
    assert ids.invocation_id_from_str(ID_TEXT) == ID


def test_captured_start_id_matches_its_debug_id() -> None:
    invocation_id = bytes.fromhex("9dcabcb387f46c4698e9049ae0a2be2cd7dfd5202fb79353")
    assert ids.invocation_id_to_str(invocation_id) == "inv_162Sb4MX4hhH2xHRTKfMajBZEUHoqj2mso"


def test_awakeable_vector() -> None:
    assert ids.awakeable_id_format(ID, 17) == AWAKEABLE
    assert ids.awakeable_id_parse(AWAKEABLE) == (ID, 17)
    assert ids.awakeable_id_parse(AWAKEABLE + "=") == (ID, 17)


def test_question_vector() -> None:
    """As rewake.ext.kernel.keeping makes it: stored, and in links."""
    assert question_id("Desk", "ada/1 é", "x") == QUESTION
    assert ids.question_id_parse(QUESTION) == ("Desk", "ada/1 é")
    for text in (AWAKEABLE, "ask_1", "ask_1AAAA", QUESTION[:20], "ask_1" + "_" * 40, "ask_2" + QUESTION[5:]):
        with pytest.raises(ids.InvalidId):
            ids.question_id_parse(text)


@pytest.mark.parametrize("key", ["", "a", "ab", "W", "a/b", "?>", "/"])
def test_question_ids_have_any_key_and_padding(key: str) -> None:
    question = question_id("Desk", key, "x")
    digits = question.removeprefix("ask_1")
    assert ids.question_id_parse(question) == ("Desk", key)
    assert ids.question_id_parse(question + "=" * (-len(digits) % 4)) == ("Desk", key)


@pytest.mark.parametrize(
    ("kept", "reason"),
    [("Desk", "bad length"), ("/ada", "bad length"), ("", "bad length"), ("\udcff/ada", "bad format")],
)
def test_questions_that_name_no_object(kept: str, reason: str) -> None:
    digits = base64.urlsafe_b64encode(b"9 unique." + kept.encode(errors="surrogateescape")).decode()
    with pytest.raises(ids.InvalidId) as caught:
        ids.question_id_parse("ask_1" + digits)
    assert caught.value.reason == reason


@pytest.mark.parametrize("other", ["+", "/"])
def test_ids_have_no_digit_of_the_other_base_64(other: str) -> None:
    """Base 64 that is not URL-safe: one id would have two strings."""
    with pytest.raises(ids.InvalidId) as caught:
        ids.awakeable_id_parse(AWAKEABLE[:9] + other + AWAKEABLE[10:])
    assert caught.value.reason == "bad format"


def test_workflow_run_has_one_id() -> None:
    expected = "5164c775648d211b" + "fc1b0e11991cc94920918243914fad60"
    assert ids.workflow_invocation_id("Wf", "w1").hex() == expected
    assert ids.workflow_invocation_id("Wf", "w1", scope="s") != ids.workflow_invocation_id("Wf", "w1")


def test_idempotency_key_names_one_id() -> None:
    invocation_id = ids.idempotent_invocation_id("Greeter", None, "greet", "ik1")
    assert invocation_id.hex()[16:] == "1b1ae414445cae07d2a397b940a255b1"
    assert invocation_id[:8] == ids.partition_key(None, "Greeter")


def test_idempotency_key_of_an_object_includes_the_object_key() -> None:
    first = ids.idempotent_invocation_id("Counter", "a", "add", "ik1")
    assert first[:8] == ids.partition_key("a", "Counter")
    assert first != ids.idempotent_invocation_id("Counter", "b", "add", "ik1")
    assert first != ids.idempotent_invocation_id("Counter", "a", "add", "ik1", scope="s")


def test_an_empty_key_is_a_key() -> None:
    assert ids.partition_key("", "Counter") != ids.partition_key(None, "Counter")


def test_new_ids_of_one_key_share_their_partition_key_and_sort_by_time() -> None:
    earlier = ids.new_invocation_id("a", "Counter", ids.ulid_bytes(1_000, b"\xff" * 10))
    later = ids.new_invocation_id("a", "Counter", ids.ulid_bytes(1_001, b"\x00" * 10))
    assert earlier[:8] == later[:8] == ids.partition_key("a", "Counter")
    assert earlier < later
    assert len(earlier) == ids.INVOCATION_ID_SIZE


def test_ulid_wants_all_its_random_bytes() -> None:
    assert ids.ulid_bytes(1, b"0123456789") == b"\x00\x00\x00\x00\x00\x010123456789"
    with pytest.raises(ValueError, match="10 random bytes, got 9"):
        ids.ulid_bytes(1, b"012345678")


def test_random_seed_is_stable_and_fits_64_bits() -> None:
    assert ids.random_seed_of(ID) == ids.random_seed_of(ID) == 0x8DB839AF5B6BF0BC
    assert ids.random_seed_of(ID) != ids.random_seed_of(ID[::-1])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("foo", "bad format"),
        ("", "bad format"),
        ("dp_1" + ID_TEXT[5:], "id doesn't match the expected type"),
        ("inv_", "bad length"),
        ("inv_2" + ID_TEXT[5:], "unrecognized codec version"),
        ("inv_1abc", "bad length"),
        (ID_TEXT + "0", "bad length"),
        (ID_TEXT[:-1] + "-", "'-' is not a base 62 digit"),
        ("inv_1" + "Z" * 33, "number is too large for its place"),
    ],
)
def test_strings_that_are_no_invocation_id(text: str, reason: str) -> None:
    with pytest.raises(ids.InvalidId) as caught:
        ids.invocation_id_from_str(text)
    assert caught.value.reason == str(caught.value) == reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("foo", "bad format"),
        ("prom_1" + AWAKEABLE[6:], "id doesn't match the expected type"),
        ("sign_1" + AWAKEABLE[6:].replace("-", "+"), "bad format"),
        ("sign_1*", "bad format"),
        ("sign_1\u00e9", "bad format"),
        ("sign_1" + AWAKEABLE[10:], "bad length"),
    ],
)
def test_strings_that_are_no_awakeable(text: str, reason: str) -> None:
    with pytest.raises(ids.InvalidId) as caught:
        ids.awakeable_id_parse(text)
    assert caught.value.reason == reason


def test_deployment_id_of_another_length() -> None:
    with pytest.raises(ids.InvalidId, match="bad length"):
        ids.deployment_id_from_str("dp_1abc")


@given(st.binary(min_size=24, max_size=24))
def test_invocation_ids_survive_the_string_form(invocation_id: InvocationId) -> None:
    text = ids.invocation_id_to_str(invocation_id)
    assert len(text) == 38
    assert ids.invocation_id_from_str(text) == invocation_id


@given(st.binary(min_size=16, max_size=16))
def test_deployment_ids_survive_the_string_form(deployment_id: bytes) -> None:
    text = ids.deployment_id_to_str(deployment_id)
    assert len(text) == 26
    assert ids.deployment_id_from_str(text) == deployment_id


@given(st.binary(min_size=24, max_size=24), st.integers(0, 2**32 - 1))
def test_awakeable_ids_survive_the_string_form(invocation_id: InvocationId, signal_index: int) -> None:
    assert ids.awakeable_id_parse(ids.awakeable_id_format(invocation_id, signal_index)) == (invocation_id, signal_index)


@given(st.text())
def test_any_other_text_is_an_invalid_id(text: str) -> None:
    parsers = (ids.invocation_id_from_str, ids.deployment_id_from_str, ids.awakeable_id_parse, ids.question_id_parse)
    for parse in parsers:
        for candidate in (text, "inv_1" + text, "dp_1" + text, "sign_1" + text, "ask_1" + text):
            try:
                parse(candidate)
            except ids.InvalidId as error:
                assert error.reason
