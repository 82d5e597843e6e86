"""What sites and carriers tell of a card, as ready-made bodies: twelve events from order to letter box."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

from bench.cards import CARRIER, ISSUER_ID, PRODUCTION_SITE

SITE = "site:bench"
CARRIER_SOURCE = f"carrier:{CARRIER}"

_SITE_EVENT = (
    '{"eventId":"%(tag)s-%(card)d-{step}","source":"'
    + SITE
    + '","kind":"{kind}","occurredAt":"{at}","issuerId":"'
    + ISSUER_ID
    + '","cardId":"%(tag)s-%(card)d"{more}}'
)
_SCAN = (
    '{"eventId":"%(tag)s-%(card)d-{step}","source":"'
    + CARRIER_SOURCE
    + '","kind":"scanned","occurredAt":"{at}","carrier":"'
    + CARRIER
    + '","trackingNumber":"JJD-%(tag)s-%(card)d","code":"{code}","status":"{status}","location":"{place}"}'
)
_PARCEL = f',"carrier":"{CARRIER}","trackingNumber":"JJD-%(tag)s-%(card)d"'
_SITE_STEPS = (
    ("requested", ',"distributionChannel":"CENTRAL","inputFileName":"BENCH_20260101_001.xml"'),
    ("prepared", ',"dueDate":"2026-01-07"'),
    ("ready", ""),
    ("started", f',"productionSite":"{PRODUCTION_SITE}"'),
    ("done", ""),
    ("shipped", f'{_PARCEL},"trackingUrl":"https://dhl.example/JJD-%(tag)s-%(card)d"'),
)
_SCANS = (
    ("InfoReceived", "VA", "Orleans, FR"),
    ("InTransit", "PO", "Orleans, FR"),
    ("InTransit", "AA", "Paris, FR"),
    ("InTransit", "EE", "Lille, FR"),
    ("OutForDelivery", "OD", "Lille, FR"),
    ("Delivered", "ZU", "Lille, FR"),
)
STEPS = len(_SITE_STEPS) + len(_SCANS)


def templates(now: datetime) -> list[str]:
    """Return the steps of a story that ended shortly before `now`, with `tag` and `card` left open."""
    begun = now - timedelta(hours=12 * STEPS)
    times = [(begun + timedelta(hours=12 * step)).strftime("%Y-%m-%dT%H:%M:%SZ") for step in range(STEPS)]
    texts = [
        _filled(_SITE_EVENT, step=step, kind=kind, at=times[step], more=more)
        for step, (kind, more) in enumerate(_SITE_STEPS)
    ]
    return texts + [
        _filled(_SCAN, step=step, at=times[step], status=status, code=code, place=place)
        for step, (status, code, place) in enumerate(_SCANS, len(_SITE_STEPS))
    ]


def _filled(text: str, **members: object) -> str:
    for name, value in members.items():
        text = text.replace("{" + name + "}", str(value))
    return text


def events(tag: str, cards: range, window: int, seed: int) -> Iterator[str]:
    """Yield every event of these cards: `window` stories run side by side, each one's events in order."""
    steps = templates(datetime.now(UTC))
    draw = random.Random(seed).randrange
    coming = iter(cards)
    told = [[card, 0] for card in islice(coming, window)]
    while told:
        place = draw(len(told))
        card, step = told[place]
        yield steps[step] % {"tag": tag, "card": card}
        told[place][1] += 1
        if step + 1 == STEPS:
            told[place] = [next(coming, -1), 0]
            told = told if told[place][0] >= 0 else told[:place] + told[place + 1 :]


def bodies(tag: str, cards: range, batch: int, window: int, seed: int = 1) -> list[bytes]:
    """Return bodies of `POST /ingest/v1/events` that tell these cards' stories, `batch` events in each."""
    told = list(events(tag, cards, window, seed))
    return [b'{"events":[%b]}' % ",".join(told[first : first + batch]).encode() for first in range(0, len(told), batch)]
