"""The agent layer runs where the engine is not: on a Restate server, with restate-sdk and a framework."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("apsw", "structlog", "jinja2", "uvloop", "xxhash", "fastmcp")  # frameworks bring web servers of their own


def test_it_loads_nothing_of_the_engine() -> None:
    both = "import sys, rewake.ext.openai, rewake.ext.pydantic"
    ours = "[m for m in sys.modules if m.startswith('rewake.') and not m.startswith('rewake.ext')]"
    code = f"{both}; print(sorted(set(sys.modules) & set({HEAVY!r})), {ours})"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert told.stdout.strip() == "[] []"
