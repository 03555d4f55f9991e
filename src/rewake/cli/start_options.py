"""The settings of `rewake run` and `rewake server`, as run.py read them. Used by engine_process.py and web.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOptions:
    """Durations are in milliseconds, as they come from click, without the unit in the name."""

    app: str | None
    host: str
    ingress_port: int
    admin_port: int
    allowed_hosts: tuple[str, ...]
    allowed_origins: tuple[str, ...]
    tokens_file: Path | None
    require_tokens: bool
    insecure: bool
    tls_cert: Path | None
    tls_key: Path | None
    data: Path
    cleanup_interval: int
    pause_after_alike: int
    concurrency: int
    waiting_max: int
    waiting_per_service_max: int
    open_calls_max: int
    open_mib_max: int
    message_mib_max: int
    inactivity_timeout: int
    abort_timeout: int
    idempotency_retention: int
    journal_retention: int
    workflow_retention: int
    identity_key: str | None
    redact_headers: str
    redact: tuple[str, ...]
    redact_bodies: tuple[str, ...]
    encryption_keys: str | None
    subject_keys: str | None
    approvals_url: str | None
    query_deadline: int
    stream_log_mib: int
    stream_run_mib: int
    stream_url: str | None
    stop_grace: int
    log_level: str
    log_format: str
    live: str
    otlp_endpoint: str | None
    web_port: int
    workers: int
    reload: bool
    in_process: bool
    exit_with_stdin: bool
    settings_file: Path | None = None
    is_for_people: bool = False
    """Nobody chose the format of the log: a JSON log then begins with two plain lines."""
