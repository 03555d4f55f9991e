"""Who may come in at the ports of `rewake run`, `server` and `ui`: the options that say so, and the gate they make."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from rewake.cli.settings import setting
from rewake.errors import ErrorCode, RewakeError

if TYPE_CHECKING:
    from rewake.access.gate import Gate

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)

ACCESS_SETTINGS: Final = (
    setting(
        "tokens-file",
        type=click.Path(dir_okay=False, path_type=Path),
        show_default="tokens.json in the data folder",
        help="Access tokens, as rewake tokens makes them; REWAKE_TOKENS may name more.",
    ),
    setting("require-tokens", is_flag=True, help="Ask for a token on loopback as well."),
    setting("insecure", is_flag=True, help="Let in everybody who can reach the ports."),
    setting("tls-cert", type=_FILE, help="Certificate for TLS on every port (PEM)."),
    setting("tls-key", type=_FILE, help="Key of the certificate (PEM), if it is in a file of its own."),
)


def check_access_options(*, insecure: bool, require_tokens: bool, tls_cert: Path | None, tls_key: Path | None) -> None:
    """Raises click.UsageError for options that do not go together."""
    if tls_key is not None and tls_cert is None:
        raise click.UsageError("--tls-key needs --tls-cert.")
    if insecure and require_tokens:
        raise click.UsageError("--insecure and --require-tokens exclude each other.")


def gate_of(
    host: str,
    *,
    insecure: bool,
    require_tokens: bool,
    tokens_file: Path | None,
    data: Path,
    now_ms: Callable[[], int],
) -> Gate | None:
    """The gate of the ports; None lets everybody in. Raises RewakeError RW1022 if no token exists."""
    from rewake.access.gate import Gate
    from rewake.access.token_file import FILE_NAME, TokenFile
    from rewake.access.tokens import tokens_in
    from rewake.http_server.origins import is_loopback_address

    is_local = is_loopback_address(host)
    if insecure or (is_local and not require_tokens):
        return None
    tokens = TokenFile(tokens_file or data / FILE_NAME, tokens_in(os.environ.get("REWAKE_TOKENS", "")))
    tokens.refresh()
    if tokens.is_empty:
        where = "" if tokens_file is None else f" --tokens-file {tokens_file}"
        raise RewakeError(
            ErrorCode.OPEN_TO_ALL,
            f"{host} is reached from other machines, and there is no access token."
            if not is_local
            else "--require-tokens is set, and there is no access token.",
            f"Make one: rewake tokens create NAME --role admin{where}\n"
            "Or set REWAKE_TOKENS, or let in everybody: --insecure",
        )
    return Gate(tokens, now_ms)
