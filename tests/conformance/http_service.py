"""Services in processes of their own, behind real HTTP servers: what the tests of HTTP deployments talk to.

A Service can be killed and started again on its port. `hypercorn` speaks HTTP/2 without TLS, `uvicorn` only HTTP/1.1,
`node` runs a script, where there is a Node new enough; `node_http1` tells it to serve request and response, HTTP/1.1.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

from node_tour import installed, node
from tests.warm import Warm, framework_of

HERE = Path(__file__).parent
STARTED_SECONDS_MAX = 60.0  # a framework of agents takes its time to load

ServerKind = Literal["hypercorn", "uvicorn", "node", "node_http1"]
HTTP1_SERVERS: tuple[ServerKind, ...] = ("uvicorn", "node_http1")
NODE_ENVIRONMENT = {"NODE_ENV": "production", "RESTATE_LOGGING": "ERROR"}


def typescript(script: str) -> str:
    """A script of ts/, beside the packages it imports: an app for a Service on Node."""
    return str(installed("ts", HERE) / script)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Service:
    """An app on a server. app: `module:attribute` beside this file, or a script for Node."""

    def __init__(
        self,
        app: str,
        server: ServerKind = "hypercorn",
        *,
        options: tuple[str, ...] = (),
        framework: str = "",
        **environment: str,
    ) -> None:
        self.port = free_port()
        self.server = server
        self._app = app
        self._options = options
        self._framework = framework
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        own = {"HTTP_MODE": "http1" if self.server in HTTP1_SERVERS else "http2", "PORT": str(self.port)}
        environment = {**os.environ, **NODE_ENVIRONMENT, **own, **self._environment}
        self._process = Warm(
            self._command(),
            framework=self._framework or self._imported(environment.get("PYTHONPATH", "")),
            cwd=HERE,
            env=environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline_s = time.monotonic() + STARTED_SECONDS_MAX
        while True:
            assert self._process.poll() is None, f"{self.server} ended with {self._process.returncode}"
            assert time.monotonic() < deadline_s, f"{self.server} does not listen"
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.01)

    def _imported(self, python_path: str) -> str:
        """The framework that the app imports."""
        file = f"{self._app.partition(':')[0]}.py"
        places = [HERE, *map(Path, filter(None, python_path.split(os.pathsep)))]
        return next((framework_of(place / file) for place in places if (place / file).is_file()), "")

    def _command(self) -> list[str]:
        if self.server == "hypercorn":
            # workers 0: no second process that outlives a kill
            serve = ["-m", "hypercorn", "--workers", "0", "--bind", f"127.0.0.1:{self.port}", *self._options]
        elif self.server == "uvicorn":
            serve = ["-m", "uvicorn", "--log-level", "critical", "--port", str(self.port), *self._options]
        else:
            return [str(node()), self._app]
        return [sys.executable, *serve, self._app]

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """kill -9."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()

    def restart(self) -> None:
        self.kill()
        self.start()


class Services:
    """Services that are started once and shared."""

    def __init__(self) -> None:
        self._running: dict[tuple[str, ServerKind], Service] = {}

    def get(self, app: str, server: ServerKind = "hypercorn") -> Service:
        key = (app, server)
        if key not in self._running:
            self._running[key] = Service(app, server)
        return self._running[key]

    def close(self) -> None:
        for service in self._running.values():
            service.kill()
