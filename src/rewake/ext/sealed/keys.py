"""Keys: where they come from, and which one seals. A source has lines `ID:BASE64` of 32 bytes; the first one seals.

To rotate, put a new key in front: what older keys sealed is opened with them as long as they stand below. Add the new
one as the last line everywhere first, where several processes read the source, and move it to the front then.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import secrets
import shlex
import subprocess
from pathlib import Path
from typing import Final, Self

VARIABLE: Final = "REWAKE_ENCRYPTION_KEYS"
"""Names the source: `keys.txt`, `env:NAME` or `command:PROGRAM ARGUMENTS`."""

KEY_BYTES: Final = 32
COMMAND_S: Final = 30.0
_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,32}")
_OTHERS_WRITE: Final = 0o022


class KeysInvalid(ValueError):
    """The source cannot be read, or contains no valid keys. The text says what to do, and never repeats a key."""


class Keyring:
    """Keys by their ids, in order. current: id of the one that seals."""

    def __init__(self, keys: dict[str, bytes]) -> None:
        if not keys:
            raise KeysInvalid("There is no encryption key. Make one: rewake encryption new-key")
        for key_id, key in keys.items():
            if not _ID.fullmatch(key_id) or len(key) != KEY_BYTES:
                raise KeysInvalid(f"{key_id[:40]!r} is no id, or its key has not {KEY_BYTES} bytes.")
        self.keys = keys
        self.current = next(iter(keys))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Keys by white space or line; `#` begins a comment."""
        words = [word for line in text.splitlines() for word in line.partition("#")[0].split()]
        keys: dict[str, bytes] = {}
        for place, word in enumerate(words, start=1):
            key_id, _, encoded = word.partition(":")
            if key_id in keys:
                raise KeysInvalid(f"The key {key_id[:40]!r} is there twice.")
            keys[key_id] = _decoded(encoded, place)
        return cls(keys)

    @classmethod
    def from_source(cls, source: str | None = None) -> Self:
        """From a file, `env:NAME` or `command:PROGRAM`; by default from where REWAKE_ENCRYPTION_KEYS says.

        Blocks. Raises KeysInvalid.
        """
        source = os.environ.get(VARIABLE, "") if source is None else source
        kind, _, rest = source.partition(":")
        if not source:
            raise KeysInvalid(f"No source of encryption keys is named. Set {VARIABLE}.")
        if kind == "env":
            return cls.from_text(os.environ.get(rest, ""))
        return cls.from_text(_said_by(rest) if kind == "command" else _read(Path(source)))


def new_key(key_id: str | None = None) -> str:
    """A line with a new key. key_id: drawn when None."""
    encoded = base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()
    return f"{key_id or 'k' + secrets.token_hex(3)}:{encoded}"


def _decoded(encoded: str, place: int) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise KeysInvalid(f"Key {place} is not ID:BASE64. Make one: rewake encryption new-key") from error


def _read(path: Path) -> str:
    try:
        if path.stat().st_mode & _OTHERS_WRITE:
            raise KeysInvalid(f"Others than its owner may write {str(path)!r}: chmod 600 {path}")
        return path.read_text("utf-8")
    except OSError as error:
        raise KeysInvalid(f"{str(path)!r} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise KeysInvalid(f"{str(path)!r} is no text.") from error


def _said_by(command: str) -> str:
    """The output of a program. Its errors go to stderr, as ours do."""
    try:
        told = subprocess.run(shlex.split(command), stdout=subprocess.PIPE, timeout=COMMAND_S, check=True)
        return told.stdout.decode()
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise KeysInvalid(f"The command for the keys did not work: {type(error).__name__}.") from error
