"""The mirror on both engines: what it keeps, in which order, and what its log, tallies and cards say."""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from cardtrail.core.place import PLACES, name_of
from cardtrail.db import Row, migrate, open_database
from cardtrail.errors import InputError, StoreUnavailable
from cardtrail.issuer import take
from cardtrail.issuer.counts import recount
from cardtrail.issuer.due import Why
from cardtrail.issuer.expect import Expected, cards_of, expect
from cardtrail.issuer.hooks import Hook, exported
from cardtrail.issuer.learn import learn, prune
from cardtrail.issuer.lease import LeaseLost, LeaseTaken, acquire, held, renew
from cardtrail.issuer.mirror import AsyncMirror, Change, Mirror
from cardtrail.issuer.standing import FOLDED, Applied, Doubtful, Duplicate, Observed, Outcome, Regressed, Stale
from cardtrail.issuer.store import migrations, open_store, queries
from cardtrail.issuer.take import Asked, Batch, Sighting
from cardtrail.protocol.reading import Operation, operation_of
from tests.desk import catalog, execute, version

ISSUER = "BANK000001"
HOUR = 3_600_000_000
START = 1_793_491_200_000_000
"""2026-11-01T00:00:00Z, when orders are placed."""


class Clock:
    """Wall-clock µs that move only when they are told to."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now


class Bank:
    """A mirror under test."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.clock = Clock()
        self.mirror = Mirror.open(url)
        self.mirror.clock = self.clock

    def hear(self, *operations: Operation) -> list[type[Outcome]]:
        """Take notifications, one message."""
        return self._apply(*(Observed(operation, "notification", self.clock.now) for operation in operations))

    def answer(self, operation: Operation, ticket: int | None = None) -> list[type[Outcome]]:
        """Take an answer that was asked for now, or at an earlier ticket."""
        asked = self.mirror.ticket(ISSUER) if ticket is None else ticket
        batch = Batch(
            now=self.clock.now, observed=[Observed(operation, "answer", self.clock.now, asked)],
            asked={operation.card_id: Asked("found")}, ticket=asked,
        )  # fmt: skip
        return [type(outcome) for outcome in self.mirror.put(ISSUER, batch)]

    def _apply(self, *observed: Observed) -> list[type[Outcome]]:
        return [type(outcome) for outcome in self.mirror.apply(ISSUER, observed)]

    def stage(self, card_id: str = "card-1") -> str:
        return self.mirror.card(ISSUER, card_id)[0].known.stage

    def rows(self, text: str) -> list[Row]:
        return execute(self.url, text)


@pytest.fixture
def bank(database_url: str) -> Iterator[Bank]:
    bank = Bank(database_url)
    yield bank
    bank.mirror.close()


def order(stage: str, shipment: str | None = None, *, card_id: str = "card-1", **members: Any) -> Operation:
    """An order of a card as a server sends it; without `sequence` unless one is given."""
    details = {"status": stage} | ({"shipment": {"status": shipment}} if shipment else {})
    ended = stage in {"CARD_SHIPPED", "CARD_PROD_CANCELED"}
    sequence = members.pop("sequence", None)
    picture = {
        "operationId": f"op-{card_id}", "operation": "PRODUCE", "status": "SUCCESSFUL" if ended else "PENDING",
        "startTime": "2026-11-01T00:00:00.000Z", "cardId": card_id,
        "details": details | members.pop("details", {}),
    } | members  # fmt: skip
    return operation_of(msgspec.json.encode(picture | ({"cardtrail": {"sequence": sequence}} if sequence else {})))


# ── what it keeps ──


def test_the_newest_is_kept_and_a_late_one_is_stale(bank: Bank) -> None:
    assert bank.hear(order("DATA_PREPARED"), order("CARD_PROD_DONE"), order("CARD_PROD_READY")) == [
        Applied, Applied, Stale,
    ]  # fmt: skip
    assert bank.stage() == "CARD_PROD_DONE"


def test_the_same_again_is_a_duplicate_and_one_id_with_another_stage_is_not(bank: Bank) -> None:
    assert bank.hear(order("CARD_PROD_READY")) == [Applied]
    assert bank.hear(order("CARD_PROD_READY"), order("CARD_PROD_ONGOING")) == [Duplicate, Applied]


def test_what_nothing_tells_apart_is_doubtful_until_an_answer_says(bank: Bank) -> None:
    assert bank.hear(order("CARD_PROD_EXCEPTION"), order("CARD_PROD_ONGOING")) == [Applied, Doubtful]
    assert bank.mirror.card(ISSUER, "card-1")[0].known.doubtful
    assert bank.rows("SELECT priority FROM card") == [(1,)]
    bank.answer(order("CARD_PROD_EXCEPTION"))
    known = bank.mirror.card(ISSUER, "card-1")[0].known
    assert (known.stage, known.doubtful, known.why) == (
        "CARD_PROD_EXCEPTION", False, "an answer that was asked for later",
    )  # fmt: skip


def parcel(number: str | None, status: str | None, carrier: str | None = "ups") -> Operation:
    """A shipped order with a parcel, as far as it is named."""
    shipment = {"carrier": carrier, "trackingNumber": number, "status": status}
    named = {name: value for name, value in shipment.items() if value}
    return order("CARD_SHIPPED", details={"shipment": named})


@pytest.mark.parametrize("status", ["InfoReceived", "OutForDelivery", None])
def test_a_parcel_that_replaces_another_on_its_way_is_doubtful_and_not_stale(bank: Bank, status: str | None) -> None:
    """Regression: the new parcel's first status was taken for an old one of the parcel before."""
    assert bank.hear(parcel("P1", "OutForDelivery"), parcel("P2", status)) == [Applied, Doubtful]
    known = bank.mirror.card(ISSUER, "card-1")[0].known
    assert (known.parcel, known.shipment_status, known.doubtful) == (("ups", "P2"), status, True)
    assert known.why == "another parcel"
    assert bank.answer(parcel("P2", status)) == [Duplicate]
    assert bank.rows("SELECT doubtful, carrier, tracking_number FROM operation") == [(0, "ups", "P2")]


def test_another_carrier_is_another_parcel_too(bank: Bank) -> None:
    assert bank.hear(parcel("P1", "InTransit"), parcel("P1", "InfoReceived", "dhl")) == [Applied, Doubtful]


def test_what_is_not_named_is_no_other_parcel(bank: Bank) -> None:
    told = (parcel("P1", "InTransit"), parcel(None, "InfoReceived"), parcel("P1", "InfoReceived", None))
    assert bank.hear(*told) == [Applied, Stale, Stale]


def test_a_stage_decides_whatever_the_parcels_are(bank: Bank) -> None:
    back = order("CARD_RETURNED", status="SUCCESSFUL", details={"shipment": {"trackingNumber": "P1"}})
    assert bank.hear(parcel("P2", "InTransit"), back) == [Applied, Applied]


def test_an_answer_that_was_asked_for_before_the_newest_notification_does_not_win_by_that(bank: Bank) -> None:
    bank.hear(order("CARD_PROD_READY"))
    early = bank.mirror.ticket(ISSUER)
    bank.hear(order("CARD_PROD_DONE"))
    assert bank.answer(order("CARD_PROD_ONGOING"), early) == [Stale]
    assert bank.stage() == "CARD_PROD_DONE"


def test_an_answer_that_was_overtaken_by_a_later_ask_does_not_win_by_when_it_was_asked(bank: Bank) -> None:
    bank.hear(order("CARD_PROD_READY"))
    early = bank.mirror.ticket(ISSUER)
    assert bank.answer(order("CARD_PROD_DONE")) == [Applied]
    assert bank.answer(order("CARD_PROD_ONGOING"), early) == [Stale]


def test_a_platform_that_was_restored_is_believed_and_the_step_back_is_named(bank: Bank) -> None:
    bank.hear(order("CARD_SHIPPED", sequence=9))
    assert bank.answer(order("CARD_PROD_DONE", sequence=4)) == [Regressed]
    assert bank.stage() == "CARD_PROD_DONE"
    assert bank.rows("SELECT outcome, stage_before, stage FROM change ORDER BY number") == [
        ("applied", None, "CARD_SHIPPED"), ("regressed", "CARD_SHIPPED", "CARD_PROD_DONE"),
    ]  # fmt: skip


def test_no_clock_decides(bank: Bank) -> None:
    bank.clock.now = START + 10 * HOUR
    bank.hear(order("CARD_PROD_EXCEPTION"))
    bank.clock.now = START  # ten hours back
    assert bank.answer(order("CARD_PROD_ONGOING")) == [Applied]
    assert bank.stage() == "CARD_PROD_ONGOING"


def test_other_kinds_of_operations_are_kept_beside_the_orders(bank: Bank) -> None:
    activated = operation_of(
        b'{"operationId":"op-9","operation":"ACTIVATE","status":"SUCCESSFUL","cardId":"card-1","details":{}}'
    )
    bank.hear(order("CARD_PROD_READY"), activated)
    assert [each.known.operation for each in bank.mirror.card(ISSUER, "card-1")] == ["PRODUCE", "ACTIVATE"]
    assert bank.rows("SELECT state FROM card") == [("open",)]


def test_an_order_without_a_start_is_the_oldest(bank: Bank) -> None:
    """Regression: PostgreSQL showed it first."""
    bank.hear(order("CARD_PROD_READY"), order("CARD_PROD_DONE", operationId="op-2", startTime=None))
    assert bank.stage() == "CARD_PROD_READY"


def test_issuers_do_not_see_each_other(bank: Bank) -> None:
    bank.hear(order("CARD_PROD_READY"))
    assert bank.mirror.card("BANK000002", "card-1") == []
    assert bank.mirror.changes("BANK000002") == []


@pytest.mark.parametrize("issuer_id", ["", "short", "BANK0000011", "BANK 00001", "BANK00000\n"])
def test_what_is_no_issuer_is_refused(bank: Bank, issuer_id: str) -> None:
    with pytest.raises(InputError, match="issuerId"):
        bank.mirror.apply(issuer_id, [])


# ── timeline, log and tallies ──


def test_the_timeline_tells_how_each_step_was_learned(bank: Bank) -> None:
    bank.hear(order("DATA_PREPARED"))
    bank.clock.now += HOUR
    bank.answer(order("CARD_SHIPPED", "InTransit", endTime="2026-11-01T00:30:00.000Z"))
    steps = bank.mirror.card(ISSUER, "card-1")[0].known.timeline
    assert [(step.word, step.told.value) for step in steps] == [
        ("CARD_PROD_REQUESTED", "inferred"), ("DATA_PREPARED", "notified"), ("CARD_PROD_READY", "inferred"),
        ("CARD_PROD_ONGOING", "inferred"), ("CARD_PROD_DONE", "inferred"), ("CARD_SHIPPED", "answered"),
        ("InTransit", "answered"),
    ]  # fmt: skip
    happened = {step.word: step.happened_at for step in steps}
    assert happened["CARD_PROD_REQUESTED"] == START
    assert happened["CARD_SHIPPED"] == START + HOUR // 2
    assert happened["DATA_PREPARED"] is None


def test_a_notification_that_comes_after_the_answer_was_late_and_not_lost(bank: Bank) -> None:
    bank.hear(order("DATA_PREPARED"))
    bank.answer(order("CARD_PROD_READY"))
    bank.clock.now += HOUR
    assert bank.hear(order("CARD_PROD_READY")) == [Duplicate]
    last = bank.mirror.card(ISSUER, "card-1")[0].known.timeline[-1]
    assert (last.told.value, last.notified_at) == ("answered", START + HOUR)
    assert bank.rows("SELECT word, told, count FROM tally WHERE told IN ('answered', 'late') ORDER BY told") == [
        ("CARD_PROD_READY", "answered", 1), ("CARD_PROD_READY", "late", 1),
    ]  # fmt: skip
    assert bank.hear(order("CARD_PROD_READY")) == [Duplicate]
    assert bank.rows("SELECT count FROM tally WHERE told = 'late'") == [(1,)]


def test_the_log_says_since_when_the_mirror_was_wrong_at_most(bank: Bank) -> None:
    bank.hear(order("DATA_PREPARED"))
    bank.clock.now += HOUR
    bank.answer(order("DATA_PREPARED"))
    bank.clock.now += HOUR
    bank.answer(order("CARD_PROD_READY"))
    bank.clock.now += HOUR
    bank.answer(order("CARD_SHIPPED", endTime="2026-11-01T02:30:00.000Z"))
    wrong = bank.rows("SELECT source, wrong_since FROM change ORDER BY number")
    assert wrong == [("notification", None), ("answer", START + HOUR), ("answer", START + 5 * HOUR // 2)]


def test_a_change_that_happened_ahead_of_our_clock_was_missed_since_the_mirror_was_last_right(bank: Bank) -> None:
    """A platform whose clock is ahead, or virtual, made every change look as if it had been missed for no time."""
    bank.hear(order("DATA_PREPARED"))
    bank.clock.now += HOUR
    bank.answer(order("CARD_SHIPPED", endTime="2030-01-01T00:00:00.000Z"))
    assert bank.rows("SELECT wrong_since FROM change ORDER BY number") == [(None,), (START,)]


def test_a_card_that_was_never_heard_of_was_missed_since_the_feed_was_last_read_to_its_end(bank: Bank) -> None:
    """Where the platform's clock is ahead, it looked as if it had been missed for no time."""
    bank.mirror.put(ISSUER, Batch(now=START, cursor="c1", pulled_at=START))
    bank.clock.now += HOUR
    told = Observed(order("CARD_PROD_READY", startTime="2030-01-01T00:00:00.000Z"), "answer", bank.clock.now)
    bank.mirror.put(ISSUER, Batch(now=bank.clock.now, observed=[told], cursor="c2", pulled_at=bank.clock.now))
    assert bank.rows("SELECT wrong_since FROM change") == [(START,)]


def test_the_log_is_numbered_in_the_order_of_commits_and_never_twice(bank: Bank) -> None:
    for stage in ("DATA_PREPARED", "CARD_PROD_READY", "CARD_PROD_ONGOING"):
        bank.hear(*(order(stage, card_id=f"card-{number}") for number in range(5)))
    numbers = [change.number for change in bank.mirror.changes(ISSUER)]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 15
    assert [change.number for change in bank.mirror.changes(ISSUER, after=numbers[9])] == numbers[10:]


def test_only_dwells_that_notifications_told_whole_are_learned_from(bank: Bank) -> None:
    for stage in ("CARD_PROD_REQUESTED", "DATA_PREPARED", "CARD_PROD_ONGOING", "CARD_PROD_DONE"):
        bank.hear(order(stage))
        bank.clock.now += HOUR
    assert bank.rows("SELECT dwelt, stage FROM change WHERE dwelt IS NOT NULL ORDER BY number") == [
        ("CARD_PROD_REQUESTED/", "DATA_PREPARED"), ("CARD_PROD_ONGOING/", "CARD_PROD_DONE"),
    ]  # fmt: skip
    mirror = AsyncMirror(bank.mirror.db, bank.clock)
    assert asyncio.run(learn(mirror, ISSUER)) == 2
    assert asyncio.run(learn(mirror, ISSUER)) == 0


def test_first_sights_are_kept_once_and_only_so_many(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(take, "MAX_SIGHTINGS", 3)
    seen = [Sighting("status", f"NEW_{number}", b"{}") for number in range(2)]
    for _ in range(2):
        bank.mirror.take(ISSUER, [], mark=None, sightings=seen)
    bank.mirror.take(ISSUER, [], mark=None, sightings=[Sighting("member", f"m{n}", b"x" * 70_000) for n in range(5)])
    assert bank.rows("SELECT kind, name, length(sample) FROM sighting ORDER BY kind, name") == [
        ("member", "m0", 65_536), ("status", "NEW_0", 2), ("status", "NEW_1", 2),
    ]  # fmt: skip


def test_each_element_that_could_not_be_read_is_kept_whatever_the_reason(bank: Bank) -> None:
    """Regression: of several elements with one reason only the first was kept."""
    bad = [Sighting("element", "cardId: is required", body) for body in (b"one", b"two", b"one")]
    bank.mirror.take(ISSUER, [], mark=None, sightings=bad)
    assert sorted(bytes(sample) for (sample,) in bank.rows("SELECT sample FROM sighting")) == [b"one", b"two"]


def test_a_message_leaves_when_it_came_and_its_mark_and_a_heartbeat_keeps_the_mark(bank: Bank) -> None:
    heard = Observed(order("CARD_PROD_READY"), "notification", START)
    bank.mirror.take(ISSUER, [heard], mark="mark-1", sightings=[])
    bank.clock.now += HOUR
    bank.mirror.take(ISSUER, [], mark=None, sightings=[])
    assert bank.rows("SELECT mark, heard_at FROM issuer") == [("mark-1", START + HOUR)]
    assert bank.rows("SELECT hour, messages FROM heard ORDER BY hour") == [
        (START // HOUR, 1), (START // HOUR + 1, 1),
    ]  # fmt: skip


# ── the counts ──

STATES: list[tuple[str, str | None, dict[str, Any]]] = [
    ("CARD_PROD_REQUESTED", None, {}), ("CARD_PROD_READY", None, {}), ("CARD_PROD_EXCEPTION", None, {}),
    ("CARD_RETURNED", None, {}),
    *(("CARD_SHIPPED", status, {}) for status in (None, "InTransit", "Delivered", "Teleported")),
    ("ENGRAVED", None, {}), ("CARD_PROD_READY", None, {"details": {"reason": "ON_HOLD: no chips"}}),
    ("CARD_PROD_READY", None, {"operation": "ACTIVATE"}), ("CARD_PROD_DONE", "InTransit", {}),
]  # fmt: skip
"""Orders of which each has a place of its own, or none."""


def counted(bank: Bank) -> Counter[str]:
    """Return how many orders are at each place, counted one by one."""
    rows = bank.rows("SELECT operation, stage, shipment_status, held FROM operation")
    folded = [row[1:] for row in rows if row[0] in FOLDED]
    names = [name_of(stage, shipment, is_held=bool(held)) for stage, shipment, held in folded]
    return Counter(name if name in PLACES else "OTHER" for name in names)


def standing(bank: Bank) -> dict[str, int]:
    return {place: count for place, count in bank.rows("SELECT place, count FROM standing") if count}


@pytest.mark.parametrize("seed", range(4))
def test_counts_are_those_of_the_orders_whatever_comes(bank: Bank, seed: int) -> None:
    """Law: after each transaction each place has as many orders as are there."""
    chance = Random(seed)
    for _ in range(30):
        told = [
            order(stage, shipment, card_id=f"card-{chance.randrange(6)}", **members)
            for stage, shipment, members in chance.choices(STATES, k=chance.randrange(1, 5))
        ]
        if chance.random() < 0.3:
            bank.answer(told[0])
        else:
            bank.hear(*told)
        assert standing(bank) == counted(bank)


def test_the_first_release_is_counted_when_it_is_migrated(new_database: Callable[[], str]) -> None:
    url = new_database()
    bank = Bank(url)
    bank.hear(*(order(stage, shipment, card_id=f"card-{number}", **members)
                for number, (stage, shipment, members) in enumerate(STATES * 2)))  # fmt: skip
    bank.mirror.close()
    execute(url, "DELETE FROM standing")
    backfill = migrations()[4].partition("INSERT INTO standing")
    execute(url, "INSERT INTO standing" + backfill[2].partition(";")[0])
    bank = Bank(url)
    try:
        assert standing(bank) == counted(bank)
        assert len(standing(bank)) > 8
    finally:
        bank.mirror.close()


def test_orders_that_an_older_release_has_moved_are_counted_anew(bank: Bank) -> None:
    """Regression: beside a release from before the counts they were wrong for good, below zero even."""
    bank.hear(*(order(stage, shipment, card_id=f"card-{number}", **members)
                for number, (stage, shipment, members) in enumerate(STATES)))  # fmt: skip
    bank.rows("UPDATE standing SET count = count - 3")
    assert standing(bank) != counted(bank)
    db = open_database(bank.url, queries())
    try:
        asyncio.run(recount(db, ISSUER))
        assert standing(bank) == counted(bank)
    finally:
        db.close()


def test_an_old_answer_that_there_is_no_such_card_leaves_what_was_found_meanwhile(bank: Bank) -> None:
    """Regression: of two questions at once the slow one's 404 came last and was believed."""
    ticket = bank.mirror.ticket(ISSUER)
    bank.answer(order("CARD_PROD_READY"), ticket)
    for answer in ("unknown", "failed"):
        bank.mirror.put(ISSUER, Batch(now=bank.clock.now, asked={"card-1": Asked(answer)}, ticket=ticket))
        assert bank.rows("SELECT answer FROM card") == [("found",)]
    later = bank.mirror.ticket(ISSUER)
    bank.mirror.put(ISSUER, Batch(now=bank.clock.now, asked={"card-1": Asked("unknown")}, ticket=later))
    assert bank.rows("SELECT answer FROM card") == [("unknown",)]


def test_words_that_nobody_publishes_are_counted_under_one(bank: Bank) -> None:
    bank.hear(*(order(f"LASERED_{number}", card_id=f"card-{number}") for number in range(50)))
    assert bank.rows("SELECT word, told, count FROM tally") == [("OTHER", "notified", 50)]


@pytest.mark.parametrize("is_doubtful", [False, True])
def test_the_mirror_was_right_when_the_feed_was_read_to_its_end(bank: Bank, *, is_doubtful: bool) -> None:
    """Regression: it was said to have been wrong since the order was last heard of, however often it had read on."""
    bank.hear(order("CARD_PROD_READY"))
    if is_doubtful:
        bank.hear(order("CARD_PROD_EXCEPTION"), order("CARD_PROD_ONGOING"))
    bank.clock.now += HOUR
    read_at = bank.clock.now
    bank.mirror.put(ISSUER, Batch(now=read_at, cursor="c-1", pulled_at=read_at))
    bank.clock.now += HOUR
    bank.answer(order("CARD_PROD_DONE"))
    assert bank.rows("SELECT wrong_since FROM change WHERE wrong_since IS NOT NULL") == [
        (START if is_doubtful else read_at,)
    ]  # fmt: skip


# ── the schema ──


def test_the_first_release_and_all_migrations_make_the_schema_of_a_new_mirror(
    new_database: Callable[[], str],
) -> None:
    old, new = new_database(), new_database()
    db = open_database(old, queries())
    try:
        assert migrate(db, (Path(__file__).parent / "schema_of_mirror_1.sql").read_text(), ()) == 0
    finally:
        db.close()
    blob = r"X'(\w*)'"
    execute(old, OLD_ORDER if old.startswith("sqlite") else re.sub(blob, r"'\\x\1'", OLD_ORDER))
    for url in (old, new):
        open_store(url).close()
    assert catalog(old) == catalog(new)
    assert version(old) == version(new) == str(1 + len(migrations()))
    with Mirror.open(old) as mirror:
        assert mirror.apply(ISSUER, [Observed(parcel("P2", "InTransit"), "notification", START)])[0].before is not None
        assert mirror.card(ISSUER, "card-1")[0].known.parcel == ("ups", "P2")


OLD_ORDER = f"""INSERT INTO operation VALUES ('{ISSUER}', 'card-1', 'op-card-1', 'PRODUCE', 'PENDING', 'CARD_PROD_DONE',
    NULL, {START}, NULL, 1, 'notification', NULL, {START}, 0, '', X'', 0, 0, NULL, X'5B5D', X'7B7D')"""  # noqa: S608 -- our own
"""An order as the first release has written it."""


# ── cards ──


def test_a_settled_card_leaves_after_a_last_look(bank: Bank) -> None:
    bank.hear(order("CARD_PROD_CANCELED"))
    assert bank.rows("SELECT state FROM card") == [("open",)]
    bank.clock.now += HOUR
    bank.answer(order("CARD_PROD_CANCELED"))
    assert bank.rows("SELECT state FROM card") == [("settled",)]


def test_an_answer_asked_for_before_the_end_was_told_is_no_last_look(bank: Bank) -> None:
    """Regression: a question that was sent before the notification came and answered after it settled the card."""
    bank.hear(parcel("P1", "OutForDelivery"))
    early = bank.mirror.ticket(ISSUER)
    bank.clock.now += HOUR
    bank.hear(parcel("P1", "Delivered"))
    bank.clock.now += HOUR
    assert bank.answer(parcel("P1", "OutForDelivery"), early) == [Stale]
    assert bank.rows("SELECT state, priority FROM card") == [("open", Why.LAST_LOOK)]
    bank.clock.now -= 10 * HOUR  # whatever the clock says
    assert bank.answer(parcel("P1", "Delivered")) == [Duplicate]
    assert bank.rows("SELECT state FROM card") == [("settled",)]


def test_an_early_question_whose_answer_says_the_same_is_no_last_look_either(bank: Bank) -> None:
    early = bank.mirror.ticket(ISSUER)
    bank.hear(order("CARD_PROD_CANCELED"))
    assert bank.answer(order("CARD_PROD_CANCELED"), early) == [Duplicate]
    assert bank.rows("SELECT state FROM card") == [("open",)]


def test_an_answer_that_is_believed_for_its_stage_alone_is_looked_at_once_more(bank: Bank) -> None:
    early = bank.mirror.ticket(ISSUER)
    bank.hear(order("CARD_PROD_ONGOING"))
    assert bank.answer(order("CARD_PROD_CANCELED"), early) == [Applied]
    assert bank.rows("SELECT state, priority FROM card") == [("open", Why.LAST_LOOK)]


def test_an_answer_that_tells_the_end_itself_is_the_last_look(bank: Bank) -> None:
    bank.hear(order("CARD_PROD_ONGOING"))
    assert bank.answer(order("CARD_PROD_CANCELED")) == [Applied]
    assert bank.rows("SELECT state FROM card") == [("settled",)]


def test_an_end_that_is_told_by_a_clock_that_went_back_is_looked_at(bank: Bank) -> None:
    """Regression: a notification that seemed to be learned before the answer before it settled the card at once."""
    bank.answer(order("CARD_PROD_ONGOING"))
    bank.clock.now -= HOUR
    bank.hear(order("CARD_PROD_CANCELED"))
    assert bank.rows("SELECT state, priority FROM card") == [("open", Why.LAST_LOOK)]


def test_a_failed_question_is_no_last_look_although_the_card_is_told_as_ordered(bank: Bank) -> None:
    bank.hear(order("CARD_PROD_CANCELED"))
    bank.mirror.put(ISSUER, Batch(now=START, asked={"card-1": Asked("failed")}, ticket=bank.mirror.ticket(ISSUER)))
    expecting(bank, Expected("card-1", START))
    assert bank.rows("SELECT state FROM card") == [("open",)]


def test_an_order_that_an_older_release_has_kept_is_settled_by_one_look_and_stays_so(bank: Bank) -> None:
    bank.hear(order("CARD_PROD_CANCELED"))
    bank.rows("UPDATE operation SET look_from = NULL")
    bank.answer(order("CARD_PROD_CANCELED"))
    assert bank.rows("SELECT state FROM card") == [("settled",)]
    bank.hear(order("CARD_PROD_CANCELED"))
    assert bank.rows("SELECT state FROM card") == [("settled",)]


def test_a_question_from_before_the_last_change_is_no_last_look_although_its_answer_comes_after(bank: Bank) -> None:
    """Clocks were compared, not tickets: the answer came later, so a card was settled at which nobody had looked."""
    bank.hear(order("CARD_PROD_READY"))
    ticket = bank.mirror.ticket(ISSUER)
    bank.hear(order("CARD_PROD_CANCELED"))
    bank.clock.now += HOUR
    bank.answer(order("CARD_PROD_READY"), ticket)
    assert bank.rows("SELECT state FROM card") == [("open",)]
    bank.answer(order("CARD_PROD_CANCELED"), ticket)
    assert bank.rows("SELECT state FROM card") == [("open",)]
    bank.answer(order("CARD_PROD_CANCELED"))
    assert bank.rows("SELECT state FROM card") == [("settled",)]


def test_an_ask_that_failed_settles_nothing(bank: Bank) -> None:
    bank.hear(order("CARD_PROD_CANCELED"))
    bank.mirror.put(ISSUER, Batch(now=bank.clock.now, asked={"card-1": Asked("failed")}, ticket=5))
    assert bank.rows("SELECT state, answer, asks FROM card") == [("open", "failed", 1)]


def test_a_card_of_which_something_was_heard_is_read_again_although_the_answer_is_the_same(bank: Bank) -> None:
    bank.mirror.put(ISSUER, Batch(now=START, asked={"card-1": Asked("found", b"digest")}, ticket=1))
    assert bank.rows("SELECT count(*) FROM card WHERE digest IS NOT NULL") == [(1,)]
    bank.hear(order("CARD_PROD_READY"))
    assert bank.rows("SELECT count(*) FROM card WHERE digest IS NOT NULL") == [(0,)]


def test_a_card_that_was_unknown_and_is_told_of_is_planned_by_what_is_told(bank: Bank) -> None:
    """Regression: an answer from before the order was placed held the next question back for a day and more."""
    expecting(bank, Expected("card-1"))
    for _ in range(3):
        ask = Batch(now=bank.clock.now, asked={"card-1": Asked("unknown")}, ticket=bank.mirror.ticket(ISSUER))
        bank.mirror.put(ISSUER, ask)
    bank.hear(order("CARD_PROD_EXCEPTION"), order("CARD_PROD_ONGOING"))
    assert bank.rows("SELECT answer, priority, due_at FROM card") == [("", Why.DOUBTFUL, START)]


def expecting(bank: Bank, *cards: Expected) -> int:
    return asyncio.run(expect(AsyncMirror(bank.mirror.db, bank.clock), ISSUER, cards))


def test_an_expected_card_is_asked_for_when_nothing_is_heard_of_it(bank: Bank) -> None:
    assert expecting(bank, Expected("card-1"), Expected("card-2")) == 2
    assert bank.rows("SELECT card_id, state, priority FROM card ORDER BY card_id") == [
        ("card-1", "expected", 4), ("card-2", "expected", 4),
    ]  # fmt: skip


def test_a_card_that_was_ordered_again_is_expected_anew_and_a_list_of_all_cards_changes_nothing(bank: Bank) -> None:
    bank.hear(order("CARD_PROD_CANCELED"))
    bank.answer(order("CARD_PROD_CANCELED"))
    expecting(bank, Expected("card-1"))
    assert bank.rows("SELECT state FROM card") == [("settled",)]
    expecting(bank, Expected("card-1", START + HOUR))
    assert bank.rows("SELECT state FROM card") == [("open",)]
    again = order("CARD_PROD_CANCELED", operationId="op-2", startTime="2026-11-01T01:00:05.000Z")
    bank.clock.now += 2 * HOUR
    bank.answer(again)
    assert bank.rows("SELECT state FROM card") == [("settled",)]


def test_an_imported_card_that_was_ordered_long_before_settles(bank: Bank) -> None:
    """Regression: an import without a time took every older order for another one, and asked for ever."""
    bank.clock.now += 1_000 * HOUR
    expecting(bank, Expected("card-1"))
    bank.answer(order("CARD_PROD_CANCELED"))
    assert bank.rows("SELECT state FROM card") == [("settled",)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("cardId\ncard-1\ncard-2\n", [Expected("card-1"), Expected("card-2")]),
        ("\ufeffname,cardId,orderedAt\nAda,card-1,2026-11-01T00:00:00Z\n", [Expected("card-1", START)]),
        ('{"cardId":"card-1","x":1}\n\n{"cardId":"card-2"}\n', [Expected("card-1"), Expected("card-2")]),
        ("cardId,orderedAt\ncard-1,2090-01-01T00:00:00Z\n", [Expected("card-1", START + HOUR)]),
    ],
)  # fmt: skip
def test_files_of_expected_cards_are_read(text: str, found: list[Expected]) -> None:
    assert list(cards_of(text.splitlines(keepends=True), START + HOUR)) == found


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "line 1"), ("card\ncard-1\n", "cardId"), ("cardId\ncard 1\n", "line 2: cardId"),
        ("cardId,orderedAt\ncard-1,soon\n", "line 2: orderedAt"), ('{"cardId":"a"}\n{"cardId"\n', "line 2"),
        ('{"cardId":7}\n', "line 1: cardId"),
        ('{"cardId":"a","orderedAt":"2026-11-01T00:00:00"}\n', "line 1: orderedAt"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file_of_cards_is_named_by_line_and_field(text: str, named: str) -> None:
    with pytest.raises(InputError, match=named):
        list(cards_of(text.splitlines(keepends=True), START))


# ── hooks ──


def test_a_hook_is_told_of_every_change_in_order_and_goes_on_where_it_was(bank: Bank) -> None:
    mirror, told = AsyncMirror(bank.mirror.db, bank.clock), list[Change]()
    bank.hear(*(order("CARD_PROD_READY", card_id=f"card-{number}") for number in range(150)))

    def work(change: Change) -> None:
        if len(told) == 120 and not bank.clock.now > START:
            bank.clock.now += 1
            raise OSError("the issuer's own database is down")
        told.append(change)

    async def run() -> list[int]:
        counts = [await Hook(mirror, ISSUER, "crm", work).run_once()]
        with pytest.raises(OSError, match="down"):
            await Hook(mirror, ISSUER, "crm", work).run_once()
        return [*counts, *[await Hook(mirror, ISSUER, "crm", work).run_once() for _ in range(2)]]

    assert asyncio.run(run()) == [100, 30, 0]
    assert [change.card_id for change in told] == [change.card_id for change in bank.mirror.changes(ISSUER)]


def test_an_asynchronous_hook_is_waited_for(bank: Bank) -> None:
    told: list[str] = []

    async def work(change: Change) -> None:
        await asyncio.sleep(0)
        told.append(change.stage)

    bank.hear(order("CARD_PROD_READY"))
    assert asyncio.run(Hook(AsyncMirror(bank.mirror.db, bank.clock), ISSUER, "crm", work).run_once()) == 1
    assert told == ["CARD_PROD_READY"]


def test_the_log_is_exported_as_lines_of_json(bank: Bank) -> None:
    bank.hear(order("CARD_PROD_READY", error="two\nlines"))

    async def lines() -> list[bytes]:
        return [line async for line in exported(AsyncMirror(bank.mirror.db, bank.clock), ISSUER)]

    [line] = asyncio.run(lines())
    assert line.count(b"\n") == 1
    members = msgspec.json.decode(line)
    assert (members["cardId"], members["outcome"], members["operation"]["error"]) == ("card-1", "applied", "two\nlines")


def test_old_changes_are_forgotten_only_when_every_hook_was_told(bank: Bank) -> None:
    mirror = AsyncMirror(bank.mirror.db, bank.clock)
    bank.hear(*(order("CARD_PROD_READY", card_id=f"card-{number}") for number in range(120)))
    assert asyncio.run(Hook(mirror, ISSUER, "crm", lambda _: None).run_once()) == 100
    assert asyncio.run(prune(mirror, ISSUER, START)) == 0
    assert asyncio.run(prune(mirror, ISSUER, START + 1)) == 100
    assert len(bank.mirror.changes(ISSUER)) == 20


# ── the lease ──


def test_only_one_holds_the_lease_and_a_late_one_writes_nothing(bank: Bank) -> None:
    db = bank.mirror.db

    async def run() -> tuple[int | None, int | None]:
        first = await acquire(db, ISSUER, "a")
        second = await acquire(db, ISSUER, "b")
        return first, second

    first, second = asyncio.run(run())
    assert first is not None
    assert second is None
    bank.rows("UPDATE lease SET until = 0")
    third = asyncio.run(acquire(db, ISSUER, "b"))
    assert third == first + 1
    assert not asyncio.run(renew(db, ISSUER, first))
    late = Batch(now=START, observed=[Observed(order("CARD_PROD_READY"), "answer", START, 1)], fence=first)
    with pytest.raises(LeaseLost, match="b has taken over"):
        bank.mirror.put(ISSUER, late)
    assert bank.mirror.card(ISSUER, "card-1") == []


def test_whoever_finds_it_taken_says_by_whom(bank: Bank) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async def run() -> None:
        async with held(bank.mirror.db, ISSUER), held(bank.mirror.db, ISSUER, 1.0, sleep):
            pass

    with pytest.raises(LeaseTaken, match="is reconciling BANK000001"):
        asyncio.run(run())
    assert len(waits) == 4
    assert bank.rows("SELECT until FROM lease") == [(0,)]


def test_a_lease_from_before_a_clock_jumped_is_taken(bank: Bank) -> None:
    asyncio.run(acquire(bank.mirror.db, ISSUER, "a"))
    bank.rows("UPDATE lease SET until = until + 86400000000")
    assert asyncio.run(acquire(bank.mirror.db, ISSUER, "b")) is not None


def test_a_mirror_that_is_closed_says_so(database_url: str) -> None:
    mirror = Mirror.open(database_url)
    mirror.close()
    with pytest.raises(StoreUnavailable):
        mirror.apply(ISSUER, [])
