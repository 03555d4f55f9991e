"""Offers: the URL that an attempt gets for its deltas, where its handler can reach it.

Handlers in this process need no socket. Workers, and deployments whose address is on this machine, are given the
ingress's own address; others one that an operator has set, since nobody else knows how they reach this machine.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from rewake.core.effects import StartAttempt
from rewake.core.model import Deployment
from rewake.ext import direct
from rewake.http_server.origins import is_loopback_address
from rewake.streams.hub import Streams

WRITE_PATH: Final = "restate/deltas/"
_IN_PROCESS: Final = "in_process"
_WORKER: Final = "worker"


class Offers:
    """What attempts are offered. deployment: of an id.

    local_url: of the ingress, None while nothing listens.   elsewhere_url: as other machines reach it, if they do.
    """

    def __init__(self, deployment: Callable[[str], Deployment | None]) -> None:
        self.local_url: str | None = None
        self.elsewhere_url: str | None = None
        self._deployment = deployment
        self._streams: Streams | None = None
        self._name = ""

    def open(self, streams: Streams) -> None:
        """Offer writing to these streams from now on."""
        if streams.is_usable:
            self._streams = streams
            self._name = secrets.token_urlsafe(16)
            direct.doors[self._name] = streams.writing

    def close(self) -> None:
        self._streams = None
        direct.doors.pop(self._name, None)

    def url(self, effect: StartAttempt) -> str | None:
        """Where the handler of this attempt may write; None where it could not reach it."""
        deployment = self._deployment(effect.deployment_id)
        if self._streams is None or deployment is None:
            return None
        base = self._base(deployment)
        return None if base is None else base + self._streams.capability(effect.invocation_id, effect.epoch)

    def _base(self, deployment: Deployment) -> str | None:
        if deployment.kind == _IN_PROCESS:
            return f"{direct.SCHEME}{self._name}/"
        if deployment.kind == _WORKER or is_loopback_address(urlsplit(deployment.uri).hostname or ""):
            url = self.local_url
        else:
            url = self.elsewhere_url
        return None if url is None else f"{url.rstrip('/')}/{WRITE_PATH}"
