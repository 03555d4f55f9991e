"""What errors of providers mean: final or not, and when to try again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from restate import RunOptions, TerminalError
from restate.exceptions import RetryableError

from rewake.ext.kernel.failures import Transient, fate, for_the_engine, retry_after_s
from rewake.ext.kernel.steps import InPlace, divided


class ProviderError(Exception):
    """As client libraries raise them."""

    def __init__(self, status: int, **headers: str) -> None:
        super().__init__(f"status {status}")
        self.status_code = status
        self.response = type(
            "Response", (), {"status_code": status, "headers": {k.replace("_", "-"): v for k, v in headers.items()}}
        )()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refusal_is_final_with_its_status(status: int) -> None:
    found = fate(ProviderError(status))
    assert isinstance(found, TerminalError)
    assert (found.status_code, found.message) == (status, f"ProviderError: status {status}")


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503])
def test_a_passing_trouble_is_not(status: int) -> None:
    assert fate(ProviderError(status)) == Transient()


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_read_where_it_has_a_meaning(status: int) -> None:
    assert fate(ProviderError(status, Retry_After="7")) == Transient(7.0)
    assert fate(ProviderError(500, Retry_After="7")) == Transient()


def test_retry_after_in_each_form() -> None:
    at = datetime.now(UTC) + timedelta(seconds=30)  # noqa: TID251 - a date as a provider sends it
    assert retry_after_s(ProviderError(429, retry_after_ms="250")) == 0.25
    assert retry_after_s(ProviderError(429, Retry_After=format_datetime(at, usegmt=True))) == pytest.approx(30, abs=2)
    assert retry_after_s(ProviderError(429, Retry_After="soon")) is None
    assert retry_after_s(ValueError("no response at all")) is None


def test_a_group_is_final_where_nothing_in_it_may_pass() -> None:
    """Of models that were asked one after the other."""
    refused, busy, down = ProviderError(401), ProviderError(429, Retry_After="7"), ProviderError(503, Retry_After="2")
    found = fate(ExceptionGroup("all", [refused, ProviderError(400)]))
    assert isinstance(found, TerminalError) and found.status_code == 401
    assert fate(ExceptionGroup("all", [refused, busy])) == Transient(7.0)
    assert fate(ExceptionGroup("all", [busy, down])) == Transient(2.0)
    assert fate(ExceptionGroup("all", [busy, ProviderError(500)])) == Transient()


def test_the_engine_hears_the_delay() -> None:
    told = for_the_engine(ProviderError(429, Retry_After="90"))
    assert isinstance(told, RetryableError)
    assert (told.retry_after, told.status_code) == (timedelta(seconds=90), 429)
    plain = ValueError("x")
    assert for_the_engine(plain) is plain


@pytest.mark.parametrize("wanted", range(1, 10))
def test_attempts_in_place_times_those_of_the_engine_are_what_was_asked(wanted: int) -> None:
    options: RunOptions[Any] = RunOptions(max_attempts=wanted)
    engine, in_place = divided(options, InPlace())
    assert engine.max_attempts is not None
    assert engine.max_attempts * in_place.attempts == wanted
