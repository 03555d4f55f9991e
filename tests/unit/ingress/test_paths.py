"""Paths: any text is a route or a refusal. The forms themselves are tested on the wire, in tests/conformance."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.ingress.fake_engine import FakeEngine

from rewake.core.ids import idempotent_invocation_id
from rewake.core.settings import IDEMPOTENCY_KEY_BYTES_MAX, KEY_BYTES_MAX
from rewake.ingress.paths import (
    SLASHES_MAX,
    AwakeableRoute,
    BodyRoute,
    CallRoute,
    HealthRoute,
    ResultRoute,
    Route,
    check_idempotency_key,
    decode_key,
    parse_path,
)
from rewake.ingress.refusals import Refused

SERVICES = FakeEngine().services

WORDS = st.sampled_from(
    ["restate", "call", "send", "scope", "attach", "output", "lookup", "invocation", "workflow", "awakeables", "a"]
    + ["health", "openapi", "Greeter", "Counter", "Flow", "greet", "add", "resolve", "%ff", "%41", "", "k"]
)


@given(st.one_of(st.text(max_size=30), st.lists(WORDS, max_size=9).map("/".join)))
def test_any_path_is_a_route_or_a_refusal(path: str) -> None:
    try:
        assert isinstance(parse_path("/" + path, SERVICES), Route)
    except Refused as refused:
        assert refused.status in (400, 404)
        assert refused.hint


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/Greeter/greet", CallRoute(SERVICES["Greeter"], "greet", None, is_send=False)),
        ("/Greeter/send", CallRoute(SERVICES["Greeter"], "send", None, is_send=False)),
        ("/Greeter/send/send", CallRoute(SERVICES["Greeter"], "send", None, is_send=True)),
        ("/Counter/send/add", CallRoute(SERVICES["Counter"], "add", "send", is_send=False)),
        ("/Counter/a/send/send", CallRoute(SERVICES["Counter"], "send", "a", is_send=True)),
        ("/restate/send/Counter//add", CallRoute(SERVICES["Counter"], "add", "", is_send=True)),
        ("/restate/call/Greeter/send", CallRoute(SERVICES["Greeter"], "send", None, is_send=False)),
        ("/restate/attach/x", ResultRoute(True, "x")),
        ("/restate/invocation/x/output", ResultRoute(False, "x")),
        (
            "/restate/invocation/Counter/%41/add/%41/attach",
            ResultRoute(True, "", idempotent_invocation_id("Counter", "A", "add", "%41")),
        ),
        ("/restate/output", BodyRoute("output")),
        ("/restate/a/x/reject", AwakeableRoute("x", is_resolve=False)),
        ("/restate/health", HealthRoute()),
    ],
)
def test_words_mean_what_their_place_says(path: str, route: Route) -> None:
    assert parse_path(path, SERVICES) == route


def test_a_path_has_only_so_many_parts() -> None:
    parts = "/restate/invocation/Counter/a/add/k/attach"
    assert parts.count("/") == SLASHES_MAX
    assert isinstance(parse_path(parts + "/", SERVICES), ResultRoute)  # one slash at the end is no segment
    with pytest.raises(Refused, match="bad path"):
        parse_path(parts + "/more", SERVICES)


@pytest.mark.parametrize("letter", ["k", "ä", "%C3%A4"])
def test_a_key_is_bounded_in_bytes(letter: str) -> None:
    fits = KEY_BYTES_MAX // (1 if letter == "k" else 2)
    assert len(decode_key(letter * fits).encode()) == KEY_BYTES_MAX
    with pytest.raises(Refused, match=f"more than {KEY_BYTES_MAX} bytes"):
        decode_key(letter * fits + "k")


def test_an_idempotency_key_is_bounded() -> None:
    check_idempotency_key("k" * IDEMPOTENCY_KEY_BYTES_MAX)
    with pytest.raises(Refused, match=f"more than {IDEMPOTENCY_KEY_BYTES_MAX} bytes"):
        check_idempotency_key("k" * (IDEMPOTENCY_KEY_BYTES_MAX + 1))
