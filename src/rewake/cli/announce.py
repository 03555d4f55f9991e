"""What `rewake run` prints once it is up: addresses, processes, and one curl line for each handler.

The example bodies come from the handlers' JSON schemas, so that a line can be pasted and works.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

import click

import rewake
from rewake.names import some_of
from rewake.schema_examples import example_of

if TYPE_CHECKING:
    from rewake.core.model import HandlerSchema, ServiceSchema

LINES_MAX: Final = 20
KEY_EXAMPLE: Final = "my-key"


def announce(
    *,
    services: Mapping[str, ServiceSchema],
    ingress_url: str,
    admin_url: str,
    asks_tokens: bool,
    web_url: str | None = None,
    data: Path,
    app: str | None,
    worker_pids: Sequence[int],
    stream: TextIO,
) -> None:
    """Print it."""
    facts = [
        ("ingress", ingress_url.rstrip("/")),
        ("admin", admin_url.rstrip("/")),
        ("web UI", f"{admin_url}ui/"),
        *([("web app", web_url)] if web_url else []),
        ("data", str(data.resolve())),
    ]
    if app is not None:
        processes = f"process {', '.join(map(str, worker_pids))}" if worker_pids else "in the engine's process"
        served = some_of(services, "no services")
        facts.append(("handlers", f"{app}: {served}; {processes}"))
    lines = [
        f"rewake {rewake.__version__} is ready; Ctrl-C stops it",
        *(f"  {name:<9} {value}" for name, value in facts),
    ]
    calls = list(curl_lines(services, ingress_url.removeprefix("http://").rstrip("/")))
    if calls:
        how = "Call a handler, with -H 'x-rewake-token: TOKEN':" if asks_tokens else "Call a handler:"
        lines += ["", how, *(f"  {line}" for line in calls[:LINES_MAX])]
    if len(calls) > LINES_MAX:
        lines.append(f"  and {len(calls) - LINES_MAX} more: rewake services list")
    click.echo("\n".join(["", *lines, ""]), file=stream)


def announce_json_log(ingress_url: str, admin_url: str, stream: TextIO) -> None:
    """Two lines for a person who reads a log that goes elsewhere than to a terminal."""
    click.echo(f"rewake {rewake.__version__}: ingress {ingress_url}, web UI {admin_url}ui/", file=stream)
    click.echo("The log is JSON, one event a line; --log-format text writes it for people.", file=stream)


def curl_lines(services: Mapping[str, ServiceSchema], address: str) -> Iterator[str]:
    """One command for each public handler, in the order of names."""
    for name, service in sorted(services.items()):
        for handler in sorted(service.handlers.values(), key=lambda each: each.name):
            if handler.options.public:
                path = "/".join([name, *([KEY_EXAMPLE] if service.is_keyed else []), handler.name])
                yield f"curl {address}/{path}{_body_flag(handler)}"


def _body_flag(handler: HandlerSchema) -> str:
    given = handler.manifest.get("input") or {}
    schema = given.get("jsonSchema")
    if schema is None and not given.get("contentType"):
        return ""
    return f" --json {shlex.quote(json.dumps(example_of(schema, only_required=True)))}"
