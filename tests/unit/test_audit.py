"""What bill of materials and audit are about: what the product brings. What an audit fails for."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest


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


FINDING = {"name": "bad", "version": "1.0", "vulns": [{"id": "PYSEC-0000-1"}]}
CLEAN = {"name": "good", "version": "2.0", "vulns": []}
UNKNOWN = {"name": "new", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("answer", "status", "says"),
    [
        ({"dependencies": [CLEAN, FINDING]}, 1, "bad 1.0: PYSEC-0000-1\n2 of 2 dependencies audited, 1 advisories"),
        ({"dependencies": [CLEAN, UNKNOWN]}, 0, "1 of 2 dependencies audited, 0 advisories"),
        ({"dependencies": [UNKNOWN]}, 0, "skip: dependencies are not audited"),
        (None, 0, "skip: dependencies are not audited"),
    ],
    ids=["finding", "clean", "unknown", "unreached"],
)
def test_a_finding_fails_the_audit_and_only_silence_is_skipped(
    answer: object, status: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A program stands in for pip-audit, which asks the service: it prints the answer, or fails without one."""
    module = audit()
    told = "raise SystemExit('no route')" if answer is None else f"print({json.dumps(answer)!r}); raise SystemExit(1)"
    program = tmp_path / "pip-audit"
    program.write_text(f"#!{sys.executable}\n{told}\n")
    program.chmod(0o700)
    vars(module)["PROGRAMS"] = tmp_path
    assert module.advisories() == status
    assert capsys.readouterr().out.startswith(says)
