"""Transactions at the same time: nothing is lost, changes are numbered as they commit, no ring of locks stays.

Two `Database` objects on one database are two processes as far as either engine can tell.
"""

import asyncio
import random
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from cardtrail.db import Row, Transaction
from cardtrail.platform.held import Item, Outcome
from cardtrail.platform.ingest import item_of
from cardtrail.platform.sweep import DAY, _drop_waiting
from tests.desk import EVERYONE, NOW, Desk, connected, desk, dump, execute, set_default
from tests.events import event
from tests.following import keep_log
from tests.serving import ISSUER, OTHER_ISSUER

PATIENCE = 60.0
"""Longest wait for another thread, seconds; only a broken test ever waits so long."""


def items_of(*events: dict[str, Any]) -> list[Item]:
    items = [item_of(EVERYONE, msgspec.json.encode(each), NOW) for each in events]
    return [item for item in items if isinstance(item, Item)]


# ── one transaction held open while another comes


class Held:
    """A transaction that stops before its n-th statement until it is let go, once."""

    def __init__(self, stop_before: int) -> None:
        self.left = stop_before
        self.reached = threading.Event()
        self.go = threading.Event()
        self.done = False

    def around(self, tx: Transaction) -> Transaction:
        return _Stopping(tx, self)

    def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.reached.set()
            assert self.go.wait(PATIENCE)


class _Stopping:
    def __init__(self, tx: Transaction, held: Held) -> None:
        self._tx = tx
        self._held = held

    def __getattr__(self, name: str) -> Any:
        self._held.step()
        return getattr(self._tx, name)


class Watch:
    """Tells whether somebody waits for a lock in a database, without guessing by time."""

    def __init__(self, waiting: Desk) -> None:
        self._url = waiting.url
        self._begun = threading.Event()
        if waiting.db.engine == "sqlite":
            writer: sqlite3.Connection = waiting.db._writer  # type: ignore[attr-defined]  # which engine it is, is known
            writer.set_trace_callback(lambda statement: self._begun.set() if "BEGIN" in statement else None)

    async def until_blocked(self, other: "asyncio.Task[Any]") -> None:
        """Return when the other transaction is done, or cannot go on."""
        if self._url.startswith("sqlite"):
            await asyncio.to_thread(self._begun.wait, PATIENCE)
            return
        with connected(self._url) as run:
            while not other.done() and not run(_BLOCKED):
                await asyncio.to_thread(run, "SELECT 1")


_BLOCKED = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


async def interleave(
    one: Desk, two: Desk, first: Callable[[Transaction], Any], second: Callable[[Transaction], Any], stop_before: int
) -> bool:
    """Stop the first transaction before a statement, let the second come, go on; return whether it was stopped."""
    held = Held(stop_before)
    watch = Watch(two)

    def holding(tx: Transaction) -> Any:
        return first(held.around(tx))

    begun = asyncio.create_task(one.db.transact(holding))
    begun.add_done_callback(lambda _: held.reached.set())
    await asyncio.to_thread(held.reached.wait, PATIENCE)
    stopped = not begun.done()
    other = asyncio.create_task(two.db.transact(second))
    if stopped:
        await watch.until_blocked(other)
    held.go.set()
    await asyncio.gather(begun, other)
    return stopped


def recording(site: Desk, events: Iterable[dict[str, Any]]) -> Callable[[Transaction], list[Outcome]]:
    """Return the work that records these events, made before the transaction as always."""
    items = items_of(*events)
    return lambda tx: site.ingest.record(tx, items)


def early(way: str, n: int) -> list[dict[str, Any]]:
    """An event that comes before its order, by each way of naming it."""
    if way == "card":
        return [event("ready", f"{way}-{n}", hours=1)]
    if way == "operation":
        return [event("ready", issuerId=ISSUER, operationId=f"op-{n}", hours=1)]
    return [event("scanned", hours=9, carrier="dhl", trackingNumber=f"T{n}", status="InTransit")]


def order(way: str, n: int) -> list[dict[str, Any]]:
    """The order that such an event is about."""
    begun = event("requested", f"{way}-{n}", operationId=f"op-{way}-{n}")
    if way == "operation":
        begun["operationId"] = f"op-{n}"
    parcel = {"carrier": "dhl", "trackingNumber": f"T{n}"}
    return [begun, event("shipped", f"{way}-{n}", hours=5, **parcel)] if way == "parcel" else [begun]


@pytest.mark.parametrize("held", ["event", "order"])
@pytest.mark.parametrize("way", ["card", "operation", "parcel"])
def test_an_event_and_its_order_at_the_same_time_always_meet(database_url: str, way: str, held: str) -> None:
    """One of the two is stopped before each of its statements in turn, and the other one comes."""
    with desk(database_url) as one, desk(database_url) as two:
        stopped, n = True, 0
        while stopped:
            n += 1
            works = [recording(one, early(way, n)), recording(two, order(way, n))]
            first, second = works if held == "event" else reversed(works)
            stopped = one.run(interleave(one, two, first, second, n))
            if way == "parcel":
                assert one.shipment(f"{way}-{n}") == "InTransit", f"lost when stopped before statement {n}"
            else:
                assert one.stage(f"{way}-{n}") == "CARD_PROD_READY", f"lost when stopped before statement {n}"
    assert n > 6


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("way", ["card", "operation", "parcel"])
def test_sweeping_and_a_new_event_of_the_same_order_leave_nothing_unwatched(
    database_url: str, way: str, first: int
) -> None:
    """Was a bug: an event whose row was swept while it waited for the lock went on without one."""
    before = NOW + 31 * DAY
    with desk(database_url) as one, desk(database_url) as two:
        stopped, n = True, 0
        while stopped:
            n += 1
            one.tell(*early(way, n))
            again = {**early(way, n)[0], "eventId": f"again-{n}"}
            works = [lambda tx: _drop_waiting(tx, before, before), recording(two, [again])]
            stopped = one.run(interleave(one, two, works[first], works[1 - first], n))
            rows = {table: len(found) for table, found in dump(database_url).items()}
            assert rows[_ROW[way]] == rows["inbox"], n
            assert two.tell(*order(way, n)) == ["accepted"] * len(order(way, n))
            told = one.shipment(f"{way}-{n}") if way == "parcel" else one.stage(f"{way}-{n}")
            assert (told in {"InTransit", "CARD_PROD_READY"}) == bool(rows["inbox"]), n
            one.transact(lambda tx: tx.script("DELETE FROM card;\nDELETE FROM operation_ref;\nDELETE FROM parcel;\n"))
            one.transact(lambda tx: tx.script("DELETE FROM inbox;\n"))
    assert n > 6


_ROW = {"card": "card", "operation": "operation_ref", "parcel": "parcel"}
"""The table in which each way of naming an order waits."""


def test_the_same_event_at_the_same_time_is_accepted_once(database_url: str) -> None:
    with desk(database_url) as one, desk(database_url) as two:
        one.tell(event("requested", "card"))
        results: list[list[str]] = []

        def keeping(site: Desk, events: list[dict[str, Any]]) -> Callable[[Transaction], None]:
            work = recording(site, events)
            return lambda tx: results.append([outcome.result for outcome in work(tx)])

        for stop_before in range(1, 8):
            results.clear()
            events = [event("held", "card", hours=stop_before, reason=str(stop_before))]
            one.run(interleave(one, two, keeping(one, events), keeping(two, events), stop_before))
            assert sorted(results) == [["accepted"], ["duplicate"]]
        assert one.sequence("card") == 8


def test_ingest_does_not_depend_on_the_databases_own_isolation(postgres_url: str) -> None:
    """Was a bug: with `repeatable read` as the default, whoever had waited for a card did not see what came before."""
    set_default(postgres_url, "default_transaction_isolation", "repeatable read")
    with desk(postgres_url) as one, desk(postgres_url) as two:
        for n in range(2, 9):
            one.tell(*early("card", n))
            more = recording(one, [event("started", f"card-{n}", hours=2)])
            one.run(interleave(one, two, more, recording(two, order("card", n)), n))
            assert one.stage(f"card-{n}") == "CARD_PROD_ONGOING", n


# ── rings of locks


def test_two_crossed_batches_never_stop_each_other_for_good(postgres_url: str) -> None:
    """Many crossed batches of new and known cards, parcels and operations, from two processes at once."""
    with desk(postgres_url) as one, desk(postgres_url) as two:
        rng = random.Random(7)
        for turn in range(10):
            batches = [crossed(rng, turn) for _ in range(6)]
            answers = one.run(_together(one, two, batches))
            assert {answer for batch in answers for answer in batch} <= {"accepted", "CONFLICT"}
        for card in range(6):
            assert one.stage(f"card-{card}") is not None


def crossed(rng: random.Random, turn: int) -> list[dict[str, Any]]:
    events = []
    for _ in range(20):
        card = rng.randrange(6 + turn * 3)
        parcel = {"carrier": "dhl", "trackingNumber": f"T{rng.randrange(20)}"}
        about = {"issuerId": rng.choice((ISSUER, OTHER_ISSUER)), "cardId": f"card-{card}"}
        kind = rng.choice(("requested", "requested", "ready", "shipped", "scanned", "operation"))
        if kind == "scanned":
            events.append(event("scanned", hours=9, status="InTransit", **parcel))
        elif kind == "operation":
            events.append(event("ready", issuerId=ISSUER, operationId=f"op-card-{rng.randrange(9)}"))
        elif kind == "requested":
            events.append(event(kind, hours=0, operationId=f"op-card-{card}", **about))
        else:
            events.append(event(kind, hours=5, **(parcel if kind == "shipped" else {}), **about))
    return events


async def _together(one: Desk, two: Desk, batches: list[list[dict[str, Any]]]) -> list[list[str]]:
    """Record each batch in a transaction of its own, all at once."""

    async def tell(site: Desk, batch: list[dict[str, Any]]) -> list[str]:
        outcomes = await site.db.transact(recording(site, batch))
        return [outcome.code or outcome.result for outcome in outcomes]

    return list(await asyncio.gather(*(tell((one, two)[n % 2], batch) for n, batch in enumerate(batches))))


# ── numbers of changes

_LOOK = """
SELECT c.issuer_id, c.change_no, count(l.change_no), count(DISTINCT l.change_no), min(l.change_no), max(l.change_no)
FROM issuer_counter AS c LEFT JOIN change_log AS l ON l.issuer_id = c.issuer_id GROUP BY c.issuer_id, c.change_no"""


@contextmanager
def looking(url: str) -> Iterator[list[list[Row]]]:
    """Look at the numbers again and again while others write; each look is one statement, hence one snapshot."""
    looks: list[list[Row]] = []
    done = threading.Event()

    def look() -> None:
        with connected(url) as run:
            while not done.is_set():
                looks.append(run(_LOOK))
            looks.append(run(_LOOK))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield looks
    finally:
        done.set()
        thread.join(PATIENCE)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_changes_are_numbered_without_holes_in_the_order_of_their_commits(database_url: str, seed: int) -> None:
    """Several processes, issuers and tasks at random, some transactions undone; a reader never sees a hole."""
    rng = random.Random(seed)
    issuers = [ISSUER, OTHER_ISSUER, "ISSUER0003"]
    with desk(database_url) as one, desk(database_url) as two:
        keep_log(database_url, pictures=True)

        async def writing(site: Desk) -> None:
            for _ in range(12):
                batch = [
                    event(rng.choice(STAGES), f"card-{rng.randrange(12)}", issuerId=rng.choice(issuers), hours=n)
                    for n in range(rng.randrange(1, 12))
                ]
                work = recording(site, batch)
                if rng.random() < 0.2:
                    with pytest.raises(ZeroDivisionError):
                        await site.db.transact(lambda tx, work=work: work(tx) and 1 // 0)  # type: ignore[misc]  # mypy cannot type the default
                else:
                    await site.db.transact(work)

        async def all_writing() -> None:
            await asyncio.gather(*(writing(site) for site in (one, two, one, two)))

        with looking(database_url) as looks:
            one.run(all_writing())
    for look in looks:
        for _, counter, *numbers in look:
            assert numbers == [counter, counter, 1, counter], f"seed {seed}"
    newest = [{row[0]: row[1] for row in look} for look in looks]
    assert all(a[issuer] <= b[issuer] for a, b in pairwise(newest) for issuer in a)
    assert set(newest[-1]) == set(issuers)
    _check_log(database_url)


STAGES = ("requested", "prepared", "ready", "started", "held", "released", "done", "shipped")


def _check_log(url: str) -> None:
    """Every number names a picture that differs from the one before it; the last one is what is published."""
    published = {
        row[:2]: row[2:] for row in execute(url, "SELECT issuer_id, operation_id, sequence, picture FROM operation")
    }
    last: dict[tuple[str, str], Row] = {}
    for issuer_id, operation_id, sequence, picture in execute(
        url, "SELECT issuer_id, operation_id, sequence, picture FROM change_log ORDER BY issuer_id, change_no"
    ):
        before = last.get((issuer_id, operation_id), (0, b""))
        assert sequence > before[0]
        assert _content(picture) != _content(before[1])
        last[issuer_id, operation_id] = (sequence, picture)
    assert last == published


def _content(picture: bytes) -> Any:
    """A picture without its sequence."""
    decoded = msgspec.json.decode(picture or b'{"cardtrail":{"sequence":0}}')
    del decoded["cardtrail"]["sequence"]
    return decoded


# ── law 1, end to end


def stories(rng: random.Random) -> list[dict[str, Any]]:
    """The lives of fifty cards, in the order in which they happened."""
    told: list[tuple[float, dict[str, Any]]] = []

    def add(kind: str, hours: float, card_id: str | None = None, **members: Any) -> None:
        told.append((hours, event(kind, card_id, hours=hours, **members)))

    for n in range(50):
        card, operation, begin = f"card-{n}", {"issuerId": ISSUER, "operationId": f"op-{n}"}, rng.uniform(0, 20)
        parcel = {"carrier": "dhl", "trackingNumber": f"T{n // 3}"}
        add("requested", begin, card, operationId=f"op-{n}", inputFileName=f"file-{n % 4}")
        for step, kind in enumerate(("prepared", "ready", "started", "done"), 1):
            by_card = rng.random() < 0.6
            add(kind, begin + step + rng.random(), card if by_card else None, **({} if by_card else operation))
        if rng.random() < 0.2:
            add("canceled", begin + 4.5, card, reason="lost interest")
        if rng.random() < 0.8:
            add("shipped", begin + 8, card if rng.random() < 0.5 else None, **operation, **parcel)
        if rng.random() < 0.3:
            add("requested", begin + 300, card, operationId=f"op-{n}-again")
            add("ready", begin + 301, card, productionSite="South")
    for number in range(17):
        for status in rng.sample(("InfoReceived", "InTransit", "OutForDelivery", "AttemptFail", "Delivered"), 4):
            hours = 30 + rng.uniform(0, 99)
            add(
                "scanned",
                hours,
                carrier="dhl",
                trackingNumber=f"T{number}",
                status=status,
                location=f"place {hours:.0f}",
            )
    told.sort(key=lambda entry: entry[0])
    return [each for _, each in told]


def pictures(site: Desk) -> dict[str, list[Any]]:
    return {f"card-{n}": [_content(msgspec.json.encode(each)) for each in site.history(f"card-{n}")] for n in range(50)}


@pytest.mark.parametrize("seed", [11, 12])
def test_shuffled_stories_in_many_transactions_end_as_one_told_in_order(
    new_database: Callable[[], str], seed: int
) -> None:
    rng = random.Random(seed)
    events = stories(rng)
    with desk(new_database()) as calm:
        for start in range(0, len(events), 50):
            assert set(calm.tell(*events[start : start + 50])) == {"accepted"}
        expected = pictures(calm)
    url = new_database()
    shuffled = [*events, *rng.sample(events, len(events) // 3)]
    rng.shuffle(shuffled)
    shares = [shuffled[n::4] for n in range(4)]
    with desk(url) as one, desk(url) as two:
        keep_log(url, pictures=True)

        async def telling(site: Desk, share: list[dict[str, Any]]) -> list[str]:
            answers, start = [], 0
            while start < len(share):
                size = rng.choice((1, 1, 2, 7, 20))
                answers += await site.take(*share[start : start + size])
                start += size
            return answers

        async def all_telling() -> list[list[str]]:
            return await asyncio.gather(*(telling((one, two)[n % 2], share) for n, share in enumerate(shares)))

        answers = [answer for share in one.run(all_telling()) for answer in share]
        assert (answers.count("accepted"), answers.count("duplicate")) == (len(events), len(shuffled) - len(events))
        assert pictures(two) == expected, f"seed {seed}"
    _check_log(url)
    holes = "SELECT issuer_id FROM change_log GROUP BY issuer_id HAVING count(*) <> max(change_no)"
    assert execute(url, holes) == []


def test_sequences_are_the_numbers_of_visible_changes_whatever_the_order(new_database: Callable[[], str]) -> None:
    """With one event in each transaction every change is written down, so the sequence can be counted."""
    rng = random.Random(5)
    url = new_database()
    with desk(url) as one, desk(url) as two:
        keep_log(url, pictures=True)
        events = [
            event(kind, f"card-{n}", hours=hours, **({"operationId": f"op-{n}"} if kind == "requested" else {}))
            for n in range(20)
            for hours, kind in enumerate((*STAGES[:-1], "held", "released", "shipped"))
        ]
        rng.shuffle(events)

        async def one_by_one(site: Desk, share: list[dict[str, Any]]) -> None:
            for each in share:
                assert [outcome.result for outcome in await site.db.transact(recording(site, [each]))] == ["accepted"]

        async def both() -> None:
            await asyncio.gather(*(one_by_one((one, two)[n % 2], events[n::4]) for n in range(4)))

        one.run(both())
    logged = "SELECT operation_id, count(*), max(sequence) FROM change_log GROUP BY operation_id"
    assert all(count == newest for _, count, newest in execute(url, logged))
    _check_log(url)
