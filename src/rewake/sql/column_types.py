"""Names and types of the columns of a SELECT, from its text.

SQLite has no booleans, timestamps or durations, and no type for a computed column. So types are followed through
`expression as name` in every SELECT of a statement; all other types come from the values (query.py). This file also
names the unnamed columns like the public server, before rewriting changes their text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from rewake.sql.catalog import TABLES, ColumnType
from rewake.sql.tokens import (
    KEYWORDS,
    Token,
    closing,
    is_name,
    is_sign,
    is_word,
    name_of,
    operand_end,
    split,
    text_of,
    top_level,
    words_of,
)

INTERVAL: Final = "interval"
"""Kind of the tokens that replace an INTERVAL: milliseconds."""

MOMENT: Final = "moment"
"""Kind of literals that are a timestamp."""

Kinds = Mapping[str, ColumnType | None]
"""Type by column name; None if it depends on the values."""

_LIKE_THEIR_ARGUMENT: Final = {
    *(
        "any_value",
        "coalesce",
        "first_value",
        "ifnull",
        "lag",
        "last_value",
        "lead",
        "max",
        "min",
        "nth_value",
        "nullif",
    )
}
_TIMESTAMPS: Final = {
    *("date_bin", "date_trunc", "now", "shifted", "to_timestamp", "to_timestamp_millis", "to_timestamp_seconds")
}
_SELECT_ENDS: Final = ("except", "from", "group", "having", "intersect", "limit", "order", "union", "where")
_COMPARISONS: Final = ("=", "==", "!=", "<>", "<", ">", "<=", ">=")
_LOGIC: Final = ("and", "between", "exists", "ilike", "in", "is", "like", "not", "or")


def column_kinds(tokens: Sequence[Token]) -> Kinds:
    """Types of the columns of all mentioned tables, and of all names after AS."""
    kinds: dict[str, ColumnType | None] = {}
    words = words_of(tokens)
    for table in reversed(TABLES):
        if table in words:
            kinds.update(TABLES[table])
    items = [item for select in _selects(tokens) for item in _items(tokens, select)]
    named = [(expression, name) for expression, name in map(_named, items) if name is not None]
    for expression, name in reversed(named):  # inner expressions come after the outer ones that use them
        kinds[name] = kind_of(expression, kinds)
    return kinds


def with_names(tokens: Sequence[Token]) -> list[Token]:
    """The statement with names for the unnamed columns of its result."""
    select = next(_selects(tokens, 0), None)
    if select is None:
        return list(tokens)
    at = select + 2 if is_word(tokens, select + 1, "all", "distinct") else select + 1
    result = list(tokens[:at])
    for item in _items(tokens, select):
        at += len(item)
        result += item
        if item and _named(item)[1] is None and not is_sign(item, len(item) - 1, "*") and not _is_path(item):
            result += [Token("word", "as"), Token("quoted", '"' + _public_name(item).replace('"', '""') + '"')]
        if is_sign(tokens, at, ","):
            result.append(tokens[at])
            at += 1
    return result + list(tokens[at:])


def kind_of(expression: Sequence[Token], kinds: Kinds) -> ColumnType | None:
    """The type of an expression, or None."""
    while is_sign(expression, 0, "(") and closing(expression, 0) == len(expression) - 1:
        expression = expression[1:-1]
    if not expression:
        return None
    first = expression[0]
    if _is_boolean(expression):
        return ColumnType.BOOLEAN
    if is_word(expression, 0, "case"):
        return _kind_of_case(expression, kinds)
    signs = [at for at in top_level(expression) if at and is_sign(expression, at, "+", "-")]
    if signs:
        return _kind_of_sum(expression, signs, kinds)
    if len(expression) == 1 and first.kind in (INTERVAL, MOMENT):
        return ColumnType.DURATION if first.kind == INTERVAL else ColumnType.TIMESTAMP
    if _is_path(expression):
        return kinds.get(name_of(expression[-1]))
    end = operand_end(expression, 0)
    if is_sign(expression, 1, "(") and (end == len(expression) or is_word(expression, end, "filter", "over")):
        return _kind_of_call(name_of(first), expression[2 : end - 1], kinds)
    return None


def _is_boolean(expression: Sequence[Token]) -> bool:
    if len(expression) == 1:
        return is_word(expression, 0, "true", "false")
    outside = list(top_level(expression))
    return any(is_sign(expression, at, *_COMPARISONS) or is_word(expression, at, *_LOGIC) for at in outside)


def _kind_of_case(expression: Sequence[Token], kinds: Kinds) -> ColumnType | None:
    """The type of the first THEN."""
    words = [at for at in top_level(expression[1:-1]) if is_word(expression, at + 1, "then", "when", "else")]
    starts = [at + 2 for at in words if is_word(expression, at + 1, "then")]
    if not starts:
        return None
    end = next((at + 1 for at in words if at + 1 > starts[0]), len(expression) - 1)
    return kind_of(expression[starts[0] : end], kinds)


def _kind_of_sum(expression: Sequence[Token], signs: list[int], kinds: Kinds) -> ColumnType | None:
    """The type of a sum, from its terms, left to right."""
    starts, ends = [0, *(at + 1 for at in signs)], [*signs, len(expression)]
    terms = [kind_of(expression[start:end], kinds) for start, end in zip(starts, ends, strict=True)]
    total = terms[0]
    for term in terms[1:]:
        if ColumnType.TIMESTAMP in (total, term):
            total = ColumnType.DURATION if total is term else ColumnType.TIMESTAMP
        else:
            total = ColumnType.DURATION if ColumnType.DURATION in (total, term) else None
    return total


def _kind_of_call(function: str, arguments: Sequence[Token], kinds: Kinds) -> ColumnType | None:
    if function in _TIMESTAMPS:
        return ColumnType.TIMESTAMP
    if function == "milliseconds_between":
        return ColumnType.DURATION
    if function == "cast":
        return ColumnType.BOOLEAN if is_word(arguments, len(arguments) - 1, "boolean") else None
    argument = split(arguments, ",")[0]
    if is_word(argument, 0, "distinct"):
        argument = argument[1:]
    order = next((at for at in top_level(argument) if is_word(argument, at, "order")), len(argument))
    kind = kind_of(argument[:order], kinds)
    if function in _LIKE_THEIR_ARGUMENT or (function in ("avg", "sum") and kind is ColumnType.DURATION):
        return kind
    return None


# The columns of a SELECT


def _selects(tokens: Sequence[Token], depth: int | None = None) -> Iterator[int]:
    """Positions of all SELECTs; with `depth`, only of those at that depth of parentheses."""
    now = 0
    for at in range(len(tokens)):
        now += is_sign(tokens, at, "(") - is_sign(tokens, at, ")")
        if is_word(tokens, at, "select") and depth in (None, now):
            yield at


def _items(tokens: Sequence[Token], select: int) -> list[list[Token]]:
    """The result columns of the SELECT at this position, each as written."""
    start = select + 2 if is_word(tokens, select + 1, "all", "distinct") else select + 1
    depth = 0
    for end in range(start, len(tokens)):
        depth += is_sign(tokens, end, "(") - is_sign(tokens, end, ")")
        if depth < 0 or (
            depth == 0 and is_word(tokens, end, *_SELECT_ENDS) and not is_word(tokens, end - 1, "distinct")
        ):
            return split(tokens[start:end], ",")
    return split(tokens[start:], ",")


def _named(item: list[Token]) -> tuple[list[Token], str | None]:
    """Expression and name of a result column; None if the query does not name it."""
    if len(item) >= 3 and is_word(item, len(item) - 2, "as") and is_name(item[-1]):
        return item[:-2], name_of(item[-1])
    if len(item) >= 2 and is_name(item[-1]) and not is_word(item, len(item) - 1, *KEYWORDS):
        is_value = item[-2].kind != "sign" and not is_word(item, len(item) - 2, *(KEYWORDS - {"end", "null"}))
        if is_value or is_sign(item, len(item) - 2, ")"):
            return item[:-1], name_of(item[-1])
    return item, None


def _is_path(item: Sequence[Token]) -> bool:
    """A column, possibly with its table."""
    odd = all(is_name(token) for token in item[::2])
    return len(item) % 2 == 1 and odd and all(token.text == "." for token in item[1::2])


def _public_name(item: Sequence[Token]) -> str:
    """The name of an unnamed column: its text, literals with their types, functions in lower case."""
    parts = []
    for at, token in enumerate(item):
        if token.kind == "number":
            text = f"Int64({token.text})" if token.text.isdigit() else f"Float64({token.text})"
        elif token.kind == "string":
            text = 'Utf8("' + token.text[1:-1].replace("''", "'") + '")'
        else:
            text = token.text.lower() if is_sign(item, at + 1, "(") else token.text
        parts.append(Token(token.kind, text, token.space))
    return text_of(parts).strip()
