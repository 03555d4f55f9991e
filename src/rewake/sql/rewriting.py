"""Rewrites an operator's SQL: ids by primary key, `index` as a name, SHOW and DESCRIBE.

A view shows an invocation id as text, without an index, and has the raw id in a column `__id`. So a comparison of `id`
with an id, a list of ids or another `id` becomes one of `__id`. It works on tokens, without a grammar; unknown parts
stay as written. Called by query.py.
"""

from __future__ import annotations

from typing import Final

from rewake.core.ids import InvalidId, invocation_id_from_str
from rewake.sql.tokens import Token, name_of, tokens_of

RAW_ID: Final = "__id"
"""The column of raw ids, left out of every result; see views.py."""

_SCHEMA_PREFIX: Final = ("restate", "public")


def adapted(tokens: list[Token]) -> list[Token]:
    """Rewrite SHOW TABLES, DESCRIBE, schema prefixes, and `index` as a column."""
    words = [token.text.lower() for token in tokens]
    if words == ["show", "tables"]:
        return tokens_of("select * from information_schema.tables order by table_schema desc, table_name")
    if len(words) == 2 and words[0] in ("describe", "desc"):
        name = name_of(tokens[1]).replace("'", "''")
        return tokens_of(
            "select column_name, data_type, is_nullable from information_schema.columns "
            f"where table_name = '{name}' order by ordinal_position"
        )
    found = _without_prefixes(tokens)
    return [Token("quoted", '"index"', token.space) if _is_index(token) else token for token in found]


def by_raw_id(tokens: list[Token]) -> list[Token]:
    """Rewrite comparisons of `id` with ids into comparisons of raw ids."""
    result: list[Token] = []
    at = 0
    while at < len(tokens):
        step = _raw_equality(tokens, at) or _raw_list(tokens, at)
        if step is None:
            result.append(tokens[at])
            at += 1
        else:
            result += step[0]
            at += step[1]
    return result


def _raw_equality(tokens: list[Token], at: int) -> tuple[list[Token], int] | None:
    """`id = 'inv_1...'`, `'inv_1...' = id`, `a.id = b.id`, each side possibly with its table."""
    left = _id_operand(tokens, at)
    if left is None or at + left[1] >= len(tokens) or tokens[at + left[1]].text not in ("=", "=="):
        return None
    right = _id_operand(tokens, at + left[1] + 1)
    if right is None or (left[2] and right[2]):
        return None
    return [*left[0], Token("sign", "="), *right[0]], left[1] + 1 + right[1]


def _raw_list(tokens: list[Token], at: int) -> tuple[list[Token], int] | None:
    """`id in ('inv_1...', ...)`."""
    left = _id_operand(tokens, at)
    if (
        left is None
        or left[2]
        or [token.text.lower() for token in tokens[at + left[1] : at + left[1] + 2]] != ["in", "("]
    ):
        return None
    end = at + left[1] + 2
    items = []
    while end < len(tokens) and tokens[end].text != ")":
        literal = _id_literal(tokens[end])
        if literal is None and tokens[end].text != ",":
            return None
        items.append(literal or tokens[end])
        end += 1
    return [*left[0], Token("word", "in"), Token("sign", "("), *items, Token("sign", ")")], end + 1 - at


def _id_operand(tokens: list[Token], at: int) -> tuple[list[Token], int, bool] | None:
    """The raw form of an `id` column or an id literal at `at`, its length in tokens, and whether it is a literal."""
    if at >= len(tokens):
        return None
    if at > 0 and tokens[at - 1].text == ".":
        return None
    literal = _id_literal(tokens[at])
    if literal is not None:
        return [literal], 1, True
    if _is_id(tokens[at]) and (at + 1 == len(tokens) or tokens[at + 1].text not in (".", "(")):
        return [Token("word", RAW_ID)], 1, False
    has_table = at + 2 < len(tokens) and tokens[at + 1].text == "." and tokens[at].kind in ("word", "quoted")
    if has_table and _is_id(tokens[at + 2]):
        return [tokens[at], tokens[at + 1], Token("word", RAW_ID, "")], 3, False
    return None


def _id_literal(token: Token) -> Token | None:
    if token.kind != "string" or not token.text.startswith("'inv_"):
        return None
    try:
        return Token("number", f"x'{invocation_id_from_str(token.text[1:-1]).hex()}'")
    except InvalidId:
        return None


def _without_prefixes(tokens: list[Token]) -> list[Token]:
    """Tables without the catalog and schema of the real server."""
    result: list[Token] = []
    at = 0
    while at < len(tokens):
        first = at
        while name_of(tokens[at]) in _SCHEMA_PREFIX and at + 2 < len(tokens) and tokens[at + 1].text == ".":
            at += 2
        result.append(tokens[at]._replace(space=tokens[first].space))
        at += 1
    return result


def _is_id(token: Token) -> bool:
    return token.kind in ("word", "quoted") and name_of(token) == "id"


def _is_index(token: Token) -> bool:
    return token.kind == "word" and token.text.lower() == "index"
