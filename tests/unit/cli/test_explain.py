"""`rewake explain`: the page of every code there is."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from rewake.cli.explain import page_of
from rewake.cli.main import main
from rewake.errors import ErrorCode, RewakeError


def test_every_code_has_a_page() -> None:
    for code in ErrorCode:
        assert page_of(code.value).startswith(f"# {code.value}: ")


def test_a_code_in_any_case() -> None:
    shown = CliRunner().invoke(main, ["explain", "rw5001"])
    assert shown.exit_code == 0
    assert shown.stdout == page_of("RW5001")


@pytest.mark.parametrize(
    ("code", "hint"), [("RW5000", "Did you mean RW50"), ("RT0007", "looks like"), ("../secret", "looks like")]
)
def test_a_code_there_is_not(code: str, hint: str) -> None:
    with pytest.raises(RewakeError, match="RW1019") as raised:
        page_of(code)
    assert hint in (raised.value.hint or "")
    assert CliRunner().invoke(main, ["explain", code]).exit_code == 3
