"""The SDK's seam for journal values: it seals the values that a handler hands out, and opens those that it gets.

A run on an object or workflow key seals with the key of that subject; a run of a plain service with the key of its
input, so that a session's words stay the session's wherever it sends them.
"""

from __future__ import annotations

import os
from weakref import WeakKeyDictionary

from restate import Context, JournalValueCodec, ObjectContext, TerminalError
from restate.extensions import current_context

from rewake.ext.sealed import subjects as subject_keys
from rewake.ext.sealed.form import CannotOpen, Forgotten, is_sealed, parts_of
from rewake.ext.sealed.keys import Keyring
from rewake.ext.sealed.subjects import SubjectKeys, SubjectOf, subject_of_key
from rewake.ext.sealed.values import Values

FORGOTTEN_CODE = 410


class Undecodable(BaseException):
    """A value cannot be opened with the keys that are here: the attempt fails, and is retried.

    Not an Exception: a missing key is a wrong setting, and neither the user's code nor the SDK may make a result of it.
    """


def sealing(
    keyring: Keyring | None = None,
    *,
    subjects: SubjectKeys | str | os.PathLike[str] | None = None,
    subject_of: SubjectOf = subject_of_key,
    accepts_plain: bool = True,
) -> JournalValueCodec:
    """A codec for `restate.app(..., journal_value_codec=sealing())` and for the SDK's client.

    keyring: by default from where REWAKE_ENCRYPTION_KEYS says.   subjects: the folder of subjects' keys, by default
    REWAKE_SUBJECT_KEYS; without one the keyring seals all.   accepts_plain: also take values that are not sealed, from
    callers and people who have no key, and from before encryption was switched on.
    Raises KeysInvalid.
    """
    folder = subjects if subjects is not None else os.environ.get(subject_keys.VARIABLE)
    keys = SubjectKeys(folder) if folder is not None and not isinstance(folder, SubjectKeys) else folder
    return _Sealing(Values(keyring or Keyring.from_source(), keys), subject_of, accepts_plain=accepts_plain)


class _Sealing(JournalValueCodec):
    def __init__(self, values: Values, subject_of: SubjectOf, *, accepts_plain: bool) -> None:
        self._values = values
        self._subject_of = subject_of
        self._accepts_plain = accepts_plain
        self._inherited: WeakKeyDictionary[object, bytes] = WeakKeyDictionary()

    def encode(self, buf: bytes) -> bytes:
        """Seal it for the current run; outside of a run, as in a client, with the keyring's key."""
        context = _context()
        like = b"" if context is None else self._inherited.get(context, b"")
        try:
            return self._values.seal(bytes(buf), _subject_in(context, self._subject_of), like=like)
        except Forgotten as error:
            raise TerminalError(str(error), FORGOTTEN_CODE) from None

    async def decode(self, buf: bytes) -> bytes:
        """Open it. Raises Undecodable, and TerminalError 410 if its subject was forgotten."""
        content = bytes(buf)
        if not is_sealed(content):
            if content and not self._accepts_plain:
                raise TerminalError("The value is not encrypted, and this app takes no others.", 400)
            return content
        try:
            opened = self._values.open(content)
        except Forgotten as error:
            raise TerminalError(str(error), FORGOTTEN_CODE) from None
        except CannotOpen as error:
            raise Undecodable(str(error)) from error
        if (context := _context()) is not None:
            self._inherited.setdefault(context, parts_of(content)[1])  # of the first value, which is the input
        return opened


def _context() -> Context | None:
    """The context of the current run; None outside of a run."""
    try:
        return current_context()
    except LookupError:
        return None


def _subject_in(context: Context | None, subject_of: SubjectOf) -> str | None:
    if not isinstance(context, ObjectContext):
        return None
    tag = getattr(getattr(context, "handler", None), "service_tag", None)
    return subject_of(getattr(tag, "name", ""), context.key() or None)
