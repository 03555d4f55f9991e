"""A value that fits a JSON schema, near enough to be edited by hand: for `curl` lines and the playground.

Schemas come from apps and from other servers, so any part of one may have a wrong type.
"""

from __future__ import annotations

from typing import Any, Final

SCHEMA_DEPTH_MAX: Final = 4
_SIMPLE: Final[dict[Any, Any]] = {"integer": 1, "number": 1.5, "boolean": True, "null": None}


def example_of(schema: Any, definitions: Any = None, *, text: str = "text", only_required: bool = False) -> Any:
    """The example. definitions: of references, by default the schema's own.   text: for strings and unknown types.

    only_required: leave out optional properties of objects that have required ones.
    """
    if definitions is None and isinstance(schema, dict):
        definitions = schema.get("$defs")
    return _Example(definitions if isinstance(definitions, dict) else {}, text, only_required).of(schema, 0)


class _Example:
    def __init__(self, definitions: dict[str, Any], text: str, only_required: bool) -> None:
        self._definitions = definitions
        self._text = text
        self._only_required = only_required

    def of(self, schema: Any, depth: int) -> Any:
        if not isinstance(schema, dict) or depth > SCHEMA_DEPTH_MAX:
            return self._text
        if reference := schema.get("$ref"):
            return self.of(self._definitions.get(str(reference).rpartition("/")[2]), depth + 1)
        for field in ("default", "const"):
            if field in schema:
                return schema[field]
        for field in ("examples", "enum"):
            if (values := _list(schema, field)) is not None:
                return values[0]
        for field in ("anyOf", "oneOf", "allOf"):
            if (options := _list(schema, field)) is not None:
                return self.of(next((each for each in options if each != {"type": "null"}), None), depth + 1)
        return self._of_type(schema, depth)

    def _of_type(self, schema: dict[str, Any], depth: int) -> Any:
        kinds = _list(schema, "type")
        kind = kinds[0] if kinds is not None else schema.get("type")
        if isinstance(kind, str):
            kind = kind.lower()  # Gemini writes OBJECT
        if kind == "object" or "properties" in schema:
            properties = schema.get("properties")
            if not isinstance(properties, dict):
                return {}
            names = (_list(schema, "required") if self._only_required else None) or list(properties)
            return {name: self.of(properties.get(name), depth + 1) for name in names if isinstance(name, str)}
        if kind == "array":
            return [self.of(schema.get("items"), depth + 1)]
        return _SIMPLE.get(kind, self._text) if isinstance(kind, str) else self._text


def _list(schema: dict[str, Any], field: str) -> list[Any] | None:
    """A list that is not empty."""
    value = schema.get(field)
    return value if isinstance(value, list) and value else None
