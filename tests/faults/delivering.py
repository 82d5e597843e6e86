"""A process that delivers until it ends or is killed: `python -m tests.faults.delivering URL STEPS TIMEOUT`.

The first line that goes out is the name under which it holds leases.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen

from cardtrail.errors import StoreUnavailable
from cardtrail.files.box import Box
from cardtrail.logs import configure
from cardtrail.platform.app import deliverer_of
from cardtrail.platform.auth import wall_clock
from cardtrail.platform.endpoints import Endpoints
from cardtrail.platform.metrics import DelivererMetrics
from cardtrail.platform.settings import Settings
from cardtrail.platform.store import open_store

HOUSE = Path(__file__).parents[2]
BOX = Box(bytes(32))
"""The key that all processes of a test share."""


async def deliver(url: str, steps: str, seconds: int) -> None:
    """Deliver until SIGTERM."""
    settings = Settings(
        database=url, delivery_steps=steps, delivery_timeout=seconds, egress_allow="127.0.0.0/8", egress_http=True
    )
    db = open_store(url)
    deliverer = deliverer_of(settings, db, Endpoints(db, BOX, wall_clock), DelivererMetrics())
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    sys.stdout.write(f"{deliverer.holder}\n")
    sys.stdout.flush()
    running = asyncio.create_task(deliverer.run())
    await stop.wait()
    await deliverer.stop()
    await running
    db.close()


class Delivering:
    """A running deliverer, by its holder's name."""

    def __init__(self, url: str, steps: str, timeout: int) -> None:
        command = [sys.executable, "-m", "tests.faults.delivering", url, steps, str(timeout)]
        self.process = Popen(command, cwd=HOUSE, stdout=PIPE, text=True, env=os.environ)
        assert self.process.stdout is not None
        self.holder = self.process.stdout.readline().strip()
        assert self.holder, "the deliverer has not started"

    def kill(self) -> None:
        """End it as a power failure would."""
        self.process.kill()
        assert self.process.wait(30) == -signal.SIGKILL

    def stop(self) -> None:
        """End it in order."""
        self.process.terminate()
        assert self.process.wait(60) == 0

    def close(self) -> None:
        """End it if it runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)
        if self.process.stdout is not None:
            self.process.stdout.close()


@contextmanager
def deliverers() -> Iterator[list[Delivering]]:
    """A list for deliverers, which all end with the block."""
    running: list[Delivering] = []
    try:
        yield running
    finally:
        for each in running:
            each.close()


if __name__ == "__main__":
    configure("warning")
    try:
        asyncio.run(deliver(sys.argv[1], sys.argv[2], int(sys.argv[3])))
    except StoreUnavailable as error:
        sys.exit(str(error))
