"""One provider of OpenID Connect: where it is, what it is asked, and whom it says somebody is.

Discovery 1.0; the authorization code flow of Core 1.0, section 3.1, with PKCE, RFC 7636.
"""

import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from cardtrail.errors import BadAnswer, TooMany
from cardtrail.pages.door.oidc.fetch import Fetch
from cardtrail.pages.door.oidc.idtoken import Expected, PublicKey, UnknownKey, keys_of, subject_of
from cardtrail.pages.door.oidc.kept import Kept
from cardtrail.pages.door.oidc.registration import Registration, is_safe

WELL_KNOWN = "/.well-known/openid-configuration"
SCOPE = "openid"
"""What is asked for: who somebody is, and nothing about them."""
AT_ONCE = 32
"""Codes that are traded at once, in each process; the next is refused."""


class Description(msgspec.Struct, frozen=True):
    """What a provider says of itself, as far as it is used; other members are ignored."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class _Jwks(msgspec.Struct):
    keys: list[dict[str, Any]]


class _TokenIn(msgspec.Struct):
    id_token: str


class Provider:
    """Asks the provider of a registration. `clock` gives µs of real time, `monotonic` seconds. Raises SettingError."""

    def __init__(
        self, registration: Registration, clock: Callable[[], int], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.registration = registration
        self._clock = clock
        self._http = urlsplit(registration.issuer).scheme == "http"
        self._fetch = Fetch(registration.ca_pem, http=self._http)
        self._description = Kept(self._describe, monotonic)
        self._keys = Kept(self._published, monotonic)
        self._under_way = 0

    async def describe(self) -> Description:
        """Return what the provider says of itself. Raises Unreachable or BadAnswer."""
        return await self._description.get()

    async def keys(self) -> list[PublicKey]:
        """Return the keys that it publishes. Raises Unreachable or BadAnswer."""
        return await self._keys.get()

    async def address_of(self, state: str, nonce: str, verifier: str) -> str:
        """Return where to send a browser to. Raises Unreachable or BadAnswer."""
        endpoint = (await self.describe()).authorization_endpoint
        asked = {
            "response_type": "code", "client_id": self.registration.client_id, "scope": SCOPE, "state": state,
            "redirect_uri": self.registration.redirect_uri, "nonce": nonce, "code_challenge_method": "S256",
            "code_challenge": urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode(),
        }  # fmt: skip
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(asked)}"

    async def is_own(self, issuer: str) -> bool:
        """Tell whether a browser that comes back may come from this provider by the `iss` it brings, RFC 9207."""
        if issuer:
            return issuer == self.registration.issuer
        return not (await self.describe()).authorization_response_iss_parameter_supported

    async def subject(self, code: str, verifier: str, nonce: str) -> str:
        """Return whom a code is for. Raises RemoteError, Unauthorized for a token not to be believed, or TooMany."""
        if self._under_way >= AT_ONCE:
            raise TooMany("too many people log in at this moment")
        self._under_way += 1
        try:
            token = await self._traded(code, verifier)
            return await self._believed(token, nonce)
        finally:
            self._under_way -= 1

    async def close(self) -> None:
        """End every call and connection."""
        await self._fetch.close()

    async def _traded(self, code: str, verifier: str) -> str:
        """Return the ID token for a code."""
        known, description = self.registration, await self.describe()
        fields = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": known.redirect_uri,
            "code_verifier": verifier,
        }  # fmt: skip
        methods, authorization = description.token_endpoint_auth_methods_supported, ""
        if "client_secret_post" in methods and "client_secret_basic" not in methods:
            fields |= {"client_id": known.client_id, "client_secret": known.client_secret}
        else:  # RFC 6749, section 2.3.1
            pair = f"{quote(known.client_id, safe='')}:{quote(known.client_secret, safe='')}"
            authorization = f"Basic {b64encode(pair.encode()).decode()}"
        return (await self._fetch.post(description.token_endpoint, fields, _TokenIn, authorization)).id_token

    async def _believed(self, token: str, nonce: str) -> str:
        expected = Expected(self.registration.issuer, self.registration.client_id, nonce)
        try:
            return subject_of(token, await self.keys(), expected, self._clock())
        except UnknownKey:  # published since the keys were fetched?
            return subject_of(token, await self._keys.get(newer=True), expected, self._clock())

    async def _describe(self) -> Description:
        """Fetch the description; one of another issuer, or that leads to where there is no TLS, is a BadAnswer."""
        found = await self._fetch.get(self.registration.issuer.rstrip("/") + WELL_KNOWN, Description)
        if found.issuer != self.registration.issuer:
            raise BadAnswer("it says that its issuer is another one than oidc_issuer, to which it must be equal")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not is_safe(getattr(found, name), http=self._http):
                raise BadAnswer(f"its {name} is no URL with https")
        return found

    async def _published(self) -> list[PublicKey]:
        found = keys_of((await self._fetch.get((await self.describe()).jwks_uri, _Jwks)).keys)
        if not found:
            raise BadAnswer("it publishes no key that could sign a token")
        return found
