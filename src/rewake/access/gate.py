"""Gate: finds the token of a request. Ingress and admin API decide what the token allows.

A token comes as `authorization: Bearer SECRET`, or as `x-rewake-token: SECRET` if the handler needs its own
`authorization` header. The handler does not get the token.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from rewake.access.sign_ins import SignIns
from rewake.access.token_file import TokenFile
from rewake.access.tokens import Role, Token, digest_of
from rewake.errors import ErrorCode

HEADER: Final = "x-rewake-token"
GATE_IN_SCOPE: Final = "rewake.gate"
TOKEN_IN_SCOPE: Final = "rewake.token"
"""Key in an ASGI scope of the admin port, with the gate and the request's token."""

REFRESH_S: Final = 1.0
"""A revoked token may still be accepted for so long."""

REMEMBERED_MAX: Final = 1_024
"""Headers that are remembered with their token."""

MISSING: Final = (
    ErrorCode.TOKEN_MISSING,
    "The request shows no token that is known here.",
    "Send one: authorization: Bearer TOKEN, or REWAKE_TOKEN for rewake. Make one: rewake tokens create NAME",
)


NOBODY: Final = Token("", Role.CALL, "", services=("",))
"""The token of callers without one, for requests that need no token. It covers no service."""


class Gate:
    """Finds the tokens of requests to one engine. now_ms: Unix time, for tokens that expire."""

    def __init__(self, tokens: TokenFile, now_ms: Callable[[], int]) -> None:
        self.tokens = tokens
        self.sign_ins = SignIns(self.find)
        self._now_ms = now_ms
        self._remembered: dict[str, Token] = {}
        self._generation = tokens.generation
        self._refresh_at = 0.0

    def holder(self, headers: Mapping[str, str]) -> Token | None:
        """The token in these headers (lower-case names); None if it is missing, unknown, revoked or expired."""
        shown = headers.get(HEADER)
        if shown is None:
            scheme, _, shown = headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer":
                return None
        self._refresh()
        token = self._remembered.get(shown)
        if token is None:
            token = self.tokens.find(digest_of(shown.strip()))
            if token is None:
                return None
            if len(self._remembered) >= REMEMBERED_MAX:
                self._remembered.clear()
            self._remembered[shown] = token
        return None if token.is_expired(self._now_ms()) else token

    def find(self, digest: str) -> Token | None:
        """The token with this digest, unless it was revoked or has expired."""
        self._refresh()
        token = self.tokens.find(digest)
        return None if token is None or token.is_expired(self._now_ms()) else token

    def _refresh(self) -> None:
        now = time.monotonic()
        if now >= self._refresh_at:
            self._refresh_at = now + REFRESH_S
            self.tokens.refresh_if_readable()
            if self.tokens.generation != self._generation:
                self._generation = self.tokens.generation
                self._remembered.clear()


def role_missing(token: Token, needed: Role) -> tuple[ErrorCode, str, str]:
    """Code, message and hint for a token whose role is not enough."""
    message = f"The token {token.name!r} has the role {token.role}; the request needs {needed}."
    return (
        ErrorCode.ROLE_MISSING,
        message,
        "Show another token, or make one: rewake tokens create NAME --role " + needed,
    )


def service_missing(token: Token, service: str) -> tuple[ErrorCode, str, str]:
    """Code, message and hint for a token that does not cover the service."""
    message = f"The token {token.name!r} is for {', '.join(token.services)}, not for {service}."
    return ErrorCode.ROLE_MISSING, message, "Show a token for that service, or for all of them."


def services_missing(token: Token, path: str) -> tuple[ErrorCode, str, str]:
    """The same for a path of another service or of the whole engine."""
    message = f"The token {token.name!r} is for {', '.join(token.services)} alone, not for {path[:100]!r}."
    return ErrorCode.ROLE_MISSING, message, "Show a token for all services."


def without_token(headers: dict[str, str]) -> None:
    """Remove the token from the headers for a handler."""
    if headers.pop(HEADER, None) is None:
        headers.pop("authorization", None)
