"""Runs the core's unit tests against mutants, each in a forked process that stops at the first failure.

A mutant inside a function replaces the function's code in a process that has collected the tests already. Only the
tests that call the function run, the fastest first: some milliseconds. A mutant outside of functions (a table, a
default) needs a process that imports the core again: a second or two. A mutant counts as found, too, if it makes the
tests use too much processor time or memory.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib.abc
import importlib.util
import json
import os
import resource
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import hypothesis
import pytest
from _pytest.runner import runtestprotocol
from tests.leftovers import FOLDER, MARK
from tests.mutation.mutants import MODULE, Mutant

ROOT = Path(__file__).parents[2]
CORE = ROOT / "src" / "rewake" / "core"
TESTS = ROOT / "tests" / "unit" / "core"
OPTIONS = ("-q", "-s", "-p", "no:randomly", "--timeout=0", "--assert=plain")
"""Plain assertions: otherwise pytest loads the core itself to rewrite them, as `rewake` has a plugin for pytest."""

PROCESSOR_S_MAX = 20
"""For one mutant; all tests together take a third of this."""

TEST_S_MAX = 0.5
"""Slower tests are not run: they test lengths or chances, and a few of them would take most of the time."""

MEMORY_BYTES_MAX = 2 << 30

Tell = Callable[[Mutant, bool], None]
"""Called with each tried mutant, and whether a test failed."""

Function = tuple[str, str]
"""File name and qualified name."""


def survivors(mutants: list[Mutant], tell: Tell) -> list[Mutant]:
    """The mutants that no test notices. Raises RuntimeError if the tests fail without a mutant."""
    outside = [mutant for mutant in mutants if mutant.where == MODULE]
    inside = [mutant for mutant in mutants if mutant.where != MODULE]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        own = Path(folder, "tests")
        own.mkdir()
        os.environ.update({MARK: "mutation", FOLDER: str(own)})
        return _survivors_outside(outside, tell, Path(folder, "order")) + _survivors_inside(inside, tell)


def _survivors_outside(mutants: list[Mutant], tell: Tell, order: Path) -> list[Mutant]:
    if mutants and _in_fork(partial(_fails_anew, None, order)):
        raise RuntimeError("the tests fail without a mutant")
    left = []
    for mutant in mutants:
        failed = _in_fork(partial(_fails_anew, mutant, order))
        tell(mutant, failed)
        left += [] if failed else [mutant]
    return left


def _survivors_inside(mutants: list[Mutant], tell: Tell) -> list[Mutant]:
    campaign = _Campaign(mutants, tell)
    if mutants and _pytest(campaign):
        raise RuntimeError("the tests fail without a mutant")
    return campaign.left


def _pytest(plugin: object) -> int:
    with open(os.devnull, "w") as devnull, contextlib.redirect_stdout(devnull):  # noqa: PTH123
        return pytest.main([str(TESTS), *OPTIONS], plugins=[plugin])


def _in_fork(fails: Callable[[], bool]) -> bool:
    """Whether it fails in a process of its own, with limits on time and memory."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            _bound()
            os._exit(1 if fails() else 0)
        os._exit(1)
    return os.waitpid(pid, 0)[1] != 0


def _bound() -> None:
    devnull = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(devnull, descriptor)
    signal.setitimer(signal.ITIMER_PROF, PROCESSOR_S_MAX)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))


def _passes(item: pytest.Item) -> bool:
    return all(report.passed for report in runtestprotocol(item, log=False, nextitem=None))


class _SameEachTime:
    """Hypothesis draws the same examples in each process."""

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self) -> None:
        hypothesis.settings.register_profile("same each time", deadline=None, database=None, derandomize=True)
        hypothesis.settings.load_profile("same each time")


# Outside of functions: the core is imported with the mutant in it


class _Importer(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives one module the code of a mutant."""

    def __init__(self, mutant: Mutant) -> None:
        self.name = f"rewake.core.{mutant.path.stem}"
        self.code = mutant.compile()

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return importlib.util.spec_from_loader(name, self) if name == self.name else None

    def exec_module(self, module: ModuleType) -> None:
        exec(self.code, module.__dict__)


class _Anew(_SameEachTime):
    """Runs the tests that the file lists, or writes it: those that are quick, the fastest first. Ends the process."""

    def __init__(self, order: Path) -> None:
        self.order = order

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        if self.order.exists():
            items = {item.nodeid: item for item in session.items}
            os._exit(0 if all(_passes(items[name]) for name in json.loads(self.order.read_text())) else 1)
        times = {}
        for item in session.items:
            started = time.process_time()
            if not _passes(item):
                os._exit(1)
            times[item.nodeid] = time.process_time() - started
        quick = [name for name, spent in times.items() if spent < TEST_S_MAX]
        self.order.write_text(json.dumps(sorted(quick, key=lambda name: times[name])))
        os._exit(0)


def _fails_anew(mutant: Mutant | None, order: Path) -> bool:
    if mutant is not None:
        sys.meta_path.insert(0, _Importer(mutant))
    return _pytest(_Anew(order)) != 0  # comes to this only when the tests could not be collected


# Inside functions: the mutant takes the place of the code that is there


class _Campaign(_SameEachTime):
    """Runs the tests once as they are, and then for the mutants."""

    def __init__(self, mutants: list[Mutant], tell: Tell) -> None:
        self.mutants = mutants
        self.tell = tell
        self.left: list[Mutant] = []
        self.callers: dict[Function, list[pytest.Item]] = defaultdict(list)
        self.caches: list[Any] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            return False
        gc.unfreeze()  # what the tests froze is not listed
        self.caches = _caches()
        self._learn(session.items)
        functions = _functions()
        for mutant in self.mutants:
            function = (mutant.path.name, mutant.where)
            self._forget()
            failed = _try(mutant, functions[function], self.callers[function])
            self.tell(mutant, failed)
            self.left += [] if failed else [mutant]
        return True

    def _learn(self, items: list[pytest.Item]) -> None:
        """Which tests call which function, and how long each takes."""
        calls: list[tuple[float, pytest.Item, set[CodeType]]] = []
        for item in items:
            self._forget()
            started = time.process_time()
            with _noting_calls() as called:
                if not _passes(item):
                    raise pytest.UsageError(f"{item.nodeid} fails without a mutant")
            calls.append((time.process_time() - started, item, called))
        for spent, item, called in sorted(calls, key=lambda call: call[0]):
            for code in called if spent < TEST_S_MAX else ():
                self.callers[Path(code.co_filename).name, code.co_qualname].append(item)

    def _forget(self) -> None:
        """Empty the caches: a function behind one is called again by each test, and its mutants are not passed by."""
        for cache in self.caches:
            cache.cache_clear()


@contextlib.contextmanager
def _noting_calls() -> Iterator[set[CodeType]]:
    called: set[CodeType] = set()
    folder = str(CORE)

    def note(frame: Any, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(folder):
            called.add(frame.f_code)

    sys.setprofile(note)
    try:
        yield called
    finally:
        sys.setprofile(None)


def _functions() -> dict[Function, FunctionType]:
    """The outermost functions and methods of the core, as loaded."""
    return {
        (Path(item.__code__.co_filename).name, item.__code__.co_qualname): item
        for item in gc.get_objects()
        if isinstance(item, FunctionType) and item.__code__.co_filename.startswith(str(CORE))
    }


def _caches() -> list[Any]:
    """The functions of the core that have an lru_cache."""
    wrapper = type(functools.lru_cache(_caches))
    return [
        item for item in gc.get_objects() if isinstance(item, wrapper) and item.__module__.startswith("rewake.core")
    ]


def _try(mutant: Mutant, function: FunctionType, tests: list[pytest.Item]) -> bool:
    code = _code_of(mutant.compile(), mutant.where)

    def fails() -> bool:
        function.__code__ = code
        return not all(map(_passes, tests))

    return _in_fork(fails)


def _code_of(code: CodeType, qualname: str) -> CodeType:
    for item in code.co_consts:
        if isinstance(item, CodeType):
            if item.co_qualname == qualname:
                return item
            if qualname.startswith(item.co_qualname + "."):
                return _code_of(item, qualname)
    raise LookupError(qualname)
