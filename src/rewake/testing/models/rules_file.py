"""Rules from outside a test: a Python file, a module or a JSON file.

Python rules can use all of `rule()`. JSON is for tests in other languages: a list of objects with the parameters of
`rule()`, the answer as `{"text": ...}`, `{"tool_call": {"name", "arguments"}}` (or a list of them) or
`{"failure": {"status", "message", "retry_after_s"}}`. Used by `python -m rewake.testing.models`.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from .rules import Answer, Rule, failure, rule, text, tool_call, tool_calls

DEFAULT_NAME = "rules"


class RulesError(Exception):
    """The rules could not be loaded; the message shows what to change."""


def load_rules(source: str) -> list[Rule]:
    """The rules in `FILE.json`, `FILE.py[:name]` or `module[:name]`; the name is `rules` by default."""
    if source.endswith(".json"):
        return _from_json(Path(source))
    place, _, name = source.partition(":")
    module = _from_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    found = getattr(module, name or DEFAULT_NAME, None)
    found = found() if callable(found) else found
    if not isinstance(found, (list, tuple)) or not all(isinstance(each, Rule) for each in found):
        raise RulesError(f"{place!r} has no list of rules named {name or DEFAULT_NAME!r}: define it, with rule(...)")
    return list(found)


def _from_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"_rewake_rules_{path.stem}", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise RulesError(f"There is no rules file {str(path)!r}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses in the file look their module up here
    spec.loader.exec_module(module)
    return module


def _from_json(path: Path) -> list[Rule]:
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise RulesError(f"Could not read rules from {str(path)!r}: {problem}") from problem
    if not isinstance(given, list):
        raise RulesError(f"{str(path)!r} must hold a list of rules")
    return [_rule(number, each) for number, each in enumerate(given, start=1)]


def _rule(number: int, given: Any) -> Rule:
    try:
        return rule(**{**given, "answer": _answer(given["answer"])})
    except (KeyError, TypeError) as problem:
        raise RulesError(f"Rule {number} is not valid ({problem!r}): {json.dumps(given)}") from problem


def _answer(given: dict[str, Any]) -> Answer:
    if "text" in given:
        return text(given["text"])
    if "tool_call" in given:
        calls = given["tool_call"]
        return tool_calls(*(tool_call(**call) for call in (calls if isinstance(calls, list) else [calls])))
    if "failure" in given:
        return failure(**given["failure"])
    raise KeyError("answer needs text, tool_call or failure")
