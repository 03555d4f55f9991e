"""Rewriting an operator's SQL into ours: ids by primary key, `index` as a name, one statement only.

A view shows an invocation id as text, which no index knows, but carries the raw id in a column of its own, `__id`.
So a comparison of `id` with an id, a list of ids or another `id` is turned into one of `__id`. Works on tokens, not on
a grammar: what it does not recognise stays as it was written. Called by query.py.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from rewake.core.ids import InvalidId, invocation_id_from_str
from rewake.errors import ErrorCode, RewakeError

RAW_ID: Final = "__id"
"""Left out of every result; see views.py."""

_TOKEN: Final = re.compile(
    r"""(?P<space>\s+|--[^\n]*|/\*.*?\*/)
    |(?P<string>'(?:[^']|'')*')
    |(?P<quoted>"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\])
    |(?P<word>[A-Za-z_][A-Za-z_0-9$]*)
    |(?P<number>\d[\w.]*)
    |(?P<sign><>|<=|>=|==|!=|\|\||->>|->|.)""",
    re.VERBOSE | re.DOTALL,
)
_SCHEMA_PREFIX: Final = ("restate", "public")


class Token(NamedTuple):
    """A word, sign or literal. space: what stood before it; kept, since unnamed columns are named by their text."""

    kind: str
    text: str
    space: str = " "


def tokens_of(sql: str) -> list[Token]:
    """All tokens; a comment counts as a space."""
    found: list[Token] = []
    space = ""
    for match in _TOKEN.finditer(sql):
        if match.lastgroup == "space":
            space += match.group() if match.group().isspace() else " "
        else:
            found.append(Token(match.lastgroup or "", match.group(), space))
            space = ""
    return found


def single_statement(sql: str) -> list[Token]:
    """The tokens of the one statement in `sql`, without its semicolon. Raises RW5009 for none or several."""
    tokens = tokens_of(sql)
    while tokens and tokens[-1].text == ";":
        tokens.pop()
    if not tokens:
        raise RewakeError(ErrorCode.QUERY_INVALID, "The query is empty.", reason="empty")
    if any(token.text == ";" for token in tokens):
        raise RewakeError(
            ErrorCode.QUERY_INVALID,
            "The query has several statements.",
            "Send them one by one.",
            reason="several_statements",
        )
    return tokens


def words_of(tokens: list[Token]) -> frozenset[str]:
    """All names and keywords in lower case, quoted ones included."""
    return frozenset(_name(token) for token in tokens if token.kind in ("word", "quoted"))


def null_checks(tokens: list[Token]) -> frozenset[str]:
    """Names given to `... is [not] null as name`: booleans, of which SQLite only tells 0 and 1."""
    words = [token.text.lower() for token in tokens]
    return frozenset(
        (tokens[at + 2].text.strip('"'))
        for at in range(len(tokens) - 2)
        if words[at] == "null" and words[at + 1] == "as" and words[at - 1] in ("is", "not")
    )


def adapted(tokens: list[Token]) -> list[Token]:
    """The dialect of the real server in ours: SHOW TABLES, DESCRIBE, schema prefixes, `index` as a column."""
    words = [token.text.lower() for token in tokens]
    if words == ["show", "tables"]:
        return tokens_of("select table_schema, table_name, table_type from information_schema.tables order by 2")
    if len(words) == 2 and words[0] in ("describe", "desc"):
        name = _name(tokens[1]).replace("'", "''")
        return tokens_of(
            "select column_name, data_type, is_nullable from information_schema.columns "
            f"where table_name = '{name}' order by ordinal_position"
        )
    found = _without_prefixes(tokens)
    return [Token("quoted", '"index"', token.space) if _is_index(token) else token for token in found]


def by_raw_id(tokens: list[Token]) -> list[Token]:
    """Comparisons of `id` with ids turned into comparisons of the raw id."""
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


def text_of(tokens: list[Token]) -> str:
    """SQL again."""
    return "".join(token.space + token.text for token in tokens)


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
        while _name(tokens[at]) in _SCHEMA_PREFIX and at + 2 < len(tokens) and tokens[at + 1].text == ".":
            at += 2
        result.append(tokens[at]._replace(space=tokens[first].space))
        at += 1
    return result


def _is_id(token: Token) -> bool:
    return token.kind in ("word", "quoted") and _name(token) == "id"


def _is_index(token: Token) -> bool:
    return token.kind == "word" and token.text.lower() == "index"


def _name(token: Token) -> str:
    return (token.text[1:-1] if token.kind == "quoted" else token.text).lower()
