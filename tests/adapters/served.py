"""The programs of LAB_FRAMEWORKS in one app, for a web server or a worker; handlers are named `framework_row`.

With LAB_DIES each process dies at a result of its journal, one later than the one before, see killer.py.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path

from adapter_kit import Program, app_of
from killer import next_killer

_programs: dict[str, Program] = {}
for _framework in os.environ["LAB_FRAMEWORKS"].split():
    _module = importlib.import_module(f"{_framework}_app")
    _module.start()
    _programs |= {f"{_framework}_{row}": program for row, program in _module.PROGRAMS.items()}

app = app_of(_programs, next_killer(Path(os.environ["LAB_FOLDER"])) if "LAB_DIES" in os.environ else None)
