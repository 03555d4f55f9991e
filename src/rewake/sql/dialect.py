"""Translates the public server's SQL dialect to SQLite's: intervals, timestamps, casts, unnamed subqueries, ILIKE.

A timestamp is text in one fixed form and a duration is milliseconds, so both compare and sort directly. Operations that
SQLite would do wrongly become calls of functions.py. An invalid INTERVAL is an error of the query; any other unknown
part stays as written. Called by query.py, before the rewriting of ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rewake.durations import DurationError, parse_duration_ms
from rewake.errors import ErrorCode, RewakeError
from rewake.sql.catalog import ColumnType
from rewake.sql.column_types import INTERVAL, MOMENT, Kinds, column_kinds, kind_of
from rewake.sql.functions import timestamp_text
from rewake.sql.tokens import (
    KEYWORDS,
    Token,
    call,
    closing,
    is_name,
    is_sign,
    is_word,
    name_of,
    operand_end,
    operand_start,
    top_level,
)

_UNITS: Final = (
    *("day", "days", "hour", "hours", "microsecond", "microseconds", "millisecond", "milliseconds"),
    *("minute", "minutes", "second", "seconds"),
)
_TIMESTAMP_TYPES: Final = ("timestamp", "timestamptz")
_COMPARISONS: Final = ("=", "==", "!=", "<>", "<", ">", "<=", ">=")


def translated(tokens: Sequence[Token]) -> tuple[list[Token], Kinds]:
    """The statement in SQLite's dialect, and the known types of its columns."""
    found = _named_subqueries(_literals(tokens))
    kinds = column_kinds(found)
    return _operations(found, kinds), kinds


# Literals and casts


def _literals(tokens: Sequence[Token]) -> list[Token]:
    """INTERVAL '...' as milliseconds, TIMESTAMP '...' as text of our form, casts to a timestamp as calls."""
    result: list[Token] = []
    at = 0
    while at < len(tokens):
        token = tokens[at]
        is_typed = at + 1 < len(tokens) and tokens[at + 1].kind == "string"
        if is_typed and is_word(tokens, at, "interval"):
            has_unit = is_word(tokens, at + 2, *_UNITS)
            text = tokens[at + 1].text[1:-1] + (f" {tokens[at + 2].text}" if has_unit else "")
            result.append(Token(INTERVAL, str(_interval_ms(text)), token.space))
            at += 2 + has_unit
        elif is_typed and is_word(tokens, at, "timestamp"):
            result.append(_moment(tokens[at + 1]) or tokens[at + 1]._replace(kind=MOMENT))
            at += 2
        elif is_sign(tokens, at, "::") and at + 1 < len(tokens):
            start = operand_start(result, len(result))
            result[start:] = _cast(result[start:], tokens[at + 1 : at + 2])
            at += 2
        elif is_word(tokens, at, "cast") and is_sign(tokens, at + 1, "("):
            end = closing(tokens, at + 1)
            inside = _literals(tokens[at + 2 : end])
            cut = next((index for index in top_level(inside) if is_word(inside, index, "as")), len(inside))
            result += _cast(inside[:cut], inside[cut + 1 :], token.space)
            at = end + 1
        else:
            result.append(token)
            at += 1
    return result


def _cast(value: list[Token], type_: Sequence[Token], space: str = " ") -> list[Token]:
    if is_word(type_, 0, *_TIMESTAMP_TYPES):
        return call("to_timestamp", value, space=space)
    return call("cast", [*value, Token("word", "as"), *(token._replace(space=" ") for token in type_)], space=space)


def _interval_ms(text: str) -> int:
    is_negative = text.strip().startswith("-")
    try:
        amount_ms = parse_duration_ms(text.strip().removeprefix("-"))
    except DurationError as error:
        raise RewakeError(
            ErrorCode.QUERY_INVALID, f"The interval {text[:100]!r} cannot be read: {error}.", reason="syntax"
        ) from None
    return -amount_ms if is_negative else amount_ms


def _moment(token: Token) -> Token | None:
    """A string literal that is a timestamp, in the form of our columns; None for any other token."""
    text = timestamp_text(token.text[1:-1]) if token.kind == "string" else None
    return None if text is None else Token(MOMENT, f"'{text}'", token.space)


# Subqueries


def _named_subqueries(tokens: Sequence[Token]) -> list[Token]:
    """Name an unnamed subquery: the public server calls `from (select ... from t a)` `a` outside."""
    result = list(tokens)
    for at in reversed(range(len(tokens))):
        if not is_word(tokens, at, "from", "join") or not is_sign(tokens, at + 1, "("):
            continue
        end = closing(tokens, at + 1)
        has_name = end + 1 < len(tokens) and (
            is_word(tokens, end + 1, "as") or (is_name(tokens[end + 1]) and name_of(tokens[end + 1]) not in KEYWORDS)
        )
        inner = None if has_name else _table_name(tokens[at + 2 : end])
        if inner is not None:
            result.insert(end + 1, inner._replace(space=" "))
    return result


def _table_name(select: Sequence[Token]) -> Token | None:
    """The name a SELECT gives to the first table it reads."""
    at = next((at for at in top_level(select) if is_word(select, at, "from")), None)
    end = len(select) if at is None else operand_end(select, at + 1)
    name_at = end + is_word(select, end, "as")
    if name_at < len(select) and is_name(select[name_at]) and name_of(select[name_at]) not in KEYWORDS:
        return select[name_at]
    return select[end - 1] if at is not None and is_name(select[end - 1]) else None


# Operations


def _operations(tokens: Sequence[Token], kinds: Kinds) -> list[Token]:
    """Arithmetic and comparisons of timestamps, and ILIKE."""
    result: list[Token] = []
    at = 0
    while at < len(tokens):
        end = (
            _arithmetic(tokens, at, result, kinds)
            or _comparison(tokens, at, result, kinds)
            or _ilike(tokens, at, result, kinds)
        )
        if end:
            at = end
        else:
            result.append(tokens[at])
            at += 1
    return result


def _arithmetic(tokens: Sequence[Token], at: int, result: list[Token], kinds: Kinds) -> int:
    """`moment + interval`, `moment - interval`, `moment - moment`. Changes the end of `result`; next place, or 0."""
    if not is_sign(tokens, at, "+", "-"):
        return 0
    start, end = operand_start(result, len(result)), operand_end(tokens, at + 1)
    left, sign = result[start:], tokens[at]
    left_type = kind_of(left, kinds)
    if left_type not in (ColumnType.TIMESTAMP, ColumnType.DURATION) or end == at + 1:
        return 0
    right, space = _operations(tokens[at + 1 : end], kinds), left[0].space
    types = left_type, kind_of(right, kinds)
    if types == (ColumnType.TIMESTAMP, ColumnType.DURATION):
        result[start:] = call("shifted", left, [sign, *right], space=space)
    elif types == (ColumnType.DURATION, ColumnType.TIMESTAMP) and sign.text == "+":
        result[start:] = call("shifted", right, left, space=space)
    elif types == (ColumnType.TIMESTAMP, ColumnType.TIMESTAMP) and sign.text == "-":
        result[start:] = call("milliseconds_between", left, right, space=space)
    else:
        result += [sign, *right]
    return end


def _comparison(tokens: Sequence[Token], at: int, result: list[Token], kinds: Kinds) -> int:
    """A timestamp compared with a literal in any form. Returns like _arithmetic."""
    is_between = is_word(tokens, at, "between")
    if not is_between and not is_sign(tokens, at, *_COMPARISONS):
        return 0
    before = len(result) - (is_between and is_word(result, len(result) - 1, "not"))
    start, end = operand_start(result, before), operand_end(tokens, at + 1)
    left, right = result[start:before], tokens[at + 1 : end]
    if kind_of(left, kinds) is ColumnType.TIMESTAMP and len(right) == 1:
        literal = _moment(right[0])
        if literal is None:
            return 0
        result += [tokens[at], literal]
        if is_between and is_word(tokens, end, "and") and end + 1 < len(tokens):
            result += [tokens[end], _moment(tokens[end + 1]) or tokens[end + 1]]
            end += 2
        return end
    if len(left) == 1 and not is_between and kind_of(right, kinds) is ColumnType.TIMESTAMP:
        result[start:] = [_moment(left[0]) or left[0]]
    return 0


def _ilike(tokens: Sequence[Token], at: int, result: list[Token], kinds: Kinds) -> int:
    """ILIKE compares both sides in lower case; LIKE is case-sensitive here. Returns like _arithmetic."""
    if not is_word(tokens, at, "ilike"):
        return 0
    negation = [result.pop()] if is_word(result, len(result) - 1, "not") else []
    start, end = operand_start(result, len(result)), operand_end(tokens, at + 1)
    left = result[start:]
    if not left or end == at + 1:
        result += negation
        return 0
    right = _operations(tokens[at + 1 : end], kinds)
    result[start:] = [*call("lower", left), *negation, Token("word", "like"), *call("lower", right)]
    return end
