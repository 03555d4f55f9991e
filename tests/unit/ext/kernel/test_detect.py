"""Tools whose code shows that they use the context, and those that do not."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import restate

from rewake.ext.kernel import restate_context, uses_context


async def by_name() -> str:
    return str(restate_context().request().id)


async def by_a_helper() -> str:
    return await by_name()


async def in_a_comprehension() -> Any:
    return [restate_context() for _ in range(1)]


async def plain(order: str) -> str:
    return order.upper()


def closes_over(ctx: restate.Context | None) -> Callable[[], Any]:
    async def tool() -> Any:
        return ctx

    return tool


_CONTEXT = type("SomeContext", (restate.Context,), dict.fromkeys(restate.Context.__abstractmethods__))


@pytest.mark.parametrize(
    "tool", [by_name, by_a_helper, in_a_comprehension, functools.partial(by_name), closes_over(_CONTEXT())]
)
def test_a_tool_that_shows_it(tool: Callable[..., Any]) -> None:
    assert uses_context(tool)


@pytest.mark.parametrize("tool", [plain, closes_over(None), len, functools.partial(plain, "x")])
def test_a_plain_tool(tool: Callable[..., Any]) -> None:
    assert not uses_context(tool)
