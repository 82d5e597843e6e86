"""Endpoints over HTTP, as an operator registers, changes, tries and secures them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cardtrail.protocol.signature import verify
from tests.background import LOOPBACK, receiving
from tests.certificates import Authority
from tests.desk import execute
from tests.serving import ISSUER, LIMITED_OPERATOR, OPERATOR, OTHER_ISSUER, Answer, Service, register_parties, serving

SECRET = "tuna-melt-0001"
"""What must never be seen again."""
HOOK = {"endpointId": "hook", "url": "https://bank.example/cards"}
OAUTH = {"tokenUrl": "https://bank.example/token", "clientId": "cardtrail", "clientSecret": SECRET}


class Desk:
    """An operator's calls about endpoints."""

    def __init__(self, service: Service, url: str) -> None:
        self.service = service
        self.url = url

    def call(self, method: str, rest: str, body: object = None, *, issuer: str = ISSUER, by: str = OPERATOR) -> Answer:
        token = self.service.token("cardtrail:operate", by)
        return self.service.call(method, f"/operator/v1/issuers/{issuer}/endpoints{rest}", body, token=token)

    def add(self, issuer: str = ISSUER, **members: Any) -> dict[str, Any]:
        answer = self.call("POST", "", HOOK | members, issuer=issuer)
        assert answer.status == 201, answer
        added: dict[str, Any] = answer.json
        return added

    def listed(self, query: str = "", by: str = OPERATOR) -> list[dict[str, Any]]:
        token = self.service.token("cardtrail:operate", by)
        found: list[dict[str, Any]] = self.service.call("GET", f"/operator/v1/endpoints{query}", token=token).json[
            "endpoints"
        ]
        return found

    def refusal(self, method: str, rest: str, body: object = None) -> str:
        answer = self.call(method, rest, body)
        assert answer.status == 400, answer
        return str(answer.json["error"])


@contextmanager
def operating(url: str, folder: Path, *options: str) -> Iterator[Desk]:
    register_parties(url)
    with serving(url, folder, "--no-deliver", *options) as service:
        yield Desk(service, url)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """One service on SQLite for what does not hang on the engine; each test takes an issuer's endpoint of its own."""
    folder = tmp_path_factory.mktemp("operating")
    with operating(f"sqlite:///{folder}/cardtrail.db", folder, *LOOPBACK) as opened:
        yield opened


# ── the life of an endpoint


def test_an_endpoint_is_registered_shown_changed_switched_and_audited(database_url: str, tmp_path: Path) -> None:
    with operating(database_url, tmp_path) as desk:
        added = desk.add(batchSize=100, stages=["CARD_SHIPPED"], oauth=OAUTH | {"scope": "cards"})
        secret = added.pop("signingSecret")
        assert secret.startswith("whsec_")
        assert added == desk.call("GET", "/hook").json
        assert added | {"createdAt": ""} == {
            "issuerId": ISSUER, "endpointId": "hook", "state": "ENABLED", "createdAt": "",
            "url": "https://bank.example/cards", "mode": "newest", "strict": False, "batchSize": 100, "rate": 100,
            "concurrency": 8, "heartbeatMinutes": 0, "signing": "v1", "operations": ["*"], "stages": ["CARD_SHIPPED"],
            "oauth": {"tokenUrl": "https://bank.example/token", "clientId": "cardtrail", "scope": "cards"},
            "holds": ["oauth.clientSecret"], "failures": 0, "circuitOpen": False, "pending": 0,
        }  # fmt: skip
        wanted = {"url": "https://other.example", "mode": "every-step", "rate": 5, "heartbeatMinutes": 10}
        changed = desk.call("PUT", "/hook", wanted).json
        assert {name: changed[name] for name in wanted} == wanted | {"url": "https://other.example/"}
        assert (changed["batchSize"], changed["stages"], changed["holds"]) == (1, ["*"], [])
        disabled = desk.call("POST", "/hook:disable", {"reason": "moving house"}).json
        assert (disabled["state"], disabled["reason"]) == ("DISABLED", "moving house")
        enabled = desk.call("POST", "/hook:enable").json
        assert enabled["state"] == "ENABLED"
        assert "reason" not in enabled
        lines = execute(desk.url, "SELECT actor, action, subject FROM audit WHERE action LIKE 'endpoint%' ORDER BY 1")
        assert {line[0] for line in lines} == {f"party:{OPERATOR}"}
        assert {line[2] for line in lines} == {f"{ISSUER}/hook"}
        assert sorted(line[1] for line in lines) == [
            "endpoint.add", "endpoint.disable", "endpoint.enable", "endpoint.update",
        ]  # fmt: skip


def test_an_endpoint_is_not_registered_twice_and_not_found_where_it_is_not(desk: Desk) -> None:
    desk.add(endpointId="twice")
    again = desk.call("POST", "", HOOK | {"endpointId": "twice"})
    assert (again.status, again.json["errorCode"]) == (409, "CONFLICT")
    for method, rest, body in (
        ("GET", "/none", None), ("PUT", "/none", HOOK | {"endpointId": "none"}), ("POST", "/none:enable", None),
        ("POST", "/none:disable", {"reason": "x"}), ("POST", "/none:test", None), ("POST", "/none:rotate-secret", {}),
    ):  # fmt: skip
        answer = desk.call(method, rest, body)
        assert (answer.status, answer.json["errorCode"]) == (404, "NOT_FOUND"), rest


def test_a_path_with_a_verb_is_no_endpoint_and_one_with_two_methods_names_both(desk: Desk) -> None:
    for method, rest, allowed in (("GET", "/hook:test", "POST"), ("DELETE", "/hook", "GET, PUT")):
        answer = desk.call(method, rest)
        assert (answer.status, answer.headers["allow"]) == (405, allowed)


# ── what is wrong is named


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"url": None}, "url"),
        ({"url": "ftp://bank.example"}, "url"),
        ({"url": "https://ada:pw@bank.example"}, "url"),
        ({"url": "https://bank.example/?to=cards"}, "url"),
        ({"url": "https://bank.example/" + "x" * 2020}, "url"),
        ({"endpointId": None}, "endpointId"),
        ({"endpointId": "a b"}, "endpointId"),
        ({"mode": "oldest"}, "mode"),
        ({"strict": "yes"}, "strict"),
        ({"batchSize": 1001}, "batchSize"),
        ({"rate": 0}, "rate"),
        ({"concurrency": 257}, "concurrency"),
        ({"heartbeatMinutes": -1}, "heartbeatMinutes"),
        ({"heartbeatMinutes": 5, "strict": True}, "heartbeatMinutes"),
        ({"signing": "v2"}, "signing"),
        ({"operations": []}, "operations"),
        ({"operations": [1]}, "operations[0]"),
        ({"stages": ["card shipped"]}, "stages"),
        ({"oauth": {"clientId": "x", "clientSecret": SECRET}}, "oauth.tokenUrl"),
        ({"oauth": OAUTH | {"tokenUrl": "https://bank.example/#"}}, "oauth.tokenUrl"),
        ({"oauth": OAUTH | {"clientId": ""}}, "oauth.clientId"),
        ({"oauth": OAUTH | {"clientSecret": None}}, "oauth.clientSecret"),
        ({"oauth": OAUTH | {"clientSecret": SECRET + "\n"}}, "oauth.clientSecret"),
        ({"clientCertificate": f"-----BEGIN {SECRET}"}, "clientCertificate"),
        ({"ca": SECRET}, "ca"),
        ({"ca": "x" * 65_537}, "ca"),
    ],
)
def test_what_is_wrong_with_an_endpoint_is_named_and_no_secret_is_repeated(
    desk: Desk, members: dict[str, Any], field: str
) -> None:
    told = desk.refusal("POST", "", HOOK | {"endpointId": "wrong"} | members)
    assert told.startswith(f"{field}: ")
    assert SECRET not in told
    assert desk.call("GET", "/wrong").status == 404


@pytest.mark.parametrize(
    ("method", "rest", "body", "field"),
    [
        ("PUT", "/a", {"endpointId": "b", "url": "https://x.example"}, "endpointId"),
        ("PUT", "/strange", {"url": "https://x.example", "signing": "none"}, "signing"),
        ("POST", "/a:disable", {}, "reason"),
        ("POST", "/a:disable", {"reason": ""}, "reason"),
        ("POST", "/a:disable", {"reason": "x" * 301}, "reason"),
        ("POST", "/a:disable", {"reason": "two\nlines"}, "reason"),
        ("POST", "/strange:rotate-secret", {"overlapSeconds": 2_592_001}, "overlapSeconds"),
        ("POST", "/strange:rotate-secret", {"signing": "none"}, "signing"),
        ("GET", "/" + "x" * 41, None, "endpointId"),
    ],
)
def test_what_is_wrong_with_a_change_is_named(desk: Desk, method: str, rest: str, body: object, field: str) -> None:
    if desk.call("GET", "/strange").status == 404:
        desk.add(endpointId="strange")
    assert desk.refusal(method, rest, body).startswith(f"{field}: ")


def test_without_leave_no_endpoint_goes_without_tls(tmp_path: Path) -> None:
    with operating(f"sqlite:///{tmp_path}/cardtrail.db", tmp_path) as desk:
        for members in ({"url": "http://bank.example"}, {"oauth": OAUTH | {"tokenUrl": "http://bank.example/token"}}):
            assert "must begin with https://" in desk.refusal("POST", "", HOOK | members)


# ── secrets


def test_secrets_go_in_and_never_come_out(desk: Desk, tmp_path: Path) -> None:
    ca = Authority(tmp_path)
    pem, ca_pem = ca.certificate("cardtrail").read_text(), ca.file.read_text()
    desk.add(endpointId="secret", oauth=OAUTH, clientCertificate=pem, ca=ca_pem)
    assert desk.call("GET", "/secret").json["holds"] == ["oauth.clientSecret", "clientCertificate", "ca"]
    kept = {"url": "https://bank.example", "oauth": OAUTH | {"clientSecret": None}}
    assert desk.call("PUT", "/secret", kept).json["holds"] == ["oauth.clientSecret", "clientCertificate", "ca"]
    fewer = desk.call("PUT", "/secret", kept | {"clientCertificate": "", "ca": ""}).json
    assert fewer["holds"] == ["oauth.clientSecret"]
    assert desk.call("PUT", "/secret", {"url": "https://bank.example"}).json["holds"] == []
    seen = json.dumps([
        desk.call("GET", "/secret").json, desk.listed(), desk.service.log.read_text(),
        [str(row) for row in execute(desk.url, "SELECT * FROM audit")],
        [str(row) for row in execute(desk.url, "SELECT * FROM endpoint")],
    ])  # fmt: skip
    key_line = pem.splitlines()[-2]
    assert not [secret for secret in (SECRET, key_line) if secret in seen]


def test_a_signing_secret_is_told_once_and_rotated_with_or_without_an_overlap(desk: Desk) -> None:
    with receiving() as receiver:
        first = desk.add(endpointId="rotated", url=receiver.url)["signingSecret"]
        second = desk.call("POST", "/rotated:rotate-secret").json["signingSecret"]
        third = desk.call("POST", "/rotated:rotate-secret", {"overlapSeconds": 0, "signing": "v1a"}).json
        assert third["signing"] == "v1a"
        assert third["signingSecret"].startswith("whpk_")
        assert len({first, second, third["signingSecret"]}) == 3
        assert desk.call("POST", "/rotated:test").json["httpStatus"] == 204
        [call] = receiver.calls
        for secret, holds in ((first, False), (second, False), (third["signingSecret"], True)):
            assert is_signed(secret, call.headers, call.body) is holds


def is_signed(secret: str, headers: Any, body: bytes) -> bool:
    try:
        verify([secret], headers, body, int(headers["webhook-timestamp"]))
    except Exception:  # noqa: BLE001 -- whatever is wrong with it, it is not signed
        return False
    return True


# ── trying out


def test_a_try_is_one_signed_call_without_operations_that_leaves_no_trace(database_url: str, tmp_path: Path) -> None:
    with operating(database_url, tmp_path, *LOOPBACK) as desk, receiving() as receiver:
        secret = desk.add(url=receiver.url + "/base/", heartbeatMinutes=5)["signingSecret"]
        tried = desk.call("POST", "/hook:test").json
        assert tried | {"ms": 0} == {"httpStatus": 204, "failure": None, "text": "", "ms": 0}
        assert tried["ms"] >= 0
        receiver.reply = lambda _call: (500, {}, b"no room for 4111111111111111")
        assert desk.call("POST", "/hook:test").json["text"] == "no room for ************1111"
        [call, _] = receiver.calls
        assert call.path == f"/base/notifications/d1/v2/issuers/{ISSUER}/cards"
        body = json.loads(call.body)
        assert (body["operations"], list(body["cardtrail"])) == ([], ["cursor"])
        assert call.headers["x-cardtrail-cursor"] == body["cardtrail"]["cursor"]
        assert is_signed(secret, call.headers, call.body)
        assert desk.call("GET", "/hook").json["failures"] == 0
        for table in ("attempt", "notification"):
            assert execute(desk.url, f"SELECT count(*) FROM {table}") == [(0,)]  # noqa: S608 - our own


def test_a_try_of_a_strict_endpoint_is_the_published_form(desk: Desk) -> None:
    with receiving() as receiver:
        desk.add(endpointId="strict", url=receiver.url, strict=True)
        assert desk.call("POST", "/strict:disable", {"reason": "not yet"}).status == 200
        assert desk.call("POST", "/strict:test").json["httpStatus"] == 204
        [call] = receiver.calls
        assert call.body == b'{"operations":[]}'
        assert not [name for name in call.headers if name.startswith(("webhook-", "x-cardtrail"))]


def test_a_try_that_fails_says_why(desk: Desk) -> None:
    with receiving() as receiver:
        desk.add(endpointId="closed", url=receiver.url)
    tried = desk.call("POST", "/closed:test").json
    assert (tried["httpStatus"], tried["failure"]) == (None, "connect")
    desk.add(endpointId="inside", url="https://10.0.0.1")
    assert desk.call("POST", "/inside:test").json["failure"] == "refused_address"


# ── whose business it is


def test_only_operators_come_here(desk: Desk) -> None:
    for party, scope in ((ISSUER, "d1-api:physical-card:write"), ("site-north", "cardtrail:ingest")):
        token = desk.service.token(scope, party)
        for path in ("/operator/v1/endpoints", f"/operator/v1/issuers/{ISSUER}/endpoints/hook"):
            assert desk.service.call("GET", path, token=token).status == 403
    assert desk.service.call("GET", "/operator/v1/endpoints").status == 401


def test_an_operator_for_some_issuers_sees_and_changes_only_theirs(tmp_path: Path) -> None:
    with operating(f"sqlite:///{tmp_path}/cardtrail.db", tmp_path) as desk:
        desk.add()
        desk.add(OTHER_ISSUER)
        assert [each["issuerId"] for each in desk.listed(by=LIMITED_OPERATOR)] == [OTHER_ISSUER]
        token = desk.service.token("cardtrail:operate", LIMITED_OPERATOR)
        answer = desk.service.call("GET", f"/operator/v1/endpoints?issuerId={ISSUER}", token=token)
        assert answer.status == 403
        for method, rest, body in (
            ("POST", "", HOOK), ("GET", "/hook", None), ("PUT", "/hook", HOOK), ("POST", "/hook:enable", None),
            ("POST", "/hook:disable", {"reason": "x"}), ("POST", "/hook:test", None),
            ("POST", "/hook:rotate-secret", {}),
        ):  # fmt: skip
            assert desk.call(method, rest, body, by=LIMITED_OPERATOR).status == 403, rest
        assert desk.call("GET", "/hook", issuer=OTHER_ISSUER, by=LIMITED_OPERATOR).status == 200


def test_all_endpoints_are_listed_or_those_of_one_issuer(tmp_path: Path) -> None:
    with operating(f"sqlite:///{tmp_path}/cardtrail.db", tmp_path) as desk:
        token = desk.service.token("cardtrail:operate")
        for issuer in (ISSUER, OTHER_ISSUER):
            desk.add(issuer)
        for query, issuers in (("", [ISSUER, OTHER_ISSUER]), (f"?issuerId={OTHER_ISSUER}", [OTHER_ISSUER])):
            assert [each["issuerId"] for each in desk.listed(query)] == issuers
        assert desk.service.call("GET", "/operator/v1/endpoints?issuerId=x", token=token).status == 400
