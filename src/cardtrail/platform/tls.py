"""TLS with client certificates, and how the server tells the application which certificate a call came with.

With a client CA set, a call without a valid certificate ends in the handshake. The certificate's SHA-256 thumbprint
is put into each request's scope. Behind a proxy that ends TLS the thumbprint comes in a header, which is believed
only from the addresses listed; what such a proxy itself connects with says nothing about its clients.
"""

import ssl
from asyncio import Transport
from collections.abc import Sequence
from typing import Any

from cardtrail.errors import SettingError
from cardtrail.platform.connection import LimitedProtocol
from cardtrail.platform.settings import Settings
from cardtrail.protocol.certificate import UNCLEAR, Networks, is_listed, proxies_of, thumbprint_in
from cardtrail.protocol.token import thumbprint_of

CERTIFICATE = "cardtrail.cert"
"""Where a request's scope holds the thumbprint; missing or None without a certificate."""


def uvicorn_options(settings: Settings) -> dict[str, Any]:
    """Return the options of uvicorn.Config that have to do with TLS and proxies. Raises SettingError."""
    proxies = proxies_of(settings.trusted_proxies.split(","))
    options: dict[str, Any] = {
        "http": LimitedProtocol,
        "proxy_headers": bool(proxies),
        "forwarded_allow_ips": [str(network) for network in proxies],
    }
    if settings.tls_cert:
        context = server_context(settings.tls_cert, settings.tls_key, settings.client_ca)
        options["ssl_context_factory"] = lambda _config, _default: context
    elif settings.client_ca or settings.tls_key:
        raise SettingError("tls_cert: needed with tls_key or client_ca")
    if settings.client_ca or proxies:
        options["http"] = protocol_of(proxies, settings.client_cert_header)
    return options


def server_context(certificate: str, key: str, client_ca: str) -> ssl.SSLContext:
    """Return a TLS 1.2 or 1.3 server context; with `client_ca` clients must have a certificate of it.

    All three are paths of PEM files; `key` is empty if it is in the certificate's file, `client_ca` if clients need
    none. Raises SettingError naming the setting.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key or None, password=lambda: b"")
    except (OSError, ValueError) as error:
        raise SettingError(f"tls_cert, tls_key: {certificate}, {key}: {error}") from None
    if client_ca:
        _demand(context, client_ca)
    return context


def _demand(context: ssl.SSLContext, client_ca: str) -> None:
    try:
        context.load_verify_locations(client_ca)
    except (OSError, ValueError) as error:
        raise SettingError(f"client_ca: {client_ca}: {error}") from None
    context.verify_mode = ssl.CERT_REQUIRED


def protocol_of(proxies: Networks, header: str) -> type[LimitedProtocol]:
    """Return uvicorn's protocol, extended so that each request's scope holds the client certificate's thumbprint."""
    name = header.lower().encode()

    class CertificateProtocol(LimitedProtocol):
        """One connection; its certificate cannot change while it lasts."""

        def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as uvicorn has it
            super().connection_made(transport)
            self.by_proxy = self.client is not None and is_listed(self.client[0], proxies)
            self.certificate = None if self.by_proxy else peer_thumbprint(transport)

        def on_headers_complete(self) -> None:
            scope: Any = self.scope
            scope[CERTIFICATE] = named_thumbprint(self.headers, name) if self.by_proxy else self.certificate
            super().on_headers_complete()

    return CertificateProtocol


def peer_thumbprint(transport: Transport) -> str | None:
    """Return the thumbprint of the certificate the client showed in the handshake."""
    tls = transport.get_extra_info("ssl_object")
    certificate = tls.getpeercert(binary_form=True) if tls is not None else None
    return thumbprint_of(certificate) if certificate else None


def named_thumbprint(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> str | None:
    """Return the thumbprint a proxy names, None if it says that there was no certificate.

    UNCLEAR if it is malformed or there twice, since then one may be the client's own.
    """
    values = [value for header, value in headers if header == name]
    if not values or values == [b""]:
        return None
    return UNCLEAR if len(values) > 1 else thumbprint_in(values[0].decode("latin-1"))
