"""Exit codes, and how an error ends the command: on stderr, in our form, with its exit code.

Every subcommand goes through `Group`, which is a click group that turns a RewakeError into its text and exit code.
Usage errors are click's and end with 2. Data goes to stdout and is never mixed with this.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final

import click

from rewake.errors import ErrorCode, RewakeError
from rewake.printable import printable

FAILED: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
UNREACHABLE: Final = 4
CONFLICT: Final = 5
INTERRUPTED: Final = 130

HELP: Final = """\b
Exit codes:
  0    done
  1    failed; the error on stderr says why
  2    wrong usage, or a setting or a file that cannot be used
  3    there is no such invocation, service, deployment, state, example or error code
  4    the admin API could not be reached
  5    the invocation's status does not allow it
  130  ended at once by a second Ctrl-C
"""

_BY_CODE: Final = {
    ErrorCode.SETTING_UNKNOWN: USAGE,
    ErrorCode.SETTING_INVALID: USAGE,
    ErrorCode.JOURNAL_FILE_INVALID: USAGE,
    ErrorCode.EXAMPLE_UNKNOWN: NOT_FOUND,
    ErrorCode.CODE_UNKNOWN: NOT_FOUND,
    ErrorCode.ADMIN_UNREACHABLE: UNREACHABLE,
}

_BY_HTTP_STATUS: Final = {404: NOT_FOUND, 409: CONFLICT, 410: CONFLICT, 425: CONFLICT}


def exit_code_of(error: RewakeError) -> int:
    """The exit code an error ends the command with."""
    status = error.facts.get("http_status")
    return _BY_HTTP_STATUS.get(status, FAILED) if status else _BY_CODE.get(error.code, FAILED)


def show_error(error: RewakeError) -> None:
    """Write an error to stderr, the user's own traceback first where there is one."""
    traceback_text = getattr(error, "traceback_text", "")
    if traceback_text:
        sys.stderr.write(traceback_text)
    click.echo(printable(f"{error}\n        More: {error.docs}"), err=True)


def not_found(what: str, name: str, hint: str, code: ErrorCode = ErrorCode.ADMIN_REFUSED) -> RewakeError:
    """The error for a thing the engine does not have; exit code 3."""
    return RewakeError(code, f"There is no {what} {name!r}.", hint, http_status=404)


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """'Did you mean a or b?', or a list of all names if no name is near."""
    known = sorted(names)
    near = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
    return f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(known) or 'none'}."


class Group(click.Group):
    """A click group that ends with our errors and guesses misspelt subcommands.

    places: `module:attribute` of subcommands by name; a module is imported when its subcommand is asked for.
    """

    def __init__(self, *args: Any, places: Mapping[str, str] | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self._places = places or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they are declared."""
        return [*self.commands, *self._places]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The subcommand, imported now unless it is part of this group's module."""
        place = self._places.get(cmd_name)
        if place is None:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = place.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand; a RewakeError becomes text on stderr and an exit code."""
        try:
            return super().invoke(ctx)
        except RewakeError as error:
            show_error(error)
            ctx.exit(exit_code_of(error))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with a guess for an unknown name."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            ctx.fail(f"No such command {args[0]!r}. {did_you_mean(args[0], self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)
