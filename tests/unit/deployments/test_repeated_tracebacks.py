"""repeated_tracebacks: the first of a kind passes, the same again does not, and other records always pass."""

from __future__ import annotations

import logging

from rewake.deployments.repeated_tracebacks import KINDS_MAX, FirstOfItsKind


def record(error: Exception | None) -> logging.LogRecord:
    exc_info = None if error is None else (type(error), error, None)
    return logging.LogRecord("restate.server_context", logging.ERROR, __file__, 1, "failed", None, exc_info)


def test_the_same_error_passes_once_whatever_its_numbers() -> None:
    first = FirstOfItsKind()
    assert first.filter(record(ValueError("no credit for order 17")))
    assert not first.filter(record(ValueError("no credit for order 18")))
    assert first.filter(record(KeyError("no credit for order 17")))
    assert first.filter(record(ValueError("another")))


def test_records_without_a_traceback_always_pass() -> None:
    first = FirstOfItsKind()
    assert first.filter(record(None))
    assert first.filter(record(None))


def test_memory_is_bounded_and_the_oldest_kind_is_printed_again() -> None:
    first = FirstOfItsKind()
    assert first.filter(record(ValueError("oldest")))
    for number in range(KINDS_MAX):
        assert first.filter(record(ValueError("x" * number)))
    assert first.filter(record(ValueError("oldest")))
