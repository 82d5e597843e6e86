"""The outbox under whatever comes in whatever order, against a dictionary: nothing vanishes, nothing illegal happens,
and once the faults stop, the newest picture of every order has reached every endpoint.
"""

import json
from collections import Counter
from collections.abc import Mapping
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from structlog.testing import capture_logs

from cardtrail.errors import Conflict
from cardtrail.platform.answer import Answer, failed
from cardtrail.platform.chore import do_chore
from cardtrail.platform.deliver import Deliverer, Options
from cardtrail.platform.endpoint import EndpointState, Mode
from cardtrail.platform.endpoints import Endpoints
from cardtrail.platform.ledger import Selection
from cardtrail.platform.outbox import EXACT, NotificationState
from cardtrail.platform.replay import Replay
from cardtrail.protocol.failure import Failure
from tests.delivering import BOX, HOUR, MINUTE, SECOND, Delivering, Note
from tests.desk import Desk, execute
from tests.events import event
from tests.serving import ISSUER

ENDPOINTS = {"newest": Mode.NEWEST, "every": Mode.EVERY_STEP}
ORDERS = ["a", "b", "c"]
STEPS = (5 * SECOND, MINUTE)
Way = str
"""How an endpoint answers: `ok`, `fail`, `silent`, `gone`, `picky` (refuses calls with order a), `crash`."""
WAYS = st.sampled_from(["ok", "ok", "fail", "silent", "gone", "picky", "crash"])

# In one round of a notification: from which state to which.
LEGAL = {
    "PENDING": {"DELIVERED", "SUPERSEDED", "REFUSED", "DEAD", "WITHHELD"},
    "WITHHELD": {"PENDING", "SUPERSEDED", "DELIVERED"},
    "REFUSED": {"PENDING", "DELIVERED", "SUPERSEDED"},
    "DEAD": {"DELIVERED", "SUPERSEDED"},
    "SUPERSEDED": {"DELIVERED"},
    "DELIVERED": set(),
}


class Crash(Exception):
    """The process dies in the middle of a call that has arrived."""


class Outside:
    """The way out without a socket, and the receivers behind it: what each has got, and how it answers now."""

    def __init__(self) -> None:
        self.ways: Mapping[str, Way] = {}
        self.got: dict[tuple[str, str], int] = {}
        self.calls = 0

    async def post(self, peer: str, _url: str, _headers: Any, body: bytes, _tls: Any, *, whole: bool = False) -> Answer:
        assert not whole
        self.calls += 1
        endpoint_id = peer.partition("/")[2]
        way = self.ways.get(endpoint_id, "ok")
        operations = json.loads(body)["operations"]
        if way == "silent":
            return failed(Failure.TIMEOUT, "out of time", 1.0)
        status = {"fail": 503, "gone": 410}.get(way, 204)
        if way == "picky" and any(each["cardId"] == "a" for each in operations):
            status = 400
        if status == 204:
            for each in operations:
                key = endpoint_id, each["cardId"]
                self.got[key] = max(each["cardtrail"]["sequence"], self.got.get(key, 0))
        if way == "crash":
            raise Crash
        return Answer(status, None, f"HTTP {status}", b"", None, 0.0)

    async def close(self) -> None:
        """There is nothing to close."""


class OutboxMachine(RuleBasedStateMachine):
    """Events, turns of the deliverer with all sorts of answers, crashes, operators and replays."""

    def __init__(self) -> None:
        super().__init__()
        self.quiet = capture_logs()
        self.quiet.__enter__()
        self.folder = TemporaryDirectory()
        self.desk = Desk(f"sqlite:///{self.folder.name}/store.db")
        self.site = Delivering(self.desk, steps=STEPS)
        self.site.processes = []
        self.outside = Outside()
        self.told: Counter[str] = Counter()
        self.enabled = dict.fromkeys(ENDPOINTS, True)
        self.before: dict[str, Note] = {}
        self.deliverer = self.new_process()

    def new_process(self) -> Deliverer:
        endpoints = Endpoints(self.desk.db, BOX, self.site.wall)
        options = Options(steps=STEPS, wall=self.site.wall)
        return Deliverer(self.desk.db, self.outside, endpoints, options)  # type: ignore[arg-type]  # as far as it is asked

    @initialize()
    def begin(self) -> None:
        for name, mode in ENDPOINTS.items():
            self.site.add("http://127.0.0.1:9", name, mode=mode, batch_size=2, concurrency=2, rate=100_000)

    # ── what can happen

    @rule(order=st.sampled_from(ORDERS), steps=st.integers(1, 3))
    def events_come(self, order: str, steps: int) -> None:
        batch = []
        for _ in range(steps):
            self.told[order] += 1
            hours = self.told[order]
            if hours == 1:
                batch.append(event("requested", order, hours=0))
            else:
                batch.append(event("held", order, hours=hours / 10, reason=f"reason {hours}"))
        self.desk.now += 1
        assert self.desk.tell(*batch) == ["accepted"] * steps

    @rule(newest=WAYS, every=WAYS)
    def a_turn_is_taken(self, newest: Way, every: Way) -> None:
        self.outside.ways = {"newest": newest, "every": every}
        self.desk.now += 1
        self.desk.run(self.deliverer.run_once())
        if "crash" in (newest, every):
            self.die()
        self.look_who_is_disabled()

    @rule(chores=st.integers(1, 2))
    def some_rows_are_moved(self, chores: int) -> None:
        for name in ENDPOINTS:
            for _ in range(chores):
                self.desk.transact(lambda tx, name=name: do_chore(tx, ISSUER, name, self.desk.now))  # type: ignore[misc]  # mypy cannot type the default

    @rule()
    def die(self) -> None:
        """The process ends without a word; its leases run out."""
        self.deliverer = self.new_process()
        execute(self.desk.url, "UPDATE lane SET leased_until = 1")

    @rule(span=st.sampled_from([SECOND, 10 * SECOND, 2 * MINUTE, 6 * MINUTE]))
    def time_goes_by(self, span: int) -> None:
        self.desk.now += span

    @rule(name=st.sampled_from(list(ENDPOINTS)))
    def an_operator_disables(self, name: str) -> None:
        self.site.disable(name)
        self.enabled[name] = False

    @rule(name=st.sampled_from(list(ENDPOINTS)))
    def an_operator_enables(self, name: str) -> None:
        self.site.enable(name)
        self.enabled[name] = True

    @precondition(lambda self: self.told)
    @rule(card=st.sampled_from(ORDERS), exact=st.booleans())
    def a_card_is_replayed(self, card: str, exact: bool) -> None:  # noqa: FBT001 - drawn
        self.replay(Selection(card_id=card), exact=exact)

    @rule(state=st.sampled_from(list(NotificationState)), name=st.sampled_from(["", *ENDPOINTS]), exact=st.booleans())
    def a_state_is_replayed(self, state: NotificationState, name: str, exact: bool) -> None:  # noqa: FBT001 - drawn
        self.replay(Selection(state=state, endpoint_id=name), exact=exact)

    @rule(name=st.sampled_from(list(ENDPOINTS)))
    def what_was_never_attempted_is_sent(self, name: str) -> None:
        try:
            self.desk.run(Replay(self.desk.db, self.site.wall).run_never_attempted(ISSUER, name))
        except Conflict:
            assert not self.enabled[name]

    def replay(self, selection: Selection, *, exact: bool = False) -> None:
        self.desk.run(Replay(self.desk.db, self.site.wall).run(ISSUER, selection, exact=exact))

    # ── what must hold

    @invariant()
    def nothing_vanishes_and_nothing_illegal_happens(self) -> None:
        rows = [note for name in ENDPOINTS for note in self.site.notes(name)]
        now = {note.notification_id: note for note in rows}
        assert self.before.keys() <= now.keys(), "a notification vanished"
        for key, old in self.before.items():
            new = now[key]
            if new.round == old.round and new.state != old.state:
                assert reaches(old.state, new.state), f"{old} became {new}"
            assert new.round >= old.round
        self.before = now
        made = Counter((note.endpoint_id, note.card_id) for note in rows)
        assert made == {(name, order): count for name in ENDPOINTS for order, count in self.told.items()}

    @invariant()
    def one_picture_of_an_order_waits_where_only_the_newest_counts(self) -> None:
        waiting = [note for note in self.site.notes("newest") if note.state == "PENDING" and note.lot < EXACT]
        for order, count in Counter(note.card_id for note in waiting).items():
            assert count == 1, f"{count} of {order}"

    @invariant()
    def rows_fit_their_endpoint_once_the_chore_is_done(self) -> None:
        for name, is_enabled in self.enabled.items():
            unfit = NotificationState.WITHHELD if is_enabled else NotificationState.PENDING
            if self.site.notes(name) and not self.site.lane(name)["chore"]:
                assert unfit not in self.site.states(name)

    def look_who_is_disabled(self) -> None:
        self.enabled = {name: self.site.state(name) is EndpointState.ENABLED for name in ENDPOINTS}

    def teardown(self) -> None:
        try:
            if self.told:
                self.all_is_delivered_once_the_faults_stop()
        finally:
            self.quiet.__exit__(None, None, None)
            self.desk.close()
            self.folder.cleanup()

    def all_is_delivered_once_the_faults_stop(self) -> None:
        self.outside.ways = {}
        for name in ENDPOINTS:
            self.site.enable(name)
        for state in (NotificationState.REFUSED, NotificationState.DEAD):
            self.replay(Selection(state=state))
        for _ in range(60):
            self.desk.run(self.deliverer.run_once())
            self.desk.now += HOUR
        self.look_who_is_disabled()
        self.nothing_vanishes_and_nothing_illegal_happens()
        for name in ENDPOINTS:
            assert not {"PENDING", "WITHHELD"} & set(self.site.states(name))
            for order, newest in self.told.items():
                assert self.outside.got[name, order] == newest
                states = {note.state for note in self.site.notes(name) if note.card_id == order}
                assert "DELIVERED" in states


def reaches(old: str, new: str) -> bool:
    """Tell whether steps that are legal lead from one state to another."""
    found, left = set[str](), [old]
    while left:
        for state in LEGAL[left.pop()] - found:
            found.add(state)
            left.append(state)
    return new in found


TestOutbox = OutboxMachine.TestCase
TestOutbox.settings = settings(max_examples=20, stateful_step_count=40, deadline=None)
