"""HttpConnection: uvicorn's HTTP/1.1 connection, mended where it reads a request that offers another protocol.

uvicorn loses the body of such a request (Kludex/uvicorn#2722). Imported late: uvicorn takes a while.
"""

from __future__ import annotations

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from rewake.http_server.upgrade import head_without_offer, is_offer


class HttpConnection(HttpToolsProtocol):
    """For `uvicorn.Config(http=HttpConnection, ws="none")`."""

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        rest = memoryview(data)
        try:
            while rest and not self.transport.is_closing():
                rest = rest[self._feed_until_offer(rest) :]
        except httptools.HttpParserError:
            self._refuse()

    def on_headers_complete(self) -> None:
        if not is_offer(self.parser):
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not is_offer(self.parser):
            super().on_message_complete()

    def _feed_until_offer(self, data: memoryview) -> int:
        """How many bytes were read: all of them, or the head of a request that offers an upgrade."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if not is_offer(self.parser):
                raise httptools.HttpParserError("CONNECT: what follows is no HTTP") from None
            head = head_without_offer(self.parser, self.url, self.headers)
            self.parser = httptools.HttpRequestParser(self)
            self.parser.feed_data(head)
            return int(upgrade.args[0])
        return len(data)

    def _refuse(self) -> None:
        if not self.transport.is_closing():
            self.send_400_response("Invalid HTTP request received.")
