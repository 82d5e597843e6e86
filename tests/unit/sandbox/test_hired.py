"""The platform for hire, as a test would use it: cards, time, faults, receivers, and its end."""

import contextlib
import gc
import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cardtrail.errors import Conflict, InputError, NotFound, RemoteError
from cardtrail.protocol.signature import verify
from cardtrail.sandbox.hired import Hired, hired
from tests.background import receiving
from tests.receiver import Receiver

MONDAY = datetime(2026, 1, 5, 6, tzinfo=UTC)
LOOSE = 3.0
"""Most that a start may take on a machine that is busy, seconds."""


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Hired]:
    with hired(tmp_path) as platform:
        yield platform


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def stages(receiver: Receiver) -> list[str]:
    return [operation["details"]["status"] for operation in receiver.delivered]


def test_it_starts_soon(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    took = []
    for number in range(4):
        folder = tmp_path / str(number)
        folder.mkdir()
        began = time.perf_counter()
        with hired(folder) as platform:
            took.append(time.perf_counter() - began)
            assert platform.order("card-1")
            began = time.perf_counter()
        took.append(time.perf_counter() - began)
    with capsys.disabled():
        print(f"\nstart {min(took[::2]) * 1_000:.0f} ms, end {min(took[1::2]) * 1_000:.0f} ms")  # noqa: T201 -- a measurement
    assert min(took[::2]) < LOOSE


def test_nothing_stays_behind(tmp_path: Path) -> None:
    frozen = gc.get_freeze_count()
    with hired(tmp_path) as platform:
        port = int(platform.url.split(":")[2].partition("/")[0])
        assert platform.client().features().feed
    assert not [thread for thread in threading.enumerate() if "platform" in thread.name]
    assert gc.get_freeze_count() <= frozen  # what others in this process have frozen may go by itself
    with contextlib.closing(socket.socket()) as knocking:
        assert knocking.connect_ex(("127.0.0.1", port)) != 0


def test_two_at_once_know_nothing_of_each_other(platform: Hired, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with hired(tmp_path / "other") as other:
        other.order("card-1")
        other.clock.advance("1d")
        with pytest.raises(NotFound, match="card-1"):
            platform.status("card-1")
    assert platform.clock.now == MONDAY


# ── cards ──


def test_an_order_is_told_by_its_operation(platform: Hired) -> None:
    operation_id = platform.order("card-1")
    assert platform.status("card-1").operation_id == operation_id
    again = platform.order("card-1")
    assert again != operation_id
    platform.clock.advance("1m")
    assert {each.operation_id for each in platform.client().production_history("card-1")} == {operation_id, again}


def test_all_goes_well_unless_something_else_is_asked_for(platform: Hired) -> None:
    platform.order("card-1")
    platform.order("card-2", scenario="returned")
    platform.order("card-3", "sbx-data-exception-1")
    platform.order("sbx-returned-4")
    platform.clock.advance("60d")
    assert platform.status("card-1").shipment_status == "Delivered"
    assert platform.status("card-2").stage == "CARD_RETURNED"
    assert platform.status("card-3").status == "FAILED"
    assert platform.status("sbx-returned-4").stage == "CARD_RETURNED"


def test_an_order_that_cannot_be_is_refused_by_name(platform: Hired) -> None:
    with pytest.raises(InputError, match=r"scenario: one of .*happy"):
        platform.order("card-1", scenario="no-such")
    with pytest.raises(InputError, match="scenario: goes without a request id"):
        platform.order("card-1", "own", scenario="happy")
    with pytest.raises(InputError, match="cardId"):
        platform.order("no card")
    platform.order("card-1", "own")
    with pytest.raises(Conflict):
        platform.order("card-2", "own")


def test_the_verbs_move_a_card(platform: Hired) -> None:
    for number in range(1, 7):
        platform.order(f"card-{number}")
    platform.hold("card-1")
    assert str(platform.status("card-1").reason).startswith("ON_HOLD")
    platform.release("card-1")
    platform.cancel("card-1")
    assert platform.status("card-1").stage == "CARD_PROD_CANCELED"
    [failed] = platform.fail("card-2")
    assert failed["kind"] == "failed"
    assert [event["kind"] for event in platform.ship("card-3")] == ["shipped"]
    platform.scan("card-3", status="OutForDelivery", location="Ulm")
    assert platform.status("card-3").shipment_status == "OutForDelivery"
    assert len(platform.deliver("card-4")) == 2
    platform.return_("card-5")
    assert platform.status("card-5").stage == "CARD_RETURNED"
    with pytest.raises(Conflict, match="too late"):
        platform.ship("card-4")
    with pytest.raises(NotFound, match="no-such"):
        platform.ship("no-such")
    with pytest.raises(InputError, match="status"):
        platform.scan("card-3", status="")


# ── time ──


def test_time_stands_until_it_is_moved(platform: Hired) -> None:
    assert platform.clock.now == MONDAY
    platform.order("card-1")
    assert platform.clock.advance(timedelta(days=21)) > 5
    platform.clock.advance("1d12h")
    assert platform.clock.now == MONDAY + timedelta(days=22, hours=12)


def test_time_never_goes_back(platform: Hired) -> None:
    for span in ("-1d", timedelta(seconds=-1), "4000d", "soon"):
        with pytest.raises(InputError, match="span"):
            platform.clock.advance(span)
    assert platform.clock.now == MONDAY


def test_time_passes_by_itself_where_it_is_told_to(platform: Hired, receiver: Receiver) -> None:
    platform.notify(receiver.url)
    platform.order("card-1")
    platform.clock.speed("max")
    deadline = time.monotonic() + 60
    while platform.status("card-1").shipment_status != "Delivered":
        assert time.monotonic() < deadline
    platform.clock.pause()
    stood = platform.clock.now
    platform.settle()
    assert platform.clock.now == stood > MONDAY
    platform.clock.speed("1000x")
    platform.clock.pause()
    stood = platform.clock.now
    platform.clock.resume()
    while platform.clock.now == stood:
        assert time.monotonic() < deadline
    with pytest.raises(InputError, match="speed"):
        platform.clock.speed("fast")


def test_the_same_seed_gives_the_same_days(tmp_path: Path) -> None:
    told = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        with hired(folder, seed=7) as platform:
            for card in range(5):
                platform.order(f"card-{card}", f"own-{card}")
            platform.clock.advance("40d")
            told.append([_story(platform, f"card-{card}") for card in range(5)])
    assert told[0] == told[1]


def _story(platform: Hired, card_id: str) -> tuple[object, ...]:
    found = platform.status(card_id)
    scans = [(each.at, each.status, each.location) for each in found.checkpoints]
    return found.stage, found.start_time, found.end_time, found.due_date, scans


# ── receivers and faults ──


def test_a_receiver_gets_what_happens_signed_with_the_secret_it_was_told(platform: Hired, receiver: Receiver) -> None:
    secret = platform.notify(receiver.url)
    platform.order("card-1")
    platform.settle()
    platform.deliver("card-1")
    platform.settle()
    assert stages(receiver)[0] == "CARD_PROD_REQUESTED"
    assert receiver.delivered[-1]["details"]["shipment"]["status"] == "Delivered"
    for call in receiver.calls:
        assert call.path == f"/notifications/d1/v2/issuers/{platform.issuer_id}/cards"
        verify([secret], call.headers, call.body, int(time.time()))
    crossed = [each for each in platform.sent if each.hop == "notifications"]
    assert [json.loads(each.request.body) for each in crossed] == [json.loads(call.body) for call in receiver.calls]


def test_each_of_several_receivers_is_notified(platform: Hired, receiver: Receiver) -> None:
    with receiving() as other:
        assert platform.notify(receiver.url) != platform.notify(other.url + "/bank")
        platform.order("card-1")
        platform.settle()
        assert stages(receiver) == stages(other) == ["CARD_PROD_REQUESTED"]
        assert other.calls[0].path.startswith("/bank/notifications/")


def test_a_url_that_cannot_be_is_refused(platform: Hired) -> None:
    with pytest.raises(InputError, match="url"):
        platform.notify("nowhere")
    with pytest.raises(NotFound, match="nothing is sent to"):
        platform.secrets("http://127.0.0.1:1")


def test_a_rotated_secret_is_told(platform: Hired, receiver: Receiver) -> None:
    first = platform.notify(receiver.url)
    assert platform.secrets(receiver.url) == [first]
    with platform.faults("key-rotation", at="notifications"):
        platform.order("card-1")
        platform.settle()
    newest, old = platform.secrets(receiver.url)
    assert old == first != newest
    platform.ship("card-1")
    platform.settle()
    verify([newest], receiver.calls[-1].headers, receiver.calls[-1].body, int(time.time()))


def test_a_receiver_that_is_away_ends_the_wait_with_what_waits_and_why(platform: Hired, receiver: Receiver) -> None:
    receiver.reply = lambda _: (503, {}, b"away")
    platform.notify(receiver.url)
    platform.order("card-1")
    with pytest.raises(TimeoutError, match=r"after 0\.5 s 1 .* wait, .* card card-1 ended with HTTP 503 away"):
        platform.settle(timeout=0.5)
    receiver.reply = lambda _: (204, {}, b"")
    platform.settle()
    assert stages(receiver) == ["CARD_PROD_REQUESTED"]


def test_a_fault_lasts_as_long_as_its_block_and_is_counted(platform: Hired, receiver: Receiver) -> None:
    platform.notify(receiver.url)
    with platform.faults("drop") as fault:
        platform.order("card-1")
        platform.settle()
    assert (fault.struck, platform.faults.struck) == (1, {"drop": 1})
    assert receiver.calls == []
    platform.ship("card-1")
    platform.settle()
    assert stages(receiver) == ["CARD_SHIPPED"]
    assert platform.faults.clear() == 0


def test_what_the_wire_holds_is_waited_for(platform: Hired, receiver: Receiver) -> None:
    platform.notify(receiver.url)
    platform.faults.set("delay", seconds=0.3)
    platform.faults.set("duplicate")
    platform.order("card-1")
    platform.settle()
    assert stages(receiver) == ["CARD_PROD_REQUESTED"] * 2
    assert platform.faults.clear() == 2


def test_a_fault_that_cannot_be_is_refused_by_name(platform: Hired) -> None:
    with pytest.raises(InputError, match="kind"):
        platform.faults.set("flood")
    with pytest.raises(InputError, match="hop"):
        platform.faults.set("old-signature", at="answers")
    with pytest.raises(InputError, match="cards"):
        platform.faults.set("drop", cards="card-1")
    with pytest.raises(InputError, match="rate"), platform.faults("drop", rate=2):
        pass


def test_the_test_itself_orders_and_looks_whatever_the_faults(platform: Hired) -> None:
    with platform.faults("500", at="answers"):
        assert platform.order("card-1")
        assert platform.status("card-1").stage == "CARD_PROD_REQUESTED"
        with pytest.raises(RemoteError, match="500"):
            platform.client(retries=0).production_status("card-1")
    assert platform.client().production_status("card-1").stage == "CARD_PROD_REQUESTED"


@pytest.mark.parametrize("kind", ["token-expiry", "500", "reset", "truncated"])
def test_what_sites_report_arrives_in_spite_of_faults_on_calls(platform: Hired, kind: str) -> None:
    platform.order("card-1")
    with platform.faults(kind, at="events", count=2) as fault:
        platform.clock.advance("21d")
    assert fault.struck
    assert platform.status("card-1").shipment_status == "Delivered"


def test_events_that_are_late_arrive_by_the_platforms_clock(platform: Hired) -> None:
    platform.order("card-1")
    with platform.faults("delay", at="events", seconds=86_400):
        platform.ship("card-1")
        assert platform.status("card-1").stage == "CARD_PROD_REQUESTED"
        platform.clock.advance("1d")
    assert platform.status("card-1").stage == "CARD_SHIPPED"
