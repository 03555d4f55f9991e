"""A long import says what it is at."""

from __future__ import annotations

import importlib
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rewake.deployments import slow_imports


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> threading.Event:
    """Opens the way for the import of `slow_app`, which imports `slow_part`, which waits for it."""
    module, opened = ModuleType("slow_gate"), threading.Event()
    vars(module)["opened"] = opened
    (tmp_path / "slow_app.py").write_text("import slow_part")
    (tmp_path / "slow_part.py").write_text("import slow_gate\nassert slow_gate.opened.wait(10)")
    monkeypatch.setitem(sys.modules, "slow_gate", module)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("FIRST_AFTER_S", "AGAIN_AFTER_S"):
        monkeypatch.setattr(slow_imports, name, 0.001)
    return opened


def test_a_long_import_names_the_module_it_is_at_and_gives_the_hint_once(gate: threading.Event) -> None:
    told: list[dict[str, Any]] = []

    def tell(facts: dict[str, Any]) -> None:
        told.append(facts)
        if len(told) > 1 and facts["module"] == "slow_part":
            gate.set()

    with slow_imports.reported(tell):
        importlib.import_module("slow_app")
    assert told[0]["hint"] == slow_imports.HINT
    assert told[-1].keys() == {"module", "after_s"}
