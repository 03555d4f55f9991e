"""`rewake identity`: the key with which an engine signs its requests, so that deployments can refuse all others."""

from __future__ import annotations

import os
from pathlib import Path

import click

from rewake.cli.exits import Group
from rewake.errors import ErrorCode, RewakeError


@click.group(cls=Group)
def identity() -> None:
    """Make and show the key that signs requests to deployments."""


@identity.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def new(file: Path) -> None:
    """Write a new private key to FILE and print its public form.

    Give FILE to the engine (--identity-key) and the public form to the app: restate.app(..., identity_keys=["..."]).
    """
    from rewake.deployments.http.identity import load_key, new_key

    key = new_key()
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(key)
    except OSError as error:
        raise RewakeError(
            ErrorCode.IDENTITY_KEY_INVALID,
            f"No key was written to {str(file)!r}.\n{error.strerror}.",
            "Name a file that is not there yet, in a folder that can be written.",
        ) from error
    click.echo(load_key(file).public_form)


@identity.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def show(file: Path) -> None:
    """Print the public form of the key in FILE."""
    from rewake.deployments.http.identity import load_key

    click.echo(load_key(file).public_form)
