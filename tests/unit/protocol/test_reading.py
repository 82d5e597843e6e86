"""Reading operations as any server sends them: what it cannot do without, and what costs only itself."""

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardtrail.errors import InputError
from cardtrail.protocol.reading import MAX_ELEMENT, MAX_UNKNOWN, Operation, envelope_of, operation_of

WHOLE: dict[str, Any] = {
    "operationId": "op-1",
    "operation": "PRODUCE",
    "status": "SUCCESSFUL",
    "startTime": "2026-11-01T08:00:00.000Z",
    "endTime": "2026-11-03T09:30:00.250Z",
    "cardId": "card-1",
    "details": {
        "status": "CARD_SHIPPED",
        "reason": "none",
        "dueDate": "2026-11-04",
        "productionSite": "North",
        "shipment": {"carrier": "dhl", "trackingNumber": "JD1", "status": "InTransit"},
    },
    "errorCode": "E1",
    "error": "text",
    "inputFileName": "orders.dat",
    "issuerRequestId": "r-1",
    "cardtrail": {
        "sequence": 7,
        "estimatedDelivery": "2026-11-06",
        "checkpoints": [{"time": "2026-11-03T10:00:00.000Z", "status": "InTransit", "code": "AA"}],
    },
}
SECOND = 1_000_000


def read(**changes: Any) -> Operation:
    return operation_of(msgspec.json.encode(WHOLE | changes))


def test_a_whole_operation_is_read_member_by_member() -> None:
    operation = read()
    assert (operation.operation_id, operation.operation, operation.status) == ("op-1", "PRODUCE", "SUCCESSFUL")
    assert operation.end_time is not None
    assert operation.start_time is not None
    assert operation.end_time - operation.start_time == (2 * 86_400 + 5_400) * SECOND + 250_000
    assert (operation.stage, operation.shipment_status, operation.due_date) == (
        "CARD_SHIPPED",
        "InTransit",
        "2026-11-04",
    )
    assert (operation.sequence, operation.estimated_delivery) == (7, "2026-11-06")
    assert [seen.code for seen in operation.checkpoints] == ["AA"]
    assert operation.unknown == {}
    assert msgspec.json.decode(operation.raw) == WHOLE


@pytest.mark.parametrize("name", ["operationId", "operation", "status", "cardId"])
@pytest.mark.parametrize("value", [None, "", 7, ["x"], "two words\n", "x" * 65, "\u0000"])
def test_what_an_operation_cannot_do_without_is_named(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=name):
        read(**{name: value})


@pytest.mark.parametrize("name", ["operationId", "operation", "status", "cardId"])
def test_a_member_that_is_missing_is_named(name: str) -> None:
    members = {each: value for each, value in WHOLE.items() if each != name}
    with pytest.raises(InputError, match=name):
        operation_of(msgspec.json.encode(members))


@pytest.mark.parametrize(
    ("changes", "unknown"),
    [
        ({"colour": "blue"}, {"colour": "blue"}),
        ({"startTime": "yesterday"}, {"startTime": "yesterday"}),
        ({"startTime": "2026-11-01T08:00:00"}, {"startTime": "2026-11-01T08:00:00"}),
        ({"endTime": 5}, {"endTime": 5}),
        ({"details": ["x"]}, {"details": ["x"]}),
        ({"details": {"status": 9}}, {"details.status": 9}),
        ({"details": {"dueDate": "soon"}}, {"details.dueDate": "soon"}),
        ({"details": {"shipment": {"status": {}}}}, {"details.shipment.status": {}}),
        ({"details": {"shipment": {"weight": 3}}}, {"details.shipment.weight": 3}),
        ({"cardtrail": {"sequence": 0}}, {"cardtrail.sequence": 0}),
        ({"cardtrail": {"sequence": "7"}}, {"cardtrail.sequence": "7"}),
        ({"cardtrail": 1}, {"cardtrail": 1}),
        ({"errorCode": 5}, {"errorCode": 5}),
    ],
)  # fmt: skip
def test_what_is_not_as_published_costs_only_itself(changes: dict[str, Any], unknown: dict[str, Any]) -> None:
    operation = read(**changes)
    assert operation.unknown == unknown
    assert (operation.card_id, operation.input_file_name) == ("card-1", "orders.dat")


def test_what_is_published_in_two_places_is_read_from_both() -> None:
    members = {name: value for name, value in WHOLE.items() if name not in {"inputFileName", "issuerRequestId"}}
    inside = members | {"details": {"status": "CARD_SHIPPED", "inputFileName": "f", "issuerRequestId": "r"}}
    operation = operation_of(msgspec.json.encode(inside))
    assert (operation.input_file_name, operation.issuer_request_id, operation.unknown) == ("f", "r", {})


def test_a_deprecated_member_is_no_news() -> None:
    details = WHOLE["details"] | {"consumerId": "c-1"}
    assert read(details=details).content == read().content


def test_a_date_time_gives_its_date_as_written() -> None:
    assert read(details={"dueDate": "2026-11-04T23:30:00+11:00"}).due_date == "2026-11-04"


def test_the_order_of_members_and_our_extension_do_not_change_the_content() -> None:
    turned = dict(reversed(WHOLE.items())) | {"cardtrail": {"sequence": 8}}
    assert operation_of(msgspec.json.encode(turned)).content == read().content


@pytest.mark.parametrize("name", ["status", "endTime", "details", "errorCode", "error", "inputFileName", "colour"])
def test_every_published_member_and_every_unknown_one_changes_the_content(name: str) -> None:
    other = {"details": WHOLE["details"] | {"reason": "other"}, "endTime": "2026-11-03T09:30:00.251Z"}
    assert read(**{name: other.get(name, "OTHER")}).content != read().content


def test_an_operation_that_is_too_large_is_refused() -> None:
    with pytest.raises(InputError, match=str(MAX_ELEMENT)):
        operation_of(b'{"x":"%b"}' % (b"x" * MAX_ELEMENT))


def test_only_so_many_unknown_members_are_kept_by_name() -> None:
    assert len(read(**{f"n{number}": 1 for number in range(200)}).unknown) == MAX_UNKNOWN


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"operations":1}', b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_list_of_operations_is_refused(body: bytes) -> None:
    with pytest.raises(InputError):
        envelope_of(body)


def test_half_a_letter_costs_only_its_element() -> None:
    first, second = envelope_of(b'{"operations":[{"operationId":"\\ud83d"},%b]}' % msgspec.json.encode(WHOLE)).elements
    with pytest.raises(InputError):
        operation_of(first)
    assert operation_of(second).card_id == "card-1"


@pytest.mark.parametrize("text", [b'{"operations":[],"cardtrail":7}', b'{"operations":[],"cardtrail":{"cursor":7}}'])
def test_a_mark_that_is_no_text_is_none(text: bytes) -> None:
    assert envelope_of(text).mark is None


def test_a_page_of_the_feed_has_a_cursor_and_a_notification_a_mark() -> None:
    page = envelope_of(b'{"operations":[],"cursor":"c","more":true}')
    assert (page.cursor, page.more, page.mark) == ("c", True, None)
    assert envelope_of(b'{"operations":[],"cardtrail":{"cursor":"m"}}').mark == "m"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*WHOLE, "other"]), JSON, max_size=6), st.booleans())
def test_whatever_comes_is_read_or_refused_and_nothing_else(changes: dict[str, Any], inside: bool) -> None:  # noqa: FBT001 - drawn
    members = WHOLE | ({"details": changes} if inside else changes)
    with suppress(InputError):
        assert operation_of(msgspec.json.encode(members)).content
