"""Tables: aligned, cut only where asked to fit, one line for each row."""

from __future__ import annotations

from rewake.cli.tables import cell, shortened, table_lines


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
