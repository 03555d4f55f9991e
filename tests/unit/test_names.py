"""Names in messages: a few of many, and no guess that takes long."""

from __future__ import annotations

from rewake.names import nearest, some_of


def test_some_of_many() -> None:
    assert some_of([]) == "none"
    assert some_of([], "nothing") == "nothing"
    assert some_of(["b", "a"]) == "a, b"
    assert some_of(f"n{number}" for number in range(10)) == "n0, n1, n2, n3, n4, n5, n6, n7 and 2 more"


def test_the_nearest_name_is_sought_where_that_is_quick() -> None:
    assert nearest("Greter", {"Greeter", "Cart"}) == "Greeter"
    assert nearest("Other", {"Greeter"}) is None
    assert nearest("Greter", {"Greeter", *(f"n{number}" for number in range(1_000))}) is None
    assert nearest("a" * 101, {"a" * 100}) is None
