"""Certificate: a port's TLS certificate. It is loaded again when its files change, so a renewal needs no restart."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from rewake.errors import ErrorCode, RewakeError

CHECK_S: Final = 30.0
"""Time between two checks of a certificate's files."""

HTTP1: Final = ("http/1.1",)

log = structlog.get_logger("rewake.tls")


class Certificate:
    """A certificate with its key. key: None if the certificate's file has it.   protocols: of HTTP, by preference.

    Raises RewakeError RW1018.
    """

    def __init__(self, certificate: Path, key: Path | None = None, protocols: Sequence[str] = HTTP1) -> None:
        self._certificate = certificate
        self._key = key
        self._stamp = self._stamp_now()
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.set_alpn_protocols(list(protocols))
        self._load()

    def renew(self) -> None:
        """Load the files again if they have changed.

        If they cannot be used, the old certificate stays until the next change.
        """
        stamp = self._stamp_now()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._load()
        except RewakeError as error:
            log.error("certificate_not_renewed", code=error.code.value, reason=error.message)
        else:
            log.info("certificate_renewed", path=str(self._certificate))

    def _load(self) -> None:
        try:
            # Without this, OpenSSL would ask for a key's password on the terminal.
            self.context.load_cert_chain(self._certificate, self._key, password="")
        except OSError as error:
            files, where = f"{self._certificate} with {self._key}", ""
            if self._key is None:
                files, where = str(self._certificate), " in the same file"
            raise RewakeError(
                ErrorCode.TLS_CERTIFICATE_INVALID,
                f"The TLS certificate {files} cannot be used.\n{_reason(error)}.",
                f"Both are PEM: the certificate, its intermediates below it, and its key{where}, without password.",
            ) from error

    def _stamp_now(self) -> tuple[object, ...]:
        return tuple(_stamp(path) for path in (self._certificate, self._key) if path is not None)


def _stamp(path: Path) -> object:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _reason(error: OSError) -> str:
    if not isinstance(error, ssl.SSLError):
        return str(error.strerror or error)
    return (
        error.reason.replace("_", " ").lower()
        if error.reason
        else "The certificate or the key is not there, or not PEM"
    )
