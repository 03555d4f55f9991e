"""The app's own web app under `rewake run`: its port, and the process or the task that serves it."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rewake.access.gate import Gate
    from rewake.cli.start_options import StartOptions
    from rewake.deployments.web import WebProcess
    from rewake.deployments.web_app import WebSettings

TOKEN_NAME: Final = "rewake-web"


class WebPort:
    """Serves an app's `web`, once there is one. gate: checks callers, as at the ingress.   port: 0 for none."""

    def __init__(
        self, options: StartOptions, ingress_url: str, gate: Gate | None, stack: contextlib.AsyncExitStack
    ) -> None:
        self._options, self._ingress_url, self._gate, self._stack = options, ingress_url, gate, stack
        self._process: WebProcess | None = None
        self.port = 0

    @property
    def url(self) -> str | None:
        """Its address for a person on this machine."""
        from rewake.server import url_of

        is_tls = self._options.tls_cert is not None
        return url_of(self._options.host, self.port, is_tls=is_tls) if self.port else None

    def start(self) -> None:
        """In a process of its own. Raises RewakeError RW1005 when the port cannot be had."""
        from rewake.deployments.web import WebProcess

        self._process = WebProcess(self._settings(), self._environment(), self._listen())
        self._stack.push_async_callback(self._process.close)
        self._process.start()

    def reload(self, *, has_web: bool) -> None:
        """The app's code has changed."""
        if self._process is not None:
            self._process.reload()
        elif has_web:
            self.start()

    async def start_here(self, app: Any) -> None:
        """Serve in this process, as the handlers do."""
        from rewake.deployments.web_app import Lifespan, certificate_of, web_server

        settings = self._settings()
        os.environ.update(self._environment())
        server, lifespan = web_server(app, settings), Lifespan(app)
        listener = self._listen()
        await lifespan.start()
        self._stack.push_async_callback(lifespan.stop)
        await server.start(listener, certificate_of(settings))
        self._stack.push_async_callback(server.stop, settings.drain_s)

    def _settings(self) -> WebSettings:
        from rewake.deployments.web_app import WebSettings
        from rewake.http_server.origins import is_loopback_address

        options, gate = self._options, self._gate
        assert options.app is not None
        return WebSettings(
            app_ref=options.app,
            is_local=is_loopback_address(options.host),
            allowed_hosts=options.allowed_hosts,
            allowed_origins=options.allowed_origins,
            tokens_file=None if gate is None else str(gate.tokens.path),
            tls_cert=None if options.tls_cert is None else str(options.tls_cert),
            tls_key=None if options.tls_key is None else str(options.tls_key),
            drain_s=options.stop_grace / 1_000,
        )

    def _environment(self) -> dict[str, str]:
        """Variables with the engine's address, and a token that is valid as long as the engine runs."""
        found = {"REWAKE_INGRESS_URL": self._ingress_url}
        if self._gate is not None:
            from rewake.access.tokens import Role, Token, digest_of, new_secret

            secret = found["REWAKE_TOKEN"] = new_secret()
            self._gate.tokens.keep(Token(TOKEN_NAME, Role.CALL, digest_of(secret)))
        return found

    def _listen(self) -> Any:
        from rewake.server import listen

        listener = listen(self._options.host, self._options.web_port, "--web-port")
        self.port = listener.getsockname()[1]
        return listener
