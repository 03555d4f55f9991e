"""The signatures that the SDK is given say the same as those of `inspect`, and functions are looked at once."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

import pytest
import restate  # noqa: F401  # loads the seam

from rewake.deployments.signatures import remember_signatures, signature


def in_strings(number: int) -> list[int]:
    return [number]


def made_with(result: Any) -> Callable[[], Any]:
    """A function whose annotation is an object, as in a module without the import of annotations."""

    def made() -> Any:
        return None

    made.__annotations__ = {"return": result}
    return made


def unannotated():  # type: ignore[no-untyped-def]  # noqa: ANN201
    return 1


@functools.wraps(in_strings)
def wrapping(*args: Any, **kwargs: Any) -> Any:
    return in_strings(*args, **kwargs)


class Desk:
    def answer(self) -> str:
        return ""


ACTIONS = [in_strings, made_with(dict[str, int]), made_with(None), unannotated, wrapping, Desk().answer, Desk,
           functools.partial(in_strings, 1), lambda: 1]  # fmt: skip


@pytest.mark.parametrize("action", ACTIONS, ids=range(len(ACTIONS)))
def test_it_says_what_inspect_says(action: Any) -> None:
    expected = inspect.signature(action, eval_str=True)
    found = signature(action, eval_str=True)
    assert found.return_annotation == expected.return_annotation
    assert list(found.parameters) == list(expected.parameters)


def test_a_function_with_strings_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def step() -> int:
        return 1

    step.__annotations__ = {"return": "int"}
    assert signature(step, eval_str=True).return_annotation is int
    monkeypatch.setattr(inspect, "signature", None)
    assert signature(step, eval_str=True).return_annotation is int


def test_a_name_that_cannot_be_found_raises_as_before() -> None:
    def step() -> int:
        return 1

    step.__annotations__ = {"return": "Missing"}
    with pytest.raises(NameError):
        signature(step, eval_str=True)


def test_the_sdk_asks_here_and_nobody_else_does() -> None:
    remember_signatures()
    remember_signatures()
    sdk: Any = sys.modules["restate.server_context"]
    assert sdk.inspect.signature is signature
    assert sdk.inspect.iscoroutinefunction is inspect.iscoroutinefunction
    assert inspect.signature is not signature
