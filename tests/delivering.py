"""A process that takes events in and delivers, with receivers on real sockets, all on one loop.

Its clocks move when a test says so: `later` moves both, `desk.now` is process time, and a deliverer's monotonic clock
is the real one plus what was added. A test calls `run_once` only, by `turn` or `settle`.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from standardwebhooks import Webhook

from cardtrail.core.schedule import STEPS
from cardtrail.db import Database
from cardtrail.files.box import Box
from cardtrail.platform.address import networks_of
from cardtrail.platform.deliver import Deliverer, Options
from cardtrail.platform.egress import Egress
from cardtrail.platform.endpoint import Config, Endpoint, EndpointState, OAuth, Secrets
from cardtrail.platform.endpoints import Endpoints
from cardtrail.platform.outbox import Outbox
from cardtrail.platform.store import open_store
from tests.desk import Desk, desk, execute
from tests.events import event
from tests.receiver import Received, Receiver
from tests.serving import ISSUER

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
MAX_TURNS = 400
"""Turns after which something is never going to be settled."""
BOX = Box(b"k" * 32)
STAGES = ("requested", "prepared", "ready", "started", "done", "shipped")


class Note(NamedTuple):
    """A notification as it is stored."""

    notification_id: str
    issuer_id: str
    endpoint_id: str
    card_id: str
    operation_id: str
    sequence: int
    state: str
    lot: int
    round: int
    attempts: int
    due_at: int
    settled_at: int | None
    attempt_ids: str


class Try(NamedTuple):
    """A call as it is stored."""

    attempt_id: str
    endpoint_id: str
    at: int
    carried: int
    http_status: int | None
    failure: str | None
    ms: int
    answer: str


class Process:
    """One process that delivers; `ahead` moves its monotonic clock."""

    def __init__(self, db: Database, wall: Callable[[], int], timeout: float, steps: Sequence[int]) -> None:
        self.ahead = 0.0
        self.db = db
        egress = Egress(
            allow=networks_of("127.0.0.0/8"), allow_http=True, timeout=timeout, connect_timeout=timeout, wall=wall
        )
        options = Options(timeout=timeout, steps=tuple(steps), wall=wall, monotonic=self.monotonic)
        self.deliverer = Deliverer(db, egress, Endpoints(db, BOX, wall), options)

    def monotonic(self) -> float:
        """The real monotonic clock, and what was added."""
        return time.monotonic() + self.ahead


class Delivering:
    """A desk whose changes are delivered; by one process, or by more of them on the same database."""

    def __init__(self, site: Desk, timeout: float = 10.0, steps: Sequence[int] = STEPS) -> None:
        self.desk = site
        self._timeout = timeout
        self._steps = steps
        self.endpoints = Endpoints(site.db, BOX, self.wall)
        self.receivers: list[Receiver] = []
        self.secrets: dict[str, str] = {}
        self.processes = [Process(site.db, self.wall, timeout, steps)]

    # ── clocks

    def wall(self) -> int:
        """Process time, µs."""
        return self.desk.now

    def later(self, microseconds: int) -> None:
        """Move process time and nothing else."""
        self.desk.now += microseconds

    # ── what there is

    def receiver(self) -> Receiver:
        """Return one more receiver, which listens."""
        receiver = Receiver()
        receiver.clock = lambda: self.desk.now / SECOND
        self.receivers.append(receiver)
        self.desk.run(receiver.start())
        return receiver

    def add(
        self,
        url: str,
        endpoint_id: str = "one",
        *,
        issuer_id: str = ISSUER,
        given: Secrets | None = None,
        **config: Any,
    ) -> Endpoint:
        """Add an endpoint; what its receiver verifies with is in `secrets`."""
        wanted = Endpoint(issuer_id=issuer_id, endpoint_id=endpoint_id, config=Config(url=url, **config))
        added, secret = self.desk.run(self.endpoints.add(wanted, given or Secrets(), "alice"))
        self.secrets[endpoint_id] = secret
        return added

    def listening(self, endpoint_id: str = "one", **config: Any) -> Receiver:
        """Return a receiver whose endpoint was added; it checks every signature."""
        receiver = self.receiver()
        self.add(receiver.url, endpoint_id, **config)
        receiver.secret = self.secrets[endpoint_id]
        return receiver

    def configure(self, endpoint_id: str = "one", **config: Any) -> None:
        """Change an endpoint."""
        found = self.desk.run(self.endpoints.find(ISSUER, endpoint_id))
        changed = msgspec.structs.replace(found, config=msgspec.structs.replace(found.config, **config))
        self.desk.run(self.endpoints.update(changed, Secrets(), "alice"))

    def disable(self, endpoint_id: str = "one") -> None:
        """Disable an endpoint."""
        self.desk.run(self.endpoints.disable(ISSUER, endpoint_id, "on holiday", "alice"))

    def enable(self, endpoint_id: str = "one") -> None:
        """Enable an endpoint."""
        self.desk.run(self.endpoints.enable(ISSUER, endpoint_id, "alice"))

    def state(self, endpoint_id: str = "one") -> EndpointState:
        """Tell whether an endpoint is enabled."""
        return self.desk.run(self.endpoints.find(ISSUER, endpoint_id)).state

    def another(self, timeout: float | None = None) -> Process:
        """Return one more process on the same database."""
        process = Process(open_store(self.desk.url), self.wall, timeout or self._timeout, self._steps)
        self.processes.append(process)
        return process

    # ── what happens

    def order(self, *cards: str, stages: int = 1, begin: int = 0) -> None:
        """Let cards reach their first stages, each stage in a batch of its own."""
        for hours in range(begin, begin + stages):
            told = [event(STAGES[hours], card, hours=hours) for card in cards]
            for start in range(0, len(told), 500):
                self.later(1)  # so that ids sort in the order of the batches
                assert set(self.desk.tell(*told[start : start + 500])) == {"accepted"}

    def turn(self, process: Process | None = None) -> int:
        """Let a process look once and its lanes take a turn each; return how many rows were settled or moved."""
        return self.desk.run((process or self.processes[0]).deliverer.run_once())

    def settle(self, process: Process | None = None) -> int:
        """Take turns until nothing is to be done now; return how many turns it took."""
        chosen = process or self.processes[0]
        for turns in range(MAX_TURNS):
            if not self.desk.run(chosen.deliverer._leases.look(self.desk.now)):
                return turns
            self.turn(chosen)
        raise AssertionError(f"not settled after {MAX_TURNS} turns: {self.states()}")

    def settle_for(self, microseconds: int, step: int) -> None:
        """Take turns while time goes by."""
        end = self.desk.now + microseconds
        while self.desk.now < end:
            self.settle()
            self.later(step)
        self.settle()

    # ── looks

    def notes(self, endpoint_id: str = "one") -> list[Note]:
        """Return every notification of an endpoint, in the order of enqueuing."""
        columns = ", ".join(Note._fields)
        rows = execute(self.desk.url, f"SELECT {columns} FROM notification ORDER BY notification_id")  # noqa: S608 - our own
        return [note for note in map(Note._make, rows) if note.endpoint_id == endpoint_id]

    def states(self, endpoint_id: str = "one") -> list[str]:
        """Return the states of an endpoint's notifications, in the order of enqueuing."""
        return [note.state for note in self.notes(endpoint_id)]

    def tries(self, endpoint_id: str = "one") -> list[Try]:
        """Return every call to an endpoint that is written down, in order."""
        rows = execute(self.desk.url, f"SELECT {', '.join(Try._fields)} FROM attempt ORDER BY attempt_id")  # noqa: S608 - our own
        return [each for each in map(Try._make, rows) if each.endpoint_id == endpoint_id]

    def lane(self, endpoint_id: str = "one") -> dict[str, Any]:
        """Return the row of a lane."""
        names = ("fence", "holder", "leased_until", "chore", "failures", "failing_since", "probe_at", "heartbeat_at")
        text = f"SELECT {', '.join(names)} FROM lane WHERE endpoint_id = '{endpoint_id}'"  # noqa: S608 - our own
        [row] = execute(self.desk.url, text)
        return dict(zip(names, row, strict=True))

    async def _end(self) -> None:
        for process in self.processes:
            await process.deliverer.stop()
        for receiver in self.receivers:
            await receiver.stop()

    def close(self) -> None:
        """End the processes and the receivers."""
        self.desk.run(self._end())
        for process in self.processes[1:]:
            process.db.close()


@contextmanager
def delivering(url: str, timeout: float = 10.0, steps: Sequence[int] = STEPS) -> Iterator[Delivering]:
    """Open a desk that delivers, and close it at the end."""
    with desk(url) as site:
        site.ingest = type(site.ingest)(site.db, lambda: site.now, lambda _s, _i: True, Outbox(lambda: site.now))
        opened = Delivering(site, timeout, steps)
        try:
            yield opened
        finally:
            opened.close()


def oauth_of(receiver: Receiver) -> OAuth:
    """Return what an endpoint is told whose tokens come from this receiver."""
    return OAuth(token_url=f"{receiver.url}/token", client_id="cardtrail", scope="cards")


def signed_by(secret: str, call: Received) -> bool:
    """Tell whether a call bears the v1 signature that the independent package makes with this secret."""
    stamp = datetime.fromtimestamp(int(call.headers["webhook-timestamp"]), UTC)
    expected = Webhook(secret).sign(call.headers["webhook-id"], stamp, call.body.decode())
    return expected in call.headers["webhook-signature"].split(" ")
