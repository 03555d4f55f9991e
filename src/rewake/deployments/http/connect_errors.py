"""What can go wrong with a connection, as one exception and one line of text."""

from __future__ import annotations

import os
import re
import ssl
from typing import Final

_ERRNO: Final = re.compile(r"\[Errno (\d+)\]")


class ConnectionBroken(Exception):
    """The peer does not do what HTTP asks for. is_http1: it answered HTTP/2 with HTTP/1."""

    def __init__(self, message: str, *, is_http1: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.is_http1 = is_http1


def describe_error(error: BaseException) -> str:
    """What went wrong, in the system's words but without its numbers; no full stop."""
    if isinstance(error, ConnectionBroken):
        return error.message.removesuffix(".")
    if isinstance(error, TimeoutError) and not error.args:
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or error}"
    if isinstance(error, OSError):
        return _describe_os_error(error)
    return str(error) or type(error).__name__


def _describe_os_error(error: OSError) -> str:
    """asyncio words failures to connect by itself, and puts those of several addresses into one text."""
    if error.errno is not None:
        return os.strerror(error.errno) if error.errno > 0 else str(error.strerror)
    numbers = _ERRNO.findall(str(error))
    if numbers:
        return os.strerror(int(numbers[-1]))
    return str(error).removesuffix(".") or type(error).__name__
