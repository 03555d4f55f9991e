"""How large a query may be before it is taken apart; what becomes of its tokens is in test_dialect.py."""

from __future__ import annotations

import pytest

from rewake.errors import ErrorCode, RewakeError
from rewake.sql.tokens import NESTING_MAX, TOKENS_MAX, single_statement


@pytest.mark.parametrize(("begin", "end"), [("(", ")"), ("case ", " end")])
def test_a_query_is_nested_only_so_deep(begin: str, end: str) -> None:
    deepest = begin * NESTING_MAX + "1" + end * NESTING_MAX
    assert single_statement(f"select {deepest}")
    with pytest.raises(RewakeError, match="too large") as caught:
        single_statement(f"select {begin}{deepest}{end}")
    assert caught.value.code is ErrorCode.QUERY_INVALID


def test_a_query_has_only_so_many_words() -> None:
    assert len(single_statement("a " * TOKENS_MAX + ";")) == TOKENS_MAX
    with pytest.raises(RewakeError, match="too large"):
        single_statement("a " * (TOKENS_MAX + 1))
