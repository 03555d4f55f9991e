"""Runs scripts, each in a process of its own that is forked once what it imports is loaded: frameworks take seconds.

A line of stdin is the JSON of a script: `path`, `env` and `output`, a file for what it prints. A line of stdout is the
code it ended with. What comes from its own folder is not loaded ahead, nor is what cannot be.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import importlib
import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

FRAMEWORKS = {"agents", "google", "langchain", "openai", "opentelemetry", "pydantic_ai", "restate", "rewake"}


def load_imports_of(script: Path) -> None:
    """What the script imports at its top from the frameworks and from us."""
    for statement in ast.parse(script.read_text()).body:
        match statement:
            case ast.Import(names=names):
                wanted = [alias.name for alias in names]
            case ast.ImportFrom(module=str(module)):
                wanted = [module]
            case _:
                wanted = []
        for name in wanted:
            if name.partition(".")[0] in FRAMEWORKS:
                with contextlib.suppress(ImportError):
                    importlib.import_module(name)


def become(job: dict[str, Any]) -> None:
    """Run the script as `python SCRIPT` would, in this process."""
    path = Path(job["path"])
    os.chdir(path.parent)
    os.environ.clear()
    os.environ.update(job["env"])
    with Path(os.devnull).open("rb") as nothing, Path(job["output"]).open("wb") as output:
        for ours, theirs in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(ours.fileno(), theirs)
    sys.argv = [path.name]
    sys.path[0] = str(path.parent)
    runpy.run_path(path.name, run_name="__main__")


def main() -> None:
    for line in sys.stdin:
        job = json.loads(line)
        load_imports_of(Path(job["path"]))
        gc.freeze()  # what is loaded is left alone by the processes that are forked
        pid = os.fork()
        if pid == 0:
            become(job)
            return
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
