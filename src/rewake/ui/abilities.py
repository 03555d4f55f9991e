"""Abilities of the server behind the pages; they offer nothing else. Our own engine has all of them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class Abilities(msgspec.Struct, frozen=True, kw_only=True):
    """server: its address when it is elsewhere, else empty.   ingress: where a terminal reaches its ingress.

    replaces_results: a fork may have another result of its step.   completes_promises: by hand, without a handler.
    streams: live text of runs can be shown.
    cannot_send: why no request can be sent, else empty; may take a moment, so it is called on a thread.
    """

    server: str = ""
    ingress: str
    replaces_results: bool = True
    completes_promises: bool = True
    streams: bool = False
    cannot_send: Callable[[], str] = lambda: ""
