"""`python -m rewake.testing.models`: the scripted model server as a process of its own.

Prints its URL as the only line on stdout once it listens, and serves until it is interrupted or terminated.
"""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

import click

from .rules_file import RulesError, load_rules
from .server import ModelServer


@click.command()
@click.option(
    "--rules", "source", required=True, metavar="FILE|MODULE:NAME", help="FILE.py[:name], module[:name], FILE.json"
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, show_default=True, help="Port to listen on; 0 picks a free one.")
def main(source: str, host: str, port: int) -> None:
    """Answer OpenAI and Gemini clients by rules.

    Prints the URL. Control: GET /_requests, /_counts, /_wait/RULE; POST /_hold/RULE, /_release/RULE, /_reset.
    """
    sys.path.insert(0, str(Path.cwd()))
    try:
        server = ModelServer(load_rules(source), host=host, port=port)
        server.start()
    except (RulesError, ImportError, OSError, ValueError) as problem:
        raise click.ClickException(str(problem)) from problem
    asked_to_stop = threading.Event()
    for os_signal in (signal.SIGINT, signal.SIGTERM):
        signal.signal(os_signal, lambda *_: asked_to_stop.set())
    click.echo(server.url)
    asked_to_stop.wait()
    server.stop()


if __name__ == "__main__":
    main()
