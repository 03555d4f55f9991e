"""Roles: which role of a token a request to the admin port needs, by its method and path alone."""

from __future__ import annotations

import re
from collections.abc import Callable
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
_CALLED: Final = re.compile(r"/ui/services/[^/]+/")
"""The playground."""

_OF_SERVICE: Final = re.compile(r"(?:/ui)?/(?:services|sessions)/([^/]+)")

_BY_SERVICE: Final = re.compile(
    r"/($|version$|openapi$|services$|invocations/|internal/invocations_batch_operations/|approvals(/|$))"
    r"|/ui/?($|help$|runs/|services$|sessions$|approvals(/|$)|confirm$|actions$)"
)
"""Paths that show and change only what the token covers: see access/coverage.py."""


def role_needed(method: str, path: str) -> Role | None:
    """The role that a request needs. None: it needs no token; a signed link contains its own permission.

    A path that no rule names needs an administrator.
    """
    path = _without_version(path)
    if path in _FREE or path.startswith(("/ui/static/", "/approve/")):
        return None
    if method in _READING or path in _POSTS_THAT_READ:
        return Role.READ
    if _OPERATED.match(path):
        return Role.OPERATE
    return Role.CALL if _CALLED.match(path) else Role.ADMIN


def is_by_service(path: str, covers: Callable[[str], bool]) -> bool:
    """Whether a token for some services may use the path. covers: whether it is for a service.

    Where the path names no service, what is of others is left out of the answer. The whole engine, such as SQL and
    deployments, is for other tokens.
    """
    path = _without_version(path)
    of_service = _OF_SERVICE.match(path)
    return covers(of_service[1]) if of_service else _BY_SERVICE.match(path) is not None


def _without_version(path: str) -> str:
    return _VERSION.sub("", path, count=1) if path.startswith("/v") else path
