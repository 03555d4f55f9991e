"""Listening sockets whose connections send small answers at once.

asyncio sets TCP_NODELAY only on connections whose socket carries the number of its protocol, and accepted ones take
that from the listener; `socket.create_server` leaves it out. Without it the second answer on a kept connection waits
40 ms for an acknowledgement. Everything here that listens does so through `listening_socket`.
"""

from __future__ import annotations

import os
import socket


def listening_socket(host: str, port: int, *, backlog: int) -> socket.socket:
    """A non-blocking TCP listener. host: an address or a name; IPv6 when it has a colon.   port 0: any free one.

    Raises OSError when the address cannot be taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere it would let two programs share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
        listener.listen(backlog)
    except BaseException:
        listener.close()
        raise
    listener.setblocking(False)
    return listener
