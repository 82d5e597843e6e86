"""A process that ingests until it ends or is killed: `python -m tests.faults.ingesting URL BEGIN,BEGIN,…`.

Each caller tells the lives of its own cards in their order, from a given place on, in batches of different sizes, all
callers at once. After each acknowledgement a line goes out: the caller's number and the keys that were acknowledged.
"""

import asyncio
import json
import random
import sys
from collections.abc import Callable
from typing import Any

from tests.desk import Desk, desk
from tests.events import event

CALLERS = 6
CARDS = 45
"""Cards of each caller."""
STAGES = ("requested", "prepared", "ready", "started", "done")
Say = Callable[[int, list[str]], None]
SCANS = ("InfoReceived", "InTransit", "OutForDelivery", "AttemptFail", "OutForDelivery", "Delivered")


def lives_of(caller: int) -> list[dict[str, Any]]:
    """Return what happens to a caller's cards, the same in every process; three cards travel in one parcel."""
    told: list[dict[str, Any]] = []
    for first in range(0, CARDS, 3):
        cards = [f"card-{caller}-{first + n}" for n in range(3)]
        parcel = {"carrier": "dhl", "trackingNumber": f"T{caller}-{first}"}
        told += [event(kind, card, hours=hours) for hours, kind in enumerate(STAGES) for card in cards]
        told += [event("shipped", card, hours=6, **parcel) for card in cards]
        told += [event("scanned", hours=10 + n, status=status, **parcel) for n, status in enumerate(SCANS)]
    return [{**each, "eventId": f"e-{caller}-{number}"} for number, each in enumerate(told)]


async def tell(site: Desk, caller: int, begin: int, sizes: random.Random, say: Say) -> None:
    """Tell the rest of a caller's lives; say what was acknowledged."""
    left = lives_of(caller)[begin:]
    while left:
        size = sizes.choice((1, 2, 5, 12))
        batch, left = left[:size], left[size:]
        assert set(await site.take(*batch)) <= {"accepted", "duplicate"}
        say(caller, [each["eventId"] for each in batch])


async def tell_all(site: Desk, begins: list[int], say: Say = lambda _caller, _keys: None) -> None:
    """Let all callers speak at once."""
    sizes = random.Random(sum(begins))
    await asyncio.gather(*(tell(site, caller, begin, sizes, say) for caller, begin in enumerate(begins)))


def print_line(caller: int, keys: list[str]) -> None:
    """Say at once what was acknowledged: the next moment may be the last."""
    sys.stdout.write(json.dumps([caller, keys]) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    with desk(sys.argv[1]) as here:
        here.run(tell_all(here, [int(begin) for begin in sys.argv[2].split(",")], print_line))
