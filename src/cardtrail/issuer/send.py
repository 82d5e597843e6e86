"""The seam to the HTTP client, pyreqwest: a Request goes out, a Response or a Failed comes back, never an exception.

Nothing is taken from the environment unless asked for, no redirect is followed, nothing is unpacked, HTTP/1.1 with TLS
1.2 or newer is spoken, and no more of an answer is read than MAX_ANSWER.
"""

import atexit
import time
from datetime import timedelta
from functools import cache
from typing import TypeVar

from cryptography.x509 import load_pem_x509_certificates
from pyreqwest.bytes import Bytes
from pyreqwest.client import Client, ClientBuilder, SyncClient, SyncClientBuilder
from pyreqwest.exceptions import ClientClosedError, PyreqwestError
from pyreqwest.proxy import ProxyBuilder
from pyreqwest.request import BaseRequestBuilder
from pyreqwest.response import BaseResponse

from cardtrail.errors import InputError
from cardtrail.heed import heeded
from cardtrail.issuer.link import Link
from cardtrail.issuer.steps import Failed, Request, Response
from cardtrail.protocol.codec import CORRELATION_ID
from cardtrail.protocol.failure import Failure, failure_of, retry_after_of

MAX_ANSWER = 16_777_216
"""Largest answer that is read, bytes: 16 MiB, four times what a page of our own feed holds at most."""
READ_AHEAD = 65_536
"""How much of an answer is read together with its head, bytes."""
IDLE = 4.0
"""How long an unused connection is kept, seconds: less than the 5 s after which many servers close theirs, since what
is sent at that very moment is lost."""
SETTLE = 0.02
"""How long a program that ends waits for the HTTP client's thread, seconds."""
MAX_PEM = 65_536
"""Longest PEM, bytes."""

_ERROR = 400
_SOON = 0.001
_TOO_LONG = Failed(Failure.TOO_LONG, f"the answer has more than {MAX_ANSWER} bytes")
_CLOSED = Failed(Failure.CLOSED, "the client is closed")
_UNFIT = Failed(Failure.REQUEST, "it cannot be sent as it is")
_B = TypeVar("_B", ClientBuilder, SyncClientBuilder)
_R = TypeVar("_R", bound=BaseRequestBuilder)


class AsyncSender:
    """Sends from an event loop."""

    def __init__(self, link: Link, sent_by: str) -> None:
        builder = _set_up(ClientBuilder(), link, sent_by)
        try:
            self._http: Client = builder.build()
        except ValueError:
            raise _unfit() from None
        self._timeout = link.timeout
        self._is_closed = False
        _settle_at_exit()

    async def send(self, request: Request) -> Response | Failed:
        """Return what came of it."""
        if self._is_closed:  # the HTTP client itself closes in its own time, and still sends meanwhile
            return _CLOSED
        return await heeded(self._sent(request))

    async def _sent(self, request: Request) -> Response | Failed:
        try:
            built = _filled(self._http.request(request.method, request.url), request, self._timeout)
            async with built.build_streamed() as response:
                return _reply(response, await response.body_reader.read(MAX_ANSWER + 1))
        except PyreqwestError as error:
            return _failed(error)
        except ValueError:  # its text quotes the header
            return _UNFIT

    async def close(self) -> None:
        """End every connection."""
        self._is_closed = True
        await self._http.close()


class Sender:
    """Sends from threads."""

    def __init__(self, link: Link, sent_by: str) -> None:
        builder = _set_up(SyncClientBuilder(), link, sent_by)
        try:
            self._http: SyncClient = builder.build()
        except ValueError:
            raise _unfit() from None
        self._timeout = link.timeout
        self._is_closed = False

    def send(self, request: Request) -> Response | Failed:
        """Return what came of it."""
        if self._is_closed:  # the HTTP client itself closes in its own time, and still sends meanwhile
            return _CLOSED
        try:
            built = _filled(self._http.request(request.method, request.url), request, self._timeout)
            with built.build_streamed() as response:
                return _reply(response, response.body_reader.read(MAX_ANSWER + 1))
        except PyreqwestError as error:
            return _failed(error)
        except ValueError:  # its text quotes the header
            return _UNFIT

    def close(self) -> None:
        """End every connection."""
        self._is_closed = True
        self._http.close()


@cache
def _settle_at_exit() -> None:
    """Let the HTTP client's own thread come to rest before the interpreter is taken apart.

    That thread gives back what calls have used, for which it needs the interpreter. One that it meets half taken apart
    aborts: about one short program in ten, although its work was done. It needs some µs.
    """
    atexit.register(time.sleep, SETTLE)


def _failed(error: PyreqwestError) -> Failed:
    return _CLOSED if isinstance(error, ClientClosedError) else Failed(*failure_of(error))


def _filled(builder: _R, request: Request, usual: float) -> _R:
    builder = builder.header("x-correlation-id", request.correlation_id).streamed_read_buffer_limit(READ_AHEAD)
    if request.authorization:
        builder = builder.header("authorization", request.authorization, is_sensitive=True)
    if request.body is not None:
        builder = builder.header("content-type", request.content_type).body_bytes(request.body)
    if request.timeout != usual:
        builder = builder.timeout(timedelta(seconds=max(request.timeout, _SOON)))
    return builder


def _reply(response: BaseResponse, body: Bytes | None) -> Response | Failed:
    status = response.status
    data = b"" if body is None else body.to_bytes()
    if len(data) > MAX_ANSWER:
        return _TOO_LONG
    if status < _ERROR:
        return Response(status, data)
    try:
        waits = response.get_header_all("retry-after")
        named = response.get_header("x-correlation-id") or ""
    except ValueError:  # not ASCII
        waits, named = [], ""
    wait = retry_after_of(waits, time.time_ns() // 1_000) or 0
    return Response(status, data, wait, named if CORRELATION_ID.fullmatch(named) else "")


def _set_up(builder: _B, link: Link, sent_by: str) -> _B:
    """Return the builder with all that holds for every call. Raises InputError naming the argument."""
    builder = (
        builder.follow_redirects(enable=False)
        .referer(enable=False)
        .gzip(enable=False)
        .brotli(enable=False)
        .zstd(enable=False)
        .deflate(enable=False)
        .http1_only()
        .min_tls_version("TLSv1.2")
        .pool_idle_timeout(timedelta(seconds=IDLE))
        .timeout(timedelta(seconds=link.timeout))
        .connect_timeout(timedelta(seconds=link.connect_timeout))
        .user_agent(sent_by)
        .default_headers([("accept", "application/json")])
    )
    if link.proxy is not None:
        builder = builder.proxy(_proxy(link.proxy))
    elif not link.trust_env:
        builder = builder.no_proxy()
    return _with_tls(builder, link)


def _proxy(url: str) -> ProxyBuilder:
    try:
        return ProxyBuilder.all(url)
    except ValueError:  # its text may hold the password
        raise InputError("proxy", "http://host:port or https://host:port expected") from None


def _with_tls(builder: _B, link: Link) -> _B:
    for field, pem in (("client_pem", link.client_pem), ("ca_pem", link.ca_pem)):
        if len(pem) > MAX_PEM:
            raise InputError(field, f"it has {len(pem)} bytes, at most {MAX_PEM}")
    if link.ca_pem:
        try:
            load_pem_x509_certificates(link.ca_pem)  # pyreqwest takes what is none for no certificates
        except ValueError:
            raise InputError("ca_pem", "it must hold certificates in PEM") from None
        builder = builder.add_root_certificate_pem(link.ca_pem)
    try:
        return builder.identity_pem(link.client_pem) if link.client_pem else builder
    except ValueError:
        raise _unfit() from None


def _unfit() -> InputError:
    return InputError("client_pem", "it must hold a certificate and its key in PEM")
