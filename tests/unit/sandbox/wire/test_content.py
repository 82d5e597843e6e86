"""What bodies say is read liberally, and what is made up for them is really unknown to the field."""

import msgspec
import pytest

from cardtrail.core.status import ProductionStatus, ShipmentStatus
from cardtrail.protocol.codec import decode_event
from cardtrail.protocol.reading import operation_of
from cardtrail.sandbox.wire import content
from cardtrail.sandbox.wire.content import can_say, cards_of, count_of, document_of, say
from cardtrail.sandbox.wire.faults import Fault, Faults
from cardtrail.sandbox.wire.kinds import Hop, Kind
from tests.signed import operation

PUBLISHED_CARRIERS = [
    "chronopost-france",
    "dhl",
    "dhl-global-mail",
    "deutsch-post",
    "estafeta",
    "fedex",
    "la-poste-colissimo",
    "nacex",
    "spanish-seur",
    "singapore-post",
    "spain-correos-es",
    "ups",
    "usps-iv-api",
]


def fault(kind: Kind, *cards: str) -> Fault:
    return Faults(1).set(kind, Hop.ANSWERS, cards=cards)


@pytest.mark.parametrize(
    ("body", "cards"),
    [
        (b'{"operations":[{"cardId":"a"},{"cardId":"b"},{"cardId":7},5]}', {"a", "b"}),
        (b'{"cardIds":["a",5]}', {"a"}), (b'{"cards":[{"cardId":"a"}]}', {"a"}),
        (b'{"events":[{"cardId":"a"},{}]}', {"a"}),
        (b'{"cardId":"a"}', {"a"}), (b"[]", set()), (b"", set()), (b"\xff", set()), (b"[" * 100_000, set()),
        (b'{"operations":{"cardId":"a"},"cardIds":"abc"}', set()),
    ],
)  # fmt: skip
def test_the_cards_of_a_body_are_found_wherever_a_body_names_them(body: bytes, cards: set[str]) -> None:
    assert cards_of(document_of(body)) == cards


def test_operations_are_counted_and_nothing_else() -> None:
    bodies = (b'{"operations":[{},{}]}', b'{"events":[{}]}', b"{")
    assert [count_of(document_of(body)) for body in bodies] == [2, 0, 0]


def test_what_is_made_up_is_published_by_nobody_and_survives_our_own_readers() -> None:
    assert content.STATUS not in set(ProductionStatus)
    assert content.SCAN_STATUS not in set(ShipmentStatus)
    assert content.CARRIER not in PUBLISHED_CARRIERS
    details = {"status": "CARD_SHIPPED", "shipment": {"carrier": "dhl", "status": "InTransit"}}
    document = {"operations": [operation(details=details)]}
    said = say({kind: fault(kind) for kind in content.NEW}, document)
    [raw] = msgspec.json.decode(said)["operations"]
    read = operation_of(msgspec.json.encode(raw))
    assert (read.stage, read.shipment_status) == (content.STATUS, "InTransit")
    assert read.shipment is not None
    assert read.shipment.carrier == content.CARRIER
    assert content.MEMBER in read.unknown
    event = {"eventId": "1", "source": "carrier:x", "kind": "scanned", "occurredAt": "2026-01-05T08:00:00Z"}
    scan = event | {"code": content.CODE, "status": content.SCAN_STATUS}
    told = decode_event(msgspec.json.encode(scan))
    assert (told.code, told.status) == (content.CODE, content.SCAN_STATUS)


def test_a_fault_has_nothing_to_change_where_its_place_or_its_card_is_missing() -> None:
    document = {"operations": [operation("a"), {"cardId": "b", "details": 5}]}
    assert can_say(fault(Kind.UNKNOWN_STATUS), document)
    assert not can_say(fault(Kind.UNKNOWN_STATUS, "b"), document)
    assert not can_say(fault(Kind.UNKNOWN_CARRIER), document)
    assert can_say(fault(Kind.UNKNOWN_MEMBER), {})
    assert not can_say(fault(Kind.UNKNOWN_MEMBER, "c"), document)
    assert not can_say(fault(Kind.UNKNOWN_MEMBER), None)
