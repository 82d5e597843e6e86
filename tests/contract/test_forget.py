"""Forgetting a card: what it says of a parcel is nowhere any more, and how its orders ended is still there."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cardtrail.cli.card import card_app
from cardtrail.errors import Conflict, NotFound
from cardtrail.files.box import box_of
from cardtrail.pages.door.trail import list_audit
from cardtrail.platform.auth import wall_clock
from cardtrail.platform.endpoint import Config, Endpoint, Secrets
from cardtrail.platform.endpoints import Endpoints
from cardtrail.platform.forget import Forgotten, forget
from tests.desk import Desk, desk, dump, execute
from tests.events import event
from tests.serving import ISSUER
from tests.shell import Shell

NUMBER, PLACE, WORDS = "JD0149999123", "Little Whinging 4", "left with neighbour Figg"
SECRETS = (NUMBER, PLACE, WORDS)
PARCEL = {"carrier": "dhl", "trackingNumber": NUMBER}


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Desk]:
    """A desk with an endpoint, so that there are notifications."""
    key = tmp_path / "secret.key"
    with desk(database_url) as opened:
        key.write_text("QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVowMTIzNDU=")
        endpoint = Endpoint(issuer_id=ISSUER, endpoint_id="one", config=Config(url="https://bank.example"))
        adding = Endpoints(opened.db, box_of(str(key), database_url), wall_clock).add(endpoint, Secrets(), "test")
        opened.run(adding)
        yield opened


def story(site: Desk, *cards: str, ended: bool = True) -> None:
    """Let cards travel in one parcel, to its end or not."""
    for card in cards:
        site.tell(event("requested", card), event("shipped", card, hours=5, **PARCEL))
    site.tell(event("scanned", hours=9, status="InTransit", location=PLACE, message=WORDS, **PARCEL))
    if ended:
        site.tell(event("scanned", hours=19, status="Delivered", location=PLACE, message=WORDS, **PARCEL))


def erase(site: Desk, card: str = "card") -> Forgotten:
    return site.run(forget(site.db, ISSUER, card, "operator:ada", site.now))


def stored(url: str) -> str:
    """Everything in every table, as text."""
    return repr(dump(url))


def test_what_a_parcel_tells_of_a_person_is_nowhere_any_more(site: Desk) -> None:
    story(site, "card")
    assert all(secret in stored(site.url) for secret in SECRETS)
    before = site.picture("card")
    done = erase(site)
    assert (done.orders, done.shared_parcels) == (1, 0)
    assert done.notifications > 0
    assert [secret for secret in SECRETS if secret in stored(site.url)] == []
    after = site.picture("card")
    assert after["details"]["shipment"] == {"carrier": "dhl", "status": "Delivered"}
    assert (after["status"], after["details"]["status"]) == (before["status"], before["details"]["status"])
    assert after["cardtrail"]["sequence"] == before["cardtrail"]["sequence"]
    assert [each.keys() & {"location", "message"} for each in after["cardtrail"]["checkpoints"]] == [set(), set()]


def test_what_is_left_is_still_a_picture_in_both_forms(site: Desk) -> None:
    story(site, "card")
    erase(site)
    for table in ("operation", "notification"):
        for picture, length in execute(site.url, f"SELECT picture, strict_length FROM {table}"):  # noqa: S608 - our own
            full: dict[str, Any] = json.loads(bytes(picture))
            strict = msgspec.json.decode(bytes(picture)[:length] + b"}")
            assert full == strict | {"cardtrail": full["cardtrail"]}
            assert "cardtrail" not in strict


def test_it_is_written_down_without_what_was_erased_and_can_be_done_again(site: Desk) -> None:
    story(site, "card")
    erase(site)
    rows = dump(site.url)["operation"]
    assert erase(site) == Forgotten(0, 0, 0)
    assert dump(site.url)["operation"] == rows
    lines = [line for line in site.run(list_audit(site.db)) if line.action == "card.forget"]
    assert [(line.actor, line.subject) for line in lines] == [("operator:ada", f"{ISSUER}/card")] * 2


def test_an_order_on_its_way_is_not_forgotten(site: Desk) -> None:
    story(site, "card", ended=False)
    site.tell(event("requested", "early"))
    before = dump(site.url)
    for card, wrong in (("card", "has not arrived"), ("early", "has not ended")):
        with pytest.raises(Conflict, match=wrong):
            erase(site, card)
    assert dump(site.url) == before
    with pytest.raises(NotFound, match="no order"):
        erase(site, "nobodys")


def test_a_parcel_that_was_given_up_is_forgotten_when_asked(site: Desk) -> None:
    story(site, "card", ended=False)
    done = site.run(forget(site.db, ISSUER, "card", "operator:ada", site.now, travelling=True))
    assert done.orders == 1
    assert [secret for secret in SECRETS if secret in stored(site.url)] == []
    assert site.tell(event("scanned", "card", hours=30, status="Delivered")) == ["ORDER_SEALED"]


def test_a_parcel_stays_for_the_other_cards_in_it(site: Desk) -> None:
    story(site, "card", "other")
    assert erase(site).shared_parcels == 1
    assert NUMBER not in json.dumps(site.history("card"))
    assert site.picture("other")["details"]["shipment"]["trackingNumber"] == NUMBER
    assert erase(site, "other").shared_parcels == 0
    assert [secret for secret in SECRETS if secret in stored(site.url)] == []


def test_what_a_carrier_says_later_reaches_it_no_more(site: Desk) -> None:
    story(site, "card")
    erase(site)
    picture = site.picture("card")
    site.tell(event("scanned", hours=30, status="Exception", location=PLACE, **PARCEL))
    assert site.picture("card") == picture


def test_the_file_itself_does_not_hold_it_any_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not in free pages either, once the last process has put the log away."""
    url, path = f"sqlite:///{tmp_path}/cardtrail.db", tmp_path / "cardtrail.db"
    with desk(url) as site:
        story(site, "card")
    assert all(secret.encode() in path.read_bytes() for secret in SECRETS)
    done = Shell(url, capsys, card_app).json("card", "forget", "card", "--issuer", ISSUER)
    assert done == {"notifications": 0, "orders": 1, "shared_parcels": 0}
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert [secret for secret in SECRETS if secret.encode() in path.read_bytes()] == []
