"""The file of tokens: JSON, readable by its owner alone, replaced as a whole, read again when it changes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec
import structlog

from rewake.access.tokens import Token, check_name
from rewake.errors import ErrorCode, RewakeError

FILE_NAME: Final = "tokens.json"
FILE_MODE: Final = 0o600
_OTHERS_WRITE: Final = 0o022

log = structlog.get_logger("rewake.access")


class _Content(msgspec.Struct):
    tokens: list[Token]
    version: int = 1


class TokenFile:
    """The tokens in a file, and those of the environment. A missing file counts as empty."""

    def __init__(self, path: Path, more: list[Token] | None = None) -> None:
        self.path = path
        self._more = more or []
        self._stamp: object = None
        self._by_digest: dict[str, Token] = {}
        self.generation = 0
        """Increases with each change."""

    @property
    def is_empty(self) -> bool:
        return not self._by_digest

    def refresh(self) -> None:
        """Read the file if it has changed. Raises RewakeError RW1023 if it cannot be read."""
        stamp = self._stamp_now()
        if stamp == self._stamp and self.generation:
            return
        tokens = [*self._more, *read_tokens(self.path)]
        self._by_digest = {token.digest: token for token in tokens}
        self._stamp = stamp
        self.generation += 1

    def refresh_if_readable(self) -> None:
        """The same while serving: if the file cannot be read, the tokens stay, and the log reports it."""
        stamp = self._stamp_now()
        if stamp == self._stamp:
            return
        try:
            self.refresh()
        except RewakeError as error:
            self._stamp = stamp
            log.error("tokens_not_read", code=error.code.value, reason=error.message)
        else:
            log.info("tokens_read", path=str(self.path), tokens=len(self._by_digest))

    def keep(self, token: Token) -> None:
        """Add a token that is not in the file, for the life of this process."""
        self._more.append(token)
        self._by_digest[token.digest] = token

    def find(self, digest: str) -> Token | None:
        return self._by_digest.get(digest)

    def _stamp_now(self) -> object:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


def read_tokens(path: Path) -> list[Token]:
    """The tokens of a file; empty if it is missing. Raises RewakeError RW1023."""
    try:
        if path.stat().st_mode & _OTHERS_WRITE:
            raise _invalid(path, "Others than its owner may write it.", f"chmod 600 {path}")
        content = msgspec.json.decode(path.read_bytes(), type=_Content)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _invalid(path, f"{error.strerror}.", "Make it readable for the engine, or name another.") from error
    except msgspec.DecodeError as error:
        raise _invalid(path, f"{error}.", "Put back a copy, or remove it and make the tokens anew.") from error
    if content.version != 1:
        raise _invalid(path, f"It has version {content.version}.", "A newer release wrote it: use that one.")
    return content.tokens


def add_token(path: Path, token: Token) -> None:
    """Add a token to the file. Raises RewakeError RW1023 if its name is taken or the file cannot be written."""
    check_name(token.name)
    tokens = read_tokens(path)
    if any(each.name == token.name for each in tokens):
        raise RewakeError(
            ErrorCode.TOKENS_INVALID,
            f"There is a token named {token.name!r} already.",
            f"Choose another name, or revoke it first: rewake tokens revoke {token.name}",
        )
    _write(path, [*tokens, token])


def remove_token(path: Path, name: str) -> Token:
    """Remove a token from the file and return it. Raises RewakeError RW1023 if no token has that name."""
    tokens = read_tokens(path)
    found = next((token for token in tokens if token.name == name), None)
    if found is None:
        message = f"{str(path)!r} has no token named {name!r}."
        raise RewakeError(ErrorCode.TOKENS_INVALID, message, "List them: rewake tokens list")
    _write(path, [token for token in tokens if token is not found])
    return found


def _write(path: Path, tokens: list[Token]) -> None:
    """Replace the file. The new one is created exclusively: of two parallel commands one fails, and nothing is lost."""
    new = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(0o700, parents=True, exist_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE)
        with os.fdopen(descriptor, "wb") as out:
            out.write(msgspec.json.format(msgspec.json.encode(_Content(tokens)), indent=1) + b"\n")
            out.flush()
            os.fsync(descriptor)
        new.replace(path)
    except FileExistsError as error:
        hint = f"If no other command runs, remove what one left behind: rm {new}"
        raise _invalid(path, "Another command is changing it.", hint) from error
    except OSError as error:
        raise _invalid(
            path, f"It was not written: {error.strerror}.", "Choose a folder that can be written."
        ) from error


def _invalid(path: Path, reason: str, hint: str) -> RewakeError:
    return RewakeError(ErrorCode.TOKENS_INVALID, f"The file of tokens {str(path)!r} cannot be used.\n{reason}", hint)
