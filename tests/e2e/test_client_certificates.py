"""Tokens over real connections: forms and JSON, client certificates in the handshake or named by a proxy."""

import asyncio
import base64
import http.client
import os
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec
import pytest
import uvicorn
from joserfc.jwk import ECKey

from cardtrail.platform.app import Platform, build
from cardtrail.platform.auth import wall_clock
from cardtrail.platform.parties import Parties, PartyKind, Rights, new_party
from cardtrail.platform.settings import Settings
from cardtrail.platform.tls import uvicorn_options
from cardtrail.platform.tokens import FORM, JSON
from cardtrail.protocol.token import GRANT, jwk_of, make_assertion
from tests.certificates import Authority, thumbprint
from tests.parties import ACTOR, ISSUER, KID, opened

OTHER = "ISSUER0002"
AGGREGATOR = "agg"
HEADER = "x-client-cert-sha256"
Headers = Mapping[str, str]
NONE: Headers = {}
KEY: ECKey = ECKey.generate_key("P-256")
TOKENS = "/authz/v1/oauth2/token"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: Any


class Server:
    """A running server, and how to call it."""

    def __init__(self, port: int) -> None:
        self._port = port

    def call(
        self, method: str, path: str, body: bytes = b"", tls: ssl.SSLContext | None = None, headers: Headers = NONE
    ) -> Answer:
        """Send one request over a connection of its own."""
        connection = (
            http.client.HTTPSConnection("127.0.0.1", self._port, context=tls, timeout=20)
            if tls is not None
            else http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        )
        try:
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            text = answer.read()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, _decoded(text))
        finally:
            connection.close()

    def token(self, party_id: str = ISSUER, tls: ssl.SSLContext | None = None, headers: Headers = NONE) -> str:
        """Return a party's access token."""
        assertion = make_assertion(party_id, KID, KEY, wall_clock())
        body = urlencode({"grant_type": GRANT, "assertion": assertion}).encode()
        answer = self.call("POST", TOKENS, body, tls, {"content-type": FORM, **headers})
        assert answer.status == 200, answer
        return str(answer.body["access_token"])

    def card(
        self, token: str, issuer_id: str = ISSUER, tls: ssl.SSLContext | None = None, headers: Headers = NONE
    ) -> Answer:
        """Ask for a card that nobody ordered: 404 for whoever may ask."""
        path = f"/banking/v1/issuers/{issuer_id}/physicalCards/card-1/productionStatus"
        return self.call("GET", path, b"", tls, {"authorization": f"Bearer {token}", **headers})


def _decoded(text: bytes) -> Any:
    return msgspec.json.decode(text) if text else None


@contextmanager
def running(settings: Settings) -> Iterator[Server]:
    """Serve in a thread, with the options that the real service takes from its settings."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        options = uvicorn_options(settings)
        config = uvicorn.Config(build(Platform(settings)), lifespan="on", log_config=None, ws="none", **options)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield Server(listening.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()


async def _register(url: str) -> None:
    with opened(url) as db:
        parties = Parties(db, wall_clock)
        for party in (
            new_party(PartyKind.ISSUER, ISSUER),
            new_party(PartyKind.ISSUER, OTHER),
            new_party(PartyKind.AGGREGATOR, AGGREGATOR, Rights(issuers=frozenset({ISSUER}))),
        ):
            await parties.add(party, ACTOR)
            await parties.add_key(party.party_id, jwk_of(KEY), ACTOR, KID)


def prepared(url: str, folder: Path, **settings: str) -> Settings:
    """Settings of a service in which the parties of these tests are registered."""
    asyncio.run(_register(url))
    secret = folder / "secret.key"
    secret.write_bytes(base64.b64encode(os.urandom(32)))
    return Settings(database=url, secret_key_file=str(secret), **settings)  # type: ignore[arg-type]  # all are texts


@pytest.fixture
def plain(database_url: str, tmp_path: Path) -> Iterator[Server]:
    """A service without TLS."""
    with running(prepared(database_url, tmp_path)) as server:
        yield server


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def secured(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service that demands client certificates."""
    folder = tmp_path_factory.mktemp("secured")
    certificate = str(authority.certificate("server"))
    url = f"sqlite:///{folder}/cardtrail.db"
    with running(prepared(url, folder, tls_cert=certificate, client_ca=str(authority.file))) as server:
        yield server


def behind_proxy(folder: Path, proxies: str) -> Settings:
    return prepared(f"sqlite:///{folder}/cardtrail.db", folder, trusted_proxies=proxies)


# ── tokens over HTTP ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_token_is_given_for_a_form_and_for_json(plain: Server) -> None:
    members = {"grant_type": GRANT, "assertion": make_assertion(ISSUER, KID, KEY, wall_clock())}
    for kind, body in ((FORM, urlencode(members).encode()), (JSON, msgspec.json.encode(members))):
        answer = plain.call("POST", TOKENS, body, headers={"content-type": kind})
        assert answer.status == 200
        assert answer.headers["cache-control"] == "no-store"
        assert set(answer.body) == {"access_token", "expires_in", "scope", "token_type"}
        assert (answer.body["expires_in"], answer.body["token_type"]) == (900, "Bearer")
        assert answer.body["scope"] == "d1-api:physical-card:read d1-api:physical-card:write"
        assert plain.card(answer.body["access_token"]).status == 404


def test_a_refused_grant_is_a_400_as_rfc_6749_has_it(plain: Server) -> None:
    answer = plain.call("POST", TOKENS, b"{}", headers={"content-type": JSON})
    assert (answer.status, answer.body["error"]) == (400, "invalid_request")
    assert answer.headers["cache-control"] == "no-store"
    too_long = plain.call("POST", TOKENS, b" " * 100_000, headers={"content-type": JSON})
    assert (too_long.status, too_long.body["error"]) == (400, "invalid_request")


def test_the_platforms_public_keys_are_published(plain: Server) -> None:
    answer = plain.call("GET", "/.well-known/jwks.json")
    [key] = answer.body["keys"]
    assert set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"}


def test_a_call_without_a_good_token_is_a_401_that_says_how(plain: Server) -> None:
    for answer in (
        plain.card("x"),
        plain.call("GET", f"/banking/v1/issuers/{ISSUER}/physicalCards/c/productionStatus"),
    ):
        assert answer.status == 401
        assert answer.body["errorCode"] == "AUTHORIZER_UNAUTHORIZED"
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_an_aggregator_gets_403_for_an_issuer_it_does_not_name(plain: Server) -> None:
    token = plain.token(AGGREGATOR)
    assert plain.card(token, ISSUER).status == 404
    for foreign in (OTHER, "NOBODY0001"):
        answer = plain.card(token, foreign)
        assert (answer.status, answer.body["errorCode"]) == (403, "FORBIDDEN")


def test_a_header_that_names_a_certificate_is_believed_from_nobody_by_default(
    plain: Server, authority: Authority
) -> None:
    named = thumbprint(authority.certificate("liar"))
    token = plain.token(headers={HEADER: named})
    assert plain.card(token).status == 404


# ── certificates in the handshake ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_call_without_a_valid_certificate_ends_in_the_handshake(
    secured: Server, authority: Authority, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    stranger = Authority(tmp_path, "stranger").certificate("client")
    for certificate in (None, stranger):
        context = authority.client(certificate)
        context.maximum_version = version
        with pytest.raises((ssl.SSLError, ConnectionError)):
            secured.call("GET", "/healthz", b"", context)


def test_a_server_that_speaks_tls_takes_no_plain_call(secured: Server) -> None:
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        secured.call("GET", "/healthz")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_token_works_with_the_certificate_it_was_asked_for_with(
    secured: Server, authority: Authority, version: ssl.TLSVersion
) -> None:
    own, other = (authority.client(authority.certificate(name)) for name in ("own", "other"))
    own.maximum_version = other.maximum_version = version
    token = secured.token(tls=own)
    assert secured.card(token, tls=own).status == 404
    assert secured.card(token, tls=other).status == 401
    assert secured.card(token, tls=own).status == 404


def test_a_bound_token_names_its_certificate(secured: Server, authority: Authority) -> None:
    certificate = authority.certificate("own")
    claims = secured.token(tls=authority.client(certificate)).split(".")[1]
    said = msgspec.json.decode(base64.urlsafe_b64decode(claims + "==="))
    assert said["cnf"] == {"x5t#S256": thumbprint(certificate)}


def test_a_header_does_not_replace_the_certificate_of_the_handshake(secured: Server, authority: Authority) -> None:
    own, other = (authority.certificate(name) for name in ("own", "other"))
    token = secured.token(tls=authority.client(own))
    lie = {HEADER: thumbprint(own)}
    assert secured.card(token, tls=authority.client(other), headers=lie).status == 401


# ── certificates named by a proxy ────────────────────────────────────────────────────────────────────────────


def test_a_listed_proxy_names_the_certificate_of_each_call(authority: Authority, tmp_path: Path) -> None:
    own, other = ({HEADER: thumbprint(authority.certificate(name))} for name in ("own", "other"))
    with running(behind_proxy(tmp_path, "127.0.0.1, ::1")) as server:
        token = server.token(headers=own)
        assert server.card(token, headers=own).status == 404
        assert server.card(token, headers=other).status == 401
        assert server.card(token).status == 401
        unbound = server.token()
        assert server.card(unbound).status == 404
        assert server.card(unbound, headers=own).status == 401


def test_what_a_proxy_says_unclearly_is_no_certificate(tmp_path: Path) -> None:
    unclear = {HEADER: "(null)"}
    with running(behind_proxy(tmp_path, "127.0.0.1")) as server:
        assert server.card(server.token(), headers=unclear).status == 401
        assertion = make_assertion(ISSUER, KID, KEY, wall_clock())
        body = urlencode({"grant_type": GRANT, "assertion": assertion}).encode()
        refusal = server.call("POST", TOKENS, body, headers={"content-type": FORM, **unclear})
        assert (refusal.status, refusal.body["error"]) == (400, "invalid_request")


def test_an_address_that_is_not_listed_is_no_proxy(authority: Authority, tmp_path: Path) -> None:
    own = {HEADER: thumbprint(authority.certificate("own"))}
    with running(behind_proxy(tmp_path, "192.0.2.0/24")) as server:
        assert server.card(server.token(headers=own)).status == 404
