"""What a user may choose about an engine. The CLI, the environment and `rewake.toml` fill the same fields."""

from __future__ import annotations

import msgspec

from rewake.core.model import HandlerOptions
from rewake.deployments.http.exchange import HttpOptions
from rewake.redaction import HEADERS_DEFAULT, Redact
from rewake.streams.files import Bounds


class EngineOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one engine; durations in milliseconds.

    concurrency_max: attempts that run at once; more wait their turn (1,000, as the real server). While some do, those
    that only wait for calls, sleeps or promises are suspended.
    cleanup_interval_ms: time between retention sweeps.   protocol_version_max: 5, 6 or 7.
    pause_after_alike: attempts in a row that end alike, without progress, after which a run is paused; 0 for never.
    identity_key_file: Ed25519 key in PKCS#8 PEM; requests to deployments reached by URL are then signed.
    redacted_headers: names, in lower case, of callers' headers whose values are not kept.   redact: what is kept of
    the others, by name and value. Both run before anything is written; handlers see the same.
    streams: how much the side log may hold; no bytes: none.   stream_url: of the ingress, for handlers elsewhere.
    """

    concurrency_max: int = 1_000
    cleanup_interval_ms: int = 3_600_000
    protocol_version_max: int = 6
    pause_after_alike: int = 0
    defaults: HandlerOptions = HandlerOptions()
    query_deadline_ms: int = 10_000
    query_rows_max: int = 100_000
    identity_key_file: str | None = None
    redacted_headers: frozenset[str] = frozenset(HEADERS_DEFAULT)
    redact: Redact | None = None
    http: HttpOptions = HttpOptions()
    streams: Bounds = Bounds()
    stream_url: str | None = None
