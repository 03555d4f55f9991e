"""Tools for users to test their own agents.

pytest_plugin.py    the fixtures; all other files also work without pytest
virtual_engine.py   an engine in this process, on a clock that skips sleeps (virtual_time.py, loop_thread.py)
journals.py         journals as lines, compared with expected lines
drops.py            crashes of attempts within this process          crash/  real processes, killed with SIGKILL
replay/             recorded journals on new code
harness.py          a stand-in for the SDK's Docker harness          models/ a model server that answers by rules

The engine imports nothing from here. Names are imported at their first use, so testing costs nothing at run time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rewake.testing.harness import create_test_harness
    from rewake.testing.journals import Journal, expect_journal
    from rewake.testing.virtual_engine import VirtualEngine
    from rewake.testing.virtual_time import NeverEnds

__all__ = ["Journal", "NeverEnds", "VirtualEngine", "create_test_harness", "expect_journal"]

_HOMES: Final = {
    "Journal": "rewake.testing.journals",
    "NeverEnds": "rewake.testing.virtual_time",
    "VirtualEngine": "rewake.testing.virtual_engine",
    "create_test_harness": "rewake.testing.harness",
    "expect_journal": "rewake.testing.journals",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value
