"""One HTTP connection with limits: how large a request's head may be, and how long it may take to come.

uvicorn's httptools protocol has neither; without them a client could fill the memory with one endless header, or
hold connections open for ever by never finishing one.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD = 32_768
"""Largest request line and headers together, bytes."""
MAX_HEADERS = 100
"""Most headers of a request."""
HEAD_SECONDS = 15.0
"""Longest time from a request's first byte (or the connection's beginning) to the end of its headers."""

_TOO_LARGE = b'{"errorCode":"HEADERS_TOO_LARGE","error":"at most %d headers and %d bytes"}' % (MAX_HEADERS, MAX_HEAD)
_ANSWER = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(_TOO_LARGE), _TOO_LARGE)
)


class HeadTooLarge(Exception):
    """Ends the parsing of a request; httptools hands it on as its own error."""


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's connection, with the limits above."""

    _head = 0
    _in_request = False
    _in_head = False
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin a connection; its first request must come soon."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(HEAD_SECONDS, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """End a connection."""
        self._cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; what the parser still holds of an unfinished head counts, too."""
        super().data_received(data)
        if self._in_head:
            self._head += len(data)
            if self._deadline is None:
                self._deadline = self.loop.call_later(HEAD_SECONDS, self.transport.abort)
            if self._head > MAX_HEAD and not self.transport.is_closing():
                self._refuse()

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._in_head = self._in_request = True
        self._head = 0

    def on_headers_complete(self) -> None:
        """Check the head, then hand the request on."""
        self._in_head = False
        if self._deadline is not None:
            self._cancel()
        if self._is_too_large():
            raise HeadTooLarge
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be parsed; a head that was too large gets its own status."""
        if self._in_request and self._is_too_large():
            self._refuse()
        else:
            super().send_400_response(msg)

    def _is_too_large(self) -> bool:
        if len(self.headers) > MAX_HEADERS:
            return True
        return len(self.url) + sum([len(name) + len(value) + 4 for name, value in self.headers]) > MAX_HEAD

    def _refuse(self) -> None:
        self.transport.write(_ANSWER)
        self.transport.close()

    def _cancel(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
