"""The limits of what waits are those of `rewake run`; each is gone over in the test of the part that keeps it."""

from __future__ import annotations

import click
import pytest

from rewake import limits
from rewake.cli.run import run, server
from rewake.engine import EngineOptions


def test_the_settings_have_these_defaults() -> None:
    wanted = {
        "open_calls_max": limits.OPEN_CALLS_MAX,
        "open_mib_max": limits.OPEN_MIB_MAX,
        "message_mib_max": limits.MESSAGE_MIB,
        "waiting_max": limits.WAITING_MAX,
        "waiting_per_service_max": limits.WAITING_PER_SERVICE_MAX,
    }
    for command in (run, server):
        defaults = {parameter.name: parameter.default for parameter in command.params}
        assert {name: defaults[name] for name in wanted} == wanted
        (choice,) = (each for each in command.params if each.name == "message_mib_max")
        with pytest.raises(click.BadParameter, match="is not in the range"):
            choice.type_cast_value(click.Context(command), limits.MESSAGE_MIB_MAX + 1)
    options = EngineOptions()
    assert options.message_bytes_max == limits.MESSAGE_MIB << 20
    assert (options.waiting_max, options.waiting_per_service_max) == (
        limits.WAITING_MAX,
        limits.WAITING_PER_SERVICE_MAX,
    )
