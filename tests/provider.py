"""A provider of OpenID Connect on this machine: as strict as a good one, and able to lie."""

import asyncio
import secrets
import time
from base64 import b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import msgspec
from joserfc import jws
from joserfc.jwk import ECKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.hosting import hosting

CLIENT_ID, SECRET = "cardtrail:pages", "s3cret/of us"
SUBJECT = "00u-ada|1"
DISCOVERY, AUTHORIZE, TOKEN, JWKS = "/.well-known/openid-configuration", "/authorize", "/token", "/jwks"
HUGE = 1_000_000
Answer = Callable[[Request], Response]


def key_named(kid: str) -> ECKey:
    """Return a new key."""
    return ECKey.generate_key("P-256", {"kid": kid, "use": "sig"})


class Provider:
    """Says that everybody is `subject`; `claims` go over those of its token, `answers` over whole answers, by path."""

    def __init__(self) -> None:
        self.issuer = ""
        self.subject = SUBJECT
        self.keys = [key_named("first")]
        self.claims: dict[str, Any] = {}
        self.description: dict[str, Any] = {}
        self.answers: dict[str, Answer] = {}
        self.sign: Callable[[dict[str, Any]], str] = self.signed
        self.asked: Counter[str] = Counter()
        self.slow: set[str] = set()
        self.codes: dict[str, dict[str, str]] = {}
        self.given: list[str] = []
        """Codes and tokens, none of which may be seen in a log."""
        self.over = asyncio.Event()

    def rotate(self, kid: str) -> None:
        """Sign by a new key from now on, the old one is gone."""
        self.keys = [key_named(kid)]

    def signed(self, claims: dict[str, Any]) -> str:
        """Return a token as it should be."""
        return compact(claims, {"alg": "ES256", "kid": self.keys[0].kid}, self.keys[0])

    def app(self) -> Starlette:
        """Return the application."""
        table = {DISCOVERY: self._describe, AUTHORIZE: self._authorize, TOKEN: self._token, JWKS: self._jwks}
        routes = [Route(path, self._served(path, answer), methods=["GET", "POST"]) for path, answer in table.items()]
        return Starlette(routes=routes)

    def _served(self, path: str, answer: Callable[[Request, dict[str, str]], Response]) -> Any:
        async def endpoint(request: Request) -> Response:
            self.asked[path] += 1
            if path in self.slow:
                await self.over.wait()
            if path in self.answers:
                return self.answers[path](request)
            return answer(request, dict(parse_qsl((await request.body()).decode())))

        return endpoint

    def described(self) -> dict[str, Any]:
        """Return what it says of itself."""
        return {
            "issuer": self.issuer, "authorization_endpoint": self.issuer + AUTHORIZE,
            "token_endpoint": self.issuer + TOKEN, "jwks_uri": self.issuer + JWKS,
            "response_types_supported": ["code"], "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["ES256"],
        } | self.description  # fmt: skip

    def _describe(self, _request: Request, _form: dict[str, str]) -> Response:
        return JSONResponse(self.described())

    def _jwks(self, _request: Request, _form: dict[str, str]) -> Response:
        return JSONResponse({"keys": [key.as_dict(private=False) for key in self.keys]})

    def _authorize(self, request: Request, _form: dict[str, str]) -> Response:
        """Show who is asked for, then send back with a code."""
        asked = dict(request.query_params)
        fixed = {"response_type": "code", "client_id": CLIENT_ID, "scope": "openid", "code_challenge_method": "S256"}
        assert asked.items() >= fixed.items()
        assert all(len(asked[name]) >= 43 for name in ("state", "nonce", "code_challenge"))
        if request.method == "GET":
            action = escape(f"{AUTHORIZE}?{request.url.query}")
            button = f"<form method=post action='{action}'><button>I am {self.subject}</button></form>"
            return HTMLResponse(
                f"<!doctype html><html lang=en><title>Provider</title><link rel=icon href=data:,>{button}</html>"
            )
        code = secrets.token_urlsafe(24)
        self.codes[code] = asked
        self.given.append(code)
        back = {"code": code, "state": asked["state"]}
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(back)}", 303)

    def _token(self, request: Request, form: dict[str, str]) -> Response:
        """Trade a code, once, for who proves that it was asked for there."""
        if not self._is_client(request, form):
            return JSONResponse({"error": "invalid_client"}, 401)
        asked = self.codes.pop(form["code"], None)
        verifier = encoded(sha256(form["code_verifier"].encode()).digest()).decode()
        is_asked = asked is not None and (asked["code_challenge"], asked["redirect_uri"]) == (
            verifier, form["redirect_uri"],
        )  # fmt: skip
        if asked is None or not is_asked or form["grant_type"] != "authorization_code":
            return JSONResponse({"error": "invalid_grant", "error_description": form["code"]}, 400)
        now = int(time.time())
        claims = {
            "iss": self.issuer, "sub": self.subject, "aud": CLIENT_ID, "exp": now + 300, "iat": now,
            "nonce": asked["nonce"], "email": "boss@bank.example", "email_verified": True,
        } | self.claims  # fmt: skip
        token = self.sign({name: value for name, value in claims.items() if value is not None})
        self.given.append(token)
        return JSONResponse({"access_token": "of-no-use", "token_type": "Bearer", "id_token": token})

    def _is_client(self, request: Request, form: dict[str, str]) -> bool:
        if self.description.get("token_endpoint_auth_methods_supported") == ["client_secret_post"]:
            return (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, SECRET)
        pair = b64decode(request.headers.get("authorization", "").removeprefix("Basic ")).decode()
        return [unquote(part) for part in pair.split(":")] == [CLIENT_ID, SECRET]


def compact(claims: dict[str, Any], header: dict[str, Any], key: Any) -> str:
    """Return a JWS as its header says it is, whatever that is."""
    parts = b".".join(encoded(msgspec.json.encode(part)) for part in (header, claims))
    return b".".join([parts, encoded(jws.JWSRegistry.algorithms[header["alg"]].sign(parts, key))]).decode()


def encoded(part: bytes) -> bytes:
    """Return base64url without what fills it up."""
    return urlsafe_b64encode(part).rstrip(b"=")


@asynccontextmanager
async def providing(certificate: Path | None = None) -> AsyncIterator[Provider]:
    """Run a provider until the block ends; by TLS with a certificate and its key in a file."""
    provider = Provider()
    tls = {} if certificate is None else {"ssl_certfile": str(certificate)}
    async with hosting(provider.app(), None, **tls) as port:
        provider.issuer = f"http{'s' if tls else ''}://127.0.0.1:{port}"
        try:
            yield provider
        finally:
            provider.over.set()


def path_of(url: str) -> str:
    """Return what is asked for of a host by a URL."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"
