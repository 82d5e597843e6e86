"""A full run of all processes at their most talkative: nothing that they print holds a secret or a tracking number."""

import asyncio
import json
import secrets
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from cardtrail.db import Database
from cardtrail.issuer.store import open_store as open_mirror
from cardtrail.pages.door.accounts import Accounts
from cardtrail.pages.door.change import Change
from cardtrail.pages.door.trail import Trail
from cardtrail.platform.audit import Recorded
from cardtrail.platform.auth import wall_clock
from cardtrail.platform.store import open_store
from cardtrail.protocol.token import GRANT, PrivateKey, make_assertion, private_key_of
from tests.background import LOOPBACK, eventually, receiving
from tests.certificates import Authority
from tests.e2e.test_deliver import delivering
from tests.events import event
from tests.leaks import leaks
from tests.peer import Asked, Line, talking
from tests.people import EVERYONE, HASHED, PASSWORD, Person, csrf_in
from tests.receiver import OK, Received, Reply
from tests.serving import (
    ISSUER,
    OPERATOR,
    PATIENCE,
    PRODUCER,
    Service,
    free_port,
    key_of,
    private_pem,
    register_parties,
    serving,
)

TRACKING, SCANNED = "JD014600006281230704", "JD014600006281230999"
KIT_CLIENT = "platform-of-tests"
DEBUG = ("--log-level", "debug")
QUICK = (*DEBUG, "--delivery-steps", "0.1,0.1,0.1,0.1")
UI = f"/ui/issuers/{ISSUER}"


class Run:
    """What a run knows: what must be in no log, by name, and where the logs are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hidden: dict[str, str] = {"a tracking number": TRACKING, "another one": SCANNED}

    def hide(self, name: str, secret: str) -> str:
        """Note a secret, and return it."""
        self.hidden[name] = secret
        return secret

    def made(self, name: str) -> str:
        """Return a new secret, which is noted."""
        return self.hide(name, secrets.token_urlsafe(32))

    def file(self, name: str, *lines: str) -> str:
        """Write a file, and return its path."""
        path = self.folder / name
        path.write_text("\n".join(lines))
        return str(path)


# ── the parts of the run ─────────────────────────────────────────────────────────────────────────────────────


class Hostile:
    """A receiver's answers: it gives tokens, and fails each kind of endpoint once with all that it was told."""

    def __init__(self, run: Run) -> None:
        self.token = run.made("a token of the receiver")
        self._run = run
        self._failed: set[str] = set()

    def reply(self, call: Received) -> Reply:
        """Answer one call."""
        if call.path.endswith("/token"):
            self._note(call)
            body = f'{{"access_token": "{self.token}", "token_type": "Bearer", "expires_in": 900}}'
            return 200, {"content-type": "application/json"}, body.encode()
        self._note(call)
        if call.path not in self._failed:
            self._failed.add(call.path)
            return 503, {"x-echo": call.headers.get("authorization", "none")}, repr(call).encode()
        return OK

    def _note(self, call: Received) -> None:
        for header in ("authorization", "webhook-signature"):
            if header in call.headers:
                for word in call.headers[header].removeprefix("Bearer ").removeprefix("Basic ").split():
                    self._run.hide(f"{header} {word[-6:]}", word)


@contextmanager
def keeping(run: Run, service: Service, signing: str, port: int) -> Iterator[Path]:
    """Run the issuer's service, with each proof that it can ask for, until the block ends; give its log."""
    client_secret = run.hidden["the kit's client secret"]
    options = {
        "--issuer-id": ISSUER, "--mirror": f"sqlite:///{run.folder}/mirror.db", "--port": str(port),
        "--server": f"{service.origin}/banking/v1", "--kid": "k1", "--pull-seconds": "1", "--client-id": KIT_CLIENT,
        "--key-file": run.file("key.pem", private_pem(ISSUER)), "--secrets-file": run.file("secrets", signing),
        "--client-secret-file": run.file("client-secrets", client_secret, run.made("the kit's older client secret")),
    }  # fmt: skip
    command = [sys.executable, "-m", "cardtrail", "issuer", "serve", *(w for pair in options.items() for w in pair)]
    log = run.folder / "issuer.log"
    with log.open("wb") as output:
        process = subprocess.Popen([*command, "--pages", *DEBUG], stdout=output, stderr=output)
    kit = Service(process, port, log)
    try:
        eventually(lambda: process.poll() is not None or is_ready(kit))
        assert process.poll() is None, log.read_text()
        yield log
        assert kit.stop() == 0
    finally:
        process.kill()
        process.wait(PATIENCE)


def is_ready(service: Service) -> bool:
    with suppress(OSError):
        return service.call("GET", "/readyz").status == 200
    return False


def certified(authority: Authority) -> ssl.SSLContext:
    """Return what a server listens with that asks for a certificate of this authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.certificate("receiver"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.file)
    return context


def endpoints_of(run: Run, kit: str, receiver: str, certified_at: str, authority: Authority) -> list[dict[str, Any]]:
    """Return an endpoint of each kind, as the operator adds it."""

    def oauth(url: str, client_id: str, secret: str) -> dict[str, str]:
        return {"tokenUrl": url, "clientId": client_id, "clientSecret": secret}

    pem = authority.certificate("platform").read_text()
    run.hide("the private key of the client certificate", pem[pem.index("-----BEGIN PRIVATE KEY") :])
    return [
        {
            "endpointId": "kit", "url": kit,
            "oauth": oauth(f"{kit}/oauth2/token", KIT_CLIENT, run.made("the kit's client secret")),
        },
        {"endpointId": "signed", "url": f"{receiver}/signed"},
        {"endpointId": "pair", "url": f"{receiver}/pair", "signing": "v1a"},
        {
            "endpointId": "token", "url": f"{receiver}/token-taker", "signing": "none",
            "oauth": oauth(f"{receiver}/token", "cardtrail", run.made("a client secret")),
        },
        {
            "endpointId": "certified", "url": certified_at, "signing": "none", "clientCertificate": pem,
            "ca": authority.file.read_text(),
        },
    ]  # fmt: skip


def add(run: Run, service: Service, endpoint: dict[str, Any]) -> str:
    """Add an endpoint; return what its receiver verifies with, "" where there is no such thing."""
    path, token = f"/operator/v1/issuers/{ISSUER}/endpoints", service.token("cardtrail:operate")
    added = service.call("POST", path, endpoint, token=token)
    assert added.status == 201, added
    secret: str = added.json.get("signingSecret") or ""
    if secret:
        run.hide(f"the signing secret of {endpoint['endpointId']}", secret)
    return secret


# ── what happens in the run ──────────────────────────────────────────────────────────────────────────────────


def tell(service: Service) -> None:
    """Tell of a card with tracking numbers, well and badly."""
    told = event("shipped", "card-1", hours=1) | {"carrier": "dhl", "trackingNumber": TRACKING}
    for each in (event("requested", "card-1", operationId="op-1"), told):
        assert [one["result"] for one in service.ingest(each)] == ["accepted"]
    bad = [told | {"eventId": "bad-1", "kind": TRACKING}, told | {"eventId": SCANNED, "occurredAt": SCANNED}, TRACKING]
    assert {each["result"] for each in service.ingest(*bad)} == {"rejected"}
    assert b"JD0146" in service.status("card-1", **{"x-correlation-id": "trace-1"}).body


def guess(run: Run, service: Service, kit: str) -> None:
    """Try to come in with what is wrong, at every door for programs."""
    stranger = private_key_of(private_pem(OPERATOR))
    for name, key in (("a good assertion", key_of()), ("a forged assertion", stranger)):
        assertion = asserted(run, name, key)
        service.call("POST", "/authz/v1/oauth2/token", {"grant_type": GRANT, "assertion": assertion})
        service.call("POST", f"/authz/v1/oauth2/token?assertion={assertion}", {"grant_type": GRANT})
    for where in ("/ingest/v1/events", f"/operator/v1/issuers/{ISSUER}/endpoints"):
        wrong = service.call(
            "POST", where, {"events": [{"card": TRACKING}]}, token=run.made(f"a wrong token at {where}")
        )
        assert wrong.status == 401
    door = Service(service.process, int(kit.rpartition(":")[2]), service.log)
    form = {"content-type": "application/x-www-form-urlencoded"}
    for name in ("the kit's client secret", "a wrong client secret"):
        secret = run.hidden.get(name) or run.made(name)
        fields = {"grant_type": "client_credentials", "client_id": KIT_CLIENT, "client_secret": secret}
        answer = door.call("POST", "/oauth2/token", urlencode(fields).encode(), headers=form)
        assert answer.status == (200 if name.startswith("the") else 401), answer
        if answer.status == 200:
            run.hide("a token of the kit", answer.json["access_token"])
    path = f"/notifications/d1/v2/issuers/{ISSUER}/cards"
    for token in (run.made("a wrong token at the kit"), run.hidden["a token of the kit"]):
        signed = {"webhook-id": "m1", "webhook-timestamp": "1", "webhook-signature": f"v1,{run.made('a signature')}"}
        assert door.call("POST", path, {"operations": [TRACKING]}, token=token, headers=signed).status == 401


def asserted(run: Run, name: str, key: PrivateKey) -> str:
    return run.hide(name, make_assertion(ISSUER, "k1", key, wall_clock()))


async def visit(run: Run, port: int) -> None:
    """Log in, first wrongly; look at the card with its tracking number; change something; log out."""
    person = Person(port)
    assert (await person.log_in("operator", run.made("a wrong password"))).status == 401
    assert (await person.log_in("operator", PASSWORD)).status == 303
    for path in ("/ui/", f"{UI}/", f"{UI}/cards/card-1", f"{UI}/cards?q={TRACKING}", "/ui/audit", f"{UI}/deliveries"):
        await person.get(path)
    page = await person.get(f"{UI}/cards/card-1")
    assert TRACKING.encode() in page.body
    run.hide("a CSRF token", csrf_in(page))
    assert (await person.post(f"{UI}/deliveries", {"csrf": run.made("a wrong CSRF token")})).status == 403
    await person.post(f"{UI}/deliveries", {"csrf": csrf_in(page), "do": "test", "endpoint": "signed"})
    assert (await person.post("/ui/logout", {"csrf": csrf_in(page)})).status == 303
    hide_cookies(run, person)


async def visit_mirror(run: Run, port: int) -> None:
    """Log in to the pages of the mirror, first wrongly; look at the card, and ask the platform for it."""
    person = Person(port)
    assert (await person.log_in("operator", run.made("a wrong password at the mirror"))).status == 401
    assert (await person.log_in("operator", PASSWORD)).status == 303
    for path in (f"{UI}/", f"{UI}/drift", f"{UI}/contract", f"{UI}/cards?q={TRACKING}", "/ui/audit"):
        assert (await person.get(path)).status in {200, 303}, path
    page = await person.get(f"{UI}/cards/card-1")
    assert TRACKING.encode() in page.body
    asked = await person.post(f"{UI}/cards/card-1", {"csrf": run.hide("a CSRF token of the mirror", csrf_in(page))})
    assert asked.headers["location"].endswith("?told=same")
    hide_cookies(run, person)


def hide_cookies(run: Run, person: Person) -> None:
    for number, text in enumerate(person.set_cookies):
        for name, morsel in SimpleCookie(text).items():
            if morsel.value:
                run.hide(f"cookie {name} {number}", morsel.value)


async def _add_account(db: Database, change: Change) -> None:
    """Let the operator in to the pages of a store, and close it."""
    try:
        roles, personal = EVERYONE["operator"]
        accounts = Accounts(db, change, wall_clock)
        await accounts.add("operator", roles, HASHED, "operator:test", personal=personal)
    finally:
        db.close()


def states(service: Service) -> list[tuple[str, str]]:
    """Return endpoint and state of each notification that is not superseded."""
    token = service.token("d1-api:physical-card:read")
    listed = service.call("GET", f"/banking/v1/issuers/{ISSUER}/notifications", token=token).json["notifications"]
    return [(each["endpointId"], each["state"]) for each in listed if each["state"] != "SUPERSEDED"]


def have_come(service: Service, count: int) -> bool:
    found = states(service)
    return len({name for name, _ in found}) == count and {state for _, state in found} == {"DELIVERED"}


# ── the run ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.timeout(240)
def test_no_process_of_a_full_run_prints_a_secret_or_a_tracking_number(database_url: str, tmp_path: Path) -> None:
    register_parties(database_url)
    store, mirror = open_store(database_url), open_mirror(f"sqlite:///{tmp_path}/mirror.db")
    asyncio.run(_add_account(store, Recorded(store)))
    asyncio.run(_add_account(mirror, Trail(mirror)))
    run, authority = Run(tmp_path), Authority(tmp_path)
    run.hide("the password", PASSWORD)
    run.hide("the hash of the password", HASHED)
    hostile, kit_port = Hostile(run), free_port()
    kit, certified_calls = f"http://127.0.0.1:{kit_port}", []

    def take(asked: Asked, line: Line) -> None:
        certified_calls.append(asked)
        if len(certified_calls) == 1:
            line.say(500, repr(asked).encode())
        else:
            line.say(204)

    with (
        receiving() as receiver,
        talking(take, certified(authority)) as (_, certified_at),
        serving(database_url, tmp_path, "--no-deliver", *LOOPBACK, *QUICK) as service,
    ):
        receiver.reply = hostile.reply
        endpoints = endpoints_of(run, kit, receiver.url, certified_at, authority)
        signing, *_ = [add(run, service, each) for each in endpoints]
        watch = ("--watch-port", str(free_port()))
        with (
            keeping(run, service, signing, kit_port) as issuer_log,
            delivering(database_url, tmp_path, *QUICK, *watch) as deliverer,
        ):
            tell(service)
            guess(run, service, kit)
            asyncio.run(visit(run, service.port))
            eventually(lambda: have_come(service, len(endpoints)))
            asyncio.run(visit_mirror(run, kit_port))
            for scope in ("cardtrail:ingest", "cardtrail:operate", "d1-api:physical-card:read"):
                run.hide(f"a token for {scope}", service.token(scope))
            deliverer.terminate()
            assert deliverer.wait(PATIENCE) == 0
        assert service.stop() == 0
    for party in (ISSUER, PRODUCER, OPERATOR):
        run.hide(f"the private key of {party}", private_pem(party))
    run.hide("the key that encrypts secrets at rest", (tmp_path / "secret.key").read_text())
    run.hide("the key of the mirror's pages", (tmp_path / "mirror.db.key").read_text())
    logs = {path.name: path.read_text() for path in (service.log, issuer_log, tmp_path / "deliver.log")}
    assert [(name, leak) for name, log in logs.items() for leak in leaks(log, run.hidden)] == []
    for name, secret in run.hidden.items():  # or the search would have found nothing in any log
        told = json.dumps({"event": "request", "error": secret})
        assert name in leaks(f"{logs['deliver.log']}\n{told}\n", {name: secret}), name
    # What was to be seen was seen: failed calls with what was answered to them, refused requests, the whole mirror.
    assert logs["deliver.log"].count('"event": "attempt"') >= len(endpoints) - 1
    assert '"status": 401' in logs[service.log.name]
    assert len(run.hidden) > 30
