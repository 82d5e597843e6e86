"""Connections that an application can cut: uvicorn's own protocol, which hands its transport to the application."""

import asyncio
import socket
import struct
from collections.abc import MutableMapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

NAME = "cardtrail.line"
"""The extension of the scope under which the transport is found."""
_TCP = (socket.AF_INET, socket.AF_INET6)
_AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends a reset in place of an orderly end."""


class LineProtocol(HttpToolsProtocol):
    """uvicorn's protocol for HTTP/1.1; the scope of every request has the transport of its connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Keep the connection at hand for all its requests.

        An event loop sends at once only on sockets that were made by it or for TCP by name. On others the second half
        of an answer, its body, would wait 40 ms for the first to be acknowledged.
        """
        self._extensions: dict[str, dict[object, object]] = {NAME: {"transport": transport}}
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.family in _TCP:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self.scope["extensions"] = self._extensions


def reset(scope: MutableMapping[str, Any]) -> None:
    """End a request's connection at once with a TCP reset; what was not sent yet never is."""
    transport = _transport_of(scope)
    if transport.is_closing():
        return
    raw = transport.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    transport.abort()


def close(scope: MutableMapping[str, Any]) -> None:
    """End a request's connection in good order behind what was sent so far, be it whole or not."""
    _transport_of(scope).close()


def _transport_of(scope: MutableMapping[str, Any]) -> asyncio.Transport:
    transport: asyncio.Transport = scope["extensions"][NAME]["transport"]
    return transport
