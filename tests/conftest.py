"""Options of the whole test suite.

`--engine` chooses the engine where a test can have either: tests on `subject` (conformance/conftest.py) run on both
when nothing is said, all others on Rewake. `--transport` does the same for the ways an engine reaches its handlers.
"""

from __future__ import annotations

import gc
import os
import sys

import pytest
from hypothesis import settings
from node_tour import ENGINE_VARIABLE
from tests.leftovers import end_leftovers, mark_session, remove_leftovers
from tests.warm import close_nurseries


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--engine",
        choices=("rewake", "restate"),
        default=os.environ.get(ENGINE_VARIABLE),
        help=f"the engine under test, Rewake or the real restate-server; as the variable {ENGINE_VARIABLE}",
    )
    parser.addoption(
        "--transport",
        choices=("in_process", "worker", "http2", "http1"),
        help="how every conformance test of the engine reaches its handlers",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.option.engine is not None:
        os.environ[ENGINE_VARIABLE] = config.option.engine
    sys.dont_write_bytecode = False  # tests with their assertions rewritten, which takes longer than to import them
    gc.disable()  # until all is imported
    settings.register_profile("any machine", deadline=None)
    settings.load_profile("any machine")
    mark_session()


def pytest_collection_finish() -> None:
    """What is loaded by now stays: no collection of garbage looks through it again."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(trylast=True)  # after xdist has ended its workers
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A run that leaves processes or temporary files behind has failed, whatever its tests say."""
    close_nurseries()
    if hasattr(session.config, "workerinput"):
        return
    for what, left in (("processes", end_leftovers()), ("temporary files", remove_leftovers())):
        if left:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
            reporter = session.config.pluginmanager.get_plugin("terminalreporter")
            if reporter is not None:
                reporter.write_line(f"\n{len(left)} {what} were left behind:", red=True)
                for line in left:
                    reporter.write_line(f"  {line}")
