"""Deliverers that are killed, receivers that fail: what changed is known to every receiver that lives, and nothing is
lost of what the others missed.
"""

import asyncio
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from cardtrail.platform.auth import wall_clock
from cardtrail.platform.endpoint import Config, Endpoint, Mode, Secrets
from cardtrail.platform.endpoints import Endpoints
from cardtrail.platform.ledger import Selection
from cardtrail.platform.replay import Replay
from tests.desk import Desk, desk, execute
from tests.engines import OwnServer, fresh_database, own_server
from tests.events import event
from tests.faults.delivering import BOX, Delivering, deliverers
from tests.receiver import OK, Received, Receiver, Reply

CHANGES = int(os.environ.get("CARDTRAIL_TEST_CHANGES", "20000"))
"""Changes of the large test; 100,000 show more and take longer."""
STEPS = "0.3," + ",".join(["1"] * 60)
"""Waits after failures, short so that a test sees many."""
TIMEOUT = 2
"""Longest call, seconds; a lease lasts twice as long and two seconds more."""
STAGES = ("requested", "prepared", "ready", "started", "done")
PATIENCE = 240.0
"""Longest wait for a state that must come, seconds."""
DEAD, SLOW, FLAKY = 0, 1, 2
KILLS = 5


def issuer_of(number: int) -> str:
    return f"ISSUER{number:04}"


async def register(site: Desk, number: int, url: str, **config: object) -> str:
    """Register the one endpoint of an issuer; return its signing secret."""
    endpoint = Endpoint(issuer_id=issuer_of(number), endpoint_id="main", config=Config(url=url, **config))  # type: ignore[arg-type]  # mixed
    return (await Endpoints(site.db, BOX, wall_clock).add(endpoint, Secrets(), "test"))[1]


async def started(url: str, steps: str = STEPS, seconds: int = TIMEOUT) -> Delivering:
    """Start a deliverer, without holding up the receivers of this process."""
    return await asyncio.to_thread(Delivering, url, steps, seconds)


async def until(question: Callable[[], bool], what: str) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE
    while not question():
        assert time.monotonic() < deadline, f"{what} has not come"
        await asyncio.sleep(0.2)


def states(url: str, number: int) -> Counter[str]:
    """How many notifications of an issuer are in which state."""
    rows = execute(url, "SELECT issuer_id, state, count(*) FROM notification GROUP BY issuer_id, state")
    return Counter({state: count for issuer_id, state, count in rows if issuer_id == issuer_of(number)})


def newest(url: str, number: int) -> dict[str, int]:
    """The newest sequence of each operation of an issuer, as the platform has it."""
    rows = execute(url, "SELECT issuer_id, operation_id, sequence FROM operation")
    return {operation_id: sequence for issuer_id, operation_id, sequence in rows if issuer_id == issuer_of(number)}


@contextmanager
def told_to(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[str], object]]:
    """A way to print past pytest."""
    with capsys.disabled():
        yield lambda line: sys.stdout.write(f"\n{line}\n")


# ── ten endpoints, five kills ──


def reply_of(number: int, chance: random.Random) -> Callable[[Received], Reply | Awaitable[Reply]]:
    """How the receiver of an issuer answers."""

    async def late(_: Received) -> Reply:
        await asyncio.sleep(0.3)
        return OK

    if number == SLOW:
        return late
    if number == FLAKY:
        return lambda _: OK if chance.random() > 0.3 else (500, {}, b"")
    return lambda _: OK


async def receivers_of(site: Desk, chance: random.Random) -> list[Receiver]:
    """Start ten receivers and register them, one an issuer; the first is dead at once."""
    receivers = []
    for number in range(10):
        receiver = await Receiver().start()
        receiver.reply = reply_of(number, chance)
        mode = Mode.EVERY_STEP if number == 3 else Mode.NEWEST
        size = chance.choice((1, 10, 100)) if number > SLOW else 50
        receiver.secret = await register(
            site, number, receiver.url, batch_size=size, rate=5_000, concurrency=8, mode=mode
        )
        receivers.append(receiver)
    await receivers[DEAD].stop()
    return receivers


async def change(site: Desk, changes: int) -> None:
    """Let each issuer's cards go through five stages, an issuer's cards in batches."""
    cards = changes // 10 // len(STAGES)
    for hours, kind in enumerate(STAGES):
        for start in range(0, cards, 100):
            batches = [
                [
                    event(kind, f"card-{card}", hours=hours) | {"issuerId": issuer_of(number)}
                    for card in range(start, min(start + 100, cards))
                ]
                for number in range(10)
            ]
            for outcomes in await asyncio.gather(*(site.take(*batch) for batch in batches)):
                assert set(outcomes) == {"accepted"}


async def kill_again_and_again(url: str, running: list[Delivering], chance: random.Random) -> None:
    """Kill one of the deliverers, five times, and start another in its place."""
    for _ in range(KILLS):
        await asyncio.sleep(chance.uniform(1.0, 2.5))
        victim = running.pop(chance.randrange(len(running)))
        await asyncio.to_thread(victim.kill)
        victim.close()
        running.append(await started(url))


@pytest.mark.timeout(900)
def test_with_endpoints_that_fail_and_deliverers_that_are_killed_every_newest_picture_arrives(
    database_url: str, engine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(3)

    async def whole(site: Desk, running: list[Delivering]) -> None:
        receivers = await receivers_of(site, chance)
        running += [await started(database_url) for _ in range(2)]
        await asyncio.gather(change(site, CHANGES), kill_again_and_again(database_url, running, chance))
        alive = range(1, 10)
        await until(lambda: not any(states(database_url, number)["PENDING"] for number in alive), "an empty queue")
        orders = {number: newest(database_url, number) for number in range(10)}
        for number in alive:
            assert receivers[number].newest == orders[number], f"issuer {number}"
            assert set(states(database_url, number)) <= {"DELIVERED", "SUPERSEDED"}
        dead = states(database_url, DEAD)
        assert dead["PENDING"] == len(orders[DEAD])
        assert dead.total() == sum(orders[DEAD].values())
        assert receivers[DEAD].calls == []
        await receivers[DEAD].start()
        replayed = await Replay(site.db, wall_clock).run(issuer_of(DEAD), Selection(endpoint_id="main"))
        assert replayed.pending + replayed.replayed == len(orders[DEAD])  # a probe may have been faster than the replay
        await until(lambda: not states(database_url, DEAD)["PENDING"], "the end of the replay")
        assert receivers[DEAD].newest == orders[DEAD]
        assert [receiver.bad_signatures for receiver in receivers] == [0] * 10
        report(receivers, orders, dead)
        for receiver in receivers:
            await receiver.stop()

    def report(receivers: Sequence[Receiver], orders: dict[int, dict[str, int]], dead: Counter[str]) -> None:
        pairs = sum(len(each) for each in orders.values())
        carried = sum(len(receiver.delivered) for receiver in receivers)
        calls = sum(len(receiver.calls) for receiver in receivers)
        failed = sum(call.status == 500 for call in receivers[FLAKY].calls)
        changes = sum(sum(each.values()) for each in orders.values())
        with told_to(capsys) as say:
            say(
                f"{engine}: {changes:,} changes, {pairs:,} orders x endpoints,"
                f" 10 endpoints (1 dead, 1 slow, 1 failing {failed} of {len(receivers[FLAKY].calls)} calls),"
                f" {KILLS} kills: {calls:,} calls carried {carried:,} pictures, every newest one delivered,"
                f" 0 bad signatures; the dead one had {dead['PENDING']:,} pending, {dead['SUPERSEDED']:,} superseded"
                f" in the ledger, and one replay delivered them"
            )

    with desk(database_url) as site, deliverers() as running:
        site.run(whole(site, running))
        for each in running:
            each.stop()


# ── killed between send and settle ──


def test_killed_between_send_and_settle_a_notification_is_sent_again_and_never_lost(database_url: str) -> None:
    async def whole(site: Desk, running: list[Delivering]) -> None:
        receiver = await Receiver().start()
        receiver.secret = await register(site, 1, receiver.url)

        async def kill(_: Received) -> Reply:
            receiver.reply = lambda _: OK
            await asyncio.to_thread(running[0].kill)
            return OK

        receiver.reply = kill
        running.append(await started(database_url))
        assert await site.take(event("requested", "card-1") | {"issuerId": issuer_of(1)}) == ["accepted"]
        await until(lambda: bool(receiver.calls), "the first call")
        assert states(database_url, 1) == {"PENDING": 1}
        running.append(await started(database_url))
        await until(lambda: states(database_url, 1) == {"DELIVERED": 1}, "the second call")
        first, second = receiver.calls
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert receiver.bad_signatures == 0
        await receiver.stop()

    with desk(database_url) as site, deliverers() as running:
        site.run(whole(site, running))


# ── limits over processes ──

RATE = 40
TAKEOVERS = {"sqlite": 4, "postgres": 10}


@pytest.mark.timeout(300)
def test_a_rate_limit_holds_while_the_holder_of_the_lease_is_killed_again_and_again(
    database_url: str, engine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    most_at_once = 0

    async def whole(site: Desk, running: list[Delivering]) -> None:
        receiver = await Receiver().start()
        at_once = 0

        async def counted(_: Received) -> Reply:
            nonlocal at_once, most_at_once
            at_once += 1
            most_at_once = max(most_at_once, at_once)
            await asyncio.sleep(0.05)
            at_once -= 1
            return OK

        receiver.reply = counted
        await register(site, 1, receiver.url, rate=RATE, concurrency=3)
        cards = [event("requested", f"card-{card}") | {"issuerId": issuer_of(1)} for card in range(900)]
        assert set(await site.take(*cards)) == {"accepted"}
        running += [await started(database_url, STEPS, 1) for _ in range(3)]
        for _ in range(TAKEOVERS[engine]):
            before = len(receiver.calls)
            await until(lambda before=before: len(receiver.calls) >= before + 20, "a new holder")  # type: ignore[misc]  # bound now
            [(holder,)] = execute(database_url, "SELECT holder FROM lane")
            [victim] = [each for each in running if each.holder == holder]
            await asyncio.to_thread(victim.kill)
            victim.close()
            running.remove(victim)
            running.append(await started(database_url, STEPS, 1))
        times = sorted(call.at for call in receiver.calls)
        burst = max(1, RATE / 20)
        for first in range(len(times)):
            within = sum(times[first] <= at < times[first] + 1.0 for at in times[first:])
            assert within <= RATE + burst + 2  # the clocks of two processes and of ours
        with told_to(capsys) as say:
            say(
                f"{engine}: {TAKEOVERS[engine]} kills of the holder, {len(times)} calls, never more than"
                f" {most_at_once} at once, and {RATE} + {burst:.0f} a second"
            )
        await receiver.stop()

    with desk(database_url) as site, deliverers() as running:
        site.run(whole(site, running))
    assert most_at_once <= 3


# ── receivers that misbehave ──


async def _hang(_: Received) -> Reply:
    await asyncio.sleep(5)
    return OK


async def _late(_: Received) -> Reply:
    await asyncio.sleep(0.5)
    return OK


MISBEHAVIOUR: list[Callable[[Received], Reply | Awaitable[Reply]]] = [
    lambda _: (500, {}, b"broken"),
    lambda _: (503, {"retry-after": "1"}, b""),
    lambda _: (302, {"location": "http://127.0.0.1:1/elsewhere"}, b""),
    lambda _: (0, {}, b""),
    lambda _: (0, {}, b"HTTP/1.1 204"),
    lambda _: (0, {}, b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf"),
    lambda _: (500, {}, b"x" * 5_000_000),
    lambda _: (0, {}, b"HTTP/1.1 500 X\r\ncontent-length: 10\r\n\r\n" + b"y" * 100_000),
    lambda _: (0, {}, b"SSH-2.0-OpenSSH_9.6\r\n"),
    _hang,
    _late,
]


@pytest.mark.timeout(300)
def test_whatever_receivers_do_every_picture_arrives_and_every_attempt_is_in_the_ledger(database_url: str) -> None:
    async def whole(site: Desk, running: list[Delivering]) -> None:
        receiver = await Receiver().start()
        receiver.secret = await register(site, 1, receiver.url, concurrency=4, rate=1_000)
        turns = iter(MISBEHAVIOUR * 2)

        def misbehave(call: Received) -> Reply | Awaitable[Reply]:
            return next(turns, lambda _: OK)(call)

        receiver.reply = misbehave
        running.append(await started(database_url, "0.1," + ",".join(["0.2"] * 90), 1))
        cards = [event("requested", f"card-{card}") | {"issuerId": issuer_of(1)} for card in range(40)]
        assert set(await site.take(*cards)) == {"accepted"}
        await until(lambda: states(database_url, 1) == {"DELIVERED": 40}, "40 deliveries")
        assert len(receiver.newest) == 40
        assert receiver.bad_signatures == 0
        attempts = execute(database_url, "SELECT http_status, failure, length(answer) FROM attempt")
        assert len(attempts) >= len(receiver.calls)
        assert max(row[2] for row in attempts) <= 1_024
        assert {row[0] for row in attempts} >= {204, 302, 500, 503}
        assert {row[1] for row in attempts if row[0] is None} >= {"timeout"}
        await receiver.stop()

    with desk(database_url) as site, deliverers() as running:
        site.run(whole(site, running))
        for each in running:
            each.stop()


# ── a database that goes away ──


@pytest.mark.timeout(300)
def test_a_database_that_crashes_in_the_middle_loses_no_notification(capsys: pytest.CaptureFixture[str]) -> None:
    cards, crashes = 600, 2

    async def whole(site: Desk, url: str, server: OwnServer, running: list[Delivering]) -> None:
        receiver = await Receiver().start()
        receiver.secret = await register(site, 1, receiver.url, rate=150, concurrency=4)
        told = [event("requested", f"card-{card}") | {"issuerId": issuer_of(1)} for card in range(cards)]
        assert set(await site.take(*told)) == {"accepted"}
        running += [await started(url) for _ in range(2)]
        for _ in range(crashes):
            before = len(receiver.calls)
            await until(lambda before=before: len(receiver.calls) >= before + 100, "calls before the crash")  # type: ignore[misc]  # bound now
            await asyncio.to_thread(server.crash)
            await asyncio.sleep(1)
            await asyncio.to_thread(server.start)
        await until(lambda: states(url, 1) == {"DELIVERED": cards}, "all deliveries")
        assert len(receiver.newest) == cards
        assert receiver.bad_signatures == 0
        with told_to(capsys) as say:
            say(f"postgres: {crashes} crashes, {cards} notifications, {len(receiver.calls)} calls, 0 lost")
        await receiver.stop()

    with own_server() as server, fresh_database(server.url) as url, desk(url) as site, deliverers() as running:
        site.run(whole(site, url, server, running))
        for each in running:
            each.stop()
