"""First sightings of what nobody has published, on both engines."""

from typing import Any

import msgspec
import pytest

from cardtrail.platform import sightings as module
from cardtrail.platform.sightings import Sightings
from tests.desk import Desk, desk, execute
from tests.events import event

PARCEL: dict[str, Any] = {"carrier": "dhl", "trackingNumber": "T1"}


def watched(site: Desk) -> Sightings:
    sightings = Sightings(site.db)
    site.ingest.on_read = sightings.note
    return sightings


def noted(url: str) -> list[tuple[Any, ...]]:
    return sorted(map(tuple, execute(url, "SELECT kind, name, source FROM sighting")))


def test_what_nobody_has_published_is_noted_once_with_a_sample(database_url: str) -> None:
    odd = event("scanned", "c-1", status="Levitating", code="X7", mood="fine", **PARCEL)
    with desk(database_url) as site:
        sightings = watched(site)
        site.tell(event("requested", "c-1"), odd, event("scanned", "c-1", status="InTransit", **PARCEL))
        assert site.shipment("c-1") == "InTransit"
        site.tell(event("shipped", "c-1", hours=2, carrier="pigeon", trackingNumber="P"))
        site.run(sightings.run_once())
        site.tell(event("scanned", "c-1", status="Levitating", **PARCEL))
        site.run(sightings.run_once())
    assert noted(database_url) == [
        ("carrier", "pigeon", "site:north"), ("carrier code", "carrier:dhl:X7", "carrier:dhl"),
        ("member", "mood", "carrier:dhl"), ("shipment status", "Levitating", "carrier:dhl"),
    ]  # fmt: skip
    [(sample,)] = execute(database_url, "SELECT sample FROM sighting WHERE kind = 'member'")
    assert msgspec.json.decode(bytes(sample)) == odd | {"trackingNumber": "…"}


def test_a_process_that_has_forgotten_notes_nothing_twice(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SEEN", 1)
    with desk(database_url) as site:
        sightings = watched(site)
        for number in range(3):
            site.tell(event("scanned", "c-1", hours=number, status=f"Odd{number % 2}", **PARCEL))
        site.run(sightings.run_once())
        site.tell(event("scanned", "c-1", hours=9, status="Odd0", **PARCEL))
        site.run(sightings.run_once())
    assert [name for _, name, _ in noted(database_url)] == ["Odd0", "Odd1"]


def test_names_and_samples_are_cut_and_few_wait(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    with desk(database_url) as site:
        sightings = watched(site)
        odd: list[dict[str, Any]] = [{"m" * 500: "x" * 3_000}, *({f"odd{n}": 1} for n in range(9))]
        for members in odd:
            site.tell(event("requested", "c-1") | members)
        site.run(sightings.run_once())
    rows = execute(database_url, "SELECT length(name), length(sample) FROM sighting ORDER BY 1 DESC")
    assert len(rows) == 3
    assert tuple(rows[0]) == (module.MAX_NAME, module.MAX_SAMPLE)
