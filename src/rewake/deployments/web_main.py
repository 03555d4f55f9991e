"""The child process that serves the web app of a program: `web` in its module, an ASGI app, on an inherited socket.

web.py runs it as `python -m rewake.deployments.web_main --fd N --settings JSON`. In its own process neither a page nor
its framework can block the engine or the handlers, and the death of a handler's process cuts no answer to a browser. It
ends with SIGTERM, or when the engine has ended.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
import threading

import msgspec

from rewake.deployments.app_loader import AppImportError, load
from rewake.deployments.web_app import Lifespan, WebSettings, certificate_of, web_server
from rewake.deployments.worker_main import EXIT_ENGINE_GONE, EXIT_IMPORT_FAILED, die_with_parent, loop_runner
from rewake.http_server.exchange import App


async def serve(app: App, listener: socket.socket, settings: WebSettings) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    lifespan = Lifespan(app)
    await lifespan.start()
    server = web_server(app, settings)
    await server.start(listener, certificate_of(settings))
    await stop.wait()
    await server.stop(settings.drain_s)
    await lifespan.stop()


def main(argv: list[str] | None = None) -> int:
    """Entry point of the child. Returns its exit code."""
    parser = argparse.ArgumentParser(prog="rewake-web")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--settings", required=True)
    options = parser.parse_args(argv)
    settings = msgspec.json.decode(options.settings, type=WebSettings)
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C goes to the whole process group; the engine decides.
    die_with_parent()
    threading.Thread(target=_end_with_engine, daemon=True).start()
    listener = socket.socket(fileno=options.fd)
    sys.argv = [settings.app_ref]
    try:
        web = load(settings.app_ref).web
    except AppImportError as error:
        sys.stderr.write(f"{error.traceback_text}{error.message}\n")
        return EXIT_IMPORT_FAILED
    if web is not None:
        with loop_runner("auto") as runner:
            runner.run(serve(web, listener, settings))
    return 0


def _end_with_engine() -> None:
    """End this process when the engine ends: standard input is a pipe that the engine holds open."""
    while os.read(0, 4096):
        pass
    os._exit(EXIT_ENGINE_GONE)


if __name__ == "__main__":
    sys.exit(main())
