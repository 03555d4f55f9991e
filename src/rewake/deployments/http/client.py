"""HttpDeployment: the DeploymentClient for a deployment reached by URL, over HTTP/2 or HTTP/1.1.

Discovery decides the version for all later requests: over TLS the server chooses; otherwise it is HTTP/2, unless the
registration requests HTTP/1.1. Every request has the deployment's additional headers and, with an identity key, a
signature. The client connects at its first use. The rules of the protocol are in ../framed_attempt.py.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from typing import Final, Literal

from rewake.deployments.asgi import MANIFEST_ACCEPT
from rewake.deployments.base import AttemptHandle, AttemptSink, AttemptStart, DiscoveryResponse, ProtocolType
from rewake.deployments.framed_attempt import (
    FramedAttempt,
    discovery_response,
    invoke_path,
    protocol_type_of,
    request_headers,
)
from rewake.deployments.http.address import Address
from rewake.deployments.http.connect_errors import ConnectionBroken, describe_error
from rewake.deployments.http.exchange import AnswerTooLarge, ClientExchange, Collector, HttpOptions
from rewake.deployments.http.http1 import Http1Pool
from rewake.deployments.http.http2_pool import Http2Pool
from rewake.deployments.http.identity import Identity
from rewake.errors import ErrorCode, RewakeError

HttpVersion = Literal["HTTP/1.1", "HTTP/2.0"]

DISCOVERY_TIMEOUT_S: Final = 10.0
DISCOVERY_RETRY_DELAYS_S: Final = (0.2, 0.6)
RETRIED_STATUSES: Final = frozenset({408, 429, 500, 502, 503, 504})


class HttpDeployment:
    """DeploymentClient for the deployment at `address`.

    http_version: None until discovery.   protocol_type: from the last discovery.
    """

    def __init__(
        self,
        address: Address,
        *,
        http_version: HttpVersion | None = None,
        protocol_type: ProtocolType = "bidi",
        headers: Mapping[str, str] | None = None,
        identity: Identity | None = None,
        options: HttpOptions | None = None,
    ) -> None:
        self.address = address
        self.protocol_type: ProtocolType = protocol_type
        self._http_version = http_version
        self._headers = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        self._identity = identity
        self._options = options or HttpOptions()
        self._pool: Http1Pool | Http2Pool | None = None
        self._closing: asyncio.Task[None] | None = None
        self._is_closed = False
        self._on_closed: Callable[[], None] | None = None

    @property
    def http_version(self) -> HttpVersion:
        """The version in use; HTTP/2 before discovery."""
        return self._http_version or "HTTP/2.0"

    # DeploymentClient

    async def discover(self) -> DiscoveryResponse:
        """Fetch the manifest. Tries up to three times if the server cannot be reached or answers with a server error.

        Raises RewakeError RW2003 unreachable, RW2004 refused, RW2005 not a manifest, RW2008 no HTTP/2, RW2009 TLS.
        """
        for delay_s in DISCOVERY_RETRY_DELAYS_S:
            try:
                return await self._discover_once()
            except RewakeError as error:
                if not _is_worth_retrying(error):
                    raise
            await asyncio.sleep(delay_s)
        return await self._discover_once()

    def start_attempt(self, start: AttemptStart, sink: AttemptSink) -> AttemptHandle:
        """Begin one attempt on a connection with room, or on a new one."""
        path = invoke_path(start)
        exchange = ClientExchange(b"POST", self.address.target(path), self._with_headers(request_headers(start), path))
        attempt = FramedAttempt(start, sink, exchange)
        exchange.responder = attempt
        exchange.write(start.frames)
        if self._is_closed:
            asyncio.get_running_loop().call_soon(attempt.on_error, "The deployment was removed.")
            exchange.is_reset = True
        else:
            self._pool_in_use().submit(exchange)
        return attempt

    async def close(self) -> None:
        """Abort every attempt without a call to its sink, and close all connections. Idempotent."""
        self._is_closed = True
        if self._pool is not None:
            await self._pool.close()
        if self._closing is not None and self._closing is not asyncio.current_task():
            await self._closing

    def retire(self, on_closed: Callable[[], None]) -> None:
        """Let open attempts finish, then close: another client has taken over."""
        self._on_closed = on_closed
        self._on_idle()

    # Requests

    def _pool_in_use(self) -> Http1Pool | Http2Pool:
        if self._pool is None:
            is_http1 = self.http_version == "HTTP/1.1"
            tls = _tls_context("http/1.1" if is_http1 else "h2") if self.address.is_tls else None
            pool_type = Http1Pool if is_http1 else Http2Pool
            self._pool = pool_type(self.address, tls, self._options, self._on_idle)
        return self._pool

    def _with_headers(self, headers: list[tuple[bytes, bytes]], path: bytes) -> list[tuple[bytes, bytes]]:
        headers += self._headers
        if self._identity is not None:
            headers += self._identity.headers(path)
        return headers

    def _on_idle(self) -> None:
        if self._on_closed is not None and not self._is_closed and (self._pool is None or self._pool.is_idle):
            self._is_closed = True
            self._closing = asyncio.get_running_loop().create_task(self.close())
            self._closing.add_done_callback(self._tell_closed)

    def _tell_closed(self, _: asyncio.Task[None]) -> None:
        assert self._on_closed is not None
        self._on_closed()

    # Discovery

    async def _discover_once(self) -> DiscoveryResponse:
        try:
            async with asyncio.timeout(DISCOVERY_TIMEOUT_S):
                if self._http_version is None:
                    self._http_version = await self._learn_http_version()
                status, headers, body = await self._get(b"/discover", MANIFEST_ACCEPT.encode())
        except (OSError, TimeoutError, ConnectionBroken) as error:
            raise self._unreachable(error) from error
        except AnswerTooLarge as error:
            raise RewakeError(
                ErrorCode.DISCOVERY_INVALID,
                f"The deployment at {self.address.uri!r} cannot be registered.\n{error}",
                "Check that it serves a restate app at this place.",
            ) from error
        where = f"The deployment at {self.address.uri!r}"
        response = discovery_response(status, headers, body, where=where, is_foreign=True)
        is_http1 = self.http_version == "HTTP/1.1"
        self.protocol_type = "request_response" if is_http1 else protocol_type_of(response)
        return response

    async def _get(self, path: bytes, accept: bytes) -> tuple[int, dict[str, str], bytes]:
        collector = Collector()
        exchange = ClientExchange(b"GET", self.address.target(path), self._with_headers([(b"accept", accept)], path))
        exchange.responder = collector
        exchange.is_ended = True
        pool = self._pool_in_use()
        pool.submit(exchange)
        try:
            return await collector.answer
        except ConnectionError as error:
            raise (pool.last_error or error) from error
        finally:
            if not collector.is_whole:
                exchange.reset()

    async def _learn_http_version(self) -> HttpVersion:
        """HTTP/2 without TLS; with TLS the server's choice in the handshake."""
        if not self.address.is_tls:
            return "HTTP/2.0"
        async with asyncio.timeout(self._options.connect_timeout_s):
            _, writer = await asyncio.open_connection(
                self.address.host, self.address.port, ssl=_tls_context("h2", "http/1.1")
            )
        chosen = writer.get_extra_info("ssl_object").selected_alpn_protocol()
        writer.transport.abort()
        return "HTTP/2.0" if chosen == "h2" else "HTTP/1.1"

    def _unreachable(self, error: Exception) -> RewakeError:
        where, reason = f"the deployment at {self.address.uri!r}", describe_error(error)
        if isinstance(error, ConnectionBroken) and error.is_http1:
            return RewakeError(
                ErrorCode.DEPLOYMENT_NOT_HTTP2,
                f"The deployment at {self.address.uri!r} does not speak HTTP/2.\n{reason}.",
                "Serve it over HTTP/2 (rewake serve, hypercorn), or register it with --http1 (restate: --use-http1.1).",
            )
        if isinstance(error, ssl.SSLError):
            return RewakeError(
                ErrorCode.DEPLOYMENT_TLS_FAILED,
                f"No secure connection to {where} could be made: {reason}.",
                "Give it a certificate that this machine trusts; SSL_CERT_FILE names a file of trusted ones.",
            )
        return RewakeError(
            ErrorCode.DEPLOYMENT_UNREACHABLE,
            f"Could not reach {where}: {reason}.",
            "Start the service, or register the address where it is.",
        )


def _is_worth_retrying(error: RewakeError) -> bool:
    if error.code is ErrorCode.DISCOVERY_REFUSED:
        return error.facts.get("status") in RETRIED_STATUSES
    is_slow = isinstance(error.__cause__, TimeoutError)  # Three such tries would take longer than callers wait.
    return error.code is ErrorCode.DEPLOYMENT_UNREACHABLE and not is_slow


def _tls_context(*protocols: str) -> ssl.SSLContext:
    """A TLS context that trusts the system's certificates and those in SSL_CERT_FILE."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(list(protocols))
    return context
