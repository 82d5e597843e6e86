"""Forgetting a card in the mirror: nothing of its parcel is left, and nothing that is told again brings it back."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from cardtrail.errors import Conflict, NotFound
from cardtrail.issuer import forget as forgetting
from cardtrail.issuer.erase import erased
from cardtrail.issuer.forget import Forgotten, forget
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


POISON = {
    "a number that nobody can hold": b'{"cardtrail":{"x":1e999},%b}',
    "a deep one": b'{"x":' + b"[" * 400 + b"]" * 400 + b",%b}",
    "a member twice": b'{%b,"details":{"status":"CARD_SHIPPED","shipment":{"trackingNumber":"SECRET-NUMBER",'
                      b'"trackingNumber":null}}}',
    "free texts": b'{%b,"error":"left-with-aunt","details":{"status":"CARD_SHIPPED","reason":"left-with-aunt",'
                  b'"recipient":"Heidelberg","shipment":{"status":"Delivered","history":["SECRET-NUMBER"]}}}',
}  # fmt: skip
PLAIN = b'"operationId":"op-1","operation":"PRODUCE","status":"SUCCESSFUL","cardId":"card-1"'


@pytest.mark.parametrize("name", POISON)
def test_no_picture_that_was_taken_in_keeps_itself_from_being_erased(name: str) -> None:
    """Regression: a number that is too large ended the command, and free texts and doubled members stayed."""
    picture = POISON[name] % PLAIN
    before, without = operation_of(picture), erased(picture)
    assert [secret for secret in SECRETS if secret.encode() in without] == []
    after = operation_of(without)
    assert (after.operation_id, after.card_id, after.stage, after.shipment_status, after.unknown) == (
        before.operation_id, before.card_id, before.stage, before.shipment_status, {},
    )  # fmt: skip
    assert erased(without) == without


def test_an_older_picture_without_a_sequence_brings_nothing_back_either(database_url: str) -> None:
    """Regression: of a server without `sequence` the picture before the newest one was doubtful, and stored again."""

    def plain(message: str) -> Operation:
        picture = msgspec.json.decode(shipped("plain", "Delivered", 1).raw)
        del picture["cardtrail"]
        picture["details"]["shipment"]["message"] = message
        return operation_of(msgspec.json.encode(picture))

    async def play(mirror: AsyncMirror) -> None:
        now = mirror.clock()
        for text in ("left-with-aunt", "left-with-aunt and signed"):
            await mirror.apply(ISSUER, [Observed(plain(text), "notification", now)])
        assert (await forget(mirror, ISSUER, "plain", "operator:ada", travelling=True)).orders == 1
        outcomes = await mirror.apply(ISSUER, [Observed(plain("left-with-aunt"), "notification", now)])
        assert [type(each) for each in outcomes] == [Duplicate]
        assert "SECRET-NUMBER-plain" not in kept(database_url)
        [held] = await mirror.card(ISSUER, "plain")
        assert held.known.forgotten_at is not None

    played(database_url, play)


def test_a_later_order_of_the_card_is_followed_as_any_other(database_url: str) -> None:
    async def play(mirror: AsyncMirror) -> None:
        await forget(mirror, ISSUER, "mine", "operator:ada")
        picture = msgspec.json.decode(shipped("mine", "InTransit", 1).raw) | {"operationId": "op-second"}
        await mirror.apply(
            ISSUER, [Observed(operation_of(msgspec.json.encode(picture)), "notification", mirror.clock())]
        )
        numbers = [each.known.parcel[1] for each in await mirror.card(ISSUER, "mine")]
        assert sorted(numbers, key=str) == [None, "SECRET-NUMBER-mine"]

    played(database_url, play)


def test_samples_that_were_cut_off_or_write_the_card_in_another_way_go_too(database_url: str) -> None:
    async def play(mirror: AsyncMirror) -> None:
        raw = shipped("mine", "InTransit", 1).raw
        samples = [
            Sighting("member", "cut", raw[: len(raw) // 2]), Sighting("element", "bad", b"SECRET-NUMBER-mine"),
            Sighting("member", "escaped", raw.replace(b'"mine"', b'"min\\u0065"')),
            Sighting("member", "other", shipped("other", "InTransit", 1).raw),
        ]  # fmt: skip
        await mirror.take(ISSUER, [], mark=None, sightings=samples)
        assert (await forget(mirror, ISSUER, "mine", "operator:ada")).samples == 4
        rows = execute(database_url, "SELECT name FROM sighting WHERE length(sample) > 0 ORDER BY name")
        assert [name for (name,) in rows] == ["other", "x-other"]

    played(database_url, play)
