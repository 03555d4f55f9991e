"""What embedded calls take and give back."""

from __future__ import annotations

from typing import Any

import pytest

from rewake.core import ids
from rewake.core.ids import InvocationId
from rewake.durations import DURATION_MS_MAX
from rewake.engine.results import InvocationFailed, decode_result, encode_body, require_storable
from rewake.errors import ErrorCode, RewakeError
from rewake.protocol.messages import Failure, Success

RUN = InvocationId(bytes(range(24)))


@pytest.mark.parametrize(
    ("body", "encoded"),
    [
        (None, b""),
        (b"raw", b"raw"),
        (bytearray(b"raw"), b"raw"),
        (memoryview(b"raw"), b"raw"),
        ("Ada", b'"Ada"'),
        ({"n": 1}, b'{"n":1}'),
    ],
)
def test_bytes_go_as_they_are_and_all_else_as_json(body: Any, encoded: bytes) -> None:
    assert encode_body(body) == encoded


@pytest.mark.parametrize(("content", "value"), [(b"", None), (b'{"n":1}', {"n": 1}), (b"not JSON", b"not JSON")])
def test_a_result_is_json_or_bytes_or_nothing(content: bytes, value: Any) -> None:
    assert decode_result(RUN, Success(content)) == value


def test_a_failure_is_raised_with_all_it_carries() -> None:
    with pytest.raises(InvocationFailed) as caught:
        decode_result(RUN, Failure(404, "no such claim", (("claim", "17"),)))
    failed = caught.value
    assert (failed.code, failed.message, failed.metadata) == (404, "no such claim", {"claim": "17"})
    assert failed.invocation_id == ids.invocation_id_to_str(RUN)
    assert str(failed) == f"no such claim (code 404, invocation {failed.invocation_id})"


def test_what_can_be_stored_passes() -> None:
    require_storable("ключ", None, 0, DURATION_MS_MAX)


@pytest.mark.parametrize(
    ("value", "why"),
    [("half \ud83d", "lone surrogate"), (-1, "not between 0 and"), (DURATION_MS_MAX + 1, "not between 0 and")],
)
def test_what_cannot_is_refused(value: str | int, why: str) -> None:
    with pytest.raises(RewakeError, match=why) as caught:
        require_storable("fine", value)
    assert caught.value.code is ErrorCode.VALUE_NOT_STORABLE
