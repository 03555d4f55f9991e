"""Form: the bytes of a sealed value. AES-256-GCM; the head says which key, and is authenticated with the content.

    magic (5)   length and id of the key   length and reference of the subject's key   nonce (12)   content and tag (16)

The magic begins with a null byte, so no JSON and no text passes for it. Stored data: read for ever. Nonces are random:
a key is good for some thousand million values, then rotate. A value does not say where it belongs: who can write to
the store can put it in another place of the same key.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from rewake.ext.sealed.keys import KeysInvalid

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAGIC: Final = b"\x00RWS\x01"
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16


class CannotOpen(Exception):
    """A sealed value stays closed; the text says why."""


class KeyUnknown(CannotOpen):
    """The keyring has no key of that id: a setting is wrong."""


class Forgotten(CannotOpen):
    """The key of the subject was deleted: nobody can open it any more."""


class Damaged(CannotOpen):
    """It was changed, cut, or sealed with another key of that id."""


def is_sealed(content: bytes) -> bool:
    return content.startswith(MAGIC)


def cipher_of(key: bytes) -> AESGCM:
    """Raises KeysInvalid when the extra is missing."""
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        raise KeysInvalid("Encryption needs a package: pip install 'rewake[encryption]'") from error
    return AESGCM(key)


def encrypted(cipher: AESGCM, content: bytes, *, key_id: str = "", reference: bytes = b"") -> bytes:
    """A sealed value. key_id: of the keyring's key, or reference: of the subject's."""
    name = key_id.encode()
    head = b"".join((MAGIC, bytes((len(name),)), name, bytes((len(reference),)), reference))
    nonce = os.urandom(NONCE_BYTES)
    return head + nonce + cipher.encrypt(nonce, content, head)


def parts_of(content: bytes) -> tuple[str, bytes, int]:
    """Id of the key, reference of the subject's key, and where the nonce is. Raises Damaged."""
    try:
        key_end = len(MAGIC) + 1 + content[len(MAGIC)]
        key_id = content[len(MAGIC) + 1 : key_end].decode("ascii")
        start = key_end + 1 + content[key_end]
    except (IndexError, UnicodeDecodeError):
        raise Damaged("The value is cut or changed.") from None
    return key_id, content[key_end + 1 : start], start


def decrypted(cipher: AESGCM, content: bytes, start: int) -> bytes:
    """The content whose head ends at `start`. Raises Damaged."""
    from cryptography.exceptions import InvalidTag

    nonce, sealed = content[start : start + NONCE_BYTES], content[start + NONCE_BYTES :]
    if len(sealed) < TAG_BYTES:
        raise Damaged("The value is cut.")
    try:
        return cipher.decrypt(nonce, sealed, content[:start])
    except InvalidTag:
        raise Damaged("The value was changed, or sealed with another key of that id.") from None
