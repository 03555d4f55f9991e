"""What is kept and shown of headers that hold secrets."""

from __future__ import annotations

import pytest

from rewake.redaction import HEADERS_DEFAULT, REDACTED, masked, redacted, unmasked

CALL = (("Authorization", "Bearer s3cret"), ("cookie", "id=1"), ("x-team", "claims"), ("x-restate-path", "/a?token=1"))


def test_headers_are_replaced_by_name_in_any_case() -> None:
    assert redacted(CALL, frozenset(HEADERS_DEFAULT)) == (
        ("Authorization", REDACTED),
        ("cookie", REDACTED),
        ("x-team", "claims"),
        ("x-restate-path", "/a?token=1"),
    )
    assert redacted(CALL, frozenset()) == CALL


def test_a_function_sees_what_is_left() -> None:
    """For patterns: what is replaced already does not reach it."""
    seen = []

    def redact(name: str, value: str) -> str:
        seen.append(value)
        return value.partition("?")[0]

    assert redacted(CALL, frozenset({"authorization"}), redact)[3] == ("x-restate-path", "/a")
    assert "Bearer s3cret" not in seen


@pytest.mark.parametrize("name", ["authorization", "X-Api-Key", "x-auth", "cookie", "x-access-token", "Client-Secret"])
def test_names_that_sound_secret_are_masked(name: str) -> None:
    assert masked({name: "s3cret", "x-team": "claims"}) == {name: REDACTED, "x-team": "claims"}


def test_a_masked_value_that_comes_back_changes_nothing() -> None:
    known = {"authorization": "Bearer s3cret"}
    given = {"Authorization": REDACTED, "x-team": "motor"}
    assert unmasked(given, known) == {"Authorization": "Bearer s3cret", "x-team": "motor"}
    assert unmasked({"x-other": REDACTED}, known) == {"x-other": REDACTED}
