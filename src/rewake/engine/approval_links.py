"""Signed links to one question.

The holder of a link may answer the question until the link expires, and only for the arguments it was made for.

The engine keeps one secret, in a file that only its owner can read. Each run has a key derived from it. Attempts get
the run's key in a header, so handlers can make links by themselves, but not for other runs. An object that keeps
questions between turns has such a key, too.
"""

from __future__ import annotations

import hashlib
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
"""Lifetime of a link without an expiry of its own."""

_SECRET_BYTES: Final = 32


class Link(msgspec.Struct, frozen=True):
    """The content of a link. id: of the question.   digest: of its arguments.   who: its holder, empty for anybody."""

    id: str
    digest: str
    who: str
    expires_at_ms: int


class ApprovalLinks:
    """Makes and reads the links of one engine.

    folder: of the secret, which is made at the first use.   url: gives the admin port's address for people, with `/` at
    its end. It is called each time, since the port may be known late.
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

    def header(self, invocation_id: bytes, keeper: tuple[str, str] | None = None) -> tuple[str, str]:
        """The header for an attempt: the base URL of its links, and the key to sign them.

        keeper: service and key of an object that keeps questions between turns; the header then has its key, too.
        """
        told = f"{self._url()}{PATH} {self._key(_run(invocation_id))}"
        return HEADER, told if keeper is None else f"{told} {self._key(_object(*keeper))}"

    def link(self, link: Link) -> str:
        """The URL of a link. Raises InvalidId if its id is not a question's."""
        told = {"id": link.id, "digest": link.digest, "who": link.who, "until": link.expires_at_ms}
        return f"{self._url()}{PATH}{self._signer(link.id).dumps(told)}"

    def read(self, token: str, now_ms: int) -> Link:
        """The content of a link. Raises RewakeError RW4032 for a link from elsewhere, RW4033 for an expired one."""
        link = self._verified(token)
        if now_ms >= link.expires_at_ms:
            raise RewakeError(
                ErrorCode.APPROVAL_LINK_EXPIRED,
                "The link can no longer be used.",
                "Ask for a new one, or answer in the web UI: its inbox has all open questions.",
                http_status=410,
            )
        return link

    def _verified(self, token: str) -> Link:
        try:
            _, unsafe = URLSafeSerializer("", SALT).loads_unsafe(token)
            return _link_from(self._signer(unsafe["id"]).loads(token))
        except (BadData, InvalidId, KeyError, TypeError, ValueError, AttributeError):
            raise RewakeError(
                ErrorCode.APPROVAL_LINK_INVALID,
                "The link is not one that this engine made.",
                "Copy the whole link. One of another engine, or of one whose approvals.key is lost, is unknown.",
                http_status=404,
            ) from None

    def _key(self, asker: bytes) -> str:
        return hashlib.blake2b(asker, key=self._secret, digest_size=32).hexdigest()

    def _signer(self, approval_id: str) -> URLSafeSerializer:
        try:
            asker = _object(*ids.question_id_parse(approval_id))
        except InvalidId:
            asker = _run(ids.awakeable_id_parse(approval_id)[0])
        return URLSafeSerializer(self._key(asker), SALT)


def _run(invocation_id: bytes) -> bytes:
    return b"run" + invocation_id


def _object(service: str, key: str) -> bytes:
    return f"object{service}/{key}".encode()


def _link_from(told: Any) -> Link:
    return Link(str(told["id"]), str(told["digest"]), str(told["who"]), int(told["until"]))
