"""A client of the admin API: JSON over HTTP, errors as RewakeError with the server's own code and hint.

Speaks the public Restate admin API, so what uses it also works against a Restate server. Blocks; standard library only.
The subcommands use it (cli/admin_client.py), and rewake.runs.elsewhere.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
from collections.abc import Mapping
from typing import Any, Final, Self
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from rewake.errors import ErrorCode, RewakeError

TIMEOUT_S: Final = 30.0
DEFAULT_URL: Final = "http://127.0.0.1:9070"
_REPEATED: Final = re.compile(r"^(\[\w+\]) \1 ")  # the documented code, said twice
_HINT: Final = "Start an engine (rewake run FILE.py), or say where it is: --admin URL or REWAKE_ADMIN"


OWN_WORDS: Final = "rewake_message"
"""Field of an error body: our message, where `message` is worded as the public server's clients know it."""


class AdminClient:
    """One admin API. Raises RewakeError RW1009 when it is not there, else what it answered.

    Inside `with client:` one connection is kept and used again; a client may then be used by one thread only.
    """

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self.url = url.rstrip("/")
        parts = url_parts(self.url)
        if parts is None:
            raise RewakeError(
                ErrorCode.SETTING_INVALID, f"{url!r} is not the URL of an admin API.", f"Write it as {DEFAULT_URL}."
            )
        self._connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._host, self._port, self._base_path = parts.hostname or "", parts.port, parts.path
        self._timeout_s = timeout_s
        self._keeps = False
        self._kept: http.client.HTTPConnection | None = None

    def __enter__(self) -> Self:
        self._keeps = True
        return self

    def __exit__(self, *_: object) -> None:
        self._keeps = False
        self._drop()

    def get(self, path: str) -> Any:
        """The decoded JSON of a GET."""
        return self.ask("GET", path)

    def query(self, sql: str) -> list[dict[str, Any]]:
        """The rows of a SQL query; a column that is null is absent."""
        rows: list[dict[str, Any]] = self.ask("POST", "/query", {"query": sql})["rows"]
        return rows

    def ask(self, method: str, path: str, body: Any = None, **parameters: str | None) -> Any:
        """One request; the decoded JSON of the answer, None when it is empty."""
        content = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        return self.send(method, path, content, parameters)

    def send(self, method: str, path: str, content: bytes | None, parameters: Mapping[str, str | None]) -> Any:
        """The same with a body that is JSON already."""
        given = {name: value for name, value in parameters.items() if value is not None}
        target = self._base_path + path + ("?" + urlencode(given) if given else "")
        headers = {"accept": "application/json"} | ({"content-type": "application/json"} if content else {})
        what = f"{method} {self.url}{path}"
        status, text = self._send(method, target, content, headers, what)
        if status >= 300:
            raise _refused(status, text, what, self.url)
        try:
            return json.loads(text) if text else None
        except ValueError:
            message = f"{what} was answered with something that is not JSON."
            raise RewakeError(ErrorCode.ADMIN_REFUSED, message, "Is that the address of an admin API?") from None

    def _send(
        self, method: str, target: str, content: bytes | None, headers: dict[str, str], what: str
    ) -> tuple[int, bytes]:
        connection = self._kept or self._connect(self._host, self._port, timeout=self._timeout_s)
        self._kept = connection if self._keeps else None
        try:
            connection.request(method, target, content, headers)
            _acknowledge_at_once(connection)
            response = connection.getresponse()
            return response.status, response.read()
        except TimeoutError as error:
            self._drop()
            message = f"{what} was not answered within {self._timeout_s:g} s."
            raise RewakeError(ErrorCode.ADMIN_UNREACHABLE, message, "Ask for less, or try again later.") from error
        except (OSError, UnicodeError, http.client.HTTPException) as error:  # UnicodeError: of a host's name
            self._drop()
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            message = f"Could not reach the admin API at {self.url!r}.\n{reason}."
            raise RewakeError(ErrorCode.ADMIN_UNREACHABLE, message, _hint_for(error)) from error
        finally:
            if self._kept is None:
                connection.close()

    def _drop(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None


def url_parts(url: str) -> SplitResult | None:
    """The parts of a URL requests can be sent to; None when it is none."""
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, half an IPv6 address
        return None
    return parts if is_usable else None


def segment(text: str) -> str:
    """A path segment."""
    return quote(text, safe="")


def sql_text(value: str) -> str:
    """A SQL string literal. One cannot hold a NUL; what has one equals nothing that is stored without."""
    return "'" + value.replace("'", "''").replace("\0", "\ufffd") + "'"


def _acknowledge_at_once(connection: http.client.HTTPConnection) -> None:
    """Some servers send an answer in two parts, the second when the first is acknowledged: 40 ms later by default."""
    if hasattr(socket, "TCP_QUICKACK") and connection.sock is not None:
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _hint_for(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "Its certificate is not one this machine trusts: SSL_CERT_FILE names a file with more of them."
    return _HINT


def not_an_admin_api(url: str) -> RewakeError:
    """The error for an address where something else answers."""
    hint = "The admin API of a Restate server listens on port 9070 unless told otherwise; 8080 is its ingress."
    return RewakeError(ErrorCode.ADMIN_NOT_FOUND, f"What answers at {url!r} is not a Restate admin API.", hint)


def _refused(status: int, text: bytes, what: str, url: str) -> RewakeError:
    """The server's own error, or what can be said of an answer that is none."""
    hint = ""
    try:
        told = json.loads(text)
        message = _REPEATED.sub(r"\1 ", str(told.get(OWN_WORDS) or told["message"]))
    except (ValueError, KeyError, TypeError):
        told, message = {}, text.decode(errors="replace").strip() or f"{what} was answered with status {status}."
        hint = "Is that the address of an admin API?" if status in (404, 405, 501) else ""
    if isinstance(told.get("code"), int):  # A status beside the message is how an ingress says it.
        return not_an_admin_api(url)
    try:
        code = ErrorCode(told.get("code"))
    except ValueError:
        code = ErrorCode.ADMIN_REFUSED
    return RewakeError(code, message, str(told.get("hint") or hint), http_status=status)
