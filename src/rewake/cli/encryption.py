"""`rewake encryption`: makes keys, forgets a subject; and the keys that other commands open sealed content with.

The form of keys and values is rewake.ext.sealed's, which is imported when a key is needed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import click

from rewake.cli.exits import Group
from rewake.errors import ErrorCode, RewakeError

if TYPE_CHECKING:
    from rewake.ext.sealed import Sealer

KEYS_VARIABLE: Final = "REWAKE_ENCRYPTION_KEYS"
SUBJECTS_VARIABLE: Final = "REWAKE_SUBJECT_KEYS"
KEYS_HELP: Final = "Keys that content is encrypted with: a file, env:NAME, or command:PROGRAM."
SUBJECTS_HELP: Final = "Folder of the keys of single sessions, each deleted by rewake encryption forget."

_Function = TypeVar("_Function", bound=Callable[..., Any])


@click.group(cls=Group)
def encryption() -> None:
    """Make keys to encrypt content with, and forget a session by deleting its key."""


@encryption.command("new-key")
@click.argument("name", required=False)
def new_key(name: str | None) -> None:
    """Print a line with a new key for a file of keys; the first line of the file encrypts.

    NAME: its id; drawn at random without one.
    """
    from rewake.ext.sealed import Keyring, KeysInvalid
    from rewake.ext.sealed import new_key as draw

    try:
        line = draw(name)
        Keyring.from_text(line)
    except KeysInvalid as error:
        raise _invalid(error) from None
    click.echo(line)


@encryption.command()
@click.argument("service")
@click.argument("key")
@click.option(
    "--subject-keys",
    envvar=SUBJECTS_VARIABLE,
    show_envvar=True,
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help=SUBJECTS_HELP,
)
def forget(service: str, key: str, subject_keys: Path) -> None:
    """Delete the key of SERVICE/KEY: nobody can read the content of its runs any more, in any journal or backup."""
    from rewake.ext.sealed import SubjectKeys, subject_of_key

    subject = subject_of_key(service, key)
    if subject is None or not SubjectKeys(subject_keys).forget(subject):
        raise RewakeError(
            ErrorCode.ENCRYPTION_KEYS_INVALID,
            f"{str(subject_keys)!r} has no key of {service}/{key}.",
            "Check service and key; what was encrypted before subjects had keys cannot be forgotten this way.",
        )
    click.echo(f"{service}/{key} is forgotten.")


def encryption_options(function: _Function) -> _Function:
    """--encryption-keys and --subject-keys for a command that shows content; they pass nothing."""
    for name, variable, text in (
        ("--subject-keys", SUBJECTS_VARIABLE, SUBJECTS_HELP),
        ("--encryption-keys", KEYS_VARIABLE, KEYS_HELP),
    ):
        function = click.option(
            name,
            metavar="FOLDER" if name == "--subject-keys" else "SOURCE",
            envvar=variable,
            show_envvar=True,
            is_eager=True,
            expose_value=False,
            callback=_kept_in(variable),
            help=text,
        )(function)
    return function


def _kept_in(variable: str) -> Callable[[click.Context, click.Parameter, str | None], None]:
    def keep(_context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
        if value is not None:
            os.environ[variable] = value

    return keep


def late_sealer() -> LateSealer | None:
    """With the keys that the environment names; None when it names none."""
    keys = os.environ.get(KEYS_VARIABLE)
    return None if keys is None else LateSealer(keys, os.environ.get(SUBJECTS_VARIABLE))


class LateSealer:
    """Reads its keys when something is sealed: most commands never need them. Raises RewakeError RW1025 then."""

    def __init__(self, keys: str, subjects: str | None) -> None:
        self._sources = keys, subjects

    @cached_property
    def _sealer(self) -> Sealer:
        from rewake.ext.sealed import KeysInvalid, Sealer

        try:
            return Sealer.from_sources(*self._sources)
        except KeysInvalid as error:
            raise _invalid(error) from None

    def read_now(self) -> Self:
        """Read the keys now, for callers that cannot work without them."""
        _ = self._sealer
        return self

    def seal(self, content: bytes, service: str, key: str | None) -> bytes:
        from rewake.ext.sealed import CannotOpen

        try:
            return self._sealer.seal(content, service, key)
        except CannotOpen as error:
            raise _invalid(error) from None

    def open(self, content: bytes) -> bytes | None:
        return self._sealer.open(content)


def _invalid(error: Exception) -> RewakeError:
    hint = "A source has lines ID:KEY, as rewake encryption new-key prints them."
    return RewakeError(ErrorCode.ENCRYPTION_KEYS_INVALID, f"The encryption keys cannot be used.\n{error}", hint)
