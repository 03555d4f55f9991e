"""Sign-ins: cookies of people who entered a token on a page. Kept in memory, so a restart signs everybody out."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from typing import Final

from rewake.access.tokens import Token

COOKIE: Final = "rewake_session"
SIGN_IN_S: Final = 12 * 3600.0
"""How long a sign-in lasts."""

SIGN_INS_MAX: Final = 1_000
"""A further one signs out the oldest."""


class SignIns:
    """Cookies with their tokens. find: gives the token with a digest, if it is still valid."""

    def __init__(self, find: Callable[[str], Token | None]) -> None:
        self._find = find
        self._by_cookie: dict[str, tuple[str, float]] = {}

    def begin(self, token: Token) -> str:
        """The value of a new cookie."""
        if len(self._by_cookie) >= SIGN_INS_MAX:
            del self._by_cookie[next(iter(self._by_cookie))]
        value = secrets.token_urlsafe(32)
        self._by_cookie[value] = (token.digest, time.monotonic() + SIGN_IN_S)
        return value

    def holder(self, cookie_header: str) -> Token | None:
        """The token of a `cookie` header."""
        digest, until = self._by_cookie.get(_value_in(cookie_header), ("", 0.0))
        return self._find(digest) if time.monotonic() < until else None

    def end(self, cookie_header: str) -> None:
        self._by_cookie.pop(_value_in(cookie_header), None)


def _value_in(cookie_header: str) -> str:
    try:
        morsel = SimpleCookie(cookie_header).get(COOKIE)
    except CookieError:
        return ""
    return "" if morsel is None else morsel.value
