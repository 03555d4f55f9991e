"""Secrets that must not be kept or shown: headers of callers in journals, headers of deployments on pages.

A journal is read by operators, backups and whoever gets the disk, and kept for a day at least. So the values of some
headers are replaced before the engine takes a call; the handler sees the replacement too, as it reads the journal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

REDACTED: Final = "[redacted]"

HEADERS_DEFAULT: Final = ("authorization", "proxy-authorization", "cookie", "x-api-key")
"""Headers of callers that are not kept unless `redact-headers` says otherwise."""

_SECRET_NAME: Final = re.compile(r"auth|cookie|token|secret|passw|api-?key|credential|signature", re.IGNORECASE)

Headers = tuple[tuple[str, str], ...]
Redact = Callable[[str, str], str]
"""From the name (lower case) and the value of a header to the value that is kept."""


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
