"""A process that only delivers, with the shipped defaults: `python -m bench.deliver --database URL`."""

import argparse
import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop

from bench.child import SERVER_CORE, pinned, running
from bench.servers import ROOT
from cardtrail.platform.app import deliverer_of, tune
from cardtrail.platform.auth import wall_clock
from cardtrail.platform.box import box_of
from cardtrail.platform.endpoints import Endpoints
from cardtrail.platform.logs import configure
from cardtrail.platform.metrics import Metrics
from cardtrail.platform.settings import Settings
from cardtrail.platform.store import open_store

EGRESS = {"CARDTRAIL_EGRESS_HTTP": "true", "CARDTRAIL_EGRESS_ALLOW": "127.0.0.0/8"}
"""What a process must be told so that it calls the receivers of a benchmark."""


async def deliver(settings: Settings) -> None:
    """Deliver until the process is told to stop."""
    tune()
    db = open_store(settings.database)
    endpoints = Endpoints(db, box_of(settings.secret_key_file, settings.database), wall_clock)
    deliverer = deliverer_of(settings, db, endpoints, Metrics().attempted)
    running_for_ever = asyncio.create_task(deliverer.run())
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    await deliverer.stop()
    await running_for_ever
    db.close()


@contextmanager
def delivering(url: str, secret_key_file: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a deliverer on the server's core while the block lasts."""
    command = [sys.executable, "-m", "bench.deliver", "--database", url, "--secret-key-file", secret_key_file]
    with running(pinned(command, SERVER_CORE), log, cwd=ROOT) as process:
        yield process


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(prog="python -m bench.deliver", description=__doc__)
    _parser.add_argument("--database", required=True)
    _parser.add_argument("--secret-key-file", default="")
    _given = _parser.parse_args()
    configure()
    uvloop.run(
        deliver(Settings(
            database=_given.database, secret_key_file=_given.secret_key_file, egress_http=True,
            egress_allow="127.0.0.0/8",
        ))
    )  # fmt: skip
