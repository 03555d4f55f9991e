"""`rewake login` and `rewake logout`: keep the token that the other commands send to a server."""

from __future__ import annotations

import sys

import click

from rewake.cli.admin_client import AdminClient, admin_option


@click.command()
@admin_option
def login(admin: AdminClient) -> None:
    """Keep a token for a server, in a file that only you can read.

    Asks for the token, or reads it from a pipe. REWAKE_TOKEN wins over a kept token.
    """
    from rewake.access.credentials import keep_token

    is_person = sys.stdin.isatty()
    secret = str(click.prompt("Token", hide_input=True, err=True) if is_person else sys.stdin.readline()).strip()
    if not secret:
        raise click.UsageError("No token was given.")
    AdminClient(admin.url, token=secret).get("/version")
    click.echo(f"The token for {admin.url} is kept in {keep_token(admin.url, secret)}.")


@click.command()
@admin_option
def logout(admin: AdminClient) -> None:
    """Forget the kept token of a server."""
    from rewake.access.credentials import forget_token

    was_there = forget_token(admin.url)
    click.echo(f"{'The token is forgotten' if was_there else 'No token was kept'} for {admin.url}.")
