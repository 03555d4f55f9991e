"""A blocking client of another server's ingress: its address, requests, answers to awakeables.

Used by the subcommands, and by the pages for another server (ui/engine_elsewhere.py).
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import msgspec

from rewake.access.credentials import bearer, token_for
from rewake.clients.http import HttpClient, NoAnswer, segment, url_parts
from rewake.errors import ErrorCode, RewakeError
from rewake.protocol.messages import Failure, SignalResult, Success

INGRESS_PORT: Final = 8080
REQUEST_S: Final = 10.0
_LOOPBACK: Final = re.compile(r"localhost|127\.[\d.]+|0\.0\.0\.0|::1?")


class IngressClient:
    """One ingress. url: from checked_url() or url_beside()."""

    def __init__(self, url: str) -> None:
        self.url = url

    def send(
        self, method: str, path: str, body: bytes, headers: dict[str, str], timeout_s: float = REQUEST_S
    ) -> tuple[int, bytes]:
        """Status and body of the answer. Raises RewakeError RW1017 if the ingress cannot be reached."""
        parts = url_parts(self.url)
        assert parts is not None, "the URL was checked"
        try:
            return HttpClient(parts, timeout_s=timeout_s).send(
                method, path, body, bearer(token_for(self.url)) | headers
            )
        except NoAnswer as error:
            message = f"Could not reach the ingress at {self.url!r}.\n{error.reason}."
            hint = "Give its address: --ingress URL"
            raise RewakeError(ErrorCode.INGRESS_UNREACHABLE, message, hint) from error.__cause__

    def answer(self, awakeable_id: str, result: SignalResult) -> None:
        """Resolve or reject an awakeable. If the server refuses, raises RewakeError with its message."""
        verb, body, content_type = "resolve", b"", "application/json"
        if isinstance(result, Failure):
            verb, body, content_type = "reject", result.message.encode(), "text/plain"
        elif isinstance(result, Success):
            body = result.content
        headers = {"content-type": content_type} if body else {}
        status, content = self.send("POST", f"/restate/awakeables/{segment(awakeable_id)}/{verb}", body, headers)
        if status >= 300:
            raise RewakeError(ErrorCode.ADMIN_REFUSED, failure_in(status, content).message, http_status=status)


def checked_url(url: str) -> str:
    """The checked address of an ingress, from a person. Raises RewakeError RW1004."""
    if url_parts(url) is None:
        message = f"{url!r} is not the URL of an ingress."
        raise RewakeError(ErrorCode.SETTING_INVALID, message, "Write it as http://127.0.0.1:8080.")
    return url.rstrip("/")


def url_beside(admin_url: str, told: Any) -> str:
    """The probable address of the ingress: the server's; if that is a loopback address, on the admin API's host."""
    admin = urlsplit(admin_url)
    ingress = url_parts(told) if isinstance(told, str) else None
    host = admin.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    if ingress is None or not ingress.hostname:
        return urlunsplit((admin.scheme, f"{shown}:{INGRESS_PORT}", "", "", ""))
    if _LOOPBACK.fullmatch(ingress.hostname) and not _LOOPBACK.fullmatch(host):
        return urlunsplit((ingress.scheme, f"{shown}:{ingress.port or INGRESS_PORT}", "", "", ""))
    return urlunsplit((ingress.scheme, ingress.netloc.replace("0.0.0.0", "127.0.0.1"), "", "", ""))


def failure_in(status: int, content: bytes) -> Failure:
    """The failure in the ingress's answer to a call."""
    try:
        told = msgspec.json.decode(content)
        return Failure(int(told.get("code") or status), str(told["message"]))
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError):
        return Failure(status, content.decode(errors="replace")[:1_000] or f"status {status}")
