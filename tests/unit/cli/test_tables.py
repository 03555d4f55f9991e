"""Tables: aligned, cut only where asked to fit, one line for each row."""

from __future__ import annotations

import json

import pytest

from rewake.cli.tables import cell, print_facts, print_json, print_table, shortened, table_lines


def test_columns_align_and_none_is_a_dash() -> None:
    lines = table_lines(("name", "count"), [("a", 1), ("longer", None)])
    assert lines == ["name    count", "a       1", "longer  -"]


def test_wide_columns_are_cut_to_fit_but_ids_are_not() -> None:
    lines = table_lines(("id", "about"), [("i" * 20, "x" * 50)], width_chars=40)
    assert lines[1] == "i" * 20 + "  " + "x" * 17 + "…"


def test_a_value_of_several_lines_stays_on_one() -> None:
    assert table_lines(("v",), [("a\nb",)])[1] == "a\\nb"


def test_cells() -> None:
    assert [cell(value) for value in (True, False, None, [1], {"a": 1}, "x")] == [
        "yes",
        "no",
        "-",
        "[1]",
        '{"a": 1}',
        "x",
    ]
    assert shortened("abcdef", 4) == "abc…"


HOSTILE = "ok\x1b]0;owned\x07\x9b2J\u202etxt.exe\rX"
HARMLESS = "ok\\u001b]0;owned\\u0007\\u009b2J\\u202etxt.exe\\rX"


def test_what_agents_named_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Keys, names and results come from anywhere; an escape sequence among them is shown, not obeyed."""
    print_table(["target"], [[f"chat/{HOSTILE}/send"]])
    print_facts([("last failure", f"{HOSTILE}\n\tat line 3\r\nend"), ("more", [HOSTILE])])
    print_json({"name": HOSTILE})
    told = capsys.readouterr().out
    assert f"chat/{HARMLESS}/send" in told
    assert f"last failure  {HARMLESS}\n" in told
    assert "\tat line 3\n" in told
    assert shortened(HOSTILE, 80) == HARMLESS
    assert [text for text in told if not (text.isprintable() or text in "\n\t")] == []
    document = told[told.rindex('{\n  "name"') :]
    assert json.loads(document) == {"name": HOSTILE}
