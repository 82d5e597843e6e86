"""A process with some writers at once: `python -m tests.faults.writing URL SEED WRITERS SECONDS`.

Each tells small batches about cards that other writers, here and in other processes, tell of at the same time; each
batch is a transaction, and one in eight is undone after it took its change numbers. At the end a line goes out: how
many transactions were committed, undone, and refused by the store.
"""

import asyncio
import json
import random
import sys
import time
from collections import Counter
from typing import Any

from cardtrail.db import Transaction
from cardtrail.errors import StoreUnavailable
from tests.contract.test_interleaving import recording
from tests.desk import Desk, desk
from tests.events import event
from tests.serving import ISSUER, OTHER_ISSUER

CARDS = 30
"""Cards of each issuer that are told of at the same time."""
TURNS = 60
"""Batches of a writer after which other cards have their turn: a card's events are folded each time anew."""
UNDONE = 0.125
"""Share of the transactions that are undone."""


class UndoneError(Exception):
    """Raised in a transaction to undo it."""


def batch_of(chance: random.Random, name: str, turn: int) -> list[dict[str, Any]]:
    """Return one to four events that change pictures, each with the order of its card before it."""
    told: list[dict[str, Any]] = []
    for number in range(chance.randint(1, 4)):
        card = f"card-{turn // TURNS}-{chance.randrange(CARDS)}"
        issuer = {"issuerId": chance.choice((ISSUER, ISSUER, ISSUER, OTHER_ISSUER))}
        key = f"{issuer['issuerId']}-{card}"
        told.append({**event("requested", card, operationId=f"op-{card}"), **issuer, "eventId": f"begin-{key}"})
        reason = f"{name} says {turn}.{number}"
        held = event("held", card, hours=1 + turn / 100, reason=reason)
        told.append({**held, **issuer, "eventId": f"{name}-{turn}-{number}"})
    return told


async def write(site: Desk, name: str, seconds: float) -> Counter[str]:
    """Write until the time is over; return how the transactions ended."""
    chance, ends, turn = random.Random(name), Counter[str](), 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        turn += 1
        work = recording(site, batch_of(chance, name, turn))
        undone = chance.random() < UNDONE

        def whole(tx: Transaction, work: Any = work, undone: bool = undone) -> None:  # noqa: FBT001 -- bound early
            work(tx)
            if undone:
                raise UndoneError

        try:
            await site.db.transact(whole)
            ends["committed"] += 1
        except UndoneError:
            ends["undone"] += 1
        except StoreUnavailable:
            ends["refused"] += 1
    return ends


async def write_all(site: Desk, seed: str, writers: int, seconds: float) -> Counter[str]:
    """Let all writers of this process write at once."""
    ends = await asyncio.gather(*(write(site, f"writer-{seed}-{n}", seconds) for n in range(writers)))
    return sum(ends, Counter[str]())


if __name__ == "__main__":
    with desk(sys.argv[1]) as here:
        told = here.run(write_all(here, sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
    sys.stdout.write(json.dumps(told) + "\n")
