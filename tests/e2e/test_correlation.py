"""From an order's call and a site's call to the issuer's receiver by one id, over HTTP, between real processes."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cardtrail.protocol.signature import new_secret
from tests.background import LOOPBACK, eventually, receiving
from tests.conftest import NewDatabase
from tests.delivering import delivering
from tests.desk import EVERYONE
from tests.e2e.test_deliver import add_endpoint, listed
from tests.e2e.test_receiver import bank
from tests.e2e.test_service import ORDER
from tests.events import event
from tests.serving import ISSUER, STRICT_ISSUER, Service, register_parties, serving

BAD = ["", "a b", "a" * 65, "ä", "a\tb", "a;b", '"a"', "a,b"]


def lines(log: Path, name: str) -> list[dict[str, Any]]:
    """Return the lines of a service's log about one sort of thing."""
    found = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return [line for line in found if line["event"] == name]


def order(service: Service, card_id: str, party: str = ISSUER, **headers: str) -> Any:
    path = f"/banking/v1/issuers/{party}/physicalCards/{card_id}/operations:production"
    body = {**ORDER, "issuerRequestId": f"r-{card_id}"}
    return service.call("POST", path, body, token=service.token("d1-api:physical-card:write", party), headers=headers)


def report(service: Service, told: dict[str, Any], **headers: str) -> Any:
    token = service.token("cardtrail:ingest")
    return service.call("POST", "/ingest/v1/events", {"events": [told]}, token=token, headers=headers)


def test_the_id_of_an_order_and_of_an_event_reaches_the_line_of_the_attempt_and_the_receiver(
    database_url: str, tmp_path: Path
) -> None:
    register_parties(database_url)
    with receiving() as receiver, serving(database_url, tmp_path, *LOOPBACK) as service:
        add_endpoint(service, receiver.url)
        receiver.reply = lambda _call: (503, {}, b"")
        assert order(service, "card-1", **{"x-correlation-id": "the-order"}).status == 202
        eventually(lambda: receiver.calls)
        told = event("requested", "card-2")
        assert report(service, told, **{"x-correlation-id": "the-event"}).status == 200
        eventually(lambda: len(receiver.calls) > 1)
        eventually(lambda: len(lines(service.log, "attempt")) > 1)
        attempts = lines(service.log, "attempt")
        calls = receiver.calls
    assert [call.headers["x-correlation-id"] for call in calls[:2]] == ["the-order", "the-event"]
    assert [line["correlation_id"] for line in attempts[:2]] == ["the-order", "the-event"]
    assert {"the-order", "the-event"} <= {line["correlation_id"] for line in lines(service.log, "request")}


def test_a_call_without_an_id_is_given_one_that_it_learns(database_url: str, tmp_path: Path) -> None:
    register_parties(database_url)
    with receiving() as receiver, serving(database_url, tmp_path, *LOOPBACK) as service:
        add_endpoint(service, receiver.url)
        given = [
            order(service, "card-1").headers["x-correlation-id"],
            report(service, event("requested", "card-2")).headers["x-correlation-id"],
        ]
        eventually(lambda: len(receiver.calls) == 2)
        sent = {call.operations[0]["cardId"]: call.headers["x-correlation-id"] for call in receiver.calls}
        assert [sent["card-1"], sent["card-2"]] == given
        assert all(re.fullmatch("[0-9a-f]{16}", each) for each in given)
        assert given[0] != given[1]
        assert {each["correlationId"] for each in listed(service)} == set(given)
        path = f"/banking/v1/issuers/{ISSUER}/notifications?correlationId={given[1]}"
        answer = service.call("GET", path, token=service.token("d1-api:physical-card:read"))
        assert [each["cardId"] for each in answer.json["notifications"]] == ["card-2"]


def test_what_callers_send_is_validated_and_goes_no_further(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/cardtrail.db"
    register_parties(url)
    with receiving() as receiver, serving(url, tmp_path, *LOOPBACK) as service:
        add_endpoint(service, receiver.url)
        for bad in BAD:
            sent = {"x-correlation-id": bad.encode().decode("latin-1")}
            for answer in (order(service, "card-1", **sent), report(service, event("requested", "card-2"), **sent)):
                assert answer.status == 400
                assert "x-correlation-id" in answer.json["error"]
                assert answer.headers["x-correlation-id"] != bad
        number = "4111111111111111"  # fits, and comes back, but it is not handed on to others
        assert order(service, "card-3", **{"x-correlation-id": number}).headers["x-correlation-id"] == number
        eventually(lambda: receiver.calls)
        assert [call.operations[0]["cardId"] for call in receiver.calls] == ["card-3"]
        assert "x-correlation-id" not in receiver.calls[0].headers
        assert number not in service.log.read_text()


def test_a_strict_caller_gets_back_its_own_id_and_no_other(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/cardtrail.db"
    register_parties(url)
    with serving(url, tmp_path) as service:
        assert "x-correlation-id" not in order(service, "card-1", STRICT_ISSUER).headers
        answer = order(service, "card-2", STRICT_ISSUER, **{"x-correlation-id": "mine"})
        assert (answer.status, answer.headers["x-correlation-id"]) == (202, "mine")


def test_the_kits_receiver_tells_it_where_not_all_was_well(
    new_database: NewDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with delivering(new_database()) as site, bank(site, new_database()) as issuer:
        site.add(issuer.url)
        issuer.trust(secrets=[new_secret(b"w" * 32)])
        site.desk.run(site.desk.ingest.take(EVERYONE, [json.dumps(event("requested", "a")).encode()], "call-1"))
        site.turn()
    assert f"notification: status=401 issuer='{ISSUER}' correlation_id=call-1: " in caplog.text
