"""Values of a user's own types: stored and read back."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from pydantic import BaseModel

from rewake.ext.kernel.values import decode, encode, fields_of, restore_fields


class Claim(BaseModel):
    number: int


@dataclasses.dataclass
class Customer:
    name: str
    claims: list[int]


@pytest.mark.parametrize("value", [None, True, 3, 2.5, "x", [1, ["y"]], {"a": {"b": None}}])
def test_plain_json_is_stored_as_it_is(value: Any) -> None:
    assert encode(value) == value
    assert decode(value) == value


@pytest.mark.parametrize(
    "value", [Claim(number=1), Customer("Ada", [1]), [Claim(number=2)], {"claim": Claim(number=3)}]
)
def test_models_and_dataclasses_come_back_as_themselves(value: Any) -> None:
    assert decode(encode(value)) == value


def test_the_form_of_a_tagged_value_is_pinned() -> None:
    assert encode(Claim(number=1)) == {"$type": f"{__name__}:Claim", "$json": {"number": 1}, "$text": "number=1"}


def test_what_has_no_form_is_stored_as_its_text() -> None:
    class Local(BaseModel):
        number: int

    assert decode(encode(1 + 2j)) == "(1+2j)"
    assert decode(encode(Local(number=1))) == "number=1"
    assert decode({"$type": "gone:Claim", "$json": {"number": 1}, "$text": "number=1"}) == "number=1"


def test_a_dict_that_looks_like_a_tag_is_not_mistaken_for_one() -> None:
    assert decode(encode({"$type": "os:system"})) == "{'$type': 'os:system'}"


def test_fields_that_a_tool_changed_are_set_again() -> None:
    before = Customer("nobody", [])
    changed = {
        name: value for name, value in fields_of(Customer("Ada", [])).items() if fields_of(before)[name] != value
    }
    restore_fields(before, changed)
    assert before == Customer("Ada", [])
    assert fields_of("no fields") == {}
