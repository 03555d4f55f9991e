"""`rewake run` and `rewake server`: their options. engine_process.py does the work; it is imported when they run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from rewake.cli.durations import Duration
from rewake.cli.settings import (
    ALLOWED_HOSTS,
    DATA_DEFAULT,
    FILE_READ,
    LOG_SETTINGS,
    Names,
    config_option,
    exit_with_stdin_option,
    setting,
    with_settings,
)
from rewake.redaction import HEADERS_DEFAULT

PORT = click.IntRange(0, 65_535)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

_ENGINE_SETTINGS = (
    config_option,
    setting("host", default="127.0.0.1", help="Address to listen on."),
    setting("ingress-port", default=8080, type=PORT, help="Port that callers use; 0 picks a free one."),
    setting("admin-port", default=9070, type=PORT, help="Port of the admin API; 0 picks a free one."),
    ALLOWED_HOSTS,
    setting(
        "allowed-origins",
        default="",
        type=Names(),
        help="Origins of web pages that may call the ingress, such as https://app.example; * for all.",
    ),
    setting(
        "tokens-file",
        type=click.Path(dir_okay=False, path_type=Path),
        show_default="tokens.json in the data folder",
        help="Access tokens, as rewake tokens makes them; REWAKE_TOKENS may name more.",
    ),
    setting("require-tokens", is_flag=True, help="Ask for a token on loopback as well."),
    setting("insecure", is_flag=True, help="Let in everybody who reaches an address that is not loopback."),
    setting("tls-cert", type=_FILE, help="Certificate to serve both ports over TLS with (PEM)."),
    setting("tls-key", type=_FILE, help="Key of the certificate (PEM), if it is in a file of its own."),
    setting("data", default=DATA_DEFAULT, type=click.Path(file_okay=False), help="Folder of the database."),
    setting("cleanup-interval", default="1h", type=Duration(), help="Time between retention sweeps."),
    setting(
        "pause-after-alike",
        default=0,
        type=click.IntRange(0),
        help="Pause a run when so many attempts in a row ended alike, without progress; 0 leaves it to the policy.",
    ),
    setting("concurrency", default=1_000, type=click.IntRange(1), help="Attempts that run at once."),
    setting(
        "inactivity-timeout", default="1m", type=Duration(), help="Default time until a waiting handler is suspended."
    ),
    setting(
        "abort-timeout", default="10m", type=Duration(), help="Default time until one that cannot suspend is cut off."
    ),
    setting("idempotency-retention", default="1d", type=Duration(), help="Default time a result is kept."),
    setting("journal-retention", default="1d", type=Duration(), help="Default time a journal is kept."),
    setting("workflow-retention", default="1d", type=Duration(), help="Default time a finished workflow is kept."),
    setting(
        "identity-key",
        type=click.Path(dir_okay=False),
        help="Key in PKCS#8 PEM that requests to deployments reached by URL are signed with.",
    ),
    setting(
        "redact-headers",
        default=",".join(HEADERS_DEFAULT),
        metavar="NAMES",
        help="Headers of callers whose values are neither kept nor shown to handlers, by comma; empty keeps all.",
    ),
    setting(
        "approvals-url",
        metavar="URL",
        show_default="the admin port",
        help="Address at which people reach the admin port's /approve/, for signed links to approvals.",
    ),
    setting("query-deadline", default="10s", type=Duration(), help="Time a SQL query may take."),
    setting(
        "stream-log-mib",
        default=512,
        type=click.IntRange(0),
        metavar="MIB",
        help="Size of the side log of live streams in all, oldest dropped first; 0 keeps none.",
    ),
    setting(
        "stream-run-mib",
        default=8,
        type=click.IntRange(1),
        metavar="MIB",
        help="Size of a run's part of it; what the run says beyond it is not shown live.",
    ),
    setting(
        "stream-url",
        metavar="URL",
        help="Address of the ingress for handlers on other machines, which may then stream; none else.",
    ),
    setting("stop-grace", default="5s", type=Duration(), help="Time open calls get when stopping."),
    *LOG_SETTINGS,
    setting(
        "live",
        default="auto",
        type=click.Choice(("auto", "off")),
        help="A live view of the runs below the log; auto is on a terminal with the text format.",
    ),
    setting("otlp-endpoint", metavar="URL", help="OpenTelemetry collector that traces are sent to."),
)

_HANDLER_SETTINGS = (
    setting(
        "web-port", default=8000, type=PORT, help="Port of the app's own web app, if it has one; 0 picks a free one."
    ),
    setting("workers", default=1, type=click.IntRange(1, 256), help="Processes that run handlers."),
    setting("reload", is_flag=True, help="Replace the workers when a Python file changes."),
    setting(
        "in-process", is_flag=True, help="Run handlers in the engine's process: quick, but one that blocks stops all."
    ),
)


@click.command()
@click.argument("app", metavar="FILE.py|MODULE:APP|FOLDER")
@with_settings(_ENGINE_SETTINGS)
@with_settings(_HANDLER_SETTINGS)
@exit_with_stdin_option
def run(app: str, **options: Any) -> None:
    """Run the engine and the handlers of an app.

    A folder stands for its __main__.py, or the only file in it with services.
    Handlers run in worker processes, restarted when they die. Each option is also an environment variable and a key of
    rewake.toml; a flag beats the variable, which beats the file. Ctrl-C stops gracefully, a second one at once.
    """
    _serve(app, **options)


@click.command()
@with_settings(_ENGINE_SETTINGS)
@exit_with_stdin_option
def server(**options: Any) -> None:
    """Run the engine alone; services are registered over the admin API.

    Options as those of `rewake run`.
    """
    _serve(None, web_port=0, workers=0, reload=False, in_process=False, **options)


def _serve(app: str | None, **options: Any) -> None:
    from rewake.cli.app_reference import resolve
    from rewake.cli.engine_process import run_engine
    from rewake.cli.start_options import StartOptions

    app = None if app is None else resolve(app)
    options["data"] = Path(options["data"])
    if options["in_process"] and options["reload"]:
        raise click.UsageError("--reload needs worker processes; leave out --in-process.")
    if options["tls_key"] is not None and options["tls_cert"] is None:
        raise click.UsageError("--tls-key needs --tls-cert.")
    if options["insecure"] and options["require_tokens"]:
        raise click.UsageError("--insecure and --require-tokens exclude each other.")
    settings_file = click.get_current_context().meta.get(FILE_READ)
    run_engine(StartOptions(app=app, settings_file=settings_file, **options))
