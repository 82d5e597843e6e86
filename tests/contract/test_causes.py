"""Which call made a change is kept with it and told with its notification. On both engines."""

from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from cardtrail.platform import held
from cardtrail.platform.endpoint import Mode
from cardtrail.platform.ledger import Entry, Ledger, Selection
from cardtrail.platform.outbox import NotificationState
from cardtrail.platform.replay import Replay
from cardtrail.platform.ui.card import card_of
from tests.delivering import Delivering, delivering
from tests.desk import EVERYONE
from tests.events import event
from tests.serving import ISSUER

TRACED = f"00-{7:032x}-{7:016x}-01"
PARCEL = {"carrier": "dhl", "trackingNumber": "T1"}


def tell(site: Delivering, cause: str, *events: dict[str, Any]) -> None:
    """Take events in by one call."""
    site.later(1)
    raws = [msgspec.json.encode(each) for each in events]
    results = site.desk.run(site.desk.ingest.take(EVERYONE, raws, cause))
    assert {each.result for each in results} == {"accepted"}


def entries(site: Delivering, **selection: Any) -> list[Entry]:
    return site.desk.run(Ledger(site.desk.db).entries(ISSUER, Selection(**selection), most=1_000))


def told(site: Delivering, **selection: Any) -> dict[str, str]:
    """Return the newest notification's correlation id of each card."""
    return {each.card_id: each.correlation_id for each in entries(site, **selection)}


def test_a_notification_bears_the_id_of_the_call_that_made_the_newest_change(database_url: str) -> None:
    with delivering(database_url) as site:
        receiver = site.listening()
        tell(site, "call-1", event("requested", "a"), event("requested", "b"))
        tell(site, "call-2", event("prepared", "a", hours=1))
        site.settle()
        assert [call.headers["x-correlation-id"] for call in receiver.calls] == ["call-1", "call-2"]
        assert [call.operations[0]["cardId"] for call in receiver.calls] == ["b", "a"]
        assert [each.correlation_id for each in entries(site, card_id="a")] == ["call-1", "call-2"]


def test_a_batch_of_several_calls_bears_no_id_and_its_line_names_all(database_url: str) -> None:
    with capture_logs() as logs, delivering(database_url) as site:
        receiver = site.listening(batch_size=10)
        receiver.reply = lambda _call: (503, {}, b"")
        tell(site, "call-1", event("requested", "a"))
        tell(site, "call-2", event("requested", "b"))
        site.settle()
    assert "x-correlation-id" not in receiver.calls[0].headers
    [line] = [line for line in logs if line["event"] == "attempt"]
    assert (line["correlation_id"], line["correlation_ids"]) == (None, ["call-1", "call-2"])


def test_a_batch_of_calls_that_share_an_id_bears_it_though_not_their_traces(database_url: str) -> None:
    with delivering(database_url) as site:
        receiver = site.listening(batch_size=2)
        for card, trace in (("a", "5"), ("b", "6"), ("c", "5"), ("d", "5")):
            tell(site, f"call-1 {TRACED.replace('7', trace)}", event("requested", card))
        site.settle()
        assert [call.headers.get("traceparent") for call in receiver.calls] == [None, TRACED.replace("7", "5")]
        assert {call.headers["x-correlation-id"] for call in receiver.calls} == {"call-1"}


def test_a_strict_endpoint_is_told_nothing_but_the_published_form(database_url: str) -> None:
    with delivering(database_url) as site:
        receiver = site.receiver()
        site.add(receiver.url, strict=True)
        tell(site, f"call-1 {TRACED}", event("requested", "a"))
        site.settle()
        assert set(receiver.calls[0].headers) & {"x-correlation-id", "traceparent"} == set()
        assert told(site) == {"a": "call-1"}


def test_what_ends_the_waiting_is_the_cause(database_url: str) -> None:
    with delivering(database_url) as site:
        site.listening()
        tell(site, "scan", event("scanned", status="InTransit", hours=9, **PARCEL))
        tell(site, "early", event("prepared", issuerId=ISSUER, operationId="op-1", hours=1))
        assert entries(site) == []
        tell(site, "order", event("requested", "a", operationId="op-1"))
        assert told(site) == {"a": "order"}
        tell(site, "site", event("shipped", "a", hours=5, **PARCEL))
        assert told(site) == {"a": "site"}
        assert site.desk.shipment("a") == "InTransit"


def test_a_parcel_of_more_cards_than_one_transaction_takes_keeps_its_cause(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "MAX_FANOUT", 2)
    cards = [f"card-{number}" for number in range(5)]
    with delivering(database_url) as site:
        site.listening()
        for each in cards:
            tell(site, "site", event("requested", each), event("shipped", each, hours=5, **PARCEL))
        tell(site, "scan", event("scanned", status="InTransit", hours=9, **PARCEL))
        while site.desk.run(site.desk.ingest.run_once()):
            pass
        assert told(site) == dict.fromkeys(cards, "scan")


def test_a_replay_names_the_call_of_the_picture_that_it_sends(database_url: str) -> None:
    with delivering(database_url) as site:
        receiver = site.listening(mode=Mode.EVERY_STEP)
        tell(site, "call-1", event("requested", "a"))
        tell(site, "call-2", event("prepared", "a", hours=1))
        site.settle()
        first = entries(site)[0].notification_id
        replay = Replay(site.desk.db, site.wall)
        for exact in (True, False):
            site.desk.run(replay.run(ISSUER, Selection(ids=(first,)), exact=exact))
            site.settle()
        site.add(receiver.url, "two")
        site.desk.run(replay.run_never_attempted(ISSUER, "two"))
        site.settle()
    found = [call.headers["x-correlation-id"] for call in receiver.calls]
    assert found == ["call-1", "call-2", "call-1", "call-2", "call-2"]


@pytest.mark.parametrize("wanted", [{}, {"card_id": "a"}, {"endpoint_id": "one"}, {"state": NotificationState.PENDING}])
def test_the_ledger_finds_what_a_call_has_led_to(database_url: str, wanted: dict[str, Any]) -> None:
    with delivering(database_url) as site:
        site.listening()
        tell(site, f"call-1 {TRACED}", event("requested", "a"))
        tell(site, "call_1", event("requested", "b"))  # `_` stands for any character in other searches
        tell(site, "call-10", event("requested", "c"))
        tell(site, "call", event("requested", "d"))
        assert told(site, correlation_id="call-1", **wanted) == {"a": "call-1"}


def test_the_page_of_a_card_has_it_with_each_notification(database_url: str) -> None:
    with delivering(database_url) as site:
        site.listening()
        tell(site, "call-1", event("requested", "a"))
        tell(site, "", event("prepared", "a", hours=1))
        seen = site.desk.run(site.desk.db.read(lambda tx: card_of(tx, ISSUER, "a")))
    assert seen is not None
    assert [entry.correlation_id for entry, _ in seen.notifications] == ["", "call-1"]
