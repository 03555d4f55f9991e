"""Door: which web pages may call a port, and by which host names.

A browser lets any page send requests to this machine. `Origin` names the page that sends one. `Host` exposes a page
whose own name an attacker has pointed at this machine (DNS rebinding). Programs other than browsers send neither a
foreign origin nor a foreign name, so the rules do not affect them. Ingress and admin render the refusals.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from rewake.errors import ErrorCode

ANY: Final = "*"
NAMES_REMEMBERED_MAX: Final = 64
"""Accepted `Host` headers that are remembered, so that they need not be parsed again."""

_ORIGIN_HINT: Final = "If the page is yours, allow its origin: --allowed-origins {origin} (or REWAKE_ALLOWED_ORIGINS)"
_HOST_HINT: Final = "If the name is yours, allow it: --allowed-hosts {host} (or REWAKE_ALLOWED_HOSTS)"


_OTHER_PAGES: Final = frozenset({"cross-site", "same-site"})
"""A page on another port of this machine counts as the same site; an image in it must not run a handler here."""

_BRACKETED: Final = re.compile(r"\[[^\[\]]*\](:\d*)?")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not let in."""

    code: ErrorCode
    message: str
    hint: str


class Door:
    """Decides which requests may enter one port.

    hosts: names of this server; `*` for any. Addresses, `localhost` and names without a dot are always accepted, as
    public DNS does not resolve the latter.   origins: of pages that may call it, such as `https://app.example`; `*` for
    any.   is_local: whether it listens on loopback.
    """

    def __init__(
        self, hosts: frozenset[str] = frozenset(), origins: frozenset[str] = frozenset(), *, is_local: bool = True
    ) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)
        self._is_local = is_local
        self._checks_hosts = (is_local or bool(hosts)) and ANY not in hosts
        self._known: set[str] = set()

    def allows_reading(self, origin: str) -> bool:
        """Whether pages of this origin may read the answers: true for configured origins."""
        return ANY in self._origins or origin.lower() in self._origins

    def refusal(self, headers: Mapping[str, str], *, is_navigation_safe: bool = False) -> Refusal | None:
        """Why the request is refused; None if it may enter.

        headers: lower-case names.   is_navigation_safe: following a link from another site is harmless here.
        """
        host = headers.get("host", "")
        if self._checks_hosts and host not in self._known:
            if not self._is_ours(host):
                return _foreign_host(host)
            if len(self._known) < NAMES_REMEMBERED_MAX:
                self._known.add(host)
        origin = headers.get("origin")
        if origin is None:
            is_foreign = headers.get("sec-fetch-site") in _OTHER_PAGES
            if is_navigation_safe and headers.get("sec-fetch-mode") == "navigate":
                is_foreign = headers.get("sec-fetch-dest") != "document"
        else:
            is_foreign = not self._is_own_page(origin, host) and not self.allows_reading(origin)
        if is_foreign and (self._is_local or _is_loopback(host)):
            return _foreign_page(origin)
        return None

    def _is_ours(self, host: str) -> bool:
        """Whether a `Host` header names this server. A request without one does not come from a browser."""
        name = _name_of(host)
        return "." not in name or name in self._hosts or name.endswith(".localhost") or _is_address(name)

    def _is_own_page(self, origin: str, host: str) -> bool:
        authority = origin.partition("://")[2].lower()
        return bool(authority) and (authority == host.lower() or _name_of(authority) in self._hosts)


def _foreign_host(host: str) -> Refusal:
    message = f"The request is for {host[:100]!r}, which is no name of this server."
    return Refusal(ErrorCode.HOST_REFUSED, message, _HOST_HINT.format(host=_name_of(host)[:100]))


def _foreign_page(origin: str | None) -> Refusal:
    message = f"A page of {'another site' if origin is None else repr(origin[:100])} sent the request."
    return Refusal(ErrorCode.ORIGIN_REFUSED, message, _ORIGIN_HINT.format(origin=(origin or "ORIGIN")[:100]))


def _name_of(authority: str) -> str:
    """The host in `name:port` or `[address]:port`, in lower case, without a final dot."""
    if "[" in authority and _BRACKETED.fullmatch(authority) is None:
        return "."  # matches no configured name
    try:
        return (urlsplit(f"//{authority}").hostname or "").rstrip(".")
    except ValueError:
        return authority.lower() if "." in authority else "."  # matches no configured name


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    name = _name_of(host)
    return name in {"localhost", "::1"} or name.endswith(".localhost") or name.startswith("127.")


def is_loopback_address(host: str) -> bool:
    """Whether a server that listens on `host` is reached from this machine alone."""
    return _is_loopback(f"[{host}]" if ":" in host else host)
