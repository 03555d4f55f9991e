"""Python environments of peers that nothing else needs, in `.bench/`, made once with the versions installed here."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from bench import npm
from bench.npm import SCRATCH, PeerError

SHARED = ("openai", "openai-agents", "uvicorn", "httptools", "uvloop")
"""In the same version as here, so that only what is compared differs."""

INSTALL_SECONDS_MAX = 300


def environment(name: str, packages: Sequence[str]) -> Path:
    """The interpreter of an environment with these packages. Raises PeerError when they cannot be had."""
    wanted = [*packages, *(f"{shared}=={metadata.version(shared)}" for shared in SHARED)]
    folder = SCRATCH / f"{name}-{hashlib.sha256(' '.join(wanted).encode()).hexdigest()[:12]}"
    if not folder.exists():
        npm.make_scratch()
        half_done = folder.with_suffix(".new")
        shutil.rmtree(half_done, ignore_errors=True)
        _run(name, [sys.executable, "-m", "venv", str(half_done)])
        _run(name, [str(half_done / "bin" / "python"), "-m", "pip", "install", "--quiet", *wanted])
        half_done.rename(folder)
    return folder / "bin" / "python"


def _run(name: str, command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS_MAX, check=False)
    if done.returncode:
        raise PeerError(f"{name} cannot be installed: {done.stderr.strip()[-300:]}")
