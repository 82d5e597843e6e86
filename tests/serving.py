"""A real `cardtrail serve` in a process of its own, with parties that have keys, for tests that go over HTTP."""

import asyncio
import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from joserfc.jwk import ECKey

from cardtrail.platform.auth import wall_clock
from cardtrail.platform.parties import Parties, PartyKind, Rights, new_party
from cardtrail.platform.store import open_store
from cardtrail.protocol.token import GRANT, PrivateKey, make_assertion, private_key_of

ISSUER, OTHER_ISSUER, PRODUCER = "ISSUER0001", "ISSUER0002", "site-north"
OPERATOR, STRICT_ISSUER, LIMITED_OPERATOR = "ada", "ISSUER0003", "bea"
PATIENCE = 30.0
"""Longest wait for a process to come up or to end, seconds."""
_PARTIES = (ISSUER, OTHER_ISSUER, PRODUCER, OPERATOR, STRICT_ISSUER, LIMITED_OPERATOR)
_KEYS = {party: ECKey.generate_key("P-256", private=True) for party in _PARTIES}
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Answer(NamedTuple):
    """What came back: HTTP status, headers in lower case, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class Service:
    """A running service; `kill` ends it like a power failure would."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
        self.process = process
        self.origin = f"http://127.0.0.1:{port}"
        self.base_url = self.origin
        self.port = port
        self.log = log
        self._tokens: dict[str, str] = {}

    def call(
        self, method: str, path: str, body: object = None, *, token: str | None = None, headers: Mapping[str, str] = {}
    ) -> Answer:
        """Send a request; a body that is no bytes goes as JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"content-type": "application/json", **headers}
        if token is not None:
            sent["authorization"] = f"Bearer {token}"
        request = urllib.request.Request(self.origin + path, data=data, headers=sent, method=method)  # noqa: S310 - our own
        try:
            with _opener.open(request, timeout=PATIENCE) as answer:
                return Answer(answer.status, _lower(answer.headers), answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, _lower(error.headers), error.read())

    def token(self, scope: str, party: str | None = None) -> str:
        """Return an access token with `scope`, of the issuer or, for ingest and to operate, of who does that."""
        party = party or {"cardtrail:ingest": PRODUCER, "cardtrail:operate": OPERATOR}.get(scope, ISSUER)
        if party not in self._tokens:
            key = private_key_of(private_pem(party))
            assertion = make_assertion(party, "k1", key, wall_clock())
            answer = self.call("POST", "/authz/v1/oauth2/token", {"grant_type": GRANT, "assertion": assertion})
            assert answer.status == 200, answer
            self._tokens[party] = answer.json["access_token"]
        return self._tokens[party]

    def ingest(self, *events: object) -> list[dict[str, str]]:
        """Send events as the producer; return their results."""
        answer = self.call("POST", "/ingest/v1/events", {"events": events}, token=self.token("cardtrail:ingest"))
        assert answer.status == 200, answer
        results: list[dict[str, str]] = answer.json["results"]
        return results

    def status(self, card_id: str, query: str = "", **headers: str) -> Answer:
        """Ask where the issuer's card is."""
        path = f"/banking/v1/issuers/{ISSUER}/physicalCards/{card_id}/productionStatus{query}"
        return self.call("GET", path, token=self.token("d1-api:physical-card:read"), headers=headers)

    def stop(self) -> int:
        """End the service by SIGTERM; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """End the service as a power failure would."""
        self.process.kill()
        self.process.wait(PATIENCE)


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def private_pem(party: str) -> str:
    """Return a party's private key, which the service calls `k1`."""
    return _KEYS[party].as_pem(private=True).decode()


def register_parties(url: str, *, strict: bool = False) -> None:
    """Register the issuers, the producer and the operators of the tests, each with a key.

    The first issuer is strict where that is asked for.
    """
    asyncio.run(_register(url, strict=strict))


async def _register(url: str, *, strict: bool) -> None:
    db = open_store(url)
    try:
        parties = Parties(db, wall_clock)
        everything = frozenset("*")
        producer = Rights(sources=everything, kinds=everything, issuers=frozenset({ISSUER, OTHER_ISSUER}))
        for party in (
            new_party(PartyKind.ISSUER, ISSUER, Rights(rate=100_000, strict=strict)),
            new_party(PartyKind.ISSUER, OTHER_ISSUER),
            new_party(PartyKind.PRODUCER, PRODUCER, producer),
            new_party(PartyKind.OPERATOR, OPERATOR, Rights(rate=100_000)),
            new_party(PartyKind.ISSUER, STRICT_ISSUER, Rights(strict=True)),
            new_party(PartyKind.OPERATOR, LIMITED_OPERATOR, Rights(issuers=frozenset({OTHER_ISSUER}))),
        ):
            await parties.add(party, "test")
            key = _KEYS[party.party_id].as_pem(private=False).decode()
            await parties.add_key(party.party_id, key, "test", kid="k1")
    finally:
        db.close()


@contextlib.contextmanager
def serving(url: str, folder: Path, *options: str) -> Iterator[Service]:
    """Run `cardtrail serve` on a free port until the block ends."""
    port = free_port()
    secret = folder / "secret.key"
    if not secret.exists():
        secret.write_bytes(base64.b64encode(os.urandom(32)))
    log = folder / f"service-{port}.log"
    command = [
        sys.executable, "-m", "cardtrail", "serve", "--database", url, "--port", str(port),
        "--secret-key-file", str(secret), *options,
    ]  # fmt: skip
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    service = Service(process, port, log)
    try:
        _wait_until_ready(service)
        yield service
    finally:
        if process.poll() is None:
            service.kill()


def _wait_until_ready(service: Service) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if service.process.poll() is not None:
            raise AssertionError(f"the service ended at once: {service.log.read_text()}")
        with contextlib.suppress(OSError):
            if service.call("GET", "/readyz").status == 200:
                return
    raise AssertionError(f"the service is not ready: {service.log.read_text()}")


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def key_of(party: str = ISSUER) -> PrivateKey:
    """Return a party's private key, whose kid is `k1`."""
    return private_key_of(_KEYS[party].as_pem(private=True).decode())
