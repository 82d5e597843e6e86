"""The laws of the wire: what comes in is refused by name or kept whole, what goes out is exactly the contract's."""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from cardtrail.core.event import CarrierKind, Event, ProductionKind
from cardtrail.core.operation import operation_of
from cardtrail.core.order import project
from cardtrail.core.status import OperationStatus, ProductionStatus, ShipmentStatus
from cardtrail.errors import InputError
from cardtrail.protocol.codec import (
    EARLIEST,
    LATEST,
    MAX_BATCH,
    EventIn,
    decode_batch,
    decode_event,
    decode_events,
    encode_event,
    event_of,
    instant,
    picture_of,
    strict_form,
    timestamp,
)
from cardtrail.protocol.problem import problem_of
from tests.property.stories import stories

NOW = 1_767_600_060_000_000
MEMBERS = [field.encode_name for field in msgspec.structs.fields(EventIn)]
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(st.text(max_size=8), inner, max_size=5)),
    max_leaves=20,
)
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(2000, 1, 2), datetime(2099, 12, 30), timezones=ZONES)  # noqa: DTZ001 -- naive by rule


def texts(pattern: str, most: int = 64) -> st.SearchStrategy[str]:
    return st.from_regex(re.compile(f"{pattern}{{1,{most}}}", re.ASCII), fullmatch=True)


lines = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=64)
names = texts("[A-Za-z0-9_.-]")
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "operationId": texts("[A-Za-z0-9_-]"), "carrier": texts("[a-z0-9._-]", 40),
    "trackingNumber": texts("[A-Za-z0-9-]"), "reason": lines, "final": st.booleans(), "errorCode": names,
    "error": lines, "dueDate": st.dates().map(str), "productionSite": lines, "inputFileName": lines,
    "issuerRequestId": names, "trackingUrl": texts("[a-z0-9/?&=.-]").map("https://{}".format),
    "distributionChannel": names, "code": lines, "message": lines, "location": lines,
    "status": st.one_of(lines, st.sampled_from([status.value for status in ShipmentStatus])),
    "estimatedDelivery": st.dates().map(str), "colour": JSON.filter(lambda value: len(repr(value)) < 60),
}  # fmt: skip


@st.composite
def wire_events(draw: st.DrawFn) -> dict[str, Any]:
    """Return an event as a producer may send it."""
    site = draw(st.booleans())
    kind = draw(st.sampled_from([*ProductionKind] if site else [*CarrierKind]))
    told = draw(st.fixed_dictionaries({}, optional=VALUES))
    if "trackingNumber" in told:
        told.setdefault("carrier", "dhl")
    return told | {
        "eventId": draw(texts("[A-Za-z0-9._:-]")), "source": draw(texts("[a-z0-9._-]", 40)).join(["site:", ""])
        if site else "carrier:" + draw(texts("[a-z0-9._-]", 40)),
        "kind": kind.value, "occurredAt": draw(moments).isoformat(),
        "issuerId": draw(st.from_regex(r"[A-Za-z0-9_-]{10}", fullmatch=True)), "cardId": draw(texts("[\\w-]", 48)),
    }  # fmt: skip


def answered(error: InputError) -> None:
    """An error of reading must itself be an answer."""
    body = msgspec.json.decode(problem_of(error).body, type=dict[str, str])
    assert body["errorCode"] == error.code
    assert len(str(error)) < 400


def survives(body: bytes) -> None:
    """Whatever is taken can be stored, read back, folded and published."""
    try:
        event = event_of(decode_event(body), NOW)
    except InputError as error:
        answered(error)
        return
    assert decode_events([encode_event(event)]) == [event]
    for order in project([event]).orders:
        msgspec.json.decode(picture_of(operation_of(order)).sealed(1))


@given(st.binary(max_size=200))
@example(b'{"eventId":"\\ud800"}')
@example(b"\xff\xfe{}")
def test_bytes_of_any_kind_are_refused_by_name(body: bytes) -> None:
    survives(body)
    try:
        assert 1 <= len(decode_batch(body)) <= MAX_BATCH
    except InputError as error:
        answered(error)


@given(JSON)
def test_json_of_any_shape_is_refused_by_name(value: object) -> None:
    survives(msgspec.json.encode(value))


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(MEMBERS, JSON)))
def test_members_of_any_type_are_refused_by_name(members: dict[str, Any]) -> None:
    survives(msgspec.json.encode(members))


@given(wire_events(), st.sampled_from(MEMBERS), JSON)
def test_one_wrong_member_in_a_good_event_is_refused_or_harmless(
    event: dict[str, Any], name: str, value: object
) -> None:
    survives(msgspec.json.encode(event | {name: value}))


@given(wire_events(), st.data())
def test_a_good_event_with_a_broken_byte_is_refused_or_harmless(event: dict[str, Any], data: st.DataObject) -> None:
    body = bytearray(msgspec.json.encode(event))
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    survives(bytes(body))


@given(st.lists(st.binary(max_size=20), max_size=4), st.binary(max_size=20))
def test_a_batch_is_cut_or_refused_whatever_is_in_it(elements: list[bytes], tail: bytes) -> None:
    try:
        parts = decode_batch(b'{"events":[%b]%b}' % (b",".join(elements), tail))
    except InputError as error:
        answered(error)
    else:
        for part in parts:
            survives(bytes(part))


@given(
    st.lists(
        st.text(st.characters(codec=None, categories=["Cs", "Ll"], max_codepoint=0xFFFF), max_size=4),
        min_size=1,
        max_size=5,
    )
)
def test_halves_of_letters_void_no_neighbour(texts_cut: list[str]) -> None:
    elements = [
        b'{"reason":"%b"}' % text.encode("ascii", "backslashreplace").replace(b"\\x", b"\\u00") for text in texts_cut
    ]
    assert len(decode_batch(b'{"events":[%b]}' % b",".join(elements))) == len(texts_cut)


@given(wire_events())
def test_a_good_event_is_kept_whole(members: dict[str, Any]) -> None:
    event = event_of(decode_event(msgspec.json.encode(members)), NOW)
    assert decode_events([encode_event(event)]) == [event]
    assert encode_event(decode_events([encode_event(event)])[0]) == encode_event(event)
    kept = msgspec.to_builtins(event)
    for field in msgspec.structs.fields(EventIn):
        if field.encode_name in members and field.name in kept and field.name != "occurred_at":
            assert kept[field.name] == members[field.encode_name]
    assert event.occurred_at == instant(datetime.fromisoformat(members["occurredAt"]))


@given(stories)
def test_stored_events_come_back_as_they_were(events: list[Event]) -> None:
    assert decode_events([encode_event(event) for event in events]) == events


@given(st.integers(instant(EARLIEST), instant(LATEST - timedelta(microseconds=1))))
def test_an_instant_comes_back_to_the_millisecond(at: int) -> None:
    assert instant(datetime.fromisoformat(timestamp(at))) == at // 1000 * 1000
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", timestamp(at))


@given(moments)
def test_an_instant_is_the_same_in_every_zone(moment: datetime) -> None:
    assert instant(moment) == instant(moment.astimezone(UTC))


# ── pictures ─────────────────────────────────────────────────────────────────────────────────────────────────

REQUIRED = ["operationId", "operation", "status", "startTime", "cardId", "details"]
ORDER = [
    "operationId", "operation", "status", "startTime", "endTime", "cardId", "details", "errorCode", "error",
    "inputFileName", "issuerRequestId",
]  # fmt: skip
DETAILS = {"status", "reason", "dueDate", "productionSite", "shipment"}
SHIPMENT = {"carrier", "trackingNumber", "status", "message", "trackingUrl"}
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def no_nulls(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(no_nulls, value.values()))
    return all(map(no_nulls, value)) if isinstance(value, list) else value is not None


@given(stories)
def test_what_is_published_has_the_contracts_members_and_no_others(events: list[Event]) -> None:
    for order in project(events).orders:
        published = msgspec.json.decode(picture_of(operation_of(order)).published)
        assert set(REQUIRED) <= set(published)
        assert [name for name in ORDER if name in published] == list(published)
        assert OperationStatus(published["status"])
        assert ProductionStatus(published["details"]["status"])
        assert set(published["details"]) <= DETAILS
        assert set(published["details"].get("shipment", {})) <= SHIPMENT
        assert published["details"].get("shipment", {}).get("status") in {None, *ShipmentStatus}
        assert all(INSTANT.fullmatch(published[name]) for name in ("startTime", "endTime") if name in published)
        assert ("endTime" in published) == (published["status"] != "PENDING")
        assert ("errorCode" in published) == (published["status"] == "FAILED")
        assert no_nulls(published)


@given(stories, st.integers(1, 10**9))
def test_the_strict_form_is_what_was_published(events: list[Event], sequence: int) -> None:
    for order in project(events).orders:
        picture = picture_of(operation_of(order))
        full = picture.sealed(sequence)
        assert strict_form(full, picture.strict_length) == picture.published
        decoded = msgspec.json.decode(full)
        extension = decoded.pop("cardtrail")
        assert extension.pop("sequence") == sequence
        assert set(extension) <= {"estimatedDelivery", "checkpoints"}
        assert decoded == msgspec.json.decode(picture.published)
        assert no_nulls(extension)


@given(stories, st.randoms(use_true_random=False))
def test_the_same_events_give_the_same_bytes(events: list[Event], chance: Any) -> None:
    pictures = [picture_of(operation_of(order)) for order in project(events).orders]
    chance.shuffle(events)
    assert [picture_of(operation_of(order)) for order in project(events).orders] == pictures
