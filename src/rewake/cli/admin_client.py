"""The admin API as the subcommands use it: where it is, and whether they print JSON. The client is clients/admin.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from rewake.cli.settings import FILE_NAME, read_settings_file
from rewake.clients.admin import DEFAULT_URL, AdminClient, segment, sql_text

__all__ = ["DEFAULT_URL", "AdminClient", "admin_option", "admin_options", "segment", "sql_text"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def admin_options(function: _Function) -> _Function:
    """--admin URL and --json, for every subcommand that talks to an engine; passes `admin` and `as_json`."""
    as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    return admin_option(as_json(function))


def admin_option(function: _Function) -> _Function:
    """--admin URL alone; passes `admin`."""
    return click.option(
        "--admin",
        metavar="URL",
        envvar="REWAKE_ADMIN",
        show_envvar=True,
        default=_default_url,
        show_default=f"{DEFAULT_URL}, or as {FILE_NAME} says",
        callback=lambda _context, _parameter, url: AdminClient(url),
        help="Address of the admin API.",
    )(function)


def _default_url() -> str:
    """The default, or where the settings file of this directory puts the admin API."""
    from pathlib import Path

    path = Path(FILE_NAME)
    values = read_settings_file(path) if path.is_file() else {}
    host = values.get("host", "127.0.0.1")
    return f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{values.get('admin-port', 9070)}"
