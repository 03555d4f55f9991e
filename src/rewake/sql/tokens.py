"""SQL as tokens: reads and writes them, and finds the operands of an operator.

There is no grammar, only enough structure for rewriting.py and dialect.py to find the parts that they change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from rewake.errors import ErrorCode, RewakeError

_TOKEN: Final = re.compile(
    r"""(?P<space>\s+|--[^\n]*|/\*.*?\*/)
    |(?P<string>'(?:[^']|'')*')
    |(?P<quoted>"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\])
    |(?P<word>[A-Za-z_][A-Za-z_0-9$]*)
    |(?P<number>\d[\w.]*)
    |(?P<sign><>|<=|>=|==|!=|\|\||->>|->|::|.)""",
    re.VERBOSE | re.DOTALL,
)

KEYWORDS: Final = {
    *("all", "and", "as", "asc", "between", "by", "case", "cast", "cross", "desc", "distinct", "else", "end", "except"),
    *("exists", "filter", "from", "full", "glob", "group", "having", "ilike", "in", "inner", "intersect", "into", "is"),
    *("join", "left", "like", "limit", "natural", "not", "null", "nulls", "offset", "on", "or", "order", "outer"),
    *("over", "partition", "right", "select", "then", "union", "using", "values", "when", "where", "window", "with"),
}
"""Words that end an operand or begin another clause, so they are never names here."""

TOKENS_MAX: Final = 50_000
NESTING_MAX: Final = 50
"""Nesting of parentheses and CASE. Rewriting blocks the engine; its time is the product of tokens and nesting."""


class Token(NamedTuple):
    """A word, sign or literal.

    space: the white space before it; it is kept, since the text of an unnamed column becomes its name.
    """

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
    """The tokens of the one statement in `sql`, without its semicolon.

    Raises RW5009 for an empty text or several statements.
    """
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
    _check_size(tokens)
    return tokens


def _check_size(tokens: Sequence[Token]) -> None:
    depth = deepest = 0
    for at in range(len(tokens)):
        depth += is_sign(tokens, at, "(") - is_sign(tokens, at, ")")
        depth += is_word(tokens, at, "case") - is_word(tokens, at, "end")
        deepest = max(deepest, depth)
        if depth < 0:
            break
    if depth:
        raise RewakeError(
            ErrorCode.QUERY_INVALID, "The query's parentheses, or CASE and END, do not match.", reason="syntax"
        )
    if deepest > NESTING_MAX or len(tokens) > TOKENS_MAX:
        raise RewakeError(
            ErrorCode.QUERY_INVALID,
            f"The query is too large: over {TOKENS_MAX:,} words, or nested more than {NESTING_MAX} deep.",
            "Ask in several queries.",
            reason="syntax",
        )


def text_of(tokens: Sequence[Token]) -> str:
    """The tokens as SQL."""
    return "".join(token.space + token.text for token in tokens)


def words_of(tokens: Sequence[Token]) -> frozenset[str]:
    """All names and keywords in lower case, also quoted ones."""
    return frozenset(name_of(token) for token in tokens if is_name(token))


def name_of(token: Token) -> str:
    """A token's name, in lower case and without quotes."""
    return (token.text[1:-1].replace('""', '"') if token.kind == "quoted" else token.text).lower()


def is_name(token: Token) -> bool:
    """Whether it is a word (also a keyword) or a quoted name."""
    return token.kind in ("word", "quoted")


def is_word(tokens: Sequence[Token], at: int, *words: str) -> bool:
    """Whether one of the unquoted `words` is at `at`."""
    return 0 <= at < len(tokens) and tokens[at].kind == "word" and tokens[at].text.lower() in words


def is_sign(tokens: Sequence[Token], at: int, *signs: str) -> bool:
    """Whether one of the `signs` is at `at`."""
    return 0 <= at < len(tokens) and tokens[at].kind == "sign" and tokens[at].text in signs


def call(function: str, *arguments: Sequence[Token], space: str = " ") -> list[Token]:
    """A function call with these arguments."""
    found = [Token("word", function, space), Token("sign", "(", "")]
    for index, argument in enumerate(arguments):
        found += [Token("sign", ",", ""), *argument] if index else argument
    return [*found, Token("sign", ")", "")]


def string(text: str) -> Token:
    """A string literal."""
    return Token("string", "'" + text.replace("'", "''") + "'")


def closing(tokens: Sequence[Token], at: int) -> int:
    """The position that closes the parenthesis at `at`; the end if none does."""
    depth = 0
    for index in range(at, len(tokens)):
        depth += is_sign(tokens, index, "(") - is_sign(tokens, index, ")")
        if depth == 0:
            return index
    return len(tokens)


def operand_end(tokens: Sequence[Token], at: int) -> int:
    """The end of the operand at `at`: literal, name with its table, call or parenthesis; `at` without an operand."""
    if is_sign(tokens, at, "("):
        return min(closing(tokens, at) + 1, len(tokens))
    if at >= len(tokens) or tokens[at].kind == "sign" or is_word(tokens, at, *(KEYWORDS - {"cast", "null"})):
        return at
    end = at + 1
    while is_sign(tokens, end, ".") and end + 1 < len(tokens):
        end += 2
    if is_name(tokens[end - 1]) and is_sign(tokens, end, "("):
        return min(closing(tokens, end) + 1, len(tokens))
    return end


def operand_start(tokens: Sequence[Token], end: int) -> int:
    """The start of the operand before `end`; `end` if there is no operand."""
    at = end - 1
    if is_sign(tokens, at, ")"):
        depth = 0
        while at >= 0:
            depth += is_sign(tokens, at, ")") - is_sign(tokens, at, "(")
            if depth == 0:
                break
            at -= 1
        if at <= 0 or not is_name(tokens[at - 1]) or is_word(tokens, at - 1, *(KEYWORDS - {"cast"})):
            return max(at, 0)
        at -= 1
    elif at < 0 or tokens[at].kind == "sign" or is_word(tokens, at, *(KEYWORDS - {"null"})):
        return end
    while is_sign(tokens, at - 1, ".") and at >= 2:
        at -= 2
    return at


def top_level(tokens: Sequence[Token], start: int = 0) -> Iterator[int]:
    """Positions from `start` outside of parentheses and CASE, up to the end or an outer closing parenthesis."""
    depth = 0
    for at in range(start, len(tokens)):
        if is_sign(tokens, at, "(") or is_word(tokens, at, "case"):
            depth += 1
        elif is_sign(tokens, at, ")") or (depth and is_word(tokens, at, "end")):
            depth -= 1
            if depth < 0:
                return
        elif depth == 0:
            yield at


def split(tokens: Sequence[Token], sign: str) -> list[list[Token]]:
    """The parts between the top-level `sign`s."""
    cuts = [at for at in top_level(tokens) if is_sign(tokens, at, sign)]
    starts, ends = [0, *(cut + 1 for cut in cuts)], [*cuts, len(tokens)]
    return [list(tokens[start:end]) for start, end in zip(starts, ends, strict=True)]
