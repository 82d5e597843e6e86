"""Other sides for a client, on real sockets and threads of their own: a server that says anything, and a proxy."""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple
from urllib.parse import urlsplit

PATIENCE = 30.0
"""Longest wait for anything, seconds; only a broken test ever waits so long."""
TOKENS = "/authz/v1/oauth2/token"


class Asked(NamedTuple):
    """One request: method, path with its query, headers in lower case, body."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class Line:
    """One connection, which a script may also write to as it likes."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection

    def say(self, status: int, content: object = None, **headers: str) -> None:
        """Answer with JSON, or with bytes as they are."""
        body = content if isinstance(content, bytes) else b"" if content is None else json.dumps(content).encode()
        lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.raw("\r\n".join([*lines, "", ""]).encode() + body)

    def raw(self, data: bytes) -> None:
        """Send bytes."""
        self.connection.sendall(data)

    def hang_up(self) -> None:
        """End the connection."""
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


Script = Callable[[Asked, Line], None]


class Peer:
    """Answers as its script says, and remembers what it was asked; tokens it gives by itself, `t1`, `t2` and so on."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._lock = threading.Lock()
        self.requests: list[Asked] = []
        self.tokens = 0
        self.under_way = 0
        self.most_under_way = 0
        self.stopped = threading.Event()

    def answer(self, asked: Asked, line: Line) -> None:
        """Answer one request."""
        with self._lock:
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
            is_token = asked.path == TOKENS
            self.tokens += is_token
            if not is_token:
                self.requests.append(asked)
            number = self.tokens
        try:
            if is_token:
                line.say(200, {"access_token": f"t{number}", "expires_in": "900", "token_type": "Bearer"})
            else:
                self._script(asked, line)
        finally:
            with self._lock:
                self.under_way -= 1


class Proxy:
    """Hands on what comes through it, tunnels included; `named` is who was asked for, `users` what was said of whom."""

    def __init__(self) -> None:
        self.named: list[str] = []
        self.users: list[str | None] = []

    def answer(self, asked: Asked, line: Line) -> None:
        """Hand on one request; the connection ends with it."""
        self.users.append(asked.headers.get("proxy-authorization"))
        if asked.method == "CONNECT":
            self.named.append(f"CONNECT {asked.path}")
            host, _, port = asked.path.rpartition(":")
        else:
            parts = urlsplit(asked.path)
            self.named.append(f"{asked.method} {parts.scheme}://{parts.netloc}")
            host, port = parts.hostname or "", str(parts.port)
        with socket.create_connection((host, int(port)), PATIENCE) as onward:
            if asked.method == "CONNECT":
                line.raw(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                onward.sendall(_onward(asked))
            back = threading.Thread(target=_pump, args=(onward, line.connection))
            back.start()
            if asked.method == "CONNECT":
                _pump(line.connection, onward)
            back.join(PATIENCE)
        line.hang_up()


def _onward(asked: Asked) -> bytes:
    kept = {name: value for name, value in asked.headers.items() if not name.startswith(("proxy-", "connection"))}
    path = urlsplit(asked.path)
    target = path.path + (f"?{path.query}" if path.query else "")
    lines = [f"{asked.method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in kept.items())]
    return "\r\n".join([*lines, "connection: close", "", ""]).encode() + asked.body


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def listening(answer: Callable[[Asked, Line], None], tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Answer on 127.0.0.1, a thread for each connection, until the block ends; give host and port."""
    lines: list[socket.socket] = []
    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0), backlog=128) as place:

        def accept() -> None:
            while True:
                try:
                    connection, _ = place.accept()
                except OSError:
                    return
                threads.append(threading.Thread(target=_serve, args=(connection, answer, tls, lines)))
                threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield f"127.0.0.1:{place.getsockname()[1]}"
        finally:
            place.shutdown(socket.SHUT_RDWR)
            accepting.join(PATIENCE)
            for connection in lines:
                Line(connection).hang_up()
            for thread in threads:
                thread.join(PATIENCE)
            for connection in lines:
                connection.close()


@contextmanager
def talking(script: Script, tls: ssl.SSLContext | None = None) -> Iterator[tuple[Peer, str]]:
    """Run a peer until the block ends; give it and its origin."""
    peer = Peer(script)
    with listening(peer.answer, tls) as place:
        try:
            yield peer, f"http{'s' if tls else ''}://{place}"
        finally:
            peer.stopped.set()


def _serve(
    connection: socket.socket, answer: Callable[[Asked, Line], None], tls: ssl.SSLContext | None,
    lines: list[socket.socket],
) -> None:  # fmt: skip
    with suppress(OSError, ValueError):  # whoever called has gone, or speaks something else
        stream = tls.wrap_socket(connection, server_side=True) if tls is not None else connection
        lines.append(stream)
        with stream.makefile("rb") as reader:
            while (asked := _read(reader)) is not None:
                answer(asked, Line(stream))
                if asked.headers.get("connection") == "close":
                    break
        Line(stream).hang_up()


def _read(reader: Any) -> Asked | None:
    first = reader.readline().decode("latin-1").split(" ")
    if len(first) < 2:
        return None
    headers: dict[str, str] = {}
    while line := reader.readline().decode("latin-1").rstrip("\r\n"):
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return Asked(first[0], first[1], headers, reader.read(int(headers.get("content-length", "0"))))
