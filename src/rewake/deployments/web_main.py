"""The child process that serves the web app of a program: `web` in its module, an ASGI app, on an inherited socket.

Run as `python -m rewake.deployments.web_main --app REF` by web.py, which gives the socket and who may come in. A
process of its own, so that neither a page nor its framework can stall the engine or the handlers, and so that a
handler's death cuts no answer to a browser. It ends with SIGTERM, or when the engine is gone.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
import threading

from rewake.deployments.app_loader import AppImportError, load
from rewake.deployments.web_app import Guarded, Lifespan
from rewake.deployments.worker_main import EXIT_ENGINE_GONE, EXIT_IMPORT_FAILED, die_with_parent, loop_runner
from rewake.http_server.exchange import App
from rewake.http_server.origins import Door
from rewake.http_server.server import HttpServer


async def serve(app: App, listener: socket.socket, door: Door, drain_s: float) -> None:
    """Until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    lifespan = Lifespan(app)
    await lifespan.start()
    server = HttpServer(Guarded(app, door), cancels=True)
    await server.start(listener)
    await stop.wait()
    await server.stop(drain_s)
    await lifespan.stop()


def main(argv: list[str] | None = None) -> int:
    """Entry point of the child. Returns its exit code."""
    parser = argparse.ArgumentParser(prog="rewake-web")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--app", required=True)
    parser.add_argument("--allowed-host", action="append", default=[])
    parser.add_argument("--allowed-origin", action="append", default=[])
    parser.add_argument("--local", action="store_true")
    parser.add_argument("--drain-s", type=float, default=1.0)
    options = parser.parse_args(argv)
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C goes to the whole group; the engine decides.
    die_with_parent()
    threading.Thread(target=_end_with_engine, daemon=True).start()
    listener = socket.socket(fileno=options.fd)
    sys.argv = [options.app]
    try:
        web = load(options.app).web
    except AppImportError as error:
        sys.stderr.write(f"{error.traceback_text}{error.message}\n")
        return EXIT_IMPORT_FAILED
    door = Door(frozenset(options.allowed_host), frozenset(options.allowed_origin), is_local=options.local)
    if web is not None:
        with loop_runner("auto") as runner:
            runner.run(serve(web, listener, door, options.drain_s))
    return 0


def _end_with_engine() -> None:
    """Standard input is a pipe that the engine holds open."""
    while os.read(0, 4096):
        pass
    os._exit(EXIT_ENGINE_GONE)


if __name__ == "__main__":
    sys.exit(main())
