"""The mutator: what it changes, that it changes one thing at a time, and that no explained mutant is gone."""

from __future__ import annotations

from pathlib import Path

from tests.mutation.explained import explained
from tests.mutation.mutants import Mutant, mutants_of
from tests.mutation.runner import CORE

SOURCE = '''
"""A module."""
LIMIT = 3

def over(items: list[int], most: int = LIMIT, *, strict: bool = False) -> bool:
    """A docstring of two words."""
    assert items, f"{items} of {most + 1}"
    size = len(items) + 1
    if strict and size > most or not items:
        return True
    items.append(size)
    return sum(item for item in items if item) >= most
'''
CHANGES = {
    "<module>": {"`3` -> `4`", "`False` -> `True`"},
    "over": {
        "`len(items) + 1` -> `len(items) - 1`",
        "`1` -> `2`",
        "if `strict and size > most or not items` is True",
        "if `strict and size > most or not items` is False",
        "`strict and size > most or not items` -> `(strict and size > most) and (not items)`",
        "`strict and size > most or not items` -> `not items`",
        "`strict and size > most or not items` -> `strict and size > most`",
        "`strict and size > most` -> `strict or size > most`",
        "`strict and size > most` -> `size > most`",
        "`strict and size > most` -> `strict`",
        "`size > most` -> `size >= most`",
        "`not items` -> `items`",
        "`return True` -> `return`",
        "`True` -> `False`",
        "drop `items.append(size)`",
        "`return sum((item for item in items if item)) >= most` -> `return`",
        "`sum((item for item in items if item)) >= most` -> `sum((item for item in items if item)) > most`",
        "drop `if item`",
    },
}


def written(folder: Path) -> list[Mutant]:
    path = folder / "module.py"
    path.write_text(SOURCE, encoding="utf-8")
    return mutants_of(path)


def test_each_mutant_changes_one_thing(tmp_path: Path) -> None:
    mutants = written(tmp_path)
    for where, changes in CHANGES.items():
        found = [mutant.change for mutant in mutants if mutant.where == where]
        assert sorted(found) == sorted(changes)


def test_a_mutant_behaves_otherwise_and_leaves_the_tree_as_it_was(tmp_path: Path) -> None:
    mutants = {mutant.change: mutant for mutant in written(tmp_path)}

    def over(change: str) -> object:
        namespace: dict[str, object] = {}
        exec(mutants[change].compile(), namespace)
        function = namespace["over"]
        assert callable(function)
        return function([1], 2)

    assert over("if `strict and size > most or not items` is True") is True
    assert over("drop `items.append(size)`") is False
    assert over("`not items` -> `items`") is True
    assert over("`1` -> `2`") is True  # and none of those before is in it
    assert over("`3` -> `4`") is True


def test_every_explained_mutant_is_one_of_the_core() -> None:
    names = {mutant.name for path in CORE.glob("*.py") for mutant in mutants_of(path)}
    assert set(explained()) <= names
