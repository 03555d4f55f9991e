"""The app's own web app under `rewake run`: its port, and the process or the task that serves it."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rewake.cli.engine_process import RunOptions
    from rewake.deployments.web import WebProcess


class Web:
    """Nothing until an app with a `web` is there. port: that is served, 0 for none."""

    def __init__(self, options: RunOptions, ingress_url: str, stack: contextlib.AsyncExitStack) -> None:
        self._options, self._ingress_url, self._stack = options, ingress_url, stack
        self._process: WebProcess | None = None
        self.port = 0

    @property
    def url(self) -> str | None:
        """Where a person of this machine finds it."""
        from rewake.server import url_of

        return url_of(self._options.host, self.port) if self.port else None

    def start(self) -> None:
        """In a process of its own. Raises RewakeError RW1005 when the port cannot be had."""
        from rewake.deployments.web import WebOptions, WebProcess
        from rewake.http_server.origins import is_loopback_address

        options = self._options
        assert options.app is not None
        web_options = WebOptions(
            app_ref=options.app,
            ingress_url=self._ingress_url,
            is_local=is_loopback_address(options.host),
            allowed_hosts=options.allowed_hosts,
            allowed_origins=options.allowed_origins,
            drain_s=options.stop_grace / 1_000,
        )
        self._process = WebProcess(web_options, self._listen())
        self._stack.push_async_callback(self._process.close)
        self._process.start()

    def reload(self, *, has_web: bool) -> None:
        """The app's code has changed."""
        if self._process is not None:
            self._process.reload()
        elif has_web:
            self.start()

    async def start_here(self, app: Any) -> None:
        """In this process, as the handlers are."""
        from rewake.deployments.web_app import Guarded, Lifespan
        from rewake.http_server.origins import Door, is_loopback_address
        from rewake.http_server.server import HttpServer

        options = self._options
        os.environ["REWAKE_INGRESS_URL"] = self._ingress_url
        hosts, origins = frozenset(options.allowed_hosts), frozenset(options.allowed_origins)
        door = Door(hosts, origins, is_local=is_loopback_address(options.host))
        server, lifespan = HttpServer(Guarded(app, door), cancels=True), Lifespan(app)
        listener = self._listen()
        await lifespan.start()
        self._stack.push_async_callback(lifespan.stop)
        await server.start(listener)
        self._stack.push_async_callback(server.stop, options.stop_grace / 1_000)

    def _listen(self) -> Any:
        from rewake.server import listen

        listener = listen(self._options.host, self._options.web_port, "--web-port")
        self.port = listener.getsockname()[1]
        return listener
