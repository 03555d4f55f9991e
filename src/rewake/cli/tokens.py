"""`rewake tokens`: the tokens of callers and operators. Works on the file, which a running engine reads again."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from rewake.cli.durations import Duration
from rewake.cli.exits import Group
from rewake.cli.settings import data_option

ROLES: Final = ("call", "read", "operate", "admin")
DAY_MS: Final = 86_400_000


def _file_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """--tokens-file FILE, by default the one in the data folder; passes `path`."""

    def of_file(path: Path | None, data: Path, **given: Any) -> Any:
        from rewake.access.token_file import FILE_NAME

        return function(path=path or data / FILE_NAME, **given)

    of_file.__doc__ = function.__doc__
    of_file.__name__ = function.__name__
    option = click.option(
        "--tokens-file",
        "path",
        envvar="REWAKE_TOKENS_FILE",
        show_envvar=True,
        type=click.Path(dir_okay=False, path_type=Path),
        help="File of the tokens; by default tokens.json in the data folder.",
    )
    return option(data_option(of_file))


@click.group(cls=Group)
def tokens() -> None:
    """Make, list and revoke the tokens of callers and operators."""


@tokens.command()
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), default="call", show_default=True, help="What the token is for.")
@click.option("--service", "services", multiple=True, metavar="SERVICE", help="Only for this service; may be repeated.")
@click.option("--expires", type=Duration(), metavar="DURATION", help="Time until it expires, such as 90d.")
@_file_option
def create(path: Path, name: str, role: str, services: tuple[str, ...], expires: int | None) -> None:
    """Make a token and print its secret, once.

    call: call handlers. read: pages, lists, SQL. operate: both, and cancel, kill, fork, approve. admin: everything.
    With --service, only what belongs to that service; SQL and deployments then need another token.
    """
    from rewake.access.token_file import add_token
    from rewake.access.tokens import Role, Token, digest_of, new_secret

    if services and role == "admin":
        raise click.UsageError("--service does not go with --role admin, which is for the whole engine.")
    secret, now_ms = new_secret(), time.time_ns() // 1_000_000
    until_ms = None if expires is None else now_ms + expires
    add_token(path, Token(name, Role(role), digest_of(secret), services, now_ms, until_ms))
    click.echo(f"Token {name!r} with the role {role} is in {path}. Its secret is shown now and never again:", err=True)
    click.echo(secret)


@tokens.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_file_option
def list_(path: Path, as_json: bool) -> None:
    """List the tokens, without their secrets."""
    from rewake.access.token_file import read_tokens
    from rewake.cli.tables import print_json, print_table
    from rewake.timestamps import rfc3339_millis

    rows: list[dict[str, Any]] = [
        {
            "name": token.name,
            "role": token.role,
            "services": list(token.services),
            "created": rfc3339_millis(token.created_at_ms),
            "expires": None if token.expires_at_ms is None else rfc3339_millis(token.expires_at_ms),
        }
        for token in read_tokens(path)
    ]
    if as_json:
        print_json(rows)
    else:
        print_table(
            ("NAME", "ROLE", "SERVICES", "CREATED", "EXPIRES"),
            [(*(row | {"services": ", ".join(row["services"]) or "all"}).values(),) for row in rows],
        )


@tokens.command()
@click.argument("name")
@_file_option
def revoke(path: Path, name: str) -> None:
    """Remove a token. Within a second, a running engine refuses it and signs its holder out."""
    from rewake.access.token_file import remove_token

    remove_token(path, name)
    click.echo(f"Token {name!r} is revoked.")
