"""Forgetting a card in the mirror: nothing of its parcel is left, and nothing that is told again brings it back."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from cardtrail.errors import Conflict, NotFound
from cardtrail.issuer import forget as forgetting
from cardtrail.issuer.forget import Forgotten, forget, without_parcel
from cardtrail.issuer.mirror import AsyncMirror
from cardtrail.issuer.standing import Duplicate, Observed
from cardtrail.issuer.take import Asked, Batch, Sighting
from cardtrail.pages.door.trail import list_audit
from cardtrail.protocol.reading import Operation, operation_of
from tests.desk import execute
from tests.keeping import ISSUER

SECRETS = ("SECRET-NUMBER", "Heidelberg", "left-with-aunt", "tracking.example")
DAY = 86_400_000_000


def shipped(card_id: str, status: str, sequence: int) -> Operation:
    """Return a shipped order whose parcel says all that is personal."""
    checkpoint = {
        "time": "2026-11-03T10:00:00Z",
        "status": status,
        "location": "Heidelberg",
        "message": "left-with-aunt",
    }
    return operation_of(msgspec.json.encode({
        "operationId": f"op-{card_id}", "operation": "PRODUCE", "status": "SUCCESSFUL", "cardId": card_id,
        "startTime": "2026-11-01T00:00:00.000Z",
        "details": {"status": "CARD_SHIPPED", "shipment": {
            "carrier": "dhl", "trackingNumber": f"SECRET-NUMBER-{card_id}", "status": status,
            "trackingUrl": "https://tracking.example/1", "message": "left-with-aunt",
        }},
        "cardtrail": {"sequence": sequence, "checkpoints": [checkpoint]},
    }))  # fmt: skip


async def told(mirror: AsyncMirror, card_id: str) -> None:
    """Tell of a card until it is delivered, and let it be looked at once more, so that it is settled."""
    now = mirror.clock()
    for sequence, status in enumerate(("InTransit", "OutForDelivery", "Delivered"), 1):
        observed = [Observed(shipped(card_id, status, sequence), "notification", now)]
        sample = shipped(card_id, status, sequence).raw
        await mirror.take(ISSUER, observed, mark=None, sightings=[Sighting("member", f"x-{card_id}", sample)])
    ticket = await mirror.ticket(ISSUER)
    answer = Observed(shipped(card_id, "Delivered", 3), "answer", now, ticket)
    await mirror.put(ISSUER, Batch(now=now, observed=[answer], asked={card_id: Asked("found")}, ticket=ticket))


def played(url: str, play: Callable[[AsyncMirror], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(60), AsyncMirror.open(url) as mirror:
            await told(mirror, "mine")
            await told(mirror, "other")
            await play(mirror)

    asyncio.run(run())


def kept(url: str) -> str:
    """Return all that the mirror keeps, as text."""
    tables = ("card", "operation", "change", "sighting", "audit")
    rows = [row for table in tables for row in execute(url, f"SELECT * FROM {table}")]  # noqa: S608 -- our own
    return "\n".join(bytes(cell).decode(errors="replace") if isinstance(cell, bytes | memoryview) else str(cell)
                     for row in rows for cell in row)  # fmt: skip


def test_nothing_of_the_parcel_is_left_and_all_else_is(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "AT_ONCE", 2)
    monkeypatch.setattr(forgetting, "SAMPLES", 1)

    async def play(mirror: AsyncMirror) -> None:
        before = await mirror.card(ISSUER, "mine")
        assert await forget(mirror, ISSUER, "mine", "operator:ada") == Forgotten(1, 3, 1)
        after = await mirror.card(ISSUER, "mine")
        assert [each.known.timeline for each in after] == [each.known.timeline for each in before]
        assert after[0].operation.shipment_status == "Delivered"
        text = kept(database_url)
        assert text.count("SECRET-NUMBER-other") > 3
        assert "SECRET-NUMBER-mine" not in text
        [line] = await list_audit(mirror.db)
        assert (line.actor, line.action, line.subject) == ("operator:ada", "card.forget", f"{ISSUER}/mine")
        assert await forget(mirror, ISSUER, "mine", "operator:ada") == Forgotten(0, 0, 0)
        await forget(mirror, ISSUER, "other", "operator:ada")
        assert [secret for secret in SECRETS if secret in kept(database_url)] == []

    played(database_url, play)


def test_what_is_told_again_is_a_repetition_and_brings_nothing_back(database_url: str) -> None:
    async def play(mirror: AsyncMirror) -> None:
        await forget(mirror, ISSUER, "mine", "operator:ada")
        now, ticket = mirror.clock(), await mirror.ticket(ISSUER)
        again = shipped("mine", "Delivered", 3)
        late = await mirror.apply(ISSUER, [Observed(again, "notification", now)])
        asked = await mirror.apply(ISSUER, [Observed(again, "answer", now, ticket)])
        assert [type(each) for each in late + asked] == [Duplicate, Duplicate]
        assert "SECRET-NUMBER-mine" not in kept(database_url)

    played(database_url, play)


def test_a_card_of_which_more_may_be_told_is_kept_unless_that_is_meant(database_url: str) -> None:
    async def play(mirror: AsyncMirror) -> None:
        way = Observed(shipped("way", "InTransit", 1), "notification", mirror.clock())
        await mirror.apply(ISSUER, [way])
        with pytest.raises(Conflict, match="card way is open"):
            await forget(mirror, ISSUER, "way", "operator:ada")
        with pytest.raises(NotFound, match="has no card never"):
            await forget(mirror, ISSUER, "never", "operator:ada")
        assert await forget(mirror, ISSUER, "way", "operator:ada", travelling=True) == Forgotten(1, 1, 0)
        assert "SECRET-NUMBER-way" not in kept(database_url)

    played(database_url, play)


@pytest.mark.parametrize("picture", [
    b'{"details": {"shipment": null}}', b'{"details": 7, "cardtrail": []}',
    b'{"cardtrail": {"checkpoints": [1, null]}}', b'{"details": {"shipment": {"status": "InTransit"}}}',
])  # fmt: skip
def test_pictures_in_any_shape_of_which_nothing_is_erased_stay_as_they_are(picture: bytes) -> None:
    assert without_parcel(picture) == picture
