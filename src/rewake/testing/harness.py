"""A stand-in for `restate.create_test_harness` and `restate.test_harness`: the same calls, without Docker.

    async with create_test_harness(app) as harness:
        await harness.client.service_call(greet, arg="Ada")

It replaces the container by an engine in this process, with an ingress and an admin API on free ports of loopback.
`replace_harness` patches the SDK, so that tests written for the container run unchanged.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import tempfile
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Self

import restate
from restate.types import HarnessEnvironment

from rewake.core.model import HandlerOptions, OnMaxAttempts, RetryPolicy
from rewake.deployments.base import DeploymentClient
from rewake.deployments.in_process import InProcessDeployment
from rewake.engine.options import EngineOptions
from rewake.server import Server
from rewake.testing.virtual_engine import VirtualEngine

if TYPE_CHECKING:
    import httpx

SDK_MODULE: Final = "restate.harness"
_IMAGE: Final = "docker.io/restatedev/restate:latest"
ONCE: Final = RetryPolicy(max_attempts=1, on_max_attempts=OnMaxAttempts.KILL)
"""The retry policy for disable_retries: the first failure is final."""


@asynccontextmanager
async def create_test_harness(
    app: Any,
    follow_logs: bool = False,
    restate_image: str = _IMAGE,
    always_replay: bool = False,
    disable_retries: bool = False,
    journal_value_codec: restate.JournalValueCodec | None = None,
    *,
    skips_time: bool = False,
) -> AsyncGenerator[HarnessEnvironment]:
    """An engine that serves `app`, and a client of its ingress: `ingress_url`, `admin_api_url` and `client`.

    follow_logs: show the engine's log.   restate_image: is ignored.   always_replay: handlers suspend at every await.
    disable_retries: an invocation fails with its first failed attempt.   skips_time: sleeps and timeouts take no time.
    """
    with _serving(app, follow_logs, always_replay, disable_retries, skips_time) as server:
        ingress_url, admin_url = (url.rstrip("/") for url in (server.ingress_url, server.admin_url))
        async with restate.create_client(ingress_url, journal_value_codec=journal_value_codec) as client:
            yield HarnessEnvironment(ingress_url=ingress_url, admin_api_url=admin_url, client=client)


class OlderHarness:
    """The result of `restate.test_harness`: a context manager, or start() and stop()."""

    def __init__(self, app: Any, follow_logs: bool, always_replay: bool, disable_retries: bool) -> None:
        self._app = app
        self._options = (follow_logs, always_replay, disable_retries)
        self._stack: contextlib.ExitStack | None = None
        self._server: Server | None = None

    def start(self) -> None:
        """Serve the app."""
        self._stack = contextlib.ExitStack()
        self._server = self._stack.enter_context(_serving(self._app, *self._options, False))

    def stop(self) -> None:
        """Stop serving."""
        if self._stack is not None:
            self._stack.close()
            self._stack = self._server = None

    def ingress_client(self) -> httpx.Client:
        """An HTTP client with the ingress as its base URL."""
        import httpx

        if self._server is None:
            raise AssertionError("The harness has not been started: call start(), or use it as a context manager.")
        return httpx.Client(base_url=self._server.ingress_url.rstrip("/"))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def older_harness(
    app: Any,
    follow_logs: bool = False,
    restate_image: str = _IMAGE,
    always_replay: bool = False,
    disable_retries: bool = False,
) -> OlderHarness:
    """A stand-in for `restate.test_harness`."""
    return OlderHarness(app, follow_logs, always_replay, disable_retries)


def replace_harness() -> None:
    """Replace the SDK's functions by these, in `restate` and `restate.harness`. The latter may lack its packages."""
    module = sys.modules.get(SDK_MODULE)
    if module is None:
        module = sys.modules[SDK_MODULE] = ModuleType(SDK_MODULE, __doc__)
    for name, value in (("create_test_harness", create_test_harness), ("test_harness", older_harness)):
        setattr(restate, name, value)
        setattr(module, name, value)


@contextmanager
def _serving(
    app: Any, follow_logs: bool, always_replay: bool, disable_retries: bool, skips_time: bool
) -> Iterator[Server]:
    defaults = HandlerOptions(retry=ONCE) if disable_retries else HandlerOptions()
    kind = VirtualEngine if skips_time else _ServedEngine
    with contextlib.ExitStack() as stack:
        if not follow_logs:
            stack.enter_context(quiet_log())
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="rewake-harness-"))
        engine = kind(folder, always_replay=always_replay, options=EngineOptions(defaults=defaults))
        stack.enter_context(engine)
        engine.serve(app)
        yield stack.enter_context(engine.serving())


class _ServedEngine(VirtualEngine):
    """A VirtualEngine on the machine's clock, like the container: no test waits through it, so nothing skips."""

    def _deployment(self, app: Any) -> DeploymentClient:
        return InProcessDeployment(app)


@contextmanager
def quiet_log(*loggers: str) -> Iterator[None]:
    """Silence the engine's log and some of Python's loggers."""
    import structlog

    before = structlog.get_config()
    levels = {name: logging.getLogger(name).level for name in loggers}
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    for name in loggers:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        structlog.configure(**before)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
