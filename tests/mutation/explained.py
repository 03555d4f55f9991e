"""Equivalent mutants, which change no observable behaviour, and the reason for each: `equivalent.toml`."""

from __future__ import annotations

import tomllib
from pathlib import Path

LIST = Path(__file__).with_name("equivalent.toml")


def explained() -> dict[str, str]:
    """Reason by name of the mutant."""
    groups = tomllib.loads(LIST.read_text(encoding="utf-8")).get("equivalent", [])
    return {f"{group['where']}: {change}": group["why"] for group in groups for change in group["changes"]}
