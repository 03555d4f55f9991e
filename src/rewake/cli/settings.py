"""Settings of `rewake run` and `rewake server`: flag > REWAKE_<OPTION> > rewake.toml > default.

`setting` declares an option once and gives it all four. Click decides between them; the file comes in as click's
default map, after its keys and values have been checked here, so that an error names the file and not a flag nobody
typed. rewake.toml is looked for in the working directory, or where --config says.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from rewake.cli.exits import did_you_mean
from rewake.errors import ErrorCode, RewakeError

FILE_NAME: Final = "rewake.toml"
COUNT_MAX: Final = 1_000_000_000
"""The largest number that an option takes. Even as MiB it gives a number of bytes that fits everywhere."""

CONFIG_OPTION: Final = "config"
FILE_READ: Final = "rewake.settings_file"
"""The key of click's context for the path of the settings file."""

_Function = TypeVar("_Function", bound=Callable[..., Any])


def setting(name: str, **attrs: Any) -> Callable[[_Function], _Function]:
    """A click option that is also the variable REWAKE_<NAME> and a key of rewake.toml."""
    environment = "REWAKE_" + name.upper().replace("-", "_")
    attrs.setdefault("show_default", True)
    return click.option(f"--{name}", envvar=environment, show_envvar=True, **attrs)


def with_settings(settings: Iterable[Callable[[_Function], _Function]]) -> Callable[[_Function], _Function]:
    """All of them, in the order of their listing."""

    def decorate(function: _Function) -> _Function:
        for decorator in reversed(tuple(settings)):
            function = decorator(function)
        return function

    return decorate


DATA_DEFAULT: Final = ".rewake"


def data_option(function: _Function) -> _Function:
    """--data for commands that open the folder themselves: flag > REWAKE_DATA > `data` in rewake.toml > default."""
    return click.option(
        "--data",
        envvar="REWAKE_DATA",
        show_envvar=True,
        type=click.Path(file_okay=False, path_type=Path),
        callback=lambda context, option, value: value or _data_in_file(),
        help="Folder of the database; by default `data` in rewake.toml, else .rewake.",
    )(function)


def _data_in_file() -> Path:
    path = Path(FILE_NAME)
    return Path(str(read_settings_file(path).get("data", DATA_DEFAULT)) if path.is_file() else DATA_DEFAULT)


class Names(click.ParamType[tuple[str, ...]]):
    """A click type for several names with commas between them."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        return tuple(name.strip() for name in str(value).split(",") if name.strip())


ALLOWED_HOSTS: Final = setting(
    "allowed-hosts",
    default="",
    type=Names(),
    help="Host names of the server; addresses, localhost and names without a dot are always allowed; * for all.",
)

LOG_SETTINGS: Final = (
    setting("log-level", default="info", type=click.Choice(("debug", "info", "warning", "error")), help="Least level."),
    setting(
        "log-format",
        default="auto",
        type=click.Choice(("auto", "text", "json")),
        help="Form of the log lines; auto is text on a terminal and JSON elsewhere.",
    ),
)

exit_with_stdin_option: Final = click.option(
    "--exit-with-stdin", is_flag=True, hidden=True, help="Stop when stdin ends, for a program that starts this one."
)


def config_option(function: _Function) -> _Function:
    """--config FILE, read before the other options."""
    return click.option(
        f"--{CONFIG_OPTION}",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        envvar="REWAKE_CONFIG",
        is_eager=True,
        callback=_load,
        expose_value=False,
        help=f"Settings file; by default {FILE_NAME} in the working directory, if there.",
    )(function)


def _load(context: click.Context, _: click.Parameter, path: Path | None) -> None:
    if path is None:
        path = Path(FILE_NAME)
        if not path.is_file():
            return
    options = {option.opts[0].removeprefix("--"): option for option in _settings_of(context.command)}
    values = read_settings_file(path)
    known = options.keys() | SETTINGS_ELSEWHERE
    context.meta[FILE_READ] = path
    context.default_map = {}
    for key, value in values.items():
        if key not in known:
            message = f"{str(path)!r} has a key {key!r}, which is not a setting."
            raise RewakeError(ErrorCode.SETTING_UNKNOWN, message, did_you_mean(key, known))
        if key in options:
            option = options[key]
            _check(option, value, context, path, key)
            context.default_map[str(option.name)] = value


SETTINGS_ELSEWHERE: Final = frozenset({"workers", "reload", "in-process"})
"""Settings of `run` alone: one file serves both commands, so `server` ignores them."""


def read_settings_file(path: Path) -> dict[str, Any]:
    """The keys of a settings file, `_` read as `-`. Raises RewakeError RW1004."""
    try:
        values = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        message = f"{str(path)!r} is not TOML.\n{error}"
        raise RewakeError(
            ErrorCode.SETTING_INVALID, message, "Write one setting a line: ingress-port = 8080"
        ) from error
    except OSError as error:
        message = f"{str(path)!r} cannot be read.\n{error.strerror}"
        raise RewakeError(ErrorCode.SETTING_INVALID, message, "Make it readable, or name another: --config") from error
    return {key.replace("_", "-"): value for key, value in values.items()}


def _settings_of(command: click.Command) -> list[click.Option]:
    found = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    return [option for option in found if option.envvar and option.name != CONFIG_OPTION]


def _check(option: click.Option, value: Any, context: click.Context, path: Path, key: str) -> None:
    """Convert as click would; an error names the file."""
    try:
        if option.multiple:
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                raise click.BadParameter(f"{value!r} is not a list of texts")
        elif isinstance(value, bool) != option.is_flag or isinstance(value, list | dict):
            raise click.BadParameter(f"{value!r} is not {'true or false' if option.is_flag else 'one value'}")
        else:
            option.type.convert(value, option, context)
    except click.BadParameter as error:
        message = f"{str(path)!r} sets {key} to {value!r}.\n{error.message}"
        raise RewakeError(ErrorCode.SETTING_INVALID, message, f"See `{context.command_path} --help`.") from error
