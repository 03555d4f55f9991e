"""Secrets that must not be kept or shown: headers of callers in journals, headers of deployments on pages, patterns.

A journal is read by operators, backups and whoever gets the disk, and kept for a day at least. So the values of some
headers, and what the user's patterns match in bodies, are replaced before the engine takes a call; the handler sees
the replacement too, as it reads the journal. disclosure.py hides what stays stored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from rewake.errors import ErrorCode, RewakeError

REDACTED: Final = "[redacted]"

HEADERS_DEFAULT: Final = ("authorization", "proxy-authorization", "cookie", "x-api-key")
"""Headers of callers that are not kept unless `redact-headers` says otherwise."""

_SECRET_NAME: Final = re.compile(r"auth|cookie|token|secret|passw|api-?key|credential|signature", re.IGNORECASE)

Headers = tuple[tuple[str, str], ...]
Redact = Callable[[str, str], str]
"""From the name (lower case) and the value of a header to the value that is kept."""


RedactBody = Callable[[bytes], bytes]
"""From what comes from outside (a call's body, the answer to an awakeable or a promise) to what is kept."""


def by_patterns(patterns: Iterable[str], setting: str) -> Callable[[str], str] | None:
    """Replaces what the regular expressions match; of one with groups, the groups alone. None without any.

    setting: where they are from, for the error. Raises RewakeError RW1004 for what is no expression.
    """
    compiled = [_compiled(pattern, setting) for pattern in patterns]

    def redact(text: str) -> str:
        for pattern in compiled:
            text = pattern.sub(_replaced, text)
        return text

    return redact if compiled else None


def on_bytes(redact: Callable[[str], str] | None) -> RedactBody | None:
    """The same for bytes that may be anything."""
    if redact is None:
        return None
    return lambda body: redact(body.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def _compiled(pattern: str, setting: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        message = f"{setting} has {pattern!r}, which is not a regular expression.\n{error}."
        raise RewakeError(ErrorCode.SETTING_INVALID, message, "Write it as Python's re module takes it.") from error
    if compiled.fullmatch(""):
        message = f"{setting} has {pattern!r}, which matches everywhere."
        raise RewakeError(ErrorCode.SETTING_INVALID, message, "Write one that matches a secret and nothing else.")
    return compiled


def _replaced(match: re.Match[str]) -> str:
    """The text of a match with its groups replaced, or all of it when it has none."""
    spans = sorted({match.span(group) for group in range(1, match.re.groups + 1)} - {(-1, -1)})
    if not spans:
        return REDACTED
    start = match.start()
    text, at, made = match.group(), 0, []
    for low, high in spans:
        if low - start >= at and high > low:
            made += [text[at : low - start], REDACTED]
            at = high - start
    return "".join([*made, text[at:]])


def redacted(headers: Headers, names: frozenset[str], redact: Redact | None = None) -> Headers:
    """The headers with the values of `names` replaced, the others as `redact` gives them."""
    kept = tuple((name, REDACTED if name.lower() in names else value) for name, value in headers)
    return kept if redact is None else tuple((name, redact(name.lower(), value)) for name, value in kept)


def masked(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers for a page or an answer: values under a name that sounds secret are replaced."""
    return {name: REDACTED if _SECRET_NAME.search(name) else value for name, value in headers.items()}


def unmasked(headers: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    """Headers that came back from such a page: what still reads as replaced keeps the value it had."""
    return {name: known.get(name.lower(), value) if value == REDACTED else value for name, value in headers.items()}
