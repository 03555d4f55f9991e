"""Credentials: the token that our commands send to a server, from REWAKE_TOKEN or from `rewake login`.

The file has one token for each host and is readable by its owner alone. All functions block.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from rewake.errors import ErrorCode, RewakeError

VARIABLE: Final = "REWAKE_TOKEN"
_OTHERS: Final = 0o077


def credentials_file() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "rewake" / "credentials.json"


def token_for(url: str) -> str | None:
    """The token for the server at `url`. Raises RewakeError RW1023 if others may read the file."""
    return os.environ.get(VARIABLE) or _read().get(_host_of(url))


def bearer(token: str | None) -> dict[str, str]:
    """The header with a token."""
    return {} if token is None else {"authorization": f"Bearer {token}"}


def keep_token(url: str, secret: str) -> Path:
    """Store the token for the host of `url`; returns the file."""
    return _write({**_read(), _host_of(url): secret})


def forget_token(url: str) -> bool:
    """Delete the token for the host of `url`; returns whether there was one."""
    found = _read()
    if found.pop(_host_of(url), None) is None:
        return False
    _write(found)
    return True


def _host_of(url: str) -> str:
    return urlsplit(url).hostname or ""


def _read() -> dict[str, str]:
    path = credentials_file()
    try:
        if path.stat().st_mode & _OTHERS:
            raise _invalid(path, "Others than its owner may read it.", f"chmod 600 {path}")
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise _invalid(path, f"{error.strerror}.", "Make it readable, or remove it.") from error
    except ValueError as error:
        raise _invalid(path, "It is not JSON.", "Remove it, and log in again: rewake login") from error
    return {str(host): str(secret) for host, secret in found.items()} if isinstance(found, dict) else {}


def _write(content: dict[str, str]) -> Path:
    path = credentials_file()
    new = path.with_name(path.name + f".{os.getpid()}")
    try:
        path.parent.mkdir(0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as out:
            json.dump(content, out, indent=1)
        new.replace(path)
    except OSError as error:
        raise _invalid(path, f"It was not written: {error.strerror}.", f"Set {VARIABLE} instead.") from error
    return path


def _invalid(path: Path, reason: str, hint: str) -> RewakeError:
    return RewakeError(ErrorCode.TOKENS_INVALID, f"The credentials in {str(path)!r} cannot be used.\n{reason}", hint)
