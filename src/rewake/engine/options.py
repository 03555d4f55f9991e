"""Settings of an engine that users may choose. The CLI, the environment and `rewake.toml` fill the same fields."""

from __future__ import annotations

import msgspec

from rewake.core.model import HandlerOptions
from rewake.deployments.http.exchange import HttpOptions
from rewake.disclosure import Hide, Sealer
from rewake.limits import WAITING_MAX, WAITING_PER_SERVICE_MAX
from rewake.protocol.framing import MESSAGE_BYTES_MAX
from rewake.redaction import HEADERS_DEFAULT, Headers, Redact, RedactBody, redacted
from rewake.streams.files import Bounds


class EngineOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one engine; durations in milliseconds.

    concurrency_max: attempts that run at once; more are queued (1,000, as the real server). While some are queued,
    running ones that only wait for calls, sleeps or promises are suspended.
    waiting_max, waiting_per_service_max: queued runs above which the ingress answers 429.
    message_bytes_max: one message of a handler, such as a step's result; a larger result fails its step (RW3006).
    cleanup_interval_ms: time between retention sweeps.   protocol_version_max: 5, 6 or 7.
    pause_after_alike: pause a run after so many attempts in a row that end alike without progress; 0 for never.
    identity_key_file: Ed25519 key in PKCS#8 PEM; signs requests to deployments reached by URL.
    redacted_headers: lower-case names of callers' headers whose values are not stored.   redact: gives the value to
    store of any other header, from its name and value.   redact_body: gives the value to store of bodies of calls and
    of answers to awakeables and promises. All three run before anything is written, so handlers see their results.
    encryption: encrypts values from outside, decrypts results for callers and values for pages; handlers have their
    own codec, see rewake.ext.sealed.
    redact_shown: gives the text that pages, terminals, SQL and traces show; the stored text stays unchanged.
    streams: limits of the side log; 0 bytes turn streams off.   stream_url: of the ingress, for handlers elsewhere.
    """

    concurrency_max: int = 1_000
    waiting_max: int = WAITING_MAX
    waiting_per_service_max: int = WAITING_PER_SERVICE_MAX
    message_bytes_max: int = MESSAGE_BYTES_MAX
    cleanup_interval_ms: int = 3_600_000
    protocol_version_max: int = 6
    pause_after_alike: int = 0
    defaults: HandlerOptions = HandlerOptions()
    query_deadline_ms: int = 10_000
    query_rows_max: int = 100_000
    identity_key_file: str | None = None
    redacted_headers: frozenset[str] = frozenset(HEADERS_DEFAULT)
    redact: Redact | None = None
    redact_body: RedactBody | None = None
    redact_shown: Hide | None = None
    encryption: Sealer | None = None
    http: HttpOptions = HttpOptions()
    streams: Bounds = Bounds()
    stream_url: str | None = None

    def kept_headers(self, headers: Headers) -> Headers:
        """The headers of a call that are stored."""
        return redacted(headers, self.redacted_headers, self.redact)

    @property
    def changes_values(self) -> bool:
        return self.redact_body is not None or self.encryption is not None

    def kept_body(self, body: bytes, service: str, key: str | None) -> bytes:
        """The stored form of a value from outside: a call's body, or the answer to an awakeable or a promise."""
        if self.redact_body is not None:
            body = self.redact_body(body)
        return body if self.encryption is None else self.encryption.seal(body, service, key)

    def kept_value(self, content: bytes, service: str, key: str | None) -> bytes:
        """The stored form of a state value from an operator."""
        return content if self.encryption is None else self.encryption.seal(content, service, key)
