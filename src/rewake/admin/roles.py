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
_CALLED: Final = re.compile(r"/ui/services/")
"""The playground."""


def role_needed(method: str, path: str) -> Role | None:
    """None: nobody has to show a token; a signed link is one by itself.

    A path that no rule names takes an administrator.
    """
    path = _VERSION.sub("", path, count=1) if path.startswith("/v") else path
    if path in _FREE or path.startswith(("/ui/static/", "/approve/")):
        return None
    if method in _READING or path in _POSTS_THAT_READ:
        return Role.READ
    if _OPERATED.match(path):
        return Role.OPERATE
    return Role.CALL if _CALLED.match(path) else Role.ADMIN
