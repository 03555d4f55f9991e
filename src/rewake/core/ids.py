"""Ids: bytes inside the engine, and strings for users, SDKs and clients.

An invocation id is 24 bytes, an 8-byte partition key and a 16-byte unique part. Ids of one object key or one service
share the partition key, so their rows are neighbours. The unique part is a ULID, or a hash if equal calls must get
equal ids (workflow runs, idempotency keys). The caller passes all random bytes. Strings have the public format: prefix,
`_`, codec version `1`, base 62. InvalidId has the reason why a string is not an id.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from functools import lru_cache
from typing import Final, NewType

import xxhash

InvocationId = NewType("InvocationId", bytes)
DeploymentId = NewType("DeploymentId", str)
EntryIndex = NewType("EntryIndex", int)
CompletionId = NewType("CompletionId", int)
Epoch = NewType("Epoch", int)
"""Ids have their own types, so that swapping two of them does not type-check (tests/typing)."""

INVOCATION_ID_SIZE: Final = 24
ULID_SIZE: Final = 16
ULID_RANDOM_SIZE: Final = 10

_PARTITION_KEY_SIZE: Final = 8
_TIMESTAMP_SIZE: Final = 6
_SIGNAL_INDEX_SIZE: Final = 4
_QUESTION_UNIQUE_SIZE: Final = 9

_CODEC_VERSION: Final = "1"
_INVOCATION: Final = "inv"
_DEPLOYMENT: Final = "dp"
_AWAKEABLE: Final = "sign"
_QUESTION: Final = "ask"

_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DIGIT_OF: Final = {digit: value for value, digit in enumerate(_DIGITS)}
_BASE: Final = len(_DIGITS)
_PAIRS: Final = [first + second for first in _DIGITS for second in _DIGITS]
_PAIR: Final = _BASE**2
_WORD: Final = _BASE**10
_UINT64_DIGITS: Final = 11
_UINT128_DIGITS: Final = 22


class InvalidId(ValueError):
    """A string is not an id of the requested kind. `reason` has the words that public clients know."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


# Invocation ids


def new_invocation_id(key: str | None, service: str, ulid: bytes) -> InvocationId:
    """Id of a new invocation. `key` is None for plain services; `ulid` comes from `ulid_bytes`."""
    return InvocationId(partition_key(key, service) + ulid)


def workflow_invocation_id(workflow: str, key: str, *, scope: str | None = None) -> InvocationId:
    """Id of the only run of `workflow` with `key`."""
    return InvocationId(partition_key(key, workflow) + _hashed("wf", scope, workflow, key))


def idempotent_invocation_id(
    service: str, key: str | None, handler: str, idempotency_key: str, *, scope: str | None = None
) -> InvocationId:
    """Id shared by all calls of this handler with `idempotency_key`."""
    return InvocationId(partition_key(key, service) + _hashed("ik", scope, service, key, handler, idempotency_key))


@lru_cache(maxsize=4096)
def invocation_id_to_str(invocation_id: bytes) -> str:
    """The public form, `inv_1` and 33 digits. A run shows its own several times while it is at work."""
    head = _head_to_str(invocation_id[:_PARTITION_KEY_SIZE])
    return f"{_INVOCATION}_{_CODEC_VERSION}{head}{_base62(invocation_id[_PARTITION_KEY_SIZE:], _UINT128_DIGITS)}"


@lru_cache(maxsize=1024)
def _head_to_str(partition_key: bytes) -> str:
    """The first digits, which all runs of a plain service or of a key share."""
    return _base62(partition_key, _UINT64_DIGITS)


def invocation_id_from_str(text: str) -> InvocationId:
    """The id in `text`. Raises InvalidId."""
    digits = _digits_of(text, _INVOCATION)
    if len(digits) != _UINT64_DIGITS + _UINT128_DIGITS:
        raise InvalidId("bad length")
    head = _from_base62(digits[:_UINT64_DIGITS], _PARTITION_KEY_SIZE)
    return InvocationId(head + _from_base62(digits[_UINT64_DIGITS:], ULID_SIZE))


def random_seed_of(invocation_id: bytes) -> int:
    """The u64 seed for random numbers in every attempt of this invocation."""
    return int.from_bytes(hashlib.blake2b(invocation_id, digest_size=8).digest(), "big")


BRANCH_MARK = "~fork-"
"""Separates the key from the suffix in the name of a key's branch (branches.py)."""


def partition_key(key: str | None, service: str) -> bytes:
    """The first 8 bytes of an invocation id, computed like the server's from the key, or from the service's name.

    A branch has the partition key of its original key, so that the runs of both are neighbours.
    """
    hashed = service.encode() if key is None else key.partition(BRANCH_MARK)[0].encode() + b"\xff"
    return xxhash.xxh3_64_digest(hashed)


def _hashed(tag: str, *parts: str | None) -> bytes:
    text = ",".join([tag, *(part for part in parts if part is not None)])
    return hashlib.sha256(text.encode()).digest()[:ULID_SIZE]


# Other ids


def ulid_bytes(now_ms: int, random: bytes) -> bytes:
    """16 bytes that sort by time: 48 bits of milliseconds, then the caller's 10 random bytes."""
    if len(random) != ULID_RANDOM_SIZE:
        raise ValueError(f"a ULID needs {ULID_RANDOM_SIZE} random bytes, got {len(random)}")
    return now_ms.to_bytes(_TIMESTAMP_SIZE, "big") + random


def deployment_id_to_str(deployment_id: bytes) -> DeploymentId:
    """The public form, `dp_1` and 22 digits; the engine stores this form, too."""
    return DeploymentId(f"{_DEPLOYMENT}_{_CODEC_VERSION}{_base62(deployment_id, _UINT128_DIGITS)}")


def deployment_id_from_str(text: str) -> bytes:
    """The 16 bytes of a deployment id. Raises InvalidId."""
    digits = _digits_of(text, _DEPLOYMENT)
    if len(digits) != _UINT128_DIGITS:
        raise InvalidId("bad length")
    return _from_base62(digits, ULID_SIZE)


def awakeable_id_format(invocation_id: bytes, signal_index: int) -> str:
    """The string that an SDK makes for its awakeable with `signal_index`."""
    packed = invocation_id + signal_index.to_bytes(_SIGNAL_INDEX_SIZE, "big")
    return f"{_AWAKEABLE}_{_CODEC_VERSION}{base64.urlsafe_b64encode(packed).rstrip(b'=').decode()}"


def awakeable_id_parse(text: str) -> tuple[InvocationId, int]:
    """Invocation and signal index of an awakeable. Raises InvalidId, also for the `prom_` ids of old protocols."""
    packed = _unpacked(_digits_of(text, _AWAKEABLE))
    if len(packed) != INVOCATION_ID_SIZE + _SIGNAL_INDEX_SIZE:
        raise InvalidId("bad length")
    return InvocationId(packed[:INVOCATION_ID_SIZE]), int.from_bytes(packed[INVOCATION_ID_SIZE:], "big")


def question_id_parse(text: str) -> tuple[str, str]:
    """Service and key of the object that keeps a question between turns. Raises InvalidId.

    The library makes these ids in the handler's process: see ext/kernel/keeping.py.
    """
    packed = _unpacked(_digits_of(text, _QUESTION))
    try:
        service, separator, key = packed[_QUESTION_UNIQUE_SIZE:].decode().partition("/")
    except UnicodeDecodeError:
        raise InvalidId("bad format") from None
    if not separator or not service:
        raise InvalidId("bad length")
    return service, key


# Encoding


def _unpacked(digits: str) -> bytes:
    """URL-safe base 64, with or without its padding."""
    digits = digits.rstrip("=")
    if "+" in digits or "/" in digits:
        raise InvalidId("bad format")
    try:
        return base64.b64decode(digits + "=" * (-len(digits) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidId("bad format") from None


def _digits_of(text: str, prefix: str) -> str:
    """The digits behind the prefix and the codec version. Raises InvalidId if either is wrong."""
    found, separator, versioned = text.partition("_")
    if not separator:
        raise InvalidId("bad format")
    if found != prefix:
        raise InvalidId("id doesn't match the expected type")
    if not versioned:
        raise InvalidId("bad length")
    if versioned[0] != _CODEC_VERSION:
        raise InvalidId("unrecognized codec version")
    return versioned[1:]


def _base62(data: bytes, width: int) -> str:
    """At most 16 bytes, read as a little-endian number, in base 62, padded on the left.

    Every answer and every attempt prints an id. It takes two digits a step, from numbers that fit a machine word, and
    no loop: an id takes 1.9 us, with a loop 5.1 us.
    """
    high, low = divmod(int.from_bytes(data, "little"), _WORD)
    high, middle = divmod(high, _WORD)
    return f"{_PAIRS[high]}{_ten_digits(middle)}{_ten_digits(low)}"[-width:]


def _ten_digits(word: int) -> str:
    word, fifth = divmod(word, _PAIR)
    word, fourth = divmod(word, _PAIR)
    word, third = divmod(word, _PAIR)
    first, second = divmod(word, _PAIR)
    return f"{_PAIRS[first]}{_PAIRS[second]}{_PAIRS[third]}{_PAIRS[fourth]}{_PAIRS[fifth]}"


def _from_base62(digits: str, size: int) -> bytes:
    number = 0
    for digit in digits:
        value = _DIGIT_OF.get(digit)
        if value is None:
            raise InvalidId(f"{digit!r} is not a base 62 digit")
        number = number * _BASE + value
    if number >> size * 8:
        raise InvalidId("number is too large for its place")
    return number.to_bytes(size, "little")
