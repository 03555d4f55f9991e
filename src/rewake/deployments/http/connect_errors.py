"""Errors of connections: one exception, and a line of text for each."""

from __future__ import annotations

import os
import re
import ssl
from typing import Final

_ERRNO: Final = re.compile(r"\[Errno (\d+)\]")


class ConnectionBroken(Exception):
    """The peer breaks HTTP. is_http1: it answered HTTP/2 with HTTP/1."""

    def __init__(self, message: str, *, is_http1: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.is_http1 = is_http1


def describe_error(error: BaseException) -> str:
    """The error in the system's words, without its numbers and without a full stop."""
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
    """An OSError's text. asyncio makes its own text for failed connections, one for several addresses."""
    if error.errno is not None:
        return os.strerror(error.errno) if error.errno > 0 else str(error.strerror)
    numbers = _ERRNO.findall(str(error))
    if numbers:
        return os.strerror(int(numbers[-1]))
    return str(error).removesuffix(".") or type(error).__name__
