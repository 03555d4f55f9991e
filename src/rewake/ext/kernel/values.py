"""Values of a user's own types in the journal: JSON, with the type's name beside it where plain JSON would lose it.

`encode` gives JSON; `decode` gives an equal value again. Pydantic models and dataclasses come back as their class, if
their module is loaded; anything else comes back as JSON or as its text. The form is stored data:
`{"$type": "module:Class", "$json": {...}, "$text": "..."}`.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from datetime import date, time
from decimal import Decimal
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

_TYPE: Final = "$type"


def encode(value: Any) -> Any:
    """JSON of any value. Never raises: a value without a JSON form is stored as its text."""
    if value is None or isinstance(value, (str, int, float, bool)):
        return value if type(value) in (str, int, float, bool, type(None)) else _tagged(value, None)
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return [encode(each) for each in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value) and _TYPE not in value:
        return {key: encode(each) for key, each in value.items()}
    return _tagged(value, _dumped(value))


def decode(stored: Any) -> Any:
    """The value that `encode` stored."""
    if isinstance(stored, list):
        return [decode(each) for each in stored]
    if not isinstance(stored, dict):
        return stored
    if _TYPE not in stored:
        return {key: decode(each) for key, each in stored.items()}
    found = _class_of(stored[_TYPE])
    if found is not None and stored.get("$json") is not None:
        try:
            return _adapter(found).validate_python(stored["$json"])
        except ValueError:  # the class has changed since; its text is all there is
            return stored["$text"]
    return stored["$text"]


def fields_of(state: Any) -> dict[str, Any]:
    """The fields of a model, a dataclass or a dict that a framework gives to tools, as JSON; none for others."""
    if isinstance(state, dict):
        given = {key: each for key, each in state.items() if isinstance(key, str)}
    elif dataclasses.is_dataclass(state) or hasattr(type(state), "model_fields"):
        given = dict(vars(state))
    else:
        return {}
    return {name: encode(each) for name, each in given.items() if not callable(each)}


def restore_fields(state: Any, fields: Mapping[str, Any]) -> None:
    """Set the fields again that a step changed before a crash."""
    for name, stored in fields.items():
        if isinstance(state, dict):
            state[name] = decode(stored)
        elif fields_of(state).get(name) != stored:
            setattr(state, name, decode(stored))


def plain(value: Any) -> Any:
    """JSON of one value that json.dumps does not know, for people to read.

    Raises TypeError for a value without a stored form.
    """
    dumped = _dumped(value)
    if dumped is not None:
        return dumped
    if isinstance(value, (date, time, Decimal, UUID, PurePath)):
        return str(value)
    raise TypeError(f"{type(value).__qualname__} has no JSON form: give JSON, a pydantic model, a dataclass or a text.")


def _tagged(value: Any, dumped: Any) -> dict[str, Any]:
    kind = type(value)
    return {_TYPE: f"{kind.__module__}:{kind.__qualname__}", "$json": dumped, "$text": str(value)}


def _dumped(value: Any) -> Any:
    if not (dataclasses.is_dataclass(value) or hasattr(type(value), "model_fields")):
        return None
    try:
        return _adapter(type(value)).dump_python(value, mode="json", by_alias=True)
    except (TypeError, ValueError):
        return None


def _class_of(name: str) -> Any:
    module, _, path = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return (
        found
        if isinstance(found, type) and (dataclasses.is_dataclass(found) or hasattr(found, "model_fields"))
        else None
    )


def _adapter(kind: type) -> Any:
    from pydantic import TypeAdapter  # frameworks of agents bring it; the SDK alone does not

    return TypeAdapter(kind)
