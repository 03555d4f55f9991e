"""Durations: every form users may write, and the two forms printed."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewake.durations import TEXT_CHARS_MAX, DurationError, format_duration, format_iso_duration, parse_duration_ms


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("3s", 3_000),
        ("10ms", 10),
        ("1h 30m", 5_400_000),
        ("1h30m", 5_400_000),
        ("1 hour 2m", 3_720_000),
        ("2days", 172_800_000),
        ("5 hours", 18_000_000),
        ("1 hour, 2 minutes", 3_720_000),
        ("1.5s", 1_500),
        ("1,5 s", 1_500),
        ("1500us", 1),
        ("1500 \u00b5s", 1),
        ("999ns", 0),
        ("+3s", 3_000),
        ("0s", 0),
        ("-0s", 0),
        ("00:00:01", 1_000),
        ("01:02:03.5", 3_723_500),
        ("PT3S", 3_000),
        ("P1D", 86_400_000),
        ("P1DT2H3M4.5S", 93_784_500),
        ("pt0.01s", 10),
        ("PT1.5H", 5_400_000),
        ("PT0S", 0),
    ],
)
def test_every_form_is_read(text: str, expected_ms: int) -> None:
    assert parse_duration_ms(text) == expected_ms


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "an empty string is not a valid duration"),
        ("  ", "an empty string is not a valid duration"),
        ("abc", "no number was found"),
        ("100", "expected a unit"),
        ("3 parsecs", "'parsecs' is no unit of time"),
        ("3s 4", "expected a unit"),
        ("-1s", "negative durations are not allowed"),
        ("1s ago", "negative durations are not allowed"),
        ("1mo", "please use units of days or smaller"),
        ("2 weeks", "please use units of days or smaller"),
        ("P1Y", "please use units of days or smaller"),
        ("P2W", "please use units of days or smaller"),
        ("PT", "no time units after it"),
        ("P", "but is not one"),
        ("P1H", "but is not one"),
        ("9" * 40 + "d", "the duration is too long"),
    ],
)
def test_what_is_no_duration_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(DurationError, match=reason):
        parse_duration_ms(text)


def test_a_bare_number_is_milliseconds_only_when_asked_for() -> None:
    assert parse_duration_ms("100", bare_is_ms=True) == 100
    with pytest.raises(DurationError):
        parse_duration_ms("-100", bare_is_ms=True)
    with pytest.raises(DurationError):
        parse_duration_ms("\u0661\u0662", bare_is_ms=True)


@pytest.mark.parametrize(
    ("duration_ms", "compact", "iso"),
    [
        (0, "0s", "P0D"),
        (2, "2ms", "PT0.002S"),
        (500, "500ms", "PT0.5S"),
        (30_000, "30s", "PT30S"),
        (60_000, "1m", "PT60S"),
        (3_720_000, "1h 2m", "PT3720S"),
        (93_600_000, "1d 2h", "PT93600S"),
        (86_400_000, "1d", "PT86400S"),
    ],
)
def test_both_printed_forms(duration_ms: int, compact: str, iso: str) -> None:
    assert format_duration(duration_ms) == compact
    assert format_iso_duration(duration_ms) == iso


@given(st.integers(min_value=0, max_value=10**15))
def test_what_is_printed_is_read_back(duration_ms: int) -> None:
    assert parse_duration_ms(format_duration(duration_ms)) == duration_ms
    assert parse_duration_ms(format_iso_duration(duration_ms)) == duration_ms


@given(st.text(max_size=20))
def test_garbage_is_refused_not_fatal(text: str) -> None:
    with contextlib.suppress(DurationError):
        assert parse_duration_ms(text) >= 0


def test_a_text_beyond_all_reason_is_no_duration() -> None:
    for text in ("9" * 5_000, "9" * 5_000 + "s", "9" * 5_000 + ":00:00", "1s" * TEXT_CHARS_MAX):
        with pytest.raises(DurationError, match="characters"):
            parse_duration_ms(text, bare_is_ms=True)
