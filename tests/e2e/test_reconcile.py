"""Law 4 over the wire: the kit's client asks a strict server that fails in many ways, and our own platform."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from cardtrail.issuer.ask import Asker
from cardtrail.issuer.client import AsyncClient
from cardtrail.issuer.expect import Expected, expect
from cardtrail.issuer.lease import held
from cardtrail.issuer.mirror import AsyncMirror
from cardtrail.issuer.reconcile import Reconciler
from cardtrail.issuer.round import Heard
from cardtrail.issuer.standing import FOLDED, Observed
from cardtrail.protocol.reading import operation_of
from tests.events import event
from tests.serving import ISSUER, Service, private_pem, register_parties, serving
from tests.strict.plots import encode
from tests.strict.running import OnThread, strict_on_thread
from tests.strict.server import Options
from tests.strict.stream import Losses, Stream
from tests.strict.world import Told

CARDS = 600
READ = "d1-api:physical-card:read"
LOSSES = Losses(lost=0.3, doubled=0.1, window=50, late=0.05, delay=200)
TROUBLES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "too many calls": {"limited_every": 7, "retry_after": 0},
    "resets": {"reset_every": 9},
    "torn answers": {"torn_every": 9},
    "bursts of 503": {"unavailable_every": 60, "burst": 8, "retry_after": 0},
    "a gateway's pages": {"gateway_every": 8},
    "tokens that end": {"revoked_every": 300},
    "everything": {
        "limited_every": 17, "reset_every": 19, "torn_every": 23, "gateway_every": 29, "revoked_every": 311,
        "slow_every": 31, "slow_seconds": 0.05, "unavailable_every": 97, "burst": 5, "retry_after": 0,
    },
}  # fmt: skip
Play = Callable[[AsyncMirror], Awaitable[None]]


def run(url: str, play: Play) -> None:
    """Play with a mirror."""

    async def main() -> None:
        async with AsyncMirror.open(url) as mirror:
            await play(mirror)

    asyncio.run(main())


async def hear(mirror: AsyncMirror, elements: list[bytes], per_call: int = 10) -> None:
    """Let the mirror hear notifications, some with each call."""
    for begin in range(0, len(elements), per_call):
        observed = [
            Observed(operation_of(element), "notification", mirror.clock())
            for element in elements[begin : begin + per_call]
        ]
        await mirror.take(ISSUER, observed, mark=None, sightings=())


async def says(mirror: AsyncMirror, card_id: str) -> list[dict[str, Any]]:
    """What the mirror says of a card's orders, newest first; the latest is not in doubt."""
    orders = [each for each in await mirror.card(ISSUER, card_id) if each.operation.operation in FOLDED]
    assert [each.known.doubtful for each in orders[:1]] in ([], [False])
    return [json.loads(each.operation.raw) for each in orders]


# ── a strict server ──


@pytest.fixture
def strict() -> Iterator[OnThread]:
    with strict_on_thread(Options(cards=CARDS, seed=11, never=0.02)) as server:
        yield server


async def sweep(mirror: AsyncMirror, strict: OnThread) -> Heard:
    """Run one pass of the reconciler."""
    client = AsyncClient(strict.origin, ISSUER, key=strict.private_pem, kid=strict.kid, retries=10)
    async with client, held(mirror.db, ISSUER) as fence:
        return await Reconciler(Asker(ISSUER, client, mirror, fence, many=False)).sweep()


@pytest.mark.parametrize("trouble", TROUBLES)
def test_after_one_pass_the_mirror_is_a_strict_server_that_fails(
    strict: OnThread, tmp_path: Path, trouble: str
) -> None:
    check_strict(strict, f"sqlite:///{tmp_path}/mirror.db", TROUBLES[trouble])


def test_after_one_pass_a_mirror_on_either_engine_is_a_strict_server(strict: OnThread, database_url: str) -> None:
    check_strict(strict, database_url, TROUBLES["everything"])


def check_strict(strict: OnThread, url: str, troubles: dict[str, Any]) -> None:
    """Lose notifications, reconcile with troubles, compare."""
    stream, arrived = Stream(LOSSES, 11), list[bytes]()

    def send(told: Told) -> None:
        arrived.extend(stream.push(told.element))

    strict.strict.world.advance(CARDS * 8, send)
    arrived += stream.flush()

    async def play(mirror: AsyncMirror) -> None:
        await expect(mirror, ISSUER, [Expected(card_id) for card_id in strict.truth()])
        await hear(mirror, arrived)
        strict.troubles(**troubles)
        heard = await sweep(mirror, strict)

        assert (heard.failed, heard.unknown) == (0, list(strict.truth().values()).count(None))
        for card_id, newest in strict.truth().items():
            assert (await says(mirror, card_id))[:1] == ([] if newest is None else [newest])

    run(url, play)
    counts = strict.counts()["calls"]
    assert counts["status"] >= CARDS
    for name in troubles:
        if name.endswith("_every"):
            assert counts[name.removesuffix("_every")] > 0, name


def test_a_pass_goes_on_whatever_tokens_end_and_what_it_gave_up_is_in_the_next(
    strict: OnThread, tmp_path: Path
) -> None:
    """Regression: a token that ended, and the one that replaced it, too, ended the pass."""
    strict.strict.world.advance(CARDS * 4)

    async def play(mirror: AsyncMirror) -> None:
        await expect(mirror, ISSUER, [Expected(card_id) for card_id in strict.truth()])
        strict.troubles(revoked_every=30)
        heard = await sweep(mirror, strict)
        assert heard.asked == CARDS
        strict.troubles(revoked_every=0)
        assert (await sweep(mirror, strict)).failed == 0
        for card_id, newest in strict.truth().items():
            assert (await says(mirror, card_id))[:1] == ([] if newest is None else [newest])

    run(f"sqlite:///{tmp_path}/mirror.db", play)
    assert strict.counts()["calls"]["revoked"] > CARDS // 50


# ── our own platform ──

PLOTS = [
    "requested prepared ready started done shipped InTransit OutForDelivery Delivered",
    "requested prepared ready started failed started failed started done shipped InTransit",
    "requested prepared ready held released started held released done",
    "requested data_failed",
    "requested prepared canceled requested prepared ready started",
    "requested ready started done shipped OutForDelivery AttemptFail OutForDelivery AttemptFail Exception returned",
    "requested prepared ready started done shipped Delivered requested prepared ready started done shipped",
]


def events_of(card_id: str, plot: str) -> list[dict[str, Any]]:
    """What a site and a carrier report of a card."""
    told, parcel = [], 0
    for hours, word in enumerate(plot.split()):
        parcel += word == "shipped"
        tracked = {"carrier": "dhl", "trackingNumber": f"{card_id}-{parcel}"}
        if word[0].isupper() or word == "returned":
            status = {} if word == "returned" else {"status": word}
            told.append(event("returned" if word == "returned" else "scanned", None, hours=hours, **tracked, **status))
        else:
            more = tracked if word == "shipped" else {"reason": "x"} if word == "held" else {}
            told.append(event(word, card_id, hours=hours, **more))
    return told


def changes(service: Service, cursor: str) -> tuple[list[bytes], str]:
    """What has changed since a cursor, as it would be notified, and where to read on."""
    query = f"?since={cursor}" if cursor else ""
    path = f"/banking/v1/issuers/{ISSUER}/physicalCards/operations{query}"
    page = service.call("GET", path, token=service.token(READ)).json
    return [encode(operation) for operation in page["operations"]], page["cursor"]


async def pull(mirror: AsyncMirror, service: Service) -> Heard:
    """Run one pass of the reconciler."""
    client = AsyncClient(service.origin, ISSUER, key=private_pem(ISSUER), kid="k1")
    async with client, held(mirror.db, ISSUER) as fence:
        return await Reconciler(Asker(ISSUER, client, mirror, fence, many=True)).pull()


def test_after_one_pass_the_mirror_is_the_platform_with_all_orders(database_url: str, tmp_path: Path) -> None:
    own = f"sqlite:///{tmp_path}/platform.db"
    register_parties(own)
    chance, stream = Random(5), Stream(LOSSES, 5)
    waiting = [events_of(f"card-{number}", chance.choice(PLOTS)) for number in range(30)]
    with serving(own, tmp_path) as service:
        arrived, cursor = list[bytes](), ""
        while waiting := [events for events in waiting if events]:
            results = service.ingest(*[events.pop(0) for events in chance.sample(waiting, min(5, len(waiting)))])
            assert [result for result in results if result["result"] != "accepted"] == []
            told, cursor = changes(service, cursor)
            arrived += [element for each in told for element in stream.push(each)]
        arrived += stream.flush()

        async def play(mirror: AsyncMirror) -> None:
            await hear(mirror, arrived[: len(arrived) // 2])
            await pull(mirror, service)
            await hear(mirror, arrived[len(arrived) // 2 :])
            await pull(mirror, service)

            for number in range(30):
                answer = service.status(f"card-{number}", "?history=true")
                assert await says(mirror, f"card-{number}") == answer.json["operations"]

        run(database_url, play)
