"""Calls to the provider: JSON within limits, by TLS; no redirect is followed, no proxy asked, nothing unpacked."""

from collections.abc import Mapping
from datetime import timedelta
from typing import TypeVar
from urllib.parse import urlencode

import msgspec
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import PyreqwestError
from pyreqwest.request import RequestBuilder
from pyreqwest.response import Response

from cardtrail.errors import BadAnswer, RemoteRefused, SettingError, Unreachable
from cardtrail.heed import heeded
from cardtrail.protocol.failure import failure_of, plain

TIMEOUT = 10.0
"""Longest call, from the look-up of the name to the end of the answer, seconds."""
CONNECT_TIMEOUT = 5.0
"""Longest wait for a connection with its handshake, seconds."""
MAX_ANSWER = 262_144
"""Longest answer, bytes; the longest that are usual are a hundredth of it to a tenth."""
_OK, _BAD_REQUEST, _UNAUTHORIZED = 200, 400, 401
T = TypeVar("T")


class Fetch:
    """Calls one provider; `http` lets it be on a loopback address without TLS. Raises SettingError for a wrong CA."""

    def __init__(self, ca_pem: bytes = b"", *, http: bool = False) -> None:
        self._client = _client_of(ca_pem, http=http)

    async def get(self, url: str, kind: type[T]) -> T:
        """Return what a document says. Raises Unreachable or BadAnswer."""
        return await self._answered(self._request("GET", url), kind)

    async def post(self, url: str, fields: Mapping[str, str], kind: type[T], authorization: str = "") -> T:
        """Send a form; return what is answered. Raises Unreachable, BadAnswer or RemoteRefused."""
        request = self._request("POST", url).header("content-type", "application/x-www-form-urlencoded")
        if authorization:
            request = request.header("authorization", authorization, is_sensitive=True)
        return await self._answered(request.body_bytes(urlencode(fields).encode()), kind)

    async def close(self) -> None:
        """End every call and connection."""
        await self._client.close()

    def _request(self, method: str, url: str) -> RequestBuilder:
        try:
            return self._client.request(method, url)
        except ValueError as error:  # of a host that can be none
            raise BadAnswer(f"its URL cannot be called: {plain(str(error))}") from None

    async def _answered(self, request: RequestBuilder, kind: type[T]) -> T:
        try:
            status, content_type, body = await heeded(_whole(request.header("accept", "application/json")))
        except PyreqwestError as error:
            raise Unreachable(failure_of(error)[1]) from None
        if status in (_BAD_REQUEST, _UNAUTHORIZED):
            raise RemoteRefused(f"it answered {status}", status=status, error_code=_error_of(body))
        if status != _OK:
            raise BadAnswer(f"it answered {status}", status=status)
        if not content_type.endswith(("/json", "+json")):
            raise BadAnswer("what it answered is not called JSON", status=status)
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            told = str(error) if isinstance(error, msgspec.ValidationError) else "it is not JSON"
            raise BadAnswer(f"what it answered cannot be used: {told}", status=status) from None


class _ErrorIn(msgspec.Struct):
    """What a token endpoint says when it refuses, RFC 6749, section 5.2."""

    error: str = ""


def _error_of(body: bytes) -> str:
    """Return the code of a refusal; only the usual ones, since the text comes from elsewhere."""
    try:
        error = msgspec.json.decode(body, type=_ErrorIn).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    usual = {"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type"}
    return error if error in usual else ""


async def _whole(request: RequestBuilder) -> tuple[int, str, bytes]:
    """Return status, media type and body. Raises PyreqwestError or BadAnswer."""
    async with request.streamed_read_buffer_limit(0).build_streamed() as response:
        body, reader = b"", response.body_reader
        while (chunk := await reader.read_chunk()) is not None:
            body += bytes(chunk)
            if len(body) > MAX_ANSWER:
                raise BadAnswer(f"the answer has more than {MAX_ANSWER} bytes", status=response.status)
        return response.status, _media_type(response), body


def _media_type(response: Response) -> str:
    try:
        return (response.get_header("content-type") or "").partition(";")[0].strip().lower()
    except ValueError:  # not ASCII
        return ""


def _client_of(ca_pem: bytes, *, http: bool) -> Client:
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
        .https_only(not http)
        .timeout(timedelta(seconds=TIMEOUT))
        .connect_timeout(timedelta(seconds=CONNECT_TIMEOUT))
    )
    try:
        return (builder.add_root_certificate_pem(ca_pem) if ca_pem else builder).build()
    except ValueError:
        raise SettingError("oidc_ca: a file with certificates in PEM expected") from None
