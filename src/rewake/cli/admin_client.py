"""The admin API as the subcommands use it: where it is, and whether they print JSON. The client is clients/admin.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from rewake.cli.encryption import encryption_options, late_sealer
from rewake.cli.settings import FILE_NAME, read_settings_file
from rewake.clients.admin import DEFAULT_URL, AdminClient, segment, sql_text
from rewake.disclosure import open_from_now_on

__all__ = ["DEFAULT_URL", "AdminClient", "admin_option", "admin_options", "segment", "sql_text"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def admin_options(function: _Function) -> _Function:
    """--admin URL and --json, for every subcommand that talks to an engine; passes `admin` and `as_json`."""
    as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    return admin_option(as_json(function))


def admin_option(function: _Function) -> _Function:
    """--admin URL, and the keys for what is encrypted there; passes `admin`."""
    return encryption_options(_admin(function))


def _admin(function: _Function) -> _Function:
    return click.option(
        "--admin",
        metavar="URL",
        envvar="REWAKE_ADMIN",
        show_envvar=True,
        default=_default_url,
        show_default=f"{DEFAULT_URL}, or as {FILE_NAME} says",
        callback=_client,
        help="Address of the admin API.",
    )(function)


def _client(_context: click.Context, _parameter: click.Parameter, url: str) -> AdminClient:
    open_from_now_on(late_sealer())
    return AdminClient(url)


def _default_url() -> str:
    """The default, or where the settings file of this directory puts the admin API."""
    from pathlib import Path

    path = Path(FILE_NAME)
    values = read_settings_file(path) if path.is_file() else {}
    host = values.get("host", "127.0.0.1")
    return f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{values.get('admin-port', 9070)}"
