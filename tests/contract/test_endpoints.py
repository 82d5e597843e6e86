"""Endpoints and the outbox on both engines: who gets a notification, and what becomes of it when that changes."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from cardtrail.db import Database, Transaction
from cardtrail.errors import Conflict, InputError, NotFound
from cardtrail.pages.door.trail import list_audit
from cardtrail.platform.chore import do_chore
from cardtrail.platform.endpoint import Config, Endpoint, EndpointState, Mode, OAuth, Secrets, Signing
from cardtrail.platform.endpoints import MAX_ENDPOINTS, Endpoints
from cardtrail.platform.ledger import Selection
from cardtrail.platform.replay import Replay
from tests.contract.test_interleaving import PATIENCE, Held, Watch, recording
from tests.delivering import BOX, MINUTE, SECOND, Delivering, delivering, signed_by
from tests.desk import NOW, Desk, desk, execute
from tests.events import event
from tests.receiver import OK
from tests.serving import ISSUER, OTHER_ISSUER

NOWHERE = "http://127.0.0.1:9"
"""A URL that is called by no test."""


def sequences(site: Delivering, endpoint_id: str = "one", *, state: str = "PENDING") -> list[int]:
    """Return the sequences of an endpoint's notifications in a state, in order."""
    return sorted(note.sequence for note in site.notes(endpoint_id) if note.state == state)


# ── who gets a notification


def test_every_visible_change_makes_one_row_for_each_endpoint_of_its_issuer(database_url: str) -> None:
    with delivering(database_url) as site:
        site.add(NOWHERE, "one")
        site.add(NOWHERE, "two", mode=Mode.EVERY_STEP)
        site.add(NOWHERE, "foreign", issuer_id=OTHER_ISSUER)
        site.order("a", "b", stages=3)
        again = event("requested", "c", operationId="op-c")
        site.desk.tell(again)
        assert site.desk.tell(again) == ["duplicate"]
        assert (len(site.notes("one")), len(site.notes("two")), len(site.notes("foreign"))) == (7, 7, 0)
        for note in site.notes("two"):
            newest = site.desk.sequence(note.card_id)
            assert 1 <= note.sequence <= newest


def test_of_several_steps_in_one_batch_the_newest_is_sent_or_every_one(database_url: str) -> None:
    with delivering(database_url) as site:
        site.add(NOWHERE, "newest")
        site.add(NOWHERE, "every", mode=Mode.EVERY_STEP)
        site.order("a")
        steps = [event(kind, "a", hours=n + 1) for n, kind in enumerate(("prepared", "ready", "started"))]
        assert site.desk.tell(*steps) == ["accepted"] * 3
        assert (sequences(site, "newest"), sequences(site, "newest", state="SUPERSEDED")) == ([4], [1, 2, 3])
        assert (sequences(site, "every"), sequences(site, "every", state="SUPERSEDED")) == ([1, 2, 3, 4], [])


def test_what_is_stored_is_the_picture_of_each_step(database_url: str) -> None:
    with delivering(database_url) as site:
        site.add(NOWHERE, mode=Mode.EVERY_STEP)
        steps = [event(kind, "a", hours=n) for n, kind in enumerate(("requested", "prepared", "ready"))]
        site.desk.tell(*steps)
        rows = execute(database_url, "SELECT picture FROM notification ORDER BY sequence")
        pictures = [json.loads(bytes(row[0])) for row in rows]
        assert [each["details"]["status"] for each in pictures] == [
            "CARD_PROD_REQUESTED", "DATA_PREPARED", "CARD_PROD_READY",
        ]  # fmt: skip
        assert [each["cardtrail"]["sequence"] for each in pictures] == [1, 2, 3]
        assert pictures[-1] == site.desk.picture("a")


def test_rules_pick_by_operation_and_by_stage(database_url: str) -> None:
    with delivering(database_url) as site:
        site.add(NOWHERE, "ready", stages=("CARD_PROD_READY", "CARD_SHIPPED"))
        site.add(NOWHERE, "orders", operations=("PRODUCE",))
        site.add(NOWHERE, "others", operations=("UPDATE_ORDER", "STANDALONE_TRACKING"))
        site.order("a", stages=6)
        assert sequences(site, "ready", state="PENDING") == [6]
        assert sequences(site, "ready", state="SUPERSEDED") == [3]
        assert len(site.notes("orders")) == 6
        assert site.notes("others") == []


def test_a_strict_endpoint_hears_nothing_of_a_change_that_only_our_extension_shows(database_url: str) -> None:
    with delivering(database_url) as site:
        site.add(NOWHERE, "strict", strict=True)
        site.add(NOWHERE, "full")
        parcel = {"carrier": "dhl", "trackingNumber": "T1"}
        site.desk.tell(event("requested", "a"), event("shipped", "a", hours=5, **parcel))
        site.desk.tell(event("scanned", hours=6, status="InTransit", location="Here", **parcel))
        before = (len(site.notes("strict")), len(site.notes("full")))
        site.desk.tell(event("scanned", hours=7, status="InTransit", location="There", **parcel))
        assert (len(site.notes("strict")), len(site.notes("full"))) == (before[0], before[1] + 1)
        site.desk.tell(event("scanned", hours=8, status="Delivered", location="Home", **parcel))
        assert (len(site.notes("strict")), len(site.notes("full"))) == (before[0] + 1, before[1] + 2)


def test_what_comes_while_an_endpoint_is_disabled_is_withheld(database_url: str) -> None:
    with delivering(database_url) as site:
        site.add(NOWHERE, "newest")
        site.add(NOWHERE, "every", mode=Mode.EVERY_STEP)
        site.disable("newest")
        site.disable("every")
        site.order("a", stages=2)
        assert site.states("newest") == ["SUPERSEDED", "WITHHELD"]
        assert site.states("every") == ["WITHHELD", "WITHHELD"]


def test_a_transaction_that_is_undone_leaves_no_notification(database_url: str) -> None:
    with delivering(database_url) as site:
        site.add(NOWHERE)
        work = recording(site.desk, [event("requested", "a")])

        def undone(tx: Transaction) -> None:
            assert [outcome.result for outcome in work(tx)] == ["accepted"]
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            site.desk.transact(undone)
        assert site.notes() == []
        site.order("a")
        assert site.states() == ["PENDING"]


def test_another_process_sees_a_new_endpoint_with_the_very_next_event(database_url: str) -> None:
    with delivering(database_url) as site, desk(database_url) as other:
        other.tell(event("requested", "a"))
        site.add(NOWHERE, "one")
        other.tell(event("prepared", "a", hours=1))
        assert sequences(site) == [2]
        site.disable()
        other.tell(event("ready", "a", hours=2))
        assert sequences(site, state="WITHHELD") == [3]
        site.enable()
        site.configure(stages=("CARD_SHIPPED",))
        other.tell(event("started", "a", hours=3))
        assert len(site.notes()) == 2
        site.configure(stages=("*",))
        other.tell(event("done", "a", hours=4))
        assert sequences(site) == [5]


# ── at the same time


class Around:
    """A database whose transactions stop before their n-th statement."""

    def __init__(self, db: Database, held: Held) -> None:
        self._db = db
        self._held = held

    async def transact(self, work: Callable[[Transaction], Any]) -> Any:
        return await self._db.transact(lambda tx: work(self._held.around(tx)))


async def crossed(
    one: Desk, two: Desk, change: Callable[[Endpoints], Any], work: Callable[[Transaction], Any], stop_before: int
) -> bool:
    """Stop a change of endpoints before a statement, let other work come, go on; return whether it was stopped."""
    held, watch = Held(stop_before), Watch(two)
    around: Any = Around(one.db, held)
    begun = asyncio.create_task(change(Endpoints(around, BOX, lambda: NOW)))
    begun.add_done_callback(lambda _: held.reached.set())
    await asyncio.to_thread(held.reached.wait, PATIENCE)
    stopped = not begun.done()
    other = asyncio.create_task(two.db.transact(work))
    if stopped:
        await watch.until_blocked(other)
    held.go.set()
    await asyncio.gather(begun, other)
    return stopped


@pytest.mark.parametrize("change", ["disable", "enable"])
def test_rows_fit_their_endpoint_although_a_chore_ended_as_it_changed(database_url: str, change: str) -> None:
    """Was a bug: a chore that waited for the change saw the state before it, and ended as if all fitted."""
    with delivering(database_url) as site, desk(database_url) as one, desk(database_url) as two:
        site.add(NOWHERE)
        stopped, n = True, 0
        while stopped:
            n += 1
            (site.enable if change == "disable" else site.disable)()
            site.order(f"card-{n}")

            def changing(endpoints: Endpoints) -> Any:
                if change == "disable":
                    return endpoints.disable(ISSUER, "one", "broken", "bob")
                return endpoints.enable(ISSUER, "one", "bob")

            one.transact(lambda tx: [do_chore(tx, ISSUER, "one", NOW) for _ in range(5)])
            one.transact(lambda tx: tx.run("heal_lane", issuer_id=ISSUER, endpoint_id="one"))
            stopped = one.run(crossed(one, two, changing, lambda tx: do_chore(tx, ISSUER, "one", NOW), n))
            while site.lane()["chore"]:
                one.transact(lambda tx: do_chore(tx, ISSUER, "one", NOW))
            expected = "WITHHELD" if change == "disable" else "PENDING"
            assert {note.state for note in site.notes()} == {expected}, f"when stopped before statement {n}"
    assert n > 5


@pytest.mark.parametrize("change", ["disable", "enable", "add"])
def test_an_event_and_a_change_of_endpoints_at_the_same_time_come_one_after_the_other(
    database_url: str, change: str
) -> None:
    with delivering(database_url) as site, desk(database_url) as one, desk(database_url) as two:
        stopped, n = True, 0
        while stopped:
            n += 1
            name = f"e{n}"
            if change != "add":
                site.add(NOWHERE, name)
            if change == "enable":
                site.disable(name)

            def changing(endpoints: Endpoints, name: str = name) -> Any:
                if change == "add":
                    wanted = Endpoint(issuer_id=ISSUER, endpoint_id=name, config=Config(url=NOWHERE))
                    return endpoints.add(wanted, Secrets(), "bob")
                if change == "disable":
                    return endpoints.disable(ISSUER, name, "broken", "bob")
                return endpoints.enable(ISSUER, name, "bob")

            stopped = one.run(crossed(one, two, changing, recording(two, [event("requested", f"card-{n}")]), n))
            while change != "add" and site.lane(name)["chore"]:
                one.transact(lambda tx, name=name: do_chore(tx, ISSUER, name, NOW))  # type: ignore[misc]  # mypy cannot type the default
            mine = [note.state for note in site.notes(name) if note.card_id == f"card-{n}"]
            if change == "add":
                assert mine in ([], ["PENDING"])
            else:
                assert mine == ["WITHHELD" if change == "disable" else "PENDING"], n
            two.tell(event("prepared", f"card-{n}", hours=1))
            newest = max((note for note in site.notes(name) if note.card_id == f"card-{n}"), key=lambda it: it.sequence)
            assert (newest.sequence, newest.state) == (2, "WITHHELD" if change == "disable" else "PENDING")
            execute(database_url, f"UPDATE issuer_counter SET endpoints = 'other-{n}'")  # noqa: S608 - our own
            execute(database_url, "DELETE FROM endpoint")
    assert n > 4


# ── off and on again


def test_disabling_withholds_and_enabling_sends_the_newest_of_each_order(database_url: str) -> None:
    with delivering(database_url) as site:
        receiver = site.listening(mode=Mode.EVERY_STEP)
        site.order("a", "b", stages=2)
        site.disable()
        site.settle()
        assert site.states() == ["WITHHELD"] * 4
        assert receiver.calls == []
        site.order("a", stages=1, begin=2)
        site.order("c")
        site.enable()
        site.settle()
        sent = [(each["cardId"], each["cardtrail"]["sequence"]) for each in receiver.delivered]
        assert sorted(sent) == [("a", 3), ("b", 2), ("c", 1)]
        assert sorted(site.states()) == ["DELIVERED"] * 3 + ["SUPERSEDED"] * 3
        assert site.lane()["chore"] == 0


def test_rows_are_moved_in_small_steps_and_all_of_them(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cardtrail.platform.chore.STEP", 3)
    with delivering(database_url) as site:
        receiver = site.listening(rate=10_000)
        site.order(*(f"card-{n}" for n in range(20)))
        site.disable()
        moved = site.desk.transact(lambda tx: do_chore(tx, ISSUER, "one", NOW))
        assert (moved, site.states().count("WITHHELD")) == (3, 3)
        site.settle()
        assert site.states() == ["WITHHELD"] * 20
        site.enable()
        site.settle()
        assert site.states() == ["DELIVERED"] * 20
        assert len(receiver.delivered) == 20


def test_enabling_sends_nothing_older_than_what_was_delivered(database_url: str) -> None:
    """Was a bug: a step that had failed was sent after a newer one; a strict endpoint could not tell it is old."""
    with delivering(database_url) as site:
        receiver = site.listening(mode=Mode.EVERY_STEP, strict=True, concurrency=1)
        site.order("a")
        receiver.reply = lambda _call: (503, {}, b"")
        site.settle()
        receiver.reply = lambda _call: OK
        site.order("a", begin=1)
        site.settle()
        assert sorted(site.states()) == ["DELIVERED", "PENDING"]
        site.disable()
        site.settle()
        site.enable()
        site.settle()
        assert sorted(site.states()) == ["DELIVERED", "SUPERSEDED"]
        assert [each["details"]["status"] for each in receiver.delivered] == ["DATA_PREPARED"]


def test_an_exact_replay_that_is_withheld_does_not_come_back_as_news(database_url: str) -> None:
    with delivering(database_url) as site:
        receiver = site.listening()
        site.order("a")
        site.settle()
        site.order("a", begin=1)
        site.settle()
        first = site.notes()[0].notification_id
        site.desk.run(Replay(site.desk.db, site.wall).run(ISSUER, Selection(ids=(first,)), exact=True))
        site.disable()
        site.settle()
        site.enable()
        site.settle()
        assert [each["cardtrail"]["sequence"] for each in receiver.delivered] == [1, 2]
        assert site.states() == ["SUPERSEDED", "DELIVERED"]


def test_other_endpoints_are_not_touched_when_one_is_disabled(database_url: str) -> None:
    with delivering(database_url) as site:
        site.add(NOWHERE, "one")
        site.listening("two")
        site.add(NOWHERE, "foreign", issuer_id=OTHER_ISSUER)
        site.order("a")
        site.desk.tell(event("requested", "b", issuerId=OTHER_ISSUER))
        site.disable("one")
        site.turn()
        site.turn()
        assert (site.states("one"), site.states("two")) == (["WITHHELD"], ["DELIVERED"])
        assert site.states("foreign") == ["PENDING"]


# ── the registry


def test_endpoints_are_found_and_listed_without_their_secrets(database_url: str) -> None:
    with delivering(database_url) as site:
        given = Secrets(client_secret="hush-hush", client_pem="-----BEGIN", ca_pem="-----BEGIN")
        added = site.add(NOWHERE, "one", given=given, oauth=OAuth("https://issuer.example/token", "me"))
        site.add(NOWHERE, "two", issuer_id=OTHER_ISSUER)
        run = site.desk.run
        assert run(site.endpoints.find(ISSUER, "one")) == added
        assert [each.endpoint_id for each in run(site.endpoints.list_all(ISSUER))] == ["one"]
        assert [each.endpoint_id for each in run(site.endpoints.list_all())] == ["one", "two"]
        _, secrets = run(site.endpoints.find_with_secrets(ISSUER, "one"))
        assert secrets.client_secret == "hush-hush"
        assert "hush" not in repr(secrets)
        assert site.secrets["one"][6:] not in repr(secrets)
        with pytest.raises(NotFound):
            run(site.endpoints.find(OTHER_ISSUER, "one"))
        with pytest.raises(NotFound):
            run(site.endpoints.disable(OTHER_ISSUER, "one", "why", "bob"))


def test_no_secret_stands_in_the_database_in_clear(database_url: str) -> None:
    with delivering(database_url) as site:
        site.add(NOWHERE, given=Secrets(client_secret="hush-hush", client_pem="-----BEGIN KEY"))
        rows = repr([execute(database_url, f"SELECT * FROM {table}") for table in ("endpoint", "audit")])  # noqa: S608 - our own
        for secret in ("hush", "BEGIN", site.secrets["one"][6:]):
            assert secret not in rows


def test_every_change_of_an_endpoint_is_in_the_audit(database_url: str) -> None:
    with delivering(database_url) as site:
        site.add(NOWHERE)
        site.configure(rate=7)
        site.disable()
        site.enable()
        site.desk.run(site.endpoints.rotate_secret(ISSUER, "one", "bob"))
        lines = site.desk.run(list_audit(site.desk.db))
        assert sorted(line.action for line in lines) == [
            "endpoint.add", "endpoint.disable", "endpoint.enable", "endpoint.rotate-secret", "endpoint.update",
        ]  # fmt: skip
        assert {line.subject for line in lines} == {f"{ISSUER}/one"}
        [told] = [line for line in lines if line.action == "endpoint.update"]
        assert told.before is not None
        assert told.after is not None
        assert (b'"rate":7' in bytes(told.before), b'"rate":7' in bytes(told.after)) == (False, True)


def test_an_id_is_taken_once_and_an_issuer_has_so_many_endpoints_and_no_more(database_url: str) -> None:
    with delivering(database_url) as site:
        site.add(NOWHERE, "e0")
        with pytest.raises(Conflict):
            site.add(NOWHERE, "e0")
        for n in range(1, MAX_ENDPOINTS):
            site.add(NOWHERE, f"e{n}")
        with pytest.raises(Conflict):
            site.add(NOWHERE, "more")
        site.add(NOWHERE, "e0", issuer_id=OTHER_ISSUER)


WRONG: list[dict[str, Any]] = [
    {"batch_size": 0}, {"batch_size": 1001}, {"rate": 0}, {"rate": 100_001}, {"concurrency": 0}, {"concurrency": 257},
    {"heartbeat_minutes": -1}, {"heartbeat_minutes": 1441}, {"strict": True, "heartbeat_minutes": 5},
    {"operations": ()}, {"stages": ("shipped",)}, {"stages": ("A",) * 51},
]  # fmt: skip


@pytest.mark.parametrize("config", WRONG, ids=repr)
def test_what_makes_no_sense_is_refused(tmp_path: Any, config: dict[str, Any]) -> None:
    with delivering(f"sqlite:///{tmp_path}/store.db") as site:
        with pytest.raises(InputError):
            site.add(NOWHERE, **config)
        for wrong in ("", "a b", "x" * 41):
            with pytest.raises(InputError):
                site.add(NOWHERE, wrong)
        assert site.desk.run(site.endpoints.list_all()) == []


def test_both_secrets_sign_during_the_overlap_and_one_after_it(database_url: str) -> None:
    with delivering(database_url) as site:
        receiver = site.listening()
        old = site.secrets["one"]
        _, new = site.desk.run(site.endpoints.rotate_secret(ISSUER, "one", "bob", overlap=600))
        signed = []
        for n in range(4):
            site.order(f"card-{n}")
            site.settle()
            signed.append((signed_by(old, receiver.calls[-1]), signed_by(new, receiver.calls[-1])))
            assert len(receiver.calls[-1].headers["webhook-signature"].split(" ")) == sum(signed[-1])
            site.later(299 * SECOND)
        assert signed == [(True, True)] * 3 + [(False, True)]


def test_a_secret_that_leaked_ends_at_once(database_url: str) -> None:
    with delivering(database_url) as site:
        receiver = site.listening()
        old = site.secrets["one"]
        _, new = site.desk.run(site.endpoints.rotate_secret(ISSUER, "one", "bob", overlap=0))
        site.order("a")
        site.settle()
        assert (signed_by(old, receiver.calls[0]), signed_by(new, receiver.calls[0])) == (False, True)


def test_rotating_again_and_again_keeps_a_few_secrets(database_url: str) -> None:
    with delivering(database_url) as site:
        receiver = site.listening()
        for _ in range(6):
            _, receiver.secret = site.desk.run(site.endpoints.rotate_secret(ISSUER, "one", "bob"))
        site.order("a")
        site.settle()
        assert len(receiver.calls[0].headers["webhook-signature"].split(" ")) == 3
        assert receiver.bad_signatures == 0


def test_an_endpoint_moves_to_a_key_pair_without_a_gap(database_url: str) -> None:
    with delivering(database_url) as site:
        receiver = site.listening()
        endpoint, public = site.desk.run(site.endpoints.rotate_secret(ISSUER, "one", "bob", signing=Signing.V1A))
        assert (endpoint.config.signing, public[:5]) == (Signing.V1A, "whpk_")
        for secret in (receiver.secret, public):
            receiver.secret = secret
            site.order(f"card-{secret[:5]}")
            site.settle()
        assert receiver.bad_signatures == 0
        names = [each.split(",")[0] for each in receiver.calls[0].headers["webhook-signature"].split(" ")]
        assert names == ["v1a", "v1"]


def test_an_update_keeps_the_secrets_that_are_not_given(database_url: str) -> None:
    with delivering(database_url) as site:
        oauth = OAuth("http://127.0.0.1:1/token", "client")
        receiver = site.listening(given=Secrets(client_secret="hush"), oauth=oauth)
        found = site.desk.run(site.endpoints.find(ISSUER, "one"))
        site.desk.run(site.endpoints.update(found, Secrets(ca_pem="PEM"), "bob"))
        _, secrets = site.desk.run(site.endpoints.find_with_secrets(ISSUER, "one"))
        assert (secrets.client_secret, secrets.ca_pem) == ("hush", "PEM")
        site.desk.run(site.endpoints.update(found, Secrets(ca_pem=""), "bob"))
        site.order("a")
        with pytest.raises(InputError):
            site.configure(signing=Signing.NONE)
        assert msgspec.structs.replace(found, version="") == msgspec.structs.replace(
            site.desk.run(site.endpoints.find(ISSUER, "one")), version=""
        )
        assert receiver.secret == secrets.signing[0].value


def test_ingest_asks_for_no_look_where_nobody_has_endpoints(database_url: str) -> None:
    with delivering(database_url) as site:
        looks: list[str] = []
        site.desk.ingest.on_commit = lambda: looks.append("asked")
        site.order("a")
        assert looks == []
        site.add(NOWHERE)
        site.order("b")
        assert looks == ["asked"]


def test_a_client_secret_is_not_kept_for_another_token_endpoint(database_url: str) -> None:
    """Was a hole: whoever changed the token URL had the secret sent to an address of their own."""
    with delivering(database_url) as site:
        site.listening(given=Secrets(client_secret="hush"), oauth=OAuth("https://issuer.example/token", "me"))
        elsewhere = OAuth("https://elsewhere.example/token", "me")
        with pytest.raises(InputError, match=r"oauth\.clientSecret"):
            site.configure(oauth=elsewhere)
        site.configure(oauth=OAuth("https://issuer.example/token", "me", "scope"))
        _, secrets = site.desk.run(site.endpoints.find_with_secrets(ISSUER, "one"))
        assert secrets.client_secret == "hush"


def test_a_heartbeat_that_is_configured_later_begins_then_and_ends_when_it_is_taken_away(database_url: str) -> None:
    with delivering(database_url) as site:
        site.add(NOWHERE)
        assert site.lane()["heartbeat_at"] is None
        site.configure(heartbeat_minutes=5)
        assert site.lane()["heartbeat_at"] == site.desk.now + 5 * MINUTE
        site.configure(heartbeat_minutes=0)
        assert site.lane()["heartbeat_at"] is None


def test_the_states_of_endpoints_are_the_two_there_are() -> None:
    assert [each.value for each in EndpointState] == ["ENABLED", "DISABLED"]
