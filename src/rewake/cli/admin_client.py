"""The admin API as the subcommands use it: JSON over HTTP, errors as RewakeError with the server's own code and hint.

Speaks the public Restate admin API, so most subcommands also work against a Restate server. Standard library only.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import click

from rewake.cli.settings import FILE_NAME, read_settings_file
from rewake.errors import ErrorCode, RewakeError

TIMEOUT_S: Final = 30.0
DEFAULT_URL: Final = "http://127.0.0.1:9070"

_Function = TypeVar("_Function", bound=Callable[..., Any])


class AdminClient:
    """One admin API. Raises RewakeError RW1009 when it is not there, else what it answered."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RewakeError(
                ErrorCode.SETTING_INVALID, f"{url!r} is not the URL of an admin API.", f"Write it as {DEFAULT_URL}."
            )
        self._connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._host, self._port, self._base_path = parts.hostname, parts.port, parts.path

    def get(self, path: str) -> Any:
        """The decoded JSON of a GET."""
        return self.ask("GET", path)

    def query(self, sql: str) -> list[dict[str, Any]]:
        """The rows of a SQL query; a column that is null is absent."""
        rows: list[dict[str, Any]] = self.ask("POST", "/query", {"query": sql})["rows"]
        return rows

    def ask(self, method: str, path: str, body: Any = None, **parameters: str | None) -> Any:
        """One request; the decoded JSON of the answer, None when it is empty."""
        given = {name: value for name, value in parameters.items() if value is not None}
        target = self._base_path + path + ("?" + urlencode(given) if given else "")
        content = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        headers = {"accept": "application/json"} | ({"content-type": "application/json"} if content else {})
        status, text = self._send(method, target, content, headers)
        if status >= 300:
            raise _refused(status, text, f"{method} {self.url}{path}")
        return json.loads(text) if text else None

    def _send(self, method: str, target: str, content: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        connection = self._connect(self._host, self._port, timeout=TIMEOUT_S)
        try:
            connection.request(method, target, content, headers)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise RewakeError(
                ErrorCode.ADMIN_UNREACHABLE,
                f"Could not reach the admin API at {self.url!r}.\n{reason}.",
                "Start an engine (rewake run FILE.py), or say where it is: --admin URL or REWAKE_ADMIN",
            ) from error
        finally:
            connection.close()


def segment(text: str) -> str:
    """A path segment."""
    return quote(text, safe="")


def sql_text(value: str) -> str:
    """A SQL string literal."""
    return "'" + value.replace("'", "''") + "'"


def admin_options(function: _Function) -> _Function:
    """--admin URL and --json, for every subcommand that talks to an engine; passes `admin` and `as_json`."""
    admin = click.option(
        "--admin",
        metavar="URL",
        envvar="REWAKE_ADMIN",
        show_envvar=True,
        default=_default_url,
        show_default=f"{DEFAULT_URL}, or as {FILE_NAME} says",
        callback=lambda _context, _parameter, url: AdminClient(url),
        help="Address of the admin API.",
    )
    as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    return admin(as_json(function))


def _default_url() -> str:
    """The default, or where the settings file of this directory puts the admin API."""
    from pathlib import Path

    path = Path(FILE_NAME)
    values = read_settings_file(path) if path.is_file() else {}
    host = values.get("host", "127.0.0.1")
    return f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{values.get('admin-port', 9070)}"


def _refused(status: int, text: bytes, what: str) -> RewakeError:
    """The server's own error, or what can be said of an answer that is none."""
    try:
        told = json.loads(text)
        message = str(told["message"])
    except (ValueError, KeyError, TypeError):
        told, message = {}, text.decode(errors="replace").strip() or f"{what} was answered with status {status}."
    try:
        code = ErrorCode(told.get("code"))
    except ValueError:
        code = ErrorCode.ADMIN_REFUSED
    return RewakeError(code, message, str(told.get("hint") or ""), http_status=status)
