"""The issuers' ledger over HTTP: what was sent, what was not and why, send it again; and only to whom it belongs."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.background import LOOPBACK, eventually, receiving
from tests.desk import execute
from tests.events import event
from tests.receiver import Receiver
from tests.serving import (
    ISSUER,
    LIMITED_OPERATOR,
    OTHER_ISSUER,
    STRICT_ISSUER,
    Answer,
    Service,
    register_parties,
    serving,
)

READ, WRITE, OPERATE = "d1-api:physical-card:read", "d1-api:physical-card:write", "cardtrail:operate"


class Bank:
    """An issuer's view of the service, and what an operator sets up for it."""

    def __init__(self, service: Service, url: str) -> None:
        self.service = service
        self.url = url

    def ask(self, path: str, *, issuer: str = ISSUER, by: str = "", scope: str = READ) -> Answer:
        token = self.service.token(scope, by or issuer)
        return self.service.call("GET", f"/banking/v1/issuers/{issuer}{path}", token=token)

    def replay(self, *, issuer: str = ISSUER, by: str = "", **wish: Any) -> Answer:
        token = self.service.token(WRITE, by or issuer)
        return self.service.call("POST", f"/banking/v1/issuers/{issuer}/notifications:replay", wish, token=token)

    def listed(self, query: str = "", issuer: str = ISSUER) -> list[dict[str, Any]]:
        answer = self.ask(f"/notifications{query}", issuer=issuer)
        assert answer.status == 200, answer
        found: list[dict[str, Any]] = answer.json["notifications"]
        return found

    def ids(self, query: str = "", issuer: str = ISSUER) -> list[str]:
        return [each["notificationId"] for each in self.listed(query, issuer)]

    def states(self, issuer: str = ISSUER) -> list[str]:
        return [each["state"] for each in self.listed(issuer=issuer)]

    def operate(self, rest: str, body: object = None, issuer: str = ISSUER) -> Answer:
        token = self.service.token(OPERATE)
        answer = self.service.call("POST", f"/operator/v1/issuers/{issuer}/endpoints{rest}", body, token=token)
        assert answer.status < 300, answer
        return answer

    def add(self, receiver: Receiver, issuer: str = ISSUER, **members: Any) -> None:
        self.operate("", {"endpointId": "hook", "url": receiver.url} | members, issuer)

    def order(self, *cards: str, issuer: str = ISSUER) -> None:
        for card in cards:
            told = event("requested", card, operationId=f"op-{card}") | {"issuerId": issuer}
            assert self.service.ingest(told)[0]["result"] == "accepted"


@contextmanager
def banking(url: str, folder: Path, *options: str) -> Iterator[Bank]:
    register_parties(url)
    with serving(url, folder, *LOOPBACK, *options) as service:
        yield Bank(service, url)


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bank]:
    """A service on SQLite that sends nothing, with three notifications that wait; nobody changes them."""
    folder = tmp_path_factory.mktemp("quiet")
    url = f"sqlite:///{folder}/cardtrail.db"
    with banking(url, folder, "--no-deliver") as bank, receiving() as receiver:
        bank.add(receiver)
        bank.order("card-1", "card-2", "card-3")
        yield bank


# ── seeing what was not delivered, and getting it


def test_what_was_refused_is_seen_with_the_answer_and_replayed(database_url: str, tmp_path: Path) -> None:
    with receiving() as receiver, banking(database_url, tmp_path) as bank:
        receiver.reply = lambda _call: (400, {}, b'{"error":"no such card"}')
        bank.add(receiver)
        bank.order("card-1")
        [refused] = eventually(lambda: bank.listed("?state=REFUSED"))
        assert refused | {"notificationId": "", "createdAt": "", "settledAt": "", "correlationId": ""} == {
            "notificationId": "", "endpointId": "hook", "cardId": "card-1", "operationId": "op-card-1",
            "operation": "PRODUCE", "sequence": 1, "state": "REFUSED", "round": 0, "attempts": 1, "createdAt": "",
            "settledAt": "", "correlationId": "",
        }  # fmt: skip
        shown = bank.ask(f"/notifications/{refused['notificationId']}").json
        [attempt] = shown.pop("attemptLog")
        assert shown.pop("operationCarried") == bank.service.status("card-1").json["operations"][0]
        assert shown == refused
        assert attempt | {"at": "", "ms": 0} == {
            "at": "", "httpStatus": 400, "ms": 0, "carried": 1, "answer": '{"error":"no such card"}',
        }  # fmt: skip
        receiver.reply = lambda _call: (204, {}, b"")
        told = bank.replay(state="REFUSED", dryRun=True).json
        assert told == {"matched": 1, "replayed": 1, "pending": 0, "withheld": 0, "more": False}
        assert bank.states() == ["REFUSED"]
        assert bank.replay(state="REFUSED").json == told
        [again] = eventually(lambda: bank.listed("?state=DELIVERED"))
        assert (again["notificationId"], again["round"]) == (refused["notificationId"], 1)
        assert len(bank.ask(f"/notifications/{refused['notificationId']}").json["attemptLog"]) == 2
        assert [each["cardId"] for each in receiver.delivered] == ["card-1"]


def test_what_was_withheld_and_what_was_never_attempted_are_sent_when_they_are_asked_for(
    database_url: str, tmp_path: Path
) -> None:
    with receiving() as receiver, banking(database_url, tmp_path) as bank:
        bank.order("card-1", "card-2")
        bank.add(receiver)
        assert bank.listed() == []
        bank.operate("/hook:disable", {"reason": "moving house"})
        bank.order("card-3")
        assert bank.states() == ["WITHHELD"]
        assert bank.replay(state="WITHHELD").json["withheld"] == 1
        answer = bank.replay(neverAttempted=True, endpointId="hook")
        assert (answer.status, "enable it first" in answer.json["error"]) == (409, True)
        assert bank.replay(neverAttempted=True).json["matched"] == 0
        [endpoint] = bank.ask("/endpoints").json["endpoints"]
        assert (endpoint["state"], endpoint["reason"]) == ("DISABLED", "moving house")
        bank.operate("/hook:enable")
        eventually(lambda: bank.states() == ["DELIVERED"])
        assert bank.replay(neverAttempted=True, dryRun=True).json["replayed"] == 2
        assert bank.replay(neverAttempted=True).json["replayed"] == 2
        eventually(lambda: bank.states() == ["DELIVERED"] * 3)
        assert sorted(receiver.newest) == ["op-card-1", "op-card-2", "op-card-3"]
        assert bank.replay(neverAttempted=True).json["matched"] == 0


def test_exactly_what_is_stored_is_sent_but_not_to_a_strict_endpoint(tmp_path: Path) -> None:
    with receiving() as receiver, banking(f"sqlite:///{tmp_path}/cardtrail.db", tmp_path) as bank:
        bank.add(receiver, mode="every-step")
        bank.add(receiver, endpointId="strict", strict=True)
        bank.order("card-1")
        bank.service.ingest(event("prepared", "card-1", hours=1))
        eventually(lambda: "PENDING" not in bank.states() and len(bank.states()) == 4)
        [first, _] = bank.ids("?endpointId=hook")
        before = len(receiver.delivered)
        assert bank.replay(notificationIds=[first], exact=True).json["replayed"] == 1
        eventually(lambda: len(receiver.delivered) > before)
        assert receiver.delivered[-1]["cardtrail"]["sequence"] == 1
        [strict, *_] = bank.ids("?endpointId=strict")
        answer = bank.replay(notificationIds=[strict], exact=True)
        assert (answer.status, answer.json["errorCode"]) == (409, "CONFLICT")


# ── lists


def test_a_list_is_read_in_pages_and_by_state_card_endpoint_and_time(quiet: Bank) -> None:
    everything = quiet.ids()
    assert len(everything) == 3
    first = quiet.ask("/notifications?limit=2").json
    assert first["next"] == everything[1]
    rest = quiet.ask(f"/notifications?limit=2&after={first['next']}").json
    assert [each["notificationId"] for each in rest["notifications"]] == everything[2:]
    assert "next" not in rest
    created = quiet.listed()[1]["createdAt"]
    for query, expected in (
        ("?state=PENDING", everything), ("?state=DEAD", []), ("?cardId=card-2", everything[1:2]),
        ("?endpointId=hook", everything), ("?endpointId=none", []), (f"?since={created}", everything[1:]),
        (f"?until={created}", everything[:1]), ("?since=2099-01-01T00:00:00%2B01:00", []),
        ("?since=0001-01-01T00:00:00Z&until=9999-12-31T23:59:59Z", everything),
    ):  # fmt: skip
        assert quiet.ids(query) == expected, query


def test_what_waits_tells_when_it_is_due_and_the_endpoint_how_much_waits(quiet: Bank) -> None:
    [entry, *_] = quiet.listed()
    assert entry["dueAt"] >= entry["createdAt"]
    assert "settledAt" not in entry
    [endpoint] = quiet.ask("/endpoints").json["endpoints"]
    assert (endpoint["pending"], endpoint["pendingSince"]) == (3, entry["createdAt"])
    assert not {"oauth", "holds", "signingSecret"} & endpoint.keys()


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("state=LOST", "state"),
        ("state=DEAD&state=PENDING", "state"),
        ("since=yesterday", "since"),
        ("since=2026-01-01", "since"),
        ("until=2026-01-01T00:00:00", "until"),
        ("until=2026-13-01T00:00:00Z", "until"),
        ("cardId=" + "x" * 49, "cardId"),
        ("endpointId=a%20b", "endpointId"),
        ("after=next", "after"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
    ],
)
def test_what_is_wrong_with_a_list_is_named(quiet: Bank, query: str, field: str) -> None:
    answer = quiet.ask(f"/notifications?{query}")
    assert (answer.status, answer.json["error"].partition(":")[0]) == (400, field)


ID = "0" * 27


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"notificationIds": []}, "notificationIds"),
        ({"notificationIds": ["x"]}, "notificationIds"),
        ({"notificationIds": [ID] * 1001}, "notificationIds"),
        ({"notificationIds": [ID], "state": "DEAD"}, "notificationIds"),
        ({"state": "LOST"}, "state"),
        ({"since": 5}, "since"),
        ({"cardId": ""}, "cardId"),
        ({"neverAttempted": True, "cardId": "card-1"}, "neverAttempted"),
        ({"neverAttempted": True, "exact": True}, "exact"),
        ({"neverAttempted": "yes"}, "neverAttempted"),
    ],
)
def test_what_is_wrong_with_a_replay_is_named(quiet: Bank, wish: dict[str, Any], field: str) -> None:
    answer = quiet.replay(**wish)
    assert (answer.status, answer.json["error"].partition(":")[0]) == (400, field)


@pytest.mark.parametrize("wish", [{}, {"exact": True}, {"neverAttempted": False}, {"state": None}])
def test_a_replay_of_everything_must_be_meant(quiet: Bank, wish: dict[str, Any]) -> None:
    answer = quiet.replay(**wish)
    assert (answer.status, answer.json["error"][:9]) == (400, "say which")


# ── whose it is


def test_nobody_reaches_another_issuers_notifications_by_any_verb(database_url: str, tmp_path: Path) -> None:
    """Both issuers have an endpoint and a card of the same name; all that OTHER_ISSUER has is left alone."""
    with receiving() as receiver, banking(database_url, tmp_path, "--no-deliver") as bank:
        for issuer in (ISSUER, OTHER_ISSUER):
            bank.add(receiver, issuer)
            bank.order("card-1", issuer=issuer)
        bank.add(receiver, OTHER_ISSUER, endpointId="theirs")
        bank.order("card-2", issuer=OTHER_ISSUER)
        [mine] = bank.ids()
        theirs = bank.ids(issuer=OTHER_ISSUER)
        assert len(theirs) == 3
        # What is settled can be replayed; then nothing that is done below may touch it.
        execute(database_url, "UPDATE notification SET state = 'DEAD', settled_at = 1")
        before = execute(database_url, f"SELECT * FROM notification WHERE issuer_id = '{OTHER_ISSUER}' ORDER BY 2")  # noqa: S608 - our own
        assert [each["issuerId"] for each in bank.ask("/endpoints").json["endpoints"]] == [ISSUER]
        for each in theirs:
            assert bank.ask(f"/notifications/{each}").status == 404
        assert bank.ids("?cardId=card-2") == []
        assert bank.ids("?cardId=card-1") == bank.ids("?endpointId=hook") == bank.ids("?state=DEAD") == [mine]
        assert bank.ids("?endpointId=theirs") == []
        for wish, status, matched in (
            ({"notificationIds": theirs}, 200, 0), ({"notificationIds": theirs, "exact": True}, 200, 0),
            ({"cardId": "card-2"}, 200, 0), ({"endpointId": "theirs"}, 404, None),
            ({"neverAttempted": True, "endpointId": "theirs"}, 404, None), ({"cardId": "card-1"}, 200, 1),
            ({"state": "DEAD", "exact": True}, 200, 0), ({"endpointId": "hook"}, 200, 1),
            ({"since": "2000-01-01T00:00:00Z"}, 200, 1), ({"neverAttempted": True}, 200, 1),
        ):  # fmt: skip
            answer = bank.replay(**wish)
            assert (answer.status, answer.json.get("matched")) == (status, matched), wish
        for method, path, body in (
            ("GET", "/notifications", None), ("GET", f"/notifications/{theirs[0]}", None), ("GET", "/endpoints", None),
            ("POST", "/notifications:replay", {"state": "DEAD"}),
            ("POST", "/notifications:replay", {"neverAttempted": True}),
        ):  # fmt: skip
            token = bank.service.token(WRITE, ISSUER)
            answer = bank.service.call(method, f"/banking/v1/issuers/{OTHER_ISSUER}{path}", body, token=token)
            assert answer.status == 403, path
            unknown = bank.service.call(method, f"/banking/v1/issuers/ISSUER9999{path}", body, token=token)
            assert (unknown.status, unknown.body) == (answer.status, answer.body)
        assert before == execute(
            database_url,
            f"SELECT * FROM notification WHERE issuer_id = '{OTHER_ISSUER}' ORDER BY 2",  # noqa: S608 - our own
        )


def test_a_strict_party_sees_only_what_is_published(quiet: Bank) -> None:
    for path in ("/notifications", f"/notifications/{ID}", "/endpoints"):
        assert quiet.ask(path, issuer=STRICT_ISSUER).status == 404
    assert quiet.replay(issuer=STRICT_ISSUER, neverAttempted=True).status == 404


def test_an_operator_reads_and_replays_for_an_issuer(quiet: Bank) -> None:
    token = quiet.service.token(OPERATE)
    path = f"/banking/v1/issuers/{ISSUER}/notifications"
    assert len(quiet.service.call("GET", path, token=token).json["notifications"]) == 3
    answer = quiet.service.call("POST", f"{path}:replay", {"cardId": "card-1"}, token=token)
    assert (answer.status, answer.json["pending"]) == (200, 1)
    assert quiet.ask("/notifications", by=LIMITED_OPERATOR).status == 403
    assert quiet.replay(by=LIMITED_OPERATOR, cardId="card-1").status == 403


def test_a_producer_has_no_business_here(quiet: Bank) -> None:
    assert quiet.ask("/notifications", by="site-north", scope="cardtrail:ingest").status == 403


def test_an_answer_of_a_receiver_cannot_hold_what_is_secret_or_like_a_card_number(tmp_path: Path) -> None:
    with receiving() as receiver, banking(f"sqlite:///{tmp_path}/cardtrail.db", tmp_path) as bank:
        told = bank.operate("", {"endpointId": "hook", "url": receiver.url}).json["signingSecret"]
        receiver.reply = lambda _call: (400, {}, json.dumps({"pan": "4111111111111111", "key": told}).encode())
        bank.order("card-1")
        [refused] = eventually(lambda: bank.ids("?state=REFUSED"))
        [attempt] = bank.ask(f"/notifications/{refused}").json["attemptLog"]
        assert json.loads(attempt["answer"]) == {"pan": "************1111", "key": "***"}
