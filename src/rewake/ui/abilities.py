"""What the server behind the pages can do, so that they offer nothing else. Our own engine can do everything."""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class Abilities(msgspec.Struct, frozen=True, kw_only=True):
    """server: its address when it is elsewhere, else empty.   ingress: where a terminal reaches its ingress.

    replaces_results: a fork may have another result of its step.   completes_promises: by hand, without a handler.
    streams: what a run says can be shown live.
    cannot_send: why no request can be sent, empty when it can; may take a moment, so it is asked on a thread.
    """

    server: str = ""
    ingress: str
    replaces_results: bool = True
    completes_promises: bool = True
    streams: bool = False
    cannot_send: Callable[[], str] = lambda: ""
