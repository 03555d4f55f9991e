"""Settings: a flag beats the variable, which beats rewake.toml, which beats the default; mistakes are named."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from rewake.cli import settings
from rewake.cli.durations import Duration
from rewake.cli.exits import Group
from rewake.cli.settings import Names, config_option, setting
from rewake.cli.start_options import StartOptions


@click.group(cls=Group)
def main() -> None:
    """Stands for the real command."""


@main.command()
@config_option
@setting("ingress-port", default=8080, type=click.IntRange(0, 65_535))
@setting("cleanup-interval", default="1h", type=Duration())
@setting("reload", is_flag=True)
def run(ingress_port: int, cleanup_interval: int, reload: bool) -> None:
    click.echo(f"{ingress_port} {cleanup_interval} {reload}")


def call(tmp_path: Path, *args: str, toml: str = "", env: dict[str, str] | None = None) -> Result:
    (tmp_path / "rewake.toml").write_text(toml)
    return CliRunner().invoke(main, ["run", "--config", str(tmp_path / "rewake.toml"), *args], env=env)


def test_defaults(tmp_path: Path) -> None:
    assert call(tmp_path).output == "8080 3600000 False\n"


def test_the_file_beats_the_default(tmp_path: Path) -> None:
    toml = 'ingress-port = 1\ncleanup_interval = "2m"\nreload = true'
    assert call(tmp_path, toml=toml).output == "1 120000 True\n"


def test_the_environment_beats_the_file(tmp_path: Path) -> None:
    assert call(tmp_path, toml="ingress-port = 1", env={"REWAKE_INGRESS_PORT": "2"}).output.startswith("2 ")


def test_a_flag_beats_the_environment(tmp_path: Path) -> None:
    assert call(tmp_path, "--ingress-port", "3", env={"REWAKE_INGRESS_PORT": "2"}).output.startswith("3 ")


def test_the_file_of_the_working_directory_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rewake.toml").write_text("ingress-port = 7")
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(main, ["run"]).output.startswith("7 ")


def test_an_unknown_key_is_told_with_the_nearest_name(tmp_path: Path) -> None:
    result = call(tmp_path, toml="ingres-port = 1")
    assert result.exit_code == 2
    assert "RW1003" in result.output
    assert "'ingres-port'" in result.output
    assert "Did you mean ingress-port" in result.output


def test_a_key_of_the_other_command_is_passed_over(tmp_path: Path) -> None:
    assert call(tmp_path, toml="workers = 4").exit_code == 0


@pytest.mark.parametrize(
    ("toml", "told"),
    [
        ("ingress-port = 70000", "70000 is not in the range"),
        ('ingress-port = "x"', "'x' is not a valid integer"),
        ("cleanup-interval = 5", "5 is not a duration"),
        ('cleanup-interval = "soon"', "'soon'"),
        ('reload = "yes"', "true or false"),
        ("ingress-port = true", "not one value"),
        ("ingress-port = ", "not TOML"),
    ],
)
def test_a_value_that_cannot_be_used_names_the_file(tmp_path: Path, toml: str, told: str) -> None:
    result = call(tmp_path, toml=toml)
    assert result.exit_code == 2
    assert "RW1004" in result.output
    assert "rewake.toml" in result.output
    assert told in result.output


def test_a_bad_flag_is_a_usage_error(tmp_path: Path) -> None:
    result = call(tmp_path, "--cleanup-interval", "5")
    assert result.exit_code == 2
    assert "--cleanup-interval" in result.output


def test_several_names_have_commas_between_them() -> None:
    assert Names().convert(" a.example, b.example,,", None, None) == ("a.example", "b.example")
    assert Names().convert("", None, None) == ()


def test_each_option_of_a_start_is_used() -> None:
    """An option that never reaches the engine, the workers or the ports would keep its default without a word."""
    files = [path for path in Path(settings.__file__).parent.glob("*.py") if path.name != "start_options.py"]
    used = {name for path in files for name in re.findall(r"options\.(\w+)", path.read_text())}
    assert {field.name for field in fields(StartOptions)} <= used
