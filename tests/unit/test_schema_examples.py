"""An example is shown for any schema, whatever its author wrote."""

from __future__ import annotations

from typing import Any

import pytest

from rewake.schema_examples import SCHEMA_DEPTH_MAX, example_of


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer"}, 1),
        ({"type": "array", "items": {"type": "boolean"}}, [True]),
        ({"enum": ["car", "medical"]}, "car"),
        ({"anyOf": [{"type": "number"}, {"type": "null"}]}, 1.5),
        ({"type": ["null", "string"]}, None),
        (
            {"type": "object", "properties": {"a": {"type": "string"}, "b": {}}, "required": ["a"]},
            {"a": "text", "b": "text"},
        ),
        ({"$ref": "#/$defs/Claim", "$defs": {"Claim": {"properties": {"n": {"type": "integer"}}}}}, {"n": 1}),
        ({"$ref": "#/$defs/Loop", "$defs": {"Loop": {"$ref": "#/$defs/Loop"}}}, "text"),
        ({"type": "OBJECT", "properties": {"n": {"type": "INTEGER"}}}, {"n": 1}),
        ({}, "text"),
        (None, "text"),
    ],
)
def test_example_of(schema: Any, value: Any) -> None:
    assert example_of(schema) == value


def test_a_schema_is_followed_so_deep() -> None:
    schema: Any = {"type": "integer"}
    for _ in range(SCHEMA_DEPTH_MAX):
        schema = {"type": "array", "items": schema}
    assert example_of(schema) == [[[[1]]]]
    assert example_of({"type": "array", "items": schema}) == [[[[["text"]]]]]


def test_all_properties_or_the_required_ones() -> None:
    schema = {"properties": {"a": {"type": "string"}, "b": {"type": "integer"}}, "required": ["a"]}
    assert example_of(schema, text="") == {"a": "", "b": 1}
    assert example_of(schema, only_required=True) == {"a": "text"}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": 7},
        {"type": {}},
        {"examples": 5, "enum": {}, "anyOf": "x", "required": 3, "properties": []},
        {"type": "object", "properties": {"a": 1}, "required": ["b", []]},
        {"$ref": 9, "$defs": 9},
    ],
)
def test_parts_of_a_wrong_type_are_left_out(schema: Any) -> None:
    example_of(schema, only_required=True)
