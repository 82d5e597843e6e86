"""A process that compares cards with a strict server, in one of three ways: `python -m bench.reconciler WAY …`.

`bare` is pyreqwest as its manual shows it, with a ready token and URL; `ask` is the kit's client; `sweep` is the kit's
reconciler on a mirror. Prints cards a second, CPU µs of a card, cards that had changed, and the peak of memory in MiB.
"""

import argparse
import asyncio
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

import uvloop
from pyreqwest.client import ClientBuilder

from bench.child import VoidError
from cardtrail.issuer.ask import Asker
from cardtrail.issuer.client import AsyncClient
from cardtrail.issuer.lease import held
from cardtrail.issuer.mirror import AsyncMirror, wall_clock
from cardtrail.issuer.reconcile import Reconciler
from cardtrail.protocol.token import GRANT, TOKEN_PATH, make_assertion, private_key_of

CONNECTIONS = 64
"""Calls under way at once, in each of the ways."""
Ask = Callable[[str], Awaitable[object]]


class Run:
    """What one run came to."""

    def __init__(self, cards: int, changed: int, seconds: float, cpu: float) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        self.text = f"{cards / seconds} {cpu * 1e6 / max(cards, 1)} {changed} {peak}"


async def _each(cards: list[str], ask: Ask) -> Run:
    """Ask for every card, so many at once."""
    waiting: Iterator[str] = iter(cards)

    async def work() -> None:
        for card_id in waiting:
            await ask(card_id)

    begun, worked = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    return Run(len(cards), 0, time.perf_counter() - begun, time.process_time() - worked)


async def bare(told: argparse.Namespace, cards: list[str]) -> Run:
    """Ask with nothing around the HTTP client."""
    root = f"{told.origin}/banking/v1/issuers/{told.issuer}/physicalCards"
    builder = ClientBuilder().http1_only().no_proxy().timeout(timedelta(seconds=15))
    async with builder.build() as client:
        assertion = make_assertion(told.issuer, told.kid, private_key_of(told.pem), wall_clock())
        form = urlencode({"grant_type": GRANT, "assertion": assertion}).encode()
        call = client.post(f"{told.origin}{TOKEN_PATH}").headers({"content-type": "application/x-www-form-urlencoded"})
        token = json.loads(await (await call.body_bytes(form).build().send()).text())["access_token"]
        headers = {"authorization": f"Bearer {token}", "accept": "application/json"}

        async def ask(card_id: str) -> None:
            response = await client.get(f"{root}/{card_id}/productionStatus").headers(headers).build().send()
            if response.status != 200:
                raise VoidError(f"run void, answered {response.status}")
            await response.bytes()

        return await _each(cards, ask)


def _client(told: argparse.Namespace) -> AsyncClient:
    return AsyncClient(f"{told.origin}/banking/v1", told.issuer, key=told.pem, kid=told.kid, concurrency=CONNECTIONS)


async def ask_each(told: argparse.Namespace, cards: list[str]) -> Run:
    """Ask with the kit's client."""
    async with _client(told) as client:
        return await _each(cards, client.ask)


async def sweep(told: argparse.Namespace, cards: list[str]) -> Run:
    """Make one pass of the reconciler over every open card of a mirror."""
    del cards
    async with _client(told) as client, AsyncMirror.open(told.mirror) as mirror, held(mirror.db, told.issuer) as fence:
        begun, worked = time.perf_counter(), time.process_time()
        heard = await Reconciler(Asker(told.issuer, client, mirror, fence, many=False)).sweep()
        seconds, cpu = time.perf_counter() - begun, time.process_time() - worked
    if heard.failed:
        raise VoidError(f"run void, {heard.failed} cards were not answered")
    return Run(heard.asked, heard.changed, seconds, cpu)


WAYS = {"bare": bare, "ask": ask_each, "sweep": sweep}

if __name__ == "__main__":
    _parser = argparse.ArgumentParser(prog="python -m bench.reconciler", description=__doc__)
    _parser.add_argument("way", choices=WAYS)
    for _name in ("origin", "issuer", "kid", "key", "cards"):
        _parser.add_argument(f"--{_name}", required=True)
    _parser.add_argument("--mirror", default="")
    _told = _parser.parse_args()
    _told.pem = Path(_told.key).read_text()
    _lines = Path(_told.cards).read_text().splitlines() if _told.way != "sweep" else []  # a pass needs no list
    _cards = [json.loads(line)["cardId"] for line in _lines]
    try:
        sys.stdout.write(uvloop.run(WAYS[_told.way](_told, _cards)).text + "\n")
    except (VoidError, OSError) as reason:
        sys.exit(str(reason))
