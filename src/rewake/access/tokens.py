"""Tokens: a caller's secret, and the stored facts about it. Pure.

A secret has 256 random bits, so its plain hash can be neither reversed nor guessed. Passwords are not supported.
"""

from __future__ import annotations

import enum
import hashlib
import re
import secrets
from types import MappingProxyType
from typing import Final

import msgspec

from rewake.errors import ErrorCode, RewakeError

SECRET_PREFIX: Final = "rwt_"
"""The prefix lets scanners of repositories and logs find leaked secrets."""

SECRET_CHARS_MIN: Final = 24
"""Least length of a secret that was not made by us, such as one in a container's environment."""

_NAME: Final = re.compile(r"[\w.@-]{1,64}")


class Role(enum.StrEnum):
    """The role of a token."""

    CALL = "call"
    READ = "read"
    OPERATE = "operate"
    ADMIN = "admin"


ALLOWS: Final = MappingProxyType(
    {
        Role.CALL: frozenset({Role.CALL}),
        Role.READ: frozenset({Role.READ}),
        Role.OPERATE: frozenset({Role.CALL, Role.READ, Role.OPERATE}),
        Role.ADMIN: frozenset(Role),
    }
)
"""Role of a token -> roles that it includes."""


class Token(msgspec.Struct, frozen=True, omit_defaults=True):
    """The stored facts of a token.

    name: of its holder, unique.   digest: SHA-256 of the secret, in hex.   services: those it is for, all when empty.
    created_at_ms, expires_at_ms: Unix time; None: it does not expire.
    """

    name: str
    role: Role
    digest: str
    services: tuple[str, ...] = ()
    created_at_ms: int = 0
    expires_at_ms: int | None = None

    def allows(self, role: Role) -> bool:
        return role in ALLOWS[self.role]

    def covers(self, service: str) -> bool:
        return not self.services or service in self.services

    def is_expired(self, now_ms: int) -> bool:
        return self.expires_at_ms is not None and self.expires_at_ms <= now_ms


def new_secret() -> str:
    return SECRET_PREFIX + secrets.token_urlsafe(32)


def digest_of(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def check_name(name: str) -> None:
    """Raises RewakeError RW1023 for a name that is not safe to store or log."""
    if not _NAME.fullmatch(name):
        message = f"{name[:100]!r} is no name of a token."
        raise RewakeError(ErrorCode.TOKENS_INVALID, message, "Use up to 64 letters, digits, dots, @, - and _.")


def tokens_in(text: str) -> list[Token]:
    """Tokens in a variable: `NAME:ROLE:SECRET` or `NAME:ROLE:SECRET:SERVICE+SERVICE`, separated by white space.

    Raises RewakeError RW1023; the message does not include the secret.
    """
    found = [_parsed(item) for item in text.split()]
    names = [token.name for token in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise RewakeError(ErrorCode.TOKENS_INVALID, f"REWAKE_TOKENS names {twice!r} twice.", "Give each its own name.")
    return found


def _parsed(item: str) -> Token:
    name, _, rest = item.partition(":")
    role, _, rest = rest.partition(":")
    secret, _, services = rest.partition(":")
    check_name(name)
    if role not in set(Role):
        raise RewakeError(
            ErrorCode.TOKENS_INVALID,
            f"REWAKE_TOKENS gives {name!r} the role {role[:20]!r}.",
            f"Write NAME:ROLE:SECRET; roles are {', '.join(Role)}.",
        )
    if len(secret) < SECRET_CHARS_MIN:
        message = f"REWAKE_TOKENS gives {name!r} a secret of {len(secret)} characters."
        hint = f"Draw one of at least {SECRET_CHARS_MIN} at random: openssl rand -hex 32"
        raise RewakeError(ErrorCode.TOKENS_INVALID, message, hint)
    allowed = tuple(service for service in services.split("+") if service)
    if allowed and role == Role.ADMIN:
        message = f"REWAKE_TOKENS gives {name!r} the role admin for some services."
        raise RewakeError(ErrorCode.TOKENS_INVALID, message, "An administrator sees all services: leave them out.")
    return Token(name, Role(role), digest_of(secret), allowed)
