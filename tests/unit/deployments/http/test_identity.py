"""Request identity: keys, their public form, and tokens as the SDKs check them."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from rewake.deployments.http import identity
from rewake.deployments.http.identity import TOKENS_MAX, base58, load_key, new_key
from rewake.errors import ErrorCode, RewakeError

SPKI = "MCowBQYDK2VwAyEAj5BTvH+WJo0QGHm2hdLOuk6P7szKgTQxmpnnmZe/DcU="
PUBLIC_FORM = "publickeyv1_AfQwmwfgEZhrWpvv8N52SHpRtZqGGaFr4AZN6qtYWSiY"


def decoded(part: bytes) -> bytes:
    return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))


def test_the_documented_public_form() -> None:
    assert "publickeyv1_" + base58(base64.b64decode(SPKI)[-32:]) == PUBLIC_FORM


@pytest.mark.parametrize(("data", "text"), [(b"", ""), (b"\0\0\1", "112"), (b"hello", "Cn8eVZg")])
def test_base58(data: bytes, text: str) -> None:
    assert base58(data) == text


def test_a_token_says_what_sdks_demand_and_is_signed(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(new_key())
    key = load_key(file)
    headers = dict(key.headers(b"/invoke/Greeter/greet"))
    assert headers[b"x-restate-signature-scheme"] == b"v1"
    head, claims, signature = headers[b"x-restate-jwt-v1"].split(b".")
    assert json.loads(decoded(head)) == {"typ": "JWT", "alg": "EdDSA", "kid": key.public_form}
    told = json.loads(decoded(claims))
    now_s = time.time_ns() // 10**9
    assert told["aud"] == "/invoke/Greeter/greet"
    assert told["nbf"] < now_s - 30 and now_s + 30 < told["exp"] <= now_s + 60
    private = serialization.load_pem_private_key(file.read_bytes(), None)
    assert isinstance(private, Ed25519PrivateKey)
    private.public_key().verify(decoded(signature), head + b"." + claims)


def test_tokens_are_for_one_path_and_used_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(new_key())
    key = load_key(file)
    first = key.headers(b"/discover")
    assert key.headers(b"/discover") == first
    assert key.headers(b"/invoke/a/b") != first
    later_ns = time.time_ns() + (identity.REUSE_S + 1) * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: later_ns)
    assert key.headers(b"/discover") != first


def _rsa() -> bytes:
    return generate_private_key(65_537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _encrypted() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"not a key", "not a private key in PEM form"),
        (_rsa(), "another kind of key than Ed25519"),
        (_encrypted(), "encrypted"),
        (None, "cannot be read: No such file"),
    ],
)
def test_keys_that_cannot_be_used(tmp_path: Path, content: bytes | None, reason: str) -> None:
    file = tmp_path / "key.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(RewakeError, match=reason) as caught:
        load_key(file)
    assert caught.value.code is ErrorCode.IDENTITY_KEY_INVALID
    assert repr(str(file)) in caught.value.message


def test_so_many_tokens_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens are cheap to make again: when there are too many, all are dropped."""
    file = tmp_path / "key.pem"
    file.write_bytes(new_key())
    key = load_key(file)
    signed: list[bytes] = []

    def token(path: bytes, _: int) -> bytes:
        signed.append(path)
        return path

    monkeypatch.setattr(key, "_token", token)
    for number in range(TOKENS_MAX):
        key.headers(b"%d" % number)
    key.headers(b"0")
    assert len(signed) == TOKENS_MAX
    key.headers(b"one more")
    key.headers(b"0")
    assert signed[TOKENS_MAX:] == [b"one more", b"0"]
