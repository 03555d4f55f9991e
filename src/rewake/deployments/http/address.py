"""Addresses of deployments: parses URLs of registrations, and checks additional headers.

An address may have a path prefix and a query string; protocol paths go between the two. Equivalent spellings (case of
the host, default port, trailing slash) give the same `uri`, and registrations are compared by that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import msgspec

from rewake.errors import ErrorCode, RewakeError

_PORTS: Final = {"http": 80, "https": 443}
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE: Final = re.compile(r"[\x21-\x7e]([\t\x20-\x7e]*[\x21-\x7e])?|")
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")

_NOT_OURS: Final = frozenset(
    {"connection", "content-length", "content-type", "host", "keep-alive", "proxy-connection", "te", "trailer"}
    | {"transfer-encoding", "upgrade"}
)
"""Headers that belong to the connection or the protocol, and would break either."""


class Address(msgspec.Struct, frozen=True):
    """A place on the network. `prefix` has no trailing slash, `query` no question mark."""

    scheme: str
    host: str
    port: int
    prefix: str
    query: str

    @property
    def is_tls(self) -> bool:
        return self.scheme == "https"

    @property
    def authority(self) -> str:
        """Host and port for a request; the default port is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def uri(self) -> str:
        """The normal spelling of this address, with a trailing slash."""
        query = f"?{self.query}" if self.query else ""
        return f"{self.scheme}://{self.authority}{self.prefix}/{query}"

    def target(self, path: bytes) -> bytes:
        """The request target of a protocol path such as `/discover`."""
        query = f"?{self.query}" if self.query else ""
        return self.prefix.encode() + path + query.encode()


def parse_address(uri: str) -> Address:
    """The address in `uri`. Raises RewakeError RW2006 unless it is an absolute http or https URL."""
    try:
        parts = urlsplit(uri)
        scheme, host, port = parts.scheme.lower(), parts.hostname, parts.port
    except ValueError as error:
        raise _invalid(uri, f"{error}.") from error
    if scheme not in _PORTS:
        raise _invalid(uri, "It does not start with http:// or https://.")
    if not host:
        raise _invalid(uri, "It names no host.")
    if port == 0:
        raise _invalid(uri, "Port 0 cannot be connected to.")
    if parts.username is not None or parts.password is not None:
        raise _invalid(uri, "It has a user name or password; send credentials as an additional header instead.")
    if not _VISIBLE.fullmatch(uri):
        raise _invalid(uri, "It has spaces or characters that are not ASCII.")
    return Address(scheme, host, port or _PORTS[scheme], parts.path.rstrip("/"), parts.query)


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Additional headers with lower-case names. Raises RewakeError RW2007 for one that cannot be sent."""
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise _bad_header(name, "The name is not a valid header name.")
        if name.lower() in _NOT_OURS:
            raise _bad_header(name, "This header belongs to the connection and cannot be set.")
        if not _VALUE.fullmatch(value):
            raise _bad_header(name, "The value has characters that are not visible ASCII.")
    return {name.lower(): value for name, value in headers.items()}


def _invalid(uri: str, reason: str) -> RewakeError:
    return RewakeError(
        ErrorCode.DEPLOYMENT_ADDRESS_INVALID,
        f"{uri!r} is not the address of a deployment.\n{reason}",
        "Give the whole address, such as http://localhost:9080.",
    )


def _bad_header(name: str, reason: str) -> RewakeError:
    return RewakeError(
        ErrorCode.DEPLOYMENT_HEADER_INVALID,
        f"The additional header {name!r} cannot be sent.\n{reason}",
        "Correct or remove it.",
    )
