"""Values: seals and opens content, with the keyring or with the key of a subject. Knows neither SDK nor engine."""

from __future__ import annotations

from typing import Self

from rewake.ext.sealed.form import CannotOpen, KeyUnknown, cipher_of, decrypted, encrypted, is_sealed, parts_of
from rewake.ext.sealed.keys import Keyring
from rewake.ext.sealed.subjects import SubjectKeys, SubjectOf, subject_of_key


class Values:
    """subjects: keys of their own for what belongs to a subject; without them the keyring seals all."""

    def __init__(self, keyring: Keyring, subjects: SubjectKeys | None = None) -> None:
        self._ciphers = {key_id: cipher_of(key) for key_id, key in keyring.keys.items()}
        self._current = keyring.current
        self._subjects = subjects
        if subjects is not None:
            subjects.use(keyring)

    def seal(self, content: bytes, subject: str | None = None, *, like: bytes = b"") -> bytes:
        """The sealed content. Sealed and empty content is returned unchanged.

        like: without a subject, the reference of the subject's key to seal with.   Raises Forgotten for such a key.
        """
        if not content or is_sealed(content):
            return content
        if self._subjects is not None and subject is not None:
            cipher, reference = self._subjects.sealing(subject)
        elif self._subjects is not None and like:
            cipher, reference = self._subjects.opening(like), like
        else:
            return encrypted(self._ciphers[self._current], content, key_id=self._current)
        return encrypted(cipher, content, reference=reference)

    def open(self, content: bytes) -> bytes:
        """The opened content. Content that is not sealed is returned unchanged. Raises CannotOpen."""
        if not is_sealed(content):
            return content
        key_id, reference, start = parts_of(content)
        if not reference:
            cipher = self._ciphers.get(key_id)
            if cipher is None:
                raise KeyUnknown(f"There is no encryption key {key_id!r} here.")
        elif self._subjects is None:
            raise KeyUnknown("The value has a key of its own, and no folder of such keys is named.")
        else:
            cipher = self._subjects.opening(reference)
        return decrypted(cipher, content, start)


class Sealer:
    """Seals for others: an engine seals incoming content, commands and pages seal what they write."""

    def __init__(self, values: Values, subject_of: SubjectOf = subject_of_key) -> None:
        self._values = values
        self._subject_of = subject_of

    @classmethod
    def from_sources(cls, keys: str | None, subjects: str | None) -> Self:
        """keys: a source as Keyring.from_source takes it.   subjects: a folder.   Raises KeysInvalid."""
        return cls(Values(Keyring.from_source(keys), None if subjects is None else SubjectKeys(subjects)))

    def seal(self, content: bytes, service: str, key: str | None) -> bytes:
        return self._values.seal(content, self._subject_of(service, key))

    def open(self, content: bytes) -> bytes | None:
        """The content of a sealed value; None for one that stays closed."""
        try:
            return self._values.open(content)
        except CannotOpen:
            return None
