"""Imports that leave out what a library loads for others."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rewake.lean_imports import without


def test_an_optional_part_is_missing_for_the_time_of_the_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lean_library.py").write_text("try:\n    import lean_part\nexcept ImportError:\n    lean_part = None\n")
    (tmp_path / "lean_part.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with without("lean_part", "json"):
        import json  # it is loaded already

        import lean_library  # type: ignore[import-not-found]

    assert lean_library.lean_part is None and json.loads("1") == 1
    import lean_part  # type: ignore[import-not-found]

    assert sys.modules["lean_part"] is lean_part
    for name in ("lean_library", "lean_part"):
        del sys.modules[name]


def test_a_failed_import_hides_nothing_for_longer() -> None:
    with pytest.raises(ModuleNotFoundError), without("lean_part"):
        import lean_part  # noqa: F401
    assert "lean_part" not in sys.modules
