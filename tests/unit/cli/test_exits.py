"""Exit codes and the text of errors."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from rewake.cli import exits
from rewake.cli.exits import Group, did_you_mean, exit_code_of
from rewake.errors import ErrorCode, RewakeError


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (RewakeError(ErrorCode.STORE_LOCKED, "x"), exits.FAILED),
        (RewakeError(ErrorCode.SETTING_UNKNOWN, "x"), exits.USAGE),
        (RewakeError(ErrorCode.ADMIN_UNREACHABLE, "x"), exits.UNREACHABLE),
        (RewakeError(ErrorCode.ADMIN_REFUSED, "x", http_status=404), exits.NOT_FOUND),
        (RewakeError(ErrorCode.ADMIN_REFUSED, "x", http_status=409), exits.CONFLICT),
        (RewakeError(ErrorCode.ADMIN_REFUSED, "x", http_status=425), exits.CONFLICT),
        (RewakeError(ErrorCode.ADMIN_REFUSED, "x", http_status=500), exits.FAILED),
    ],
)
def test_exit_codes(error: RewakeError, exit_code: int) -> None:
    assert exit_code_of(error) == exit_code


def test_an_error_ends_the_command_with_its_text_and_code() -> None:
    @click.group(cls=Group)
    def main() -> None: ...

    @main.command()
    def stop() -> None:
        raise RewakeError(ErrorCode.STORE_LOCKED, "It is in use.", "Stop the other.")

    result = CliRunner().invoke(main, ["stop"])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == ("RW5001  It is in use.\n        Stop the other.\n        More: rewake explain RW5001\n")


def test_a_misspelt_command_is_guessed() -> None:
    @click.group(cls=Group)
    def main() -> None: ...

    @main.command()
    def invocations() -> None: ...

    result = CliRunner().invoke(main, ["invocatoins"])
    assert result.exit_code == exits.USAGE
    assert "Did you mean invocations?" in result.stderr


def test_nearest_lists_what_there_is_when_nothing_is_near() -> None:
    assert did_you_mean("xyz", ["alpha", "beta"]) == "There are: alpha, beta."
    assert did_you_mean("alpa", ["alpha", "beta"]) == "Did you mean alpha?"
