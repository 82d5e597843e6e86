"""The commands for notifications, on a real store that was really delivered from."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from cardtrail.cli.endpoint import endpoint_app
from cardtrail.cli.notifications import notifications_app
from cardtrail.errors import Conflict, InputError, NotFound
from cardtrail.files.box import box_of
from cardtrail.platform.app import deliverer_of
from cardtrail.platform.auth import wall_clock
from cardtrail.platform.endpoints import Endpoints
from cardtrail.platform.metrics import DelivererMetrics
from cardtrail.platform.settings import Settings
from cardtrail.platform.store import open_store
from tests.background import receiving
from tests.desk import desk, execute
from tests.events import event
from tests.receiver import Receiver
from tests.serving import ISSUER, OTHER_ISSUER
from tests.shell import Shell


class Office(NamedTuple):
    """A shell, and the receiver to which its notifications go."""

    shell: Shell
    receiver: Receiver

    def order(self, *cards: str) -> None:
        with desk(self.shell.url) as site:
            site.now = wall_clock()
            for card in cards:
                assert site.tell(event("requested", card, operationId=f"op-{card}")) == ["accepted"]

    def deliver(self) -> int:
        return asyncio.run(_deliver(self.shell.url))


async def _deliver(url: str) -> int:
    db = open_store(url)
    settings = Settings(database=url, egress_allow="127.0.0.0/8", egress_http=True)
    try:
        endpoints = Endpoints(db, box_of("", url), wall_clock)
        deliverer = deliverer_of(settings, db, endpoints, DelivererMetrics())
        done = 0
        while moved := await deliverer.run_once():
            done += moved
        await deliverer.stop()
        return done
    finally:
        db.close()


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("CARDTRAIL_EGRESS_HTTP", "1")
    shell = Shell(f"sqlite:///{tmp_path}/cardtrail.db", capsys, endpoint_app, notifications_app)
    with receiving() as receiver:
        shell.run("endpoint", "add", ISSUER, "hook", "--url", receiver.url)
        yield Office(shell, receiver)


def test_what_was_sent_and_what_was_not_is_listed_and_shown_with_its_attempts(office: Office) -> None:
    office.receiver.reply = lambda _call: (400, {}, b"no such card\x1b[2J")
    office.order("card-1", "card-2")
    assert office.deliver() == 2
    office.order("card-3")
    entries = office.shell.json("notifications", "list", ISSUER)
    assert [entry["state"] for entry in entries] == ["REFUSED", "REFUSED", "PENDING"]
    table = office.shell.run("notifications", "list", ISSUER, "--state", "refused", "--card", "card-2")
    assert "card-2" in table
    assert "card-1" not in table
    [first] = [entry["notificationId"] for entry in entries if entry["cardId"] == "card-1"]
    shown = office.shell.run("notifications", "show", ISSUER, first)
    assert "HTTP 400" in shown
    assert "no such card" in shown
    assert "\x1b" not in shown
    assert '"operationId": "op-card-1"' in shown
    assert "never sent" in office.shell.run("notifications", "show", ISSUER, entries[2]["notificationId"])
    [attempt] = office.shell.json("notifications", "show", ISSUER, first)["attemptLog"]
    assert (attempt["httpStatus"], attempt["carried"]) == (400, 1)
    execute(office.shell.url, "DELETE FROM attempt")  # as retention does, while what was refused is still kept
    shown = office.shell.run("notifications", "show", ISSUER, first)
    assert "never sent" not in shown
    assert "no longer kept" in shown


def test_a_list_says_where_it_goes_on(office: Office) -> None:
    office.order("card-1", "card-2", "card-3")
    ids = [entry["notificationId"] for entry in office.shell.json("notifications", "list", ISSUER)]
    assert f"--after {ids[1]}" in office.shell.run("notifications", "list", ISSUER, "--limit", "2")
    [last] = office.shell.json("notifications", "list", ISSUER, "--limit", "2", "--after", ids[1])
    assert last["notificationId"] == ids[2]
    assert office.shell.json("notifications", "list", ISSUER, "--since", "2099-01-01T00:00:00Z") == []
    assert office.shell.json("notifications", "list", OTHER_ISSUER) == []
    with pytest.raises(NotFound):
        office.shell.run("notifications", "show", OTHER_ISSUER, ids[0])


def test_a_replay_is_counted_first_and_then_done(office: Office) -> None:
    office.receiver.reply = lambda _call: (400, {}, b"")
    office.order("card-1", "card-2")
    office.deliver()
    office.receiver.reply = lambda _call: (204, {}, b"")
    told = office.shell.run("notifications", "replay", ISSUER, "--state", "refused", "--dry-run")
    assert told == "2 meant, 2 would be sent again\n"
    assert office.deliver() == 0
    [first, _] = [entry["notificationId"] for entry in office.shell.json("notifications", "list", ISSUER)]
    assert office.shell.run("notifications", "replay", ISSUER, "--id", first) == "1 meant, 1 are sent again\n"
    assert office.shell.json("notifications", "replay", ISSUER, "--endpoint", "hook", "--exact") == {
        "matched": 2, "replayed": 1, "pending": 1, "withheld": 0, "more": False,
    }  # fmt: skip
    office.deliver()
    assert sorted(office.receiver.newest) == ["op-card-1", "op-card-2"]


def test_what_was_never_attempted_and_what_is_withheld_is_told(office: Office) -> None:
    office.shell.run("endpoint", "add", ISSUER, "late", "--url", office.receiver.url, "--stage", "CARD_SHIPPED")
    office.order("card-1")
    office.deliver()
    office.shell.run("endpoint", "update", ISSUER, "late", "--stage", "*")
    assert office.shell.json("notifications", "replay", ISSUER, "--never-attempted")["replayed"] == 1
    office.deliver()
    office.shell.run("endpoint", "disable", ISSUER, "late", "--reason", "moving house")
    office.order("card-2")
    told = office.shell.run("notifications", "replay", ISSUER, "--endpoint", "late", "--state", "withheld")
    assert "1 stay withheld: enable their endpoint" in told
    with pytest.raises(Conflict, match="enable it first"):
        office.shell.run("notifications", "replay", ISSUER, "--never-attempted", "--endpoint", "late")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("list", "ISSUER"), "ISSUER_ID: exactly 10"),
        (("list", ISSUER, "--limit", "0"), "--limit: 1 to 1000"),
        (("list", ISSUER, "--since", "yesterday"), "--since: a date-time"),
        (("list", ISSUER, "--card", "a b"), "--card: 1 to 48"),
        (("show", ISSUER, "x"), "NOTIFICATION_ID: 27 of"),
        (("replay", ISSUER), "say which"),
        (("replay", ISSUER, "--id", "x"), "--id: 27 of"),
        (("replay", ISSUER, "--never-attempted", "--exact"), "--exact: what was never attempted"),
        (("replay", ISSUER, "--never-attempted", "--card", "card-1"), "--never-attempted: goes with"),
    ],
)
def test_what_is_wrong_is_named_as_the_option_it_came_by(office: Office, words: tuple[str, ...], expected: str) -> None:
    with pytest.raises(InputError) as raised:
        office.shell.run("notifications", *words)
    assert str(raised.value).startswith(expected)
