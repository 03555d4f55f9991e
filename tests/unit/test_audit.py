"""What the bill of materials is about: what the product brings, and nothing that only its development needs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType


def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", Path(__file__).parents[2] / "tools" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_closure_is_that_of_the_product() -> None:
    closure = audit().closure
    alone, whole = closure("rewake"), closure("rewake[all]")
    assert {"rewake", "starlette", "restate-sdk", "markupsafe"} <= alone.keys() <= whole.keys()
    assert "cryptography" not in alone
    assert {"cryptography", "openai-agents", "cffi"} <= whole.keys()
    assert not {"pytest", "ruff", "mypy", "hypothesis", "psutil"} & whole.keys()
