"""A caller of the strict server that shares nothing with the kit: it signs, asks and shows whatever comes back."""

import http.client
import json
import time
from collections.abc import Mapping
from contextlib import closing
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey

from tests.strict.running import OnThread
from tests.strict.tokens import GRANT
from tests.strict.tokens import PATH as TOKEN_PATH

PATIENCE = 30.0
"""Longest call, seconds."""


class Reply(NamedTuple):
    """What came back; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


def call(  # noqa: PLR0913 - a call has that many parts
    origin: str,
    path: str,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] = {},
    *,
    patience: float = PATIENCE,
) -> Reply:
    """Make a call on a connection of its own; what breaks is raised as it is."""
    with closing(http.client.HTTPConnection(urlsplit(origin).netloc, timeout=patience)) as connection:
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


def assertion_of(server: OnThread, **claims: object) -> str:
    """Sign an assertion; claims given replace the usual ones, and those given as None are left out."""
    said = {"iss": server.issuer_id, "sub": server.issuer_id, "exp": int(time.time()) + 300, **claims}
    said = {name: value for name, value in said.items() if value is not None}
    key = ECKey.import_key(server.private_pem)
    return jwt.encode({"alg": "ES256", "kid": server.kid}, said, key, algorithms=["ES256"])


def exchange(server: OnThread, assertion: str, grant: str = GRANT) -> Reply:
    """Ask for a token."""
    body = urlencode({"grant_type": grant, "assertion": assertion}).encode()
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return call(server.origin, TOKEN_PATH, "POST", body, headers)


class Asker:
    """Asks with a token of its own."""

    def __init__(self, server: OnThread) -> None:
        self.patience = PATIENCE
        self._server = server
        self.renew()

    def renew(self) -> None:
        """Ask for a token."""
        self._token: str = exchange(self._server, assertion_of(self._server)).json["access_token"]

    def get(self, path: str, method: str = "GET", **headers: str) -> Reply:
        """Call a path with the token."""
        sent = {"authorization": f"Bearer {self._token}", **headers}
        return call(self._server.origin, path, method, headers=sent, patience=self.patience)

    def ask(self, card_id: str, **headers: str) -> Reply:
        """Ask where a card is."""
        return self.get(path_of(self._server.issuer_id, card_id), **headers)


def path_of(issuer_id: str, card_id: str) -> str:
    """The published path."""
    return f"/banking/v1/issuers/{issuer_id}/physicalCards/{card_id}/productionStatus"
