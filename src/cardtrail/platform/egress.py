"""The platform's only way out: every call to somebody else's server goes through `Egress.post`.

A URL is read strictly (`target`), its host leads to addresses that may be called (`resolve`, `address`), and the
HTTP client is pinned to the vetted one: it resolves nothing by itself, knows no proxy, follows no redirect, unpacks
nothing and speaks HTTP/1.1 with TLS 1.2 or newer. What comes back is a value (`answer`), whatever the peer does.

There is a client for each (peer, host, vetted address, TLS), so connections of one endpoint serve no other, and a
name that leads elsewhere gets no old connection. A client is used for a minute; one that is replaced or pushed out
is let go of, and closes its connections when the last call that holds it has ended.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import timedelta

import msgspec
from cryptography.x509 import load_pem_x509_certificates
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import PyreqwestError
from pyreqwest.request import RequestBuilder
from pyreqwest.response import Response

from cardtrail import __version__
from cardtrail.errors import InputError
from cardtrail.heed import heeded
from cardtrail.platform.address import Networks
from cardtrail.platform.answer import Answer, failed
from cardtrail.platform.auth import wall_clock
from cardtrail.platform.resolve import Place, Places, Resolver, system_resolver
from cardtrail.platform.target import Target, target_of
from cardtrail.protocol.failure import (
    STOPPING,
    Failure,
    began_to_answer,
    failure_of,
    plain,
    retry_after_of,
)

TIMEOUT = 15.0
"""Longest call, from the look-up of the name to the end of the answer, seconds."""
CONNECT_TIMEOUT = 5.0
"""Longest wait for the resolver, and for a connection with its handshake, seconds each."""
MAX_ANSWER = 65_536
"""Most of an answer's body that is read, bytes; then the connection is dropped."""
KEPT_BODY = 1_024
"""How much of an answer's body is kept unless the whole is asked for, bytes."""
MAX_CLIENTS = 256
"""Most clients at a time."""
MAX_AGE = 60.0
"""Longest use of a client and its connections, seconds."""
IDLE = 4.0
"""How long an unused connection is kept, seconds: less than the 5 s after which many servers close theirs, since a
call sent at that very moment is lost."""
MAX_PEM = 65_536
"""Longest PEM of a peer's TLS, bytes."""

_SOON = 0.001
_UNFIT = "it must hold a certificate and its key in PEM"
_UNREACHED = (Failure.CONNECT, Failure.TIMEOUT)
_NO_CONTENT = 204
_REDIRECT = 300
_SENT_BY = f"cardtrail/{__version__}"


class Tls(msgspec.Struct, frozen=True):
    """What is special about a peer's TLS; the default is nothing."""

    client_pem: bytes = b""
    """Certificate and key that we show, PEM; empty: none."""
    ca_pem: bytes = b""
    """Authorities to trust besides the usual ones, PEM; empty: none."""

    def __repr__(self) -> str:
        """Leave out the key, which must never reach a log."""
        return f"Tls(client_pem={bool(self.client_pem)}, ca_pem={bool(self.ca_pem)})"


PLAIN = Tls()


class _Unsent(Exception):
    """Nothing was sent, for a reason that becomes the answer."""

    def __init__(self, failure: Failure, text: str) -> None:
        super().__init__(text)
        self.failure = failure
        self.text = text


_Key = tuple[str, str, str, Tls]
"""Peer, host, address, TLS."""


class _Held(msgspec.Struct):
    """A client, until when it is used, and how much of a body it reads together with the head."""

    client: Client
    host: str
    address: str
    until: float
    ahead: int = KEPT_BODY
    """Reading ahead is quicker by a third, but a body that breaks off there takes the status with it; so it is 0
    once that has happened, and a receiver that says 200 and then breaks off is believed the next time."""


class Egress:
    """The guard. `allow` lists networks that may be called although they are not public; times are in seconds.

    `clock` is monotonic and in seconds, `wall` tells µs; an HTTP date is compared with that one.
    """

    def __init__(  # noqa: PLR0913 -- each is a setting, or what a test puts in place of the outside world
        self,
        *,
        allow: Networks = (),
        allow_http: bool = False,
        timeout: float = TIMEOUT,
        connect_timeout: float = CONNECT_TIMEOUT,
        resolve: Resolver = system_resolver,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], int] = wall_clock,
    ) -> None:
        self._allow_http = allow_http
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._clock = clock
        self._wall = wall
        self._places = Places(allow, resolve, min(connect_timeout, timeout), clock)
        self._clients: OrderedDict[_Key, _Held] = OrderedDict()
        self._closed = False

    async def post(  # noqa: PLR0913 -- one call is one thing, and a struct of it would cost more than it tells
        self, peer: str, url: str, headers: Sequence[tuple[str, str]], body: bytes, tls: Tls = PLAIN, *,
        whole: bool = False,
    ) -> Answer:  # fmt: skip
        """Send a body and return what came of it. Never raises, except that the caller's own task is cancelled.

        `peer` names the endpoint, whose connections are its own. The answer holds KEPT_BODY of its body, or with
        `whole` up to MAX_ANSWER, and then a body that did not arrive whole is a failure.
        """
        began, spent = self._clock(), 0.0
        try:
            target = target_of(url, self._allow_http)
            place = self._places.remembered(target.host, began)
            if place is None:
                place = await self._places.find(target)
                spent = self._clock() - began
            held = self._held(peer, target, place, tls, began)
            request = held.client.post(target.url).headers(headers).body_bytes(body)
            if spent:
                request = request.timeout(timedelta(seconds=max(self._timeout - spent, _SOON)))
        except _Unsent as error:
            failure, text = error.failure, error.text
        except InputError as error:
            failure, text = Failure.URL, str(error)
        except ValueError:  # of the client; its text quotes the header
            failure, text = Failure.REQUEST, "a header cannot be sent as it is"
        else:
            return await heeded(self._sent(held, request, began, whole=whole))
        return failed(failure, text, self._clock() - began)

    async def close(self) -> None:
        """End every call and connection; what is posted from now on fails."""
        self._closed = True
        clients = [held.client for held in self._clients.values()]
        self._clients.clear()
        for client in clients:
            await client.close()
        await self._places.close()

    def _held(self, peer: str, target: Target, place: Place, tls: Tls, now: float) -> _Held:
        """Return the client for a place, a new one if need be. Raises _Unsent."""
        if self._closed:
            raise _Unsent(Failure.CLOSED, STOPPING)
        if place.failure is not None:
            raise _Unsent(place.failure, place.text)
        address = place.address
        key = (peer, target.host, address, tls)
        held = self._clients.get(key)
        if held is None or now >= held.until:
            ahead = KEPT_BODY if held is None else held.ahead
            held = _Held(self._built(target, address, tls), target.host, address, now + MAX_AGE, ahead)
            self._clients[key] = held
            if len(self._clients) > MAX_CLIENTS:
                self._clients.popitem(last=False)
        self._clients.move_to_end(key)
        return held

    def _built(self, target: Target, address: str, tls: Tls) -> Client:
        try:
            builder = (
                _bare_builder(tls)
                .https_only(not self._allow_http)
                .timeout(timedelta(seconds=self._timeout))
                .connect_timeout(timedelta(seconds=self._connect_timeout))
            )
            if target.literal is None:
                builder = builder.resolve(target.host, address, 0)  # the port is always the URL's
            return _client_of(builder)
        except InputError as error:
            raise _Unsent(Failure.TLS, str(error)) from None

    async def _sent(self, held: _Held, request: RequestBuilder, began: float, *, whole: bool) -> Answer:
        """Send a request and read its answer."""
        body, failure, text = b"", None, ""
        try:
            async with request.streamed_read_buffer_limit(held.ahead).build_streamed() as response:
                status = response.status
                if status != _NO_CONTENT:
                    body, failure, text = await _read(response, MAX_ANSWER if whole else KEPT_BODY)
                retry_after = self._retry_after(response) if status >= _REDIRECT else None
        except PyreqwestError as error:
            failure, text = failure_of(error)
            if began_to_answer(error):
                held.ahead = 0
            elif failure in _UNREACHED:
                self._places.skip(held.host, held.address)
            return failed(failure, text, self._clock() - began)
        text = f"HTTP {status}; {plain(text)}" if text else f"HTTP {status}"
        return Answer(status, failure if whole else None, text, body, retry_after, self._clock() - began)

    def _retry_after(self, response: Response) -> int | None:
        try:
            values = response.get_header_all("retry-after")
        except ValueError:  # not ASCII
            return None
        return retry_after_of(values, self._wall())


async def _read(response: Response, keep: int) -> tuple[bytes, Failure | None, str]:
    """Return the beginning of a body, and what went wrong before its end; read no more than MAX_ANSWER and a chunk."""
    reader, kept, size = response.body_reader, b"", 0
    try:
        while (chunk := await reader.read_chunk()) is not None:
            size += len(chunk)
            if len(kept) < keep:
                kept = (kept + bytes(chunk))[:keep]
            if size > MAX_ANSWER:
                return kept, Failure.TOO_LONG, f"the answer has more than {MAX_ANSWER} bytes"
    except PyreqwestError as error:
        return kept, *failure_of(error)
    return kept, None, ""


def checked_tls(tls: Tls) -> Tls:
    """Return it if its certificates and key can be read. Raises InputError naming the member."""
    for field, pem in (("client_pem", tls.client_pem), ("ca_pem", tls.ca_pem)):
        if len(pem) > MAX_PEM:
            raise InputError(field, f"it has {len(pem)} bytes, at most {MAX_PEM}")
    if tls.ca_pem:
        try:
            load_pem_x509_certificates(tls.ca_pem)
        except ValueError:
            raise InputError("ca_pem", "it must hold certificates in PEM") from None
    _client_of(_bare_builder(tls))
    return tls


def _bare_builder(tls: Tls) -> ClientBuilder:
    """Return what all clients have in common: nothing from the environment, nothing that a peer can ask for."""
    builder = (
        ClientBuilder()
        .no_proxy()
        .follow_redirects(enable=False)
        .referer(enable=False)
        .gzip(enable=False)
        .brotli(enable=False)
        .zstd(enable=False)
        .deflate(enable=False)
        .http1_only()
        .min_tls_version("TLSv1.2")
        .pool_idle_timeout(timedelta(seconds=IDLE))
        .user_agent(_SENT_BY)
    )
    if tls.ca_pem:
        builder = builder.add_root_certificate_pem(tls.ca_pem)
    try:
        return builder.identity_pem(tls.client_pem) if tls.client_pem else builder
    except ValueError:
        raise InputError("client_pem", _UNFIT) from None


def _client_of(builder: ClientBuilder) -> Client:
    try:
        return builder.build()
    except ValueError:
        raise InputError("client_pem", _UNFIT) from None
