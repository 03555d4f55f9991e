"""Roles: which role of a token a request to the admin port needs, by its method and path alone."""

from __future__ import annotations

import re
from typing import Final

from rewake.access.tokens import Role

SIGN_IN: Final = "/ui/sign-in"
SIGN_OUT: Final = "/ui/sign-out"

_VERSION: Final = re.compile(r"/v\d+(?=/)")
_FREE: Final = frozenset({"/health", SIGN_IN, SIGN_OUT})
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_POSTS_THAT_READ: Final = frozenset({"/query"})
_OPERATED: Final = re.compile(
    r"/invocations/|/internal/invocations_batch_operations/|/approvals/|/services/[^/]+/(state|promises)$"
    r"|/ui/(runs/|confirm$|actions$|sessions/|approvals|bulk)"
)
_CALLED: Final = re.compile(r"/ui/services/([^/]+)/")
"""The playground, and whom it calls."""


def role_needed(method: str, path: str) -> Role | None:
    """The role that a request needs. None: it needs no token; a signed link contains its own permission.

    A path that no rule names needs an administrator.
    """
    path = _VERSION.sub("", path, count=1) if path.startswith("/v") else path
    if path in _FREE or path.startswith(("/ui/static/", "/approve/")):
        return None
    if method in _READING or path in _POSTS_THAT_READ:
        return Role.READ
    if _OPERATED.match(path):
        return Role.OPERATE
    return Role.CALL if _CALLED.match(path) else Role.ADMIN


def service_called(path: str) -> str | None:
    """The service that a request with the role `call` is for; None where it is for none alone."""
    called = _CALLED.match(path)
    return None if called is None else called[1]
