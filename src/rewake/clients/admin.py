"""A client of the admin API: JSON over HTTP, errors as RewakeError with the server's own code and hint.

It uses the public Restate admin API, so it also works with a Restate server. It blocks. Used by the subcommands
(cli/admin_client.py) and by rewake.runs.elsewhere.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Mapping
from typing import Any, Final, Self
from urllib.parse import urlencode

from rewake.access.credentials import bearer, token_for
from rewake.clients.http import HttpClient, NoAnswer, segment, url_parts
from rewake.errors import ErrorCode, RewakeError

__all__ = ["DEFAULT_URL", "OWN_WORDS", "AdminClient", "not_an_admin_api", "segment", "sql_text"]

TIMEOUT_S: Final = 30.0
DEFAULT_URL: Final = "http://127.0.0.1:9070"
_REPEATED: Final = re.compile(r"^(\[\w+\]) \1 ")  # the documented code, repeated
_HINT: Final = "Start an engine (rewake run FILE.py), or say where it is: --admin URL or REWAKE_ADMIN"


OWN_WORDS: Final = "rewake_message"
"""Field of an error body with our message; `message` has the public server's words."""


class AdminClient:
    """One admin API. Raises RewakeError RW1009 if it cannot be reached, or the server's own error.

    token: by default that of REWAKE_TOKEN or of `rewake login`, if any.
    Inside `with client:` it reuses one connection; only one thread may then use the client.
    """

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S, token: str | None = None) -> None:
        self.url = url.rstrip("/")
        parts = url_parts(self.url)
        if parts is None:
            raise RewakeError(
                ErrorCode.SETTING_INVALID, f"{url!r} is not the URL of an admin API.", f"Write it as {DEFAULT_URL}."
            )
        self._http = HttpClient(parts, timeout_s=timeout_s)
        self._timeout_s = timeout_s
        self._shown = bearer(token or token_for(self.url))

    def __enter__(self) -> Self:
        self._http.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.__exit__()

    def get(self, path: str) -> Any:
        """The decoded JSON of a GET."""
        return self.ask("GET", path)

    def query(self, sql: str) -> list[dict[str, Any]]:
        """The rows of a SQL query; null columns are left out."""
        rows: list[dict[str, Any]] = self.ask("POST", "/query", {"query": sql})["rows"]
        return rows

    def ask(self, method: str, path: str, body: Any = None, **parameters: str | None) -> Any:
        """Make a request; returns the decoded JSON of the answer, None if it is empty."""
        content = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        return self.send(method, path, content, parameters)

    def send(self, method: str, path: str, content: bytes | None, parameters: Mapping[str, str | None]) -> Any:
        """The same with an encoded body."""
        given = {name: value for name, value in parameters.items() if value is not None}
        headers = (
            {"accept": "application/json"} | self._shown | ({"content-type": "application/json"} if content else {})
        )
        what = f"{method} {self.url}{path}"
        try:
            status, text = self._http.send(method, path + ("?" + urlencode(given) if given else ""), content, headers)
        except NoAnswer as error:
            raise self._unreachable(what, error) from error.__cause__
        if status >= 300:
            raise _refused(status, text, what, self.url)
        try:
            return json.loads(text) if text else None
        except ValueError:
            message = f"{what} was answered with something that is not JSON."
            raise RewakeError(ErrorCode.ADMIN_REFUSED, message, "Is that the address of an admin API?") from None

    def _unreachable(self, what: str, error: NoAnswer) -> RewakeError:
        if isinstance(error.__cause__, TimeoutError):
            message = f"{what} was not answered within {self._timeout_s:g} s."
            return RewakeError(ErrorCode.ADMIN_UNREACHABLE, message, "Ask for less, or try again later.")
        message = f"Could not reach the admin API at {self.url!r}.\n{error.reason}."
        return RewakeError(ErrorCode.ADMIN_UNREACHABLE, message, _hint_for(error.__cause__))


def sql_text(value: str) -> str:
    """A SQL string literal. A NUL is not possible in it and becomes U+FFFD, which then equals no stored value."""
    return "'" + value.replace("'", "''").replace("\0", "\ufffd") + "'"


def _hint_for(error: BaseException | None) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "Its certificate is not one this machine trusts: SSL_CERT_FILE names a file with more of them."
    return _HINT


def not_an_admin_api(url: str) -> RewakeError:
    """The error for an address that is not an admin API."""
    hint = "The admin API of a Restate server listens on port 9070 by default; 8080 is its ingress."
    return RewakeError(ErrorCode.ADMIN_NOT_FOUND, f"What answers at {url!r} is not a Restate admin API.", hint)


def _refused(status: int, text: bytes, what: str, url: str) -> RewakeError:
    """The server's own error; if the answer has no error, one with its text or its status."""
    hint = ""
    try:
        body = json.loads(text)
        message = _REPEATED.sub(r"\1 ", str(body.get(OWN_WORDS) or body["message"]))
    except (ValueError, KeyError, TypeError):
        body, message = {}, text.decode(errors="replace").strip() or f"{what} was answered with status {status}."
        hint = "Is that the address of an admin API?" if status in (404, 405, 501) else ""
    if isinstance(body.get("code"), int):  # An ingress answers with a status beside the message.
        return not_an_admin_api(url)
    try:
        code = ErrorCode(body.get("code"))
    except ValueError:
        code = ErrorCode.ADMIN_REFUSED
    return RewakeError(code, message, str(body.get("hint") or hint), http_status=status)
