"""Request identity: the engine signs its requests with an Ed25519 key, so that SDKs can refuse all others.

The key is a PKCS#8 PEM file. SDKs get its public form, `publickeyv1_...`, and check the token of every request
(service-protocol.md 1.7): a JWT for the path, valid for a minute. Needs the `identity` extra.
"""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rewake.errors import ErrorCode, RewakeError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PUBLIC_PREFIX: Final = "publickeyv1_"

LEEWAY_S: Final = 60
"""Allowed difference between the clocks of engine and deployment."""

REUSE_S: Final = 15
"""How long a token is reused for the same path: signing costs as much as sending the request."""

TOKENS_MAX: Final = 1_000

_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


class Identity:
    """A loaded key, ready to sign."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public_form = public_form(key)
        self._head = _base64url(json.dumps({"typ": "JWT", "alg": "EdDSA", "kid": self.public_form}).encode())
        self._tokens: dict[bytes, tuple[int, bytes]] = {}

    def headers(self, path: bytes) -> list[tuple[bytes, bytes]]:
        """Headers for a request. path: the protocol path, without the deployment's prefix."""
        now_s = time.time_ns() // 1_000_000_000
        made_at_s, token = self._tokens.get(path, (0, b""))
        if not 0 <= now_s - made_at_s < REUSE_S:
            token = self._token(path, now_s)
            if len(self._tokens) >= TOKENS_MAX:
                self._tokens.clear()
            self._tokens[path] = (now_s, token)
        return [(b"x-restate-signature-scheme", b"v1"), (b"x-restate-jwt-v1", token)]

    def _token(self, path: bytes, now_s: int) -> bytes:
        claims = {"aud": path.decode(), "iat": now_s, "nbf": now_s - LEEWAY_S, "exp": now_s + LEEWAY_S}
        signed = self._head + b"." + _base64url(json.dumps(claims).encode())
        return signed + b"." + _base64url(self._key.sign(signed))


def load_key(path: str | os.PathLike[str]) -> Identity:
    """The key in a PKCS#8 PEM file. Raises RewakeError RW1012 if it cannot be used, RW1008 without the extra."""
    _require_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(Path(path).read_bytes(), password=None)
    except OSError as error:
        raise _unusable(path, f"It cannot be read: {error.strerror}.") from error
    except TypeError as error:
        raise _unusable(path, "It is encrypted.") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _unusable(path, "It is not a private key in PEM form.") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _unusable(path, "It holds another kind of key than Ed25519.")
    return Identity(key)


def new_key() -> bytes:
    """A new private key as PKCS#8 PEM."""
    _require_cryptography()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_form(key: Ed25519PrivateKey) -> str:
    """The public key in the SDKs' form, for `restate.app(..., identity_keys=[...])`."""
    return PUBLIC_PREFIX + base58(key.public_key().public_bytes_raw())


def base58(data: bytes) -> str:
    """Base 58 in Bitcoin's alphabet; each leading zero byte is a `1`."""
    number = int.from_bytes(data, "big")
    digits = []
    while number:
        number, rest = divmod(number, 58)
        digits.append(_BASE58[rest])
    zeros = len(data) - len(data.lstrip(b"\0"))
    return "1" * zeros + "".join(reversed(digits))


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _require_cryptography() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        raise RewakeError(
            ErrorCode.EXTRA_MISSING,
            "Signing requests needs the package 'cryptography', which is not installed.",
            "pip install 'rewake[identity]'",
        ) from error


def _unusable(path: str | os.PathLike[str], reason: str) -> RewakeError:
    return RewakeError(
        ErrorCode.IDENTITY_KEY_INVALID,
        f"The identity key {os.fspath(path)!r} cannot be used.\n{reason}",
        "Give an unencrypted Ed25519 key as PKCS#8 PEM; make one with: rewake identity new FILE",
    )
