"""Offers: the URL that an attempt writes its deltas to, if its handler can reach one.

Handlers in this process need no socket, and workers use theirs. A deployment on this machine gets the ingress's own
address. Any other deployment gets the address that an operator has set, because only the operator knows how other
machines reach this one.
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
_OURS: Final = ("in_process", "worker")


class Offers:
    """Makes the URLs. deployment: finds a deployment by its id.

    local_url: the ingress's, None while it does not listen.   elsewhere_url: the same for other machines, or None.
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
        """The URL for the handler of this attempt; None if it could not reach any."""
        deployment = self._deployment(effect.deployment_id)
        if self._streams is None or deployment is None:
            return None
        base = self._base(deployment)
        return None if base is None else base + self._streams.capability(effect.invocation_id, effect.epoch)

    def _base(self, deployment: Deployment) -> str | None:
        if deployment.kind in _OURS:
            return f"{direct.SCHEME}{self._name}/"
        is_local = is_loopback_address(urlsplit(deployment.uri).hostname or "")
        url = self.local_url if is_local else self.elsewhere_url
        return None if url is None else f"{url.rstrip('/')}/{WRITE_PATH}"
