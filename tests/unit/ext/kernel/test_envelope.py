"""The stored form of agents' steps: read for ever, so pinned here byte by byte."""

from __future__ import annotations

import json

import pytest

from rewake.ext.kernel.envelope import Envelope, EnvelopeSerde, EnvelopeUnreadable, decode, encode, fingerprint

FULL = Envelope(
    kind="model",
    framework="openai-agents",
    agent="Medical",
    path=("Boss", "Medical"),
    calls=("call_1",),
    call="call_2",
    tool="file_claim",
    server="files",
    model="gpt-5",
    usage={"requests": 1, "input_tokens": 8},
    request_id="req_7",
    handoff="Billing",
    fingerprint="9f2c61d0a4b7e813",
    attempts=2,
    branch=True,
    value={"text": "grüß"},
)
STORED = (
    '{"rewake":1,"kind":"model","framework":"openai-agents","agent":"Medical","path":["Boss","Medical"],"calls":["call_1"],'
    '"call":"call_2","tool":"file_claim","server":"files","model":"gpt-5","usage":{"requests":1,"input_tokens":8},'
    '"request_id":"req_7","handoff":"Billing","fingerprint":"9f2c61d0a4b7e813","attempts":2,"branch":true,'
    '"value":{"text":"grüß"}}'
)


def test_the_form_of_version_1_is_pinned() -> None:
    assert encode(FULL).decode() == STORED
    assert decode(STORED.encode()) == FULL


def test_what_is_absent_is_left_out() -> None:
    assert (
        encode(Envelope(kind="order", framework="kernel", value=[]))
        == b'{"rewake":1,"kind":"order","framework":"kernel","value":[]}'
    )


def test_unknown_fields_are_passed_over() -> None:
    assert decode(STORED.replace('"rewake":1', '"rewake":1,"colour":"red"').encode()) == FULL


@pytest.mark.parametrize(
    ("stored", "says"),
    [
        (b'{"rewake":2,"kind":"model"}', "versions up to 1"),
        (b'{"output":[]}', "another library"),
        (b'"text"', "another library"),
        (b"text", "no JSON"),
    ],
)
def test_anything_else_is_refused_in_words(stored: bytes, says: str) -> None:
    with pytest.raises(EnvelopeUnreadable, match=says):
        decode(stored)


def test_the_serde_gives_back_what_it_took() -> None:
    serde = EnvelopeSerde()
    assert serde.deserialize(serde.serialize(FULL)) == FULL


def test_fingerprints_are_stored_data() -> None:
    assert fingerprint("file", '{"a": 1}') == "d1158b24aff112c5"
    assert fingerprint({"b": 1, "a": 2}) == fingerprint(json.loads('{"a": 2, "b": 1}'))
    assert fingerprint("ab", "c") != fingerprint("a", "bc")
