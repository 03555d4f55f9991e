"""Listening sockets whose connections send small answers at once.

asyncio sets TCP_NODELAY only if a connection's socket has the number of its protocol. An accepted socket inherits that
number from its listener, and `socket.create_server` does not set it. Without TCP_NODELAY the second answer on a kept
connection waits 40 ms for an acknowledgement. All of Rewake's listeners are made by `listening_socket`.
"""

from __future__ import annotations

import os
import socket


def listening_socket(host: str, port: int, *, backlog: int) -> socket.socket:
    """A non-blocking TCP listener. host: an address or a name; IPv6 if it has a colon.   port 0: any free one.

    Raises OSError if the address is not available.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # on Windows it would let two programs share a port
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
