"""First sightings: what is not published is told once, with a sample, and what is known costs nothing."""

from typing import Any

import msgspec
import pytest

from cardtrail.core.status import CARRIERS, OperationStatus, ProductionStatus, ShipmentStatus
from cardtrail.issuer import sight as module
from cardtrail.issuer.sight import OPERATIONS, Kind, Seen, element_of, name_of, strange_in
from cardtrail.issuer.take import MAX_NAME, MAX_SAMPLE
from cardtrail.protocol.reading import Operation, operation_of
from tests.signed import operation

ISSUER = "ISSUER0001"


def read(**members: Any) -> Operation:
    return operation_of(msgspec.json.encode(operation(**members)))


def shipped(**shipment: Any) -> Operation:
    return read(details={"status": "CARD_SHIPPED", "shipment": shipment})


def test_nothing_that_is_published_is_strange() -> None:
    everything = [
        *(read(operation=kind) for kind in (*OPERATIONS, "CLICK_TO_PAY_ENROL")),
        *(read(status=status) for status in OperationStatus),
        *(read(stage=stage) for stage in ProductionStatus),
        *(shipped(carrier=carrier) for carrier in CARRIERS),
        *(shipped(status=status) for status in ShipmentStatus),
        read(details={"status": "DATA_PREPARED", "consumerId": "old"}),
    ]
    assert len(everything) > 40
    assert [strange_in(each) for each in everything] == [[]] * len(everything)


@pytest.mark.parametrize(
    ("strange", "kind", "name"),
    [
        (read(operation="MELT"), Kind.OPERATION, "MELT"),
        (read(status="PAUSED"), Kind.OPERATION_STATUS, "PAUSED"),
        (read(stage="CARD_LOST"), Kind.STATUS, "CARD_LOST"),
        (read(details={}), Kind.STATUS, "(none)"),
        (shipped(carrier="pigeon"), Kind.CARRIER, "pigeon"),
        (shipped(status="Delayed"), Kind.SHIPMENT_STATUS, "Delayed"),
        (read(colour="red"), Kind.MEMBER, "colour"),
        (read(details={"status": "DATA_PREPARED", "a": {"b": 1}}), Kind.MEMBER, "details.a"),
        (read(startTime="yesterday"), Kind.MEMBER, "startTime"),
        (read(details={"status": "DATA_PREPARED", "dueDate": "soon"}), Kind.MEMBER, "details.dueDate"),
    ],
)
def test_what_is_not_published_is_named(strange: Operation, kind: Kind, name: str) -> None:
    assert strange_in(strange) == [(kind, name)]


@pytest.mark.parametrize(("carrier", "code", "name"), [("dhl", "ZZ9", "dhl:ZZ9"), (None, None, "?:Unknown")])
def test_a_carriers_code_that_means_nothing_is_named_with_its_carrier(
    carrier: str | None, code: str | None, name: str
) -> None:
    seen = {"time": "2026-01-05T08:00:00Z", "status": "Unknown"} | ({"code": code} if code else {})
    known = {"time": "2026-01-05T08:00:00Z", "status": "InTransit", "code": "PU"}
    shipment = {"shipment": {"carrier": carrier}} if carrier else {}
    strange = read(details={"status": "CARD_SHIPPED", **shipment}, cardtrail={"checkpoints": [known, seen]})
    assert strange_in(strange) == [(Kind.EVENT, name)]


def test_the_status_of_an_operation_that_is_not_tracked_is_no_stage() -> None:
    assert strange_in(read(operation="ACTIVATE", details={"status": "WHATEVER"})) == []


def test_what_was_told_is_not_told_again() -> None:
    seen = Seen()
    first, again = read(stage="CARD_LOST"), read(stage="CARD_LOST", colour="red")
    told = seen.first(ISSUER, [first, again])
    assert [(each.kind, each.name) for each in told] == [("status", "CARD_LOST"), ("member", "colour")]
    assert told[0].sample == first.raw
    seen.note(ISSUER, told)
    assert seen.first(ISSUER, [first, again]) == []
    assert len(seen.first("ISSUER0002", [first])) == 1


def test_what_was_not_stored_is_told_again() -> None:
    seen = Seen()
    assert seen.first(ISSUER, [read(stage="CARD_LOST")]) == seen.first(ISSUER, [read(stage="CARD_LOST")]) != []


def test_memory_is_bounded_and_then_something_is_told_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SEEN", 3)
    seen = Seen()
    for number in range(4):
        seen.note(ISSUER, seen.first(ISSUER, [read(stage=f"S{number}")]))
    assert len(seen.first(ISSUER, [read(stage="S0")])) == 1
    assert seen.first(ISSUER, [read(stage="S3")]) == []


def test_one_call_tells_a_limited_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SIGHTINGS", 2)
    seen, many = Seen(), [read(stage=f"S{number}") for number in range(3)]
    told = seen.first(ISSUER, many)
    assert [each.name for each in told] == ["S0", "S1"]
    seen.note(ISSUER, told)
    assert [each.name for each in seen.first(ISSUER, many)] == ["S2"]


def test_an_element_is_kept_whole_up_to_the_limit() -> None:
    kept = element_of("cardId: is required", b"x" * (MAX_SAMPLE + 1))
    assert (kept.kind, kept.name, len(kept.sample)) == ("element", "cardId: is required", MAX_SAMPLE)


def test_one_reason_has_one_name_wherever_it_applies() -> None:
    kept = element_of("JSON is malformed: invalid character (byte 17)", b"x")
    assert kept.name == "JSON is malformed: invalid character"


def test_a_name_holds_nothing_that_a_table_minds() -> None:
    assert name_of("a\x00b\nc\u202ed") == "a\ufffdb\ufffdc\ufffdd"
    assert len(name_of("x" * 1_000)) == MAX_NAME
