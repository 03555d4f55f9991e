"""Turns the app that a user names into a reference for the loader: a folder becomes the file to run in it.

The file is found by its text, without importing anything. Other references pass through; deployments/app_loader.py
judges them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from rewake.errors import ErrorCode, RewakeError

_CANDIDATES_SHOWN_MAX: Final = 8

_MAKES_SERVICES: Final = re.compile(r"\b(?:restate\.app|app|Service|VirtualObject|Workflow)\(")
_IMPORTS_SDK: Final = re.compile(r"^\s*(?:import|from) restate\b", re.MULTILINE)


def resolve(given: str) -> str:
    """`given`, or for a folder the path of its `__main__.py`, else of the only file in it that makes services.

    Raises RewakeError RW1002 when a folder has no such file, or several.
    """
    folder = Path(given)
    if not folder.is_dir() or _is_package_by_name(given):
        return given
    main = folder / "__main__.py"
    if main.is_file():
        return str(main)
    candidates = [path for path in sorted(folder.glob("*.py")) if _makes_services(path)]
    if len(candidates) == 1:
        return str(candidates[0])
    if not candidates:
        raise RewakeError(
            ErrorCode.APP_NOT_FOUND,
            f"The folder {given!r} has no __main__.py and no Python file that makes restate services.",
            "Give the path of the file that holds your services.",
        )
    shown = ", ".join(path.name for path in candidates[:_CANDIDATES_SHOWN_MAX])
    raise RewakeError(
        ErrorCode.APP_NOT_FOUND,
        f"The folder {given!r} has {len(candidates)} files with services: {shown}.",
        f"Say which: rewake run {candidates[0]}",
    )


def _is_package_by_name(given: str) -> bool:
    """A package of the working directory, named without a slash, is a module to import."""
    return given.isidentifier() and (Path(given) / "__init__.py").is_file()


def _makes_services(path: Path) -> bool:
    text = path.read_text(encoding="utf-8", errors="replace")
    return bool(_IMPORTS_SDK.search(text) and _MAKES_SERVICES.search(text))
