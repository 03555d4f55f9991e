"""Subjects: a key for each session, customer or object key, so that deleting it forgets all that was sealed with it.

One small file a subject in a folder, sealed with the keyring. Keep the folder out of the backups of the data, or keep
its backups only as long as you may remember people. Several processes of one machine share it; a cluster needs a shared
disk. A subject that comes back later gets a new key, which does not open what was forgotten.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rewake.ext.sealed.form import Forgotten, KeyUnknown, cipher_of, decrypted, encrypted, parts_of
from rewake.ext.sealed.keys import KEY_BYTES, Keyring

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VARIABLE: Final = "REWAKE_SUBJECT_KEYS"
"""Names the folder."""

REMEMBERED_S: Final = 5.0
"""How long a process may go on with a key that another one deleted."""

REMEMBERED_MAX: Final = 10_000
_HASH_BYTES: Final = 16
_ID_BYTES: Final = 8


SubjectOf = Callable[[str, str | None], str | None]
"""From service and key to the subject whose key seals; None for the keyring's."""


def subject_of_key(service: str, key: str | None) -> str | None:
    """The subject of an object or workflow key, unless the app says otherwise; None where there is no key."""
    return f"{service}/{key}" if key else None


class SubjectKeys:
    """The keys in a folder, which is made when it is missing."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder)
        self._ciphers: dict[str, AESGCM] = {}
        self._current = ""
        self._known: dict[bytes, tuple[bytes, AESGCM, float]] = {}

    def use(self, keyring: Keyring) -> None:
        """Seal the files with this keyring. Values calls this before anything else."""
        self._ciphers = {key_id: cipher_of(key) for key_id, key in keyring.keys.items()}
        self._current = keyring.current

    def sealing(self, subject: str) -> tuple[AESGCM, bytes]:
        """The subject's cipher, a new one if it has none, and its reference."""
        hashed = _hash_of(subject)
        known = self._fresh(hashed) or self._read(hashed) or self._make(hashed)
        return known[1], hashed + known[0]

    def opening(self, reference: bytes) -> AESGCM:
        """The cipher of a reference. Raises Forgotten."""
        hashed, key_id = reference[:_HASH_BYTES], reference[_HASH_BYTES:]
        known = self._fresh(hashed) or self._read(hashed)
        if known is None or known[0] != key_id:
            raise Forgotten("The key of this value was deleted.")
        return known[1]

    def forget(self, subject: str) -> bool:
        """Delete the key; returns whether there was one. Content sealed with it can never be opened again."""
        hashed = _hash_of(subject)
        self._known.pop(hashed, None)
        path = self._path(hashed)
        try:
            with path.open("r+b") as file:  # overwritten first: a file system may keep what is deleted
                file.write(os.urandom(path.stat().st_size))
                file.flush()
                os.fsync(file.fileno())
            path.unlink()
        except FileNotFoundError:
            return False
        return True

    def _fresh(self, hashed: bytes) -> tuple[bytes, AESGCM, float] | None:
        known = self._known.get(hashed)
        return known if known is not None and time.monotonic() < known[2] else None

    def _read(self, hashed: bytes) -> tuple[bytes, AESGCM, float] | None:
        try:
            stored = self._path(hashed).read_bytes()
        except FileNotFoundError:
            self._known.pop(hashed, None)
            return None
        key_id, _, start = parts_of(stored)
        if key_id not in self._ciphers:
            raise KeyUnknown(f"There is no encryption key {key_id!r} here, which a subject's key is sealed with.")
        opened = decrypted(self._ciphers[key_id], stored, start)
        return self._remember(hashed, opened[:_ID_BYTES], opened[_ID_BYTES:])

    def _make(self, hashed: bytes) -> tuple[bytes, AESGCM, float]:
        """Two processes may make it at once: the first file counts."""
        path = self._path(hashed)
        key_id, key = secrets.token_bytes(_ID_BYTES), secrets.token_bytes(KEY_BYTES)
        new = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        self._folder.mkdir(0o700, parents=True, exist_ok=True)
        path.parent.mkdir(0o700, exist_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(encrypted(self._ciphers[self._current], key_id + key, key_id=self._current))
            file.flush()
            os.fsync(descriptor)
        with contextlib.suppress(FileExistsError):
            os.link(new, path)
        new.unlink()
        _sync(path.parent)
        made = self._read(hashed)
        assert made is not None, "a key that was just made is there"
        return made

    def _remember(self, hashed: bytes, key_id: bytes, key: bytes) -> tuple[bytes, AESGCM, float]:
        if len(self._known) >= REMEMBERED_MAX:
            self._known.clear()
        known = self._known[hashed] = (key_id, cipher_of(key), time.monotonic() + REMEMBERED_S)
        return known

    def _path(self, hashed: bytes) -> Path:
        name = hashed.hex()
        return self._folder / name[:2] / name[2:]


def _hash_of(subject: str) -> bytes:
    return hashlib.sha256(subject.encode("utf-8", "surrogatepass")).digest()[:_HASH_BYTES]


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
