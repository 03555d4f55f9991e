"""Signed links to one question, each for one holder, a time and the exact arguments.

The holder of a link may answer the question until it expires, and only for the arguments it was made for.

The engine keeps one secret, in a file of its own that only its owner reads. Each run has a key of its own, derived from
that; attempts get it in a header, so that handlers make links without asking, and cannot make any for other runs.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import msgspec
from itsdangerous import BadData, URLSafeSerializer

from rewake.core import ids
from rewake.core.ids import InvalidId
from rewake.errors import ErrorCode, RewakeError
from rewake.store.private import open_private

FILE: Final = "approvals.key"
HEADER: Final = "x-rewake-approvals"
PATH: Final = "approve/"
SALT: Final = "rewake.approval"
LASTS_MS: Final = 30 * 86_400_000
"""How long a link can be used that has no other end."""

_SECRET_BYTES: Final = 32


class Link(msgspec.Struct, frozen=True):
    """What a link says. id: of the question.   digest: of its arguments.   who: whom it is for, empty for anybody."""

    id: str
    digest: str
    who: str
    expires_at_ms: int


class ApprovalLinks:
    """Makes and reads the links of one engine.

    folder: where the secret is kept; made when it is needed first.   url: where people reach the admin port, with `/`
    at its end; asked each time, since a port may be known late.
    """

    def __init__(self, folder: Path, url: Callable[[], str]) -> None:
        self._path = folder / FILE
        self._url = url

    @cached_property
    def _secret(self) -> bytes:
        with os.fdopen(open_private(self._path), "r+b") as file:
            found = file.read()
            if len(found) != _SECRET_BYTES:
                found = os.urandom(_SECRET_BYTES)
                file.seek(0)
                file.truncate()
                file.write(found)
                file.flush()
                os.fsync(file.fileno())
        return found

    def header(self, invocation_id: bytes) -> tuple[str, str]:
        """For an attempt: where its links lead, and the key to sign them with."""
        return HEADER, f"{self._url()}{PATH} {self._key(invocation_id)}"

    def link(self, link: Link) -> str:
        """The address. Raises InvalidId when its id is not one of an awakeable."""
        invocation_id, _ = ids.awakeable_id_parse(link.id)
        told = {"id": link.id, "digest": link.digest, "who": link.who, "until": link.expires_at_ms}
        return f"{self._url()}{PATH}{self._signer(invocation_id).dumps(told)}"

    def read(self, token: str, now_ms: int) -> Link:
        """What a link says. Raises RewakeError RW4032 for one that was not made here, RW4033 for one that is over."""
        link = self._verified(token)
        if now_ms >= link.expires_at_ms:
            raise RewakeError(
                ErrorCode.APPROVAL_LINK_EXPIRED,
                "The link can no longer be used.",
                "Ask for a new one; what waits is also in the inbox of the engine's pages.",
                http_status=410,
            )
        return link

    def _verified(self, token: str) -> Link:
        try:
            _, unsafe = URLSafeSerializer("", SALT).loads_unsafe(token)
            invocation_id, _ = ids.awakeable_id_parse(unsafe["id"])
            return _link_from(self._signer(invocation_id).loads(token))
        except (BadData, InvalidId, KeyError, TypeError, ValueError, AttributeError):
            raise RewakeError(
                ErrorCode.APPROVAL_LINK_INVALID,
                "The link is not one that this engine made.",
                "Copy the whole link. One of another engine, or from before its data folder was restored, is unknown.",
                http_status=404,
            ) from None

    def _key(self, invocation_id: bytes) -> str:
        return hmac.digest(self._secret, b"run" + invocation_id, "sha256").hex()

    def _signer(self, invocation_id: bytes) -> URLSafeSerializer:
        return URLSafeSerializer(self._key(invocation_id), SALT)


def _link_from(told: Any) -> Link:
    return Link(str(told["id"]), str(told["digest"]), str(told["who"]), int(told["until"]))
