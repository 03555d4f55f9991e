"""`rewake run` and `rewake server`: their options. engine_process.py does the work; it is imported when they run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from rewake.cli.doorkeeper import ACCESS_SETTINGS, check_access_options
from rewake.cli.durations import Duration
from rewake.cli.encryption import KEYS_HELP, SUBJECTS_HELP
from rewake.cli.settings import (
    ALLOWED_HOSTS,
    COUNT_MAX,
    DATA_DEFAULT,
    FILE_READ,
    LOG_SETTINGS,
    Names,
    config_option,
    exit_with_stdin_option,
    setting,
    with_settings,
)
from rewake.lean_imports import without
from rewake.limits import (
    MESSAGE_MIB,
    MESSAGE_MIB_MAX,
    OPEN_CALLS_MAX,
    OPEN_MIB_MAX,
    WAITING_MAX,
    WAITING_PER_SERVICE_MAX,
)
from rewake.redaction import HEADERS_DEFAULT

PORT = click.IntRange(0, 65_535)

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
    *ACCESS_SETTINGS,
    setting("data", default=DATA_DEFAULT, type=click.Path(file_okay=False), help="Folder of the database."),
    setting("cleanup-interval", default="1h", type=Duration(), help="Time between retention sweeps."),
    setting(
        "pause-after-alike",
        default=0,
        type=click.IntRange(0, COUNT_MAX),
        help="Pause a run after so many attempts in a row that end alike, without progress; 0: never.",
    ),
    setting("concurrency", default=1_000, type=click.IntRange(1, COUNT_MAX), help="Attempts that run at once."),
    setting(
        "waiting-max",
        default=WAITING_MAX,
        type=click.IntRange(1, COUNT_MAX),
        help="Runs that may be queued; above it callers get 429.",
    ),
    setting(
        "waiting-per-service-max",
        default=WAITING_PER_SERVICE_MAX,
        type=click.IntRange(1, COUNT_MAX),
        help="The same for each service, so that a flood of one leaves room for others.",
    ),
    setting(
        "open-calls-max",
        default=OPEN_CALLS_MAX,
        type=click.IntRange(1, COUNT_MAX),
        help="Requests in flight at the ingress, with waiting callers; above it callers get 429.",
    ),
    setting(
        "open-mib-max",
        default=OPEN_MIB_MAX,
        type=click.IntRange(1, COUNT_MAX),
        metavar="MIB",
        help="Total size of their bodies; above it callers get 429.",
    ),
    setting(
        "message-mib-max",
        default=MESSAGE_MIB,
        type=click.IntRange(1, MESSAGE_MIB_MAX),
        metavar="MIB",
        help="Largest message of a handler, such as a step's result; a step with a larger one fails.",
    ),
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
        help="Key (PKCS#8 PEM) that signs requests to deployments reached by URL.",
    ),
    setting(
        "redact-headers",
        default=",".join(HEADERS_DEFAULT),
        metavar="NAMES",
        help="Callers' headers whose values are neither stored nor given to handlers, by comma; empty keeps all.",
    ),
    setting(
        "redact",
        multiple=True,
        metavar="PATTERN",
        help="Regular expression; matching content, or its groups, is not shown, logged or exported. May be repeated.",
    ),
    setting(
        "redact-bodies",
        multiple=True,
        metavar="PATTERN",
        help="Regular expression; matching content of bodies and answers is neither stored nor given to handlers.",
    ),
    setting("encryption-keys", metavar="SOURCE", help=KEYS_HELP),
    setting("subject-keys", type=click.Path(file_okay=False), help=SUBJECTS_HELP),
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
        type=click.IntRange(0, COUNT_MAX),
        metavar="MIB",
        help="Size of the log of live streams, oldest runs dropped first; 0 turns streams off.",
    ),
    setting(
        "stream-run-mib",
        default=8,
        type=click.IntRange(1, COUNT_MAX),
        metavar="MIB",
        help="Size of one run's part of that log; further text is not shown live.",
    ),
    setting(
        "stream-url",
        metavar="URL",
        help="Address of the ingress for handlers on other machines; without it they do not stream.",
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

    In a FOLDER, its __main__.py is used, or the only file in it with services.
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

    with without(*([] if options["in_process"] else ["rich"])):  # structlog's
        from rewake.cli.engine_process import run_engine
    from rewake.cli.start_options import StartOptions

    app = None if app is None else resolve(app)
    options["data"] = Path(options["data"])
    if options["in_process"] and options["reload"]:
        raise click.UsageError("--reload needs worker processes; leave out --in-process.")
    check_access_options(**{name: options[name] for name in ("insecure", "require_tokens", "tls_cert", "tls_key")})
    if options["subject_keys"] is not None and options["encryption_keys"] is None:
        raise click.UsageError("--subject-keys needs --encryption-keys.")
    settings_file = click.get_current_context().meta.get(FILE_READ)
    run_engine(StartOptions(app=app, settings_file=settings_file, **options))
