"""Each number and duration that a command takes has a range: beyond it is a usage error that names the option."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from rewake.cli.durations import Duration
from rewake.cli.main import main
from rewake.cli.settings import COUNT_MAX
from rewake.durations import DURATION_MS_MAX

BEYOND = ("-1", "-9223372036854775808", "9223372036854775807", "9223372036854775808", "1" + "0" * 400, "1e999", "nan",
          "inf", "5.5", "0x10", "", "many", "\u0663d", "999999999999999999999d", "-5s", "1\u202ed")  # fmt: skip


def numbers(command: click.Command, names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Option]]:
    """The options of all commands that take a number or a duration."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from numbers(child, (*names, name))
    for option in command.params:
        kinds = (Duration, click.types.IntParamType, click.types.FloatParamType)
        if isinstance(option, click.Option) and isinstance(option.type, kinds) and not option.hidden:
            yield names, option


OPTIONS = list(numbers(main, ()))


@pytest.mark.parametrize(
    ("names", "option"), OPTIONS, ids=[" ".join((*names, each.opts[0])) for names, each in OPTIONS]
)
def test_a_number_beyond_all_reason(names: tuple[str, ...], option: click.Option) -> None:
    context = click.Context(click.Command("rewake"), info_name=" ".join(names))
    for value in BEYOND:
        with pytest.raises(click.BadParameter) as caught:
            option.type_cast_value(context, value)
        assert caught.value.exit_code == 2
        assert option.opts[0] in caught.value.format_message(), value
        assert len(caught.value.format_message()) < 1_000


def test_the_ranges_fit_where_they_are_used() -> None:
    """Milliseconds are added to clocks, MiB become bytes: both stay within 64 bits."""
    assert len(OPTIONS) > 20
    assert COUNT_MAX << 20 < 1 << 63
    assert DURATION_MS_MAX < 1 << 63
