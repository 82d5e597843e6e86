"""The strict server as a process: `python -m tests.strict --port 0 --cards 100000 --seed 7 …`.

The first line that goes out is JSON: `origin`, `issuerId`, `kid`, `keyFile`. SIGTERM ends it.
"""

import argparse
import asyncio
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import uvloop
from joserfc.jwk import ECKey

from tests.strict.notify import Target
from tests.strict.plots import PLOTS
from tests.strict.running import listening
from tests.strict.server import Options, Strict
from tests.strict.stream import Losses
from tests.strict.trouble import Troubles
from tests.strict.world import DAY


def parser() -> argparse.ArgumentParser:
    """Each setting of the server is an option."""
    told = argparse.ArgumentParser("python -m tests.strict", description=__doc__)
    told.add_argument("--port", type=int, default=0)
    told.add_argument("--cards", type=int, default=100)
    told.add_argument("--seed", type=int, default=0)
    told.add_argument("--issuer", default="ISSUER0001")
    told.add_argument("--kid", default="k1")
    told.add_argument("--key-file", type=Path, required=True, help="the issuer's private key; made if it is missing")
    told.add_argument("--plots", default=" ".join(PLOTS), help="those that may be drawn, with spaces between")
    told.add_argument("--never", type=float, default=0.0, help="share of cards that are never ordered")
    told.add_argument("--days", type=int, default=10, help="how long ago the world begins")
    told.add_argument("--unknown", type=int, choices=(404, 403, 405), default=404)
    told.add_argument("--untold", type=int, default=0, help="steps at the beginning that nobody is notified of")
    notified = told.add_argument_group("notifications")
    notified.add_argument("--notify", default="", metavar="URL", help="the issuer's host; empty: no notifications")
    notified.add_argument("--secret", default="", help="whsec_…")
    notified.add_argument("--bearer", default="")
    notified.add_argument("--per-call", type=int, default=1)
    notified.add_argument("--attempts", type=int, default=3)
    notified.add_argument("--concurrency", type=int, default=4)
    _add_all(notified, Losses())
    _add_all(told.add_argument_group("troubles with answers"), Troubles())
    return told


def _add_all(group: "argparse._ArgumentGroup", defaults: NamedTuple) -> None:
    for name, default in defaults._asdict().items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(default, bool):
            group.add_argument(option, action="store_true")
        else:
            group.add_argument(option, type=type(default), default=default)


def options_of(told: argparse.Namespace) -> Options:
    """Return what was told as the server's options."""
    members: dict[str, Any] = vars(told)
    begin = time.time_ns() // 1_000 - told.days * DAY
    losses = Losses(**{name: members[name] for name in Losses._fields})
    troubles = Troubles(**{name: members[name] for name in Troubles._fields})
    return Options(
        cards=told.cards, seed=told.seed, issuer_id=told.issuer, kid=told.kid, plots=tuple(told.plots.split()),
        never=told.never, begin=begin, unknown=told.unknown, losses=losses, troubles=troubles,
        notify=Target(
            told.notify, told.secret, told.bearer, told.per_call, told.attempts, concurrency=told.concurrency
        ) if told.notify else None,
    )  # fmt: skip


def key_in(path: Path) -> ECKey:
    """Return the key in a file, which is made if it is missing."""
    if not path.exists():
        path.write_bytes(ECKey.generate_key("P-256", private=True).as_pem(private=True))
    return ECKey.import_key(path.read_bytes())


async def run(told: argparse.Namespace) -> None:
    """Answer until SIGTERM."""
    options = options_of(told)
    strict = Strict(options, key_in(told.key_file))
    strict.world.advance(told.untold)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with listening(strict, told.port) as origin:
        said = {"origin": origin, "issuerId": options.issuer_id, "kid": options.kid, "keyFile": str(told.key_file)}
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    uvloop.run(run(parser().parse_args()))
