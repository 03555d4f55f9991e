"""`python -m rewake.testing.models`: the scripted model server as a process of its own.

Prints its URL as the only line on stdout once it listens, and serves until it is interrupted or terminated.
"""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

import click

from .rules import rule, text_or_example
from .rules_file import RulesError, load_rules
from .server import ModelServer


@click.command()
@click.option("--rules", "source", metavar="FILE|MODULE:NAME", help="FILE.py[:name], module[:name], FILE.json")
@click.option(
    "--say",
    metavar="TEXT",
    help="Without rules: answer everything with this text, also in the strings of structured output.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, show_default=True, help="Port to listen on; 0 picks a free one.")
def main(source: str | None, say: str | None, host: str, port: int) -> None:
    """Answer OpenAI and Gemini clients by rules.

    Prints the URL. Control: GET /_requests, /_counts, /_wait/RULE; POST /_hold/RULE, /_release/RULE, /_reset.
    """
    if (source is None) == (say is None):
        raise click.UsageError("Give --rules or --say, one of the two.")
    sys.path.insert(0, str(Path.cwd()))
    try:
        rules = load_rules(source) if source is not None else [rule(answer=text_or_example(say or ""))]
        server = ModelServer(rules, host=host, port=port)
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
