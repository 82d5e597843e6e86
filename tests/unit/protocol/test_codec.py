"""The wire: each limit at its edge, odd input, dates and times, and the published bytes."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from cardtrail.core.event import CarrierEvent, Event, ProductionEvent, Retraction
from cardtrail.core.operation import Details, Operation, PictureOfShipment
from cardtrail.core.order import Checkpoint
from cardtrail.core.status import OperationStatus, ShipmentStatus
from cardtrail.errors import InputError, ParsingError
from cardtrail.protocol.codec import (
    CARD_ID,
    CORRELATION_ID,
    ISSUER_ID,
    MAX_BATCH,
    MAX_BRACKETS,
    answer_of,
    decode_batch,
    decode_event,
    decode_events,
    encode_event,
    etag_of,
    event_of,
    instant,
    picture_of,
    strict_form,
    timestamp,
)

SITE = {
    "eventId": "e1", "source": "site:north", "kind": "done", "occurredAt": "2026-01-05T08:00:00Z",
    "issuerId": "ISSUER0001", "cardId": "card-1",
}  # fmt: skip
CARRIER = SITE | {"source": "carrier:dhl", "kind": "scanned"}
NOW = 1_767_600_060_000_000


def read(members: dict[str, Any]) -> Event:
    return event_of(decode_event(msgspec.json.encode(members)), NOW)


def refusal(members: dict[str, Any]) -> InputError:
    with pytest.raises(InputError) as caught:
        read(members)
    return caught.value


# ── what an event becomes ────────────────────────────────────────────────────────────────────────────────────


def test_a_sites_event_is_read_in_full() -> None:
    told = {
        "kind": "failed", "reason": "torn", "final": True, "errorCode": "E-1", "error": "chip", "dueDate": "2026-01-10",
        "productionSite": "PERSO-1", "inputFileName": "day 1.csv", "issuerRequestId": "r.1", "carrier": "dhl",
        "trackingNumber": "P-1", "trackingUrl": "https://dhl.test/P-1", "distributionChannel": "CENTRAL",
        "operationId": "op-1",
    }  # fmt: skip
    event = read(SITE | told)
    assert isinstance(event, ProductionEvent)
    assert (event.key, event.occurred_at, event.recorded_at) == (("site:north", "e1"), NOW - 60_000_000, NOW)
    assert msgspec.to_builtins(event) | {"type": "", "source": "", "event_id": "", "occurred_at": 0} == {
        "type": "", "source": "", "event_id": "", "occurred_at": 0, "recorded_at": NOW, "issuer_id": "ISSUER0001",
        "card_id": "card-1", "operation_id": "op-1", "carrier": "dhl", "tracking_number": "P-1", "kind": "failed",
        "reason": "torn", "final": True, "error_code": "E-1", "error": "chip", "due_date": "2026-01-10",
        "production_site": "PERSO-1", "input_file_name": "day 1.csv", "issuer_request_id": "r.1",
        "tracking_url": "https://dhl.test/P-1", "distribution_channel": "CENTRAL",
    }  # fmt: skip


def test_a_carriers_event_may_name_a_parcel_alone() -> None:
    told = {"code": "PU", "status": "Teleported", "message": "Zap", "location": "Köln"}
    told["estimatedDelivery"] = "2026-01-10"
    bare = {name: value for name, value in CARRIER.items() if name not in {"issuerId", "cardId"}}
    event = read(bare | told | {"carrier": "dhl", "trackingNumber": "P-1"})
    assert isinstance(event, CarrierEvent)
    assert (event.card_id, event.carrier, event.tracking_number) == (None, "dhl", "P-1")
    assert (event.code, event.status, event.message, event.location) == ("PU", "Teleported", "Zap", "Köln")
    assert (event.estimated_delivery, event.shipment_status) == ("2026-01-10", None)


def test_a_retraction_names_what_it_takes_back() -> None:
    event = read(SITE | {"kind": "retracted", "retracts": "e0"})
    assert isinstance(event, Retraction)
    assert event.target == ("site:north", "e0")


def test_an_operator_may_name_the_source_it_takes_back_from() -> None:
    told = {"source": "operator:ann", "kind": "retracted", "retracts": "e0", "retractedSource": "carrier:dhl"}
    event = read(SITE | told)
    assert isinstance(event, Retraction)
    assert event.target == ("carrier:dhl", "e0")


@pytest.mark.parametrize("source", ["site:north", "carrier:dhl", "api:a"])
def test_nobody_else_may_take_back_what_another_source_said(source: str) -> None:
    told = {"source": source, "kind": "retracted", "retracts": "e0", "retractedSource": "site:south"}
    assert (refusal(SITE | told).code, refusal(SITE | told).field) == ("FORBIDDEN", "retractedSource")
    assert isinstance(read(SITE | told | {"retractedSource": source}), Retraction)


def test_unknown_members_are_ignored_whatever_they_hold() -> None:
    assert read(SITE | {"colour": {"deep": [1e99, None, "x"]}, "": 1}) == read(SITE)


def test_a_member_that_is_null_is_a_member_that_is_absent() -> None:
    nothing = dict.fromkeys(("operationId", "carrier", "trackingNumber", "reason", "dueDate", "status", "retracts"))
    assert read(SITE | nothing) == read(SITE)


def test_the_order_of_members_does_not_matter() -> None:
    assert read(dict(reversed(SITE.items()))) == read(SITE)


def test_a_member_given_twice_counts_as_given_last() -> None:
    body = msgspec.json.encode(SITE)[:-1] + b',"cardId":"card-2","kind":"ready"}'
    event = event_of(decode_event(body), NOW)
    assert isinstance(event, ProductionEvent)
    assert (event.card_id, event.kind) == ("card-2", "ready")


# ── what belongs together ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("members", "field", "code"),
    [
        (SITE | {"kind": "gilded"}, "kind", "FIELD_INVALID_VALUE"),
        (SITE | {"kind": "Done"}, "kind", "FIELD_INVALID_VALUE"),
        (SITE | {"kind": "scanned"}, "source", "FIELD_INVALID_VALUE"),
        (CARRIER | {"kind": "done"}, "source", "FIELD_INVALID_VALUE"),
        (SITE | {"issuerId": None}, "issuerId", "FIELD_INVALID_VALUE"),
        (SITE | {"issuerId": None, "cardId": None, "operationId": "op-1"}, "issuerId", "FIELD_INVALID_VALUE"),
        (SITE | {"cardId": None}, "cardId", "FIELD_INVALID_VALUE"),
        (SITE | {"cardId": None, "carrier": "dhl", "trackingNumber": "P1"}, "cardId", "FIELD_INVALID_VALUE"),
        (SITE | {"kind": "requested", "cardId": None, "operationId": "op-1"}, "cardId", "FIELD_INVALID_VALUE"),
        (SITE | {"trackingNumber": "P1"}, "carrier", "FIELD_INVALID_VALUE"),
        (CARRIER | {"cardId": None, "carrier": "dhl"}, "cardId", "FIELD_INVALID_VALUE"),
        (CARRIER | {"cardId": None, "trackingNumber": "P1"}, "cardId", "FIELD_INVALID_VALUE"),
        (SITE | {"kind": "retracted"}, "retracts", "FIELD_INVALID_VALUE"),
    ],
)
def test_members_that_do_not_fit_each_other_are_refused(members: dict[str, Any], field: str, code: str) -> None:
    error = refusal(members)
    assert (error.field, error.code) == (field, code)


@pytest.mark.parametrize("member", ["eventId", "source", "kind", "occurredAt"])
def test_what_every_event_needs_is_asked_for_by_name(member: str) -> None:
    error = refusal({name: value for name, value in SITE.items() if name != member})
    assert (error.field, str(error), error.code) == (member, f"{member}: is required", "FIELD_INVALID_FORMAT")
    assert refusal(SITE | {member: None}).field == member


@pytest.mark.parametrize("value", [1, 1.5, True, [], {}, ["a"]])
def test_a_member_of_another_type_is_refused_by_its_name(value: object) -> None:
    for member in ("eventId", "cardId", "reason", "dueDate", "occurredAt", "status"):
        assert refusal(SITE | {member: value}).field == member
    if value is not True:
        assert refusal(SITE | {"final": value}).field == "final"


# ── edges ────────────────────────────────────────────────────────────────────────────────────────────────────

WORD = "azAZ09_-"
LIMITS: list[tuple[str, str, int, int, str]] = [
    # member, the letters it may have, shortest, longest, and letters it must not have
    ("issuerId", WORD, 10, 10, ".:/ %"),
    ("cardId", WORD, 1, 48, ".:/ %"),
    ("operationId", WORD, 1, 64, ".:/ %"),
    ("eventId", WORD + ".:", 1, 64, "/ %"),
    ("retracts", WORD + ".:", 1, 64, "/ %"),
    ("carrier", "az09._-", 1, 40, "AZ:/ %"),
    ("trackingNumber", "azAZ09-", 1, 64, "_.:/ %"),
    ("errorCode", WORD + ".", 1, 64, ":/ %"),
    ("issuerRequestId", WORD + ".", 1, 64, ":/ %"),
    ("distributionChannel", WORD + ".", 1, 64, ":/ %"),
    ("productionSite", "aZ09 äß€😀:/%", 1, 128, "\n\t\x7f\x1b"),
    ("inputFileName", "aZ09 äß€😀:/%", 1, 128, "\n\t\x7f\x1b"),
    ("code", "aZ09 äß€😀:/%", 1, 64, "\n\t\x7f\x1b"),
    ("status", "aZ09 äß€😀:/%", 1, 64, "\n\t\x7f\x1b"),
    ("location", "aZ09 äß€😀:/%", 1, 128, "\n\t\x7f\x1b"),
    ("reason", "aZ09 äß€😀:/%\n", 1, 256, ""),
    ("error", "aZ09 äß€😀:/%\n", 1, 256, ""),
    ("message", "aZ09 äß€😀:/%\n", 1, 256, ""),
]
NAMES = {member for member, letters, *_ in LIMITS if "ä" not in letters}
ODD = "\u017f\u212a\u216b\uff10\uff19\uff21\uff41\xc4\u0130\u0131\u0663\u2013\u200b\xa0\n\r\x00\x85\u2028\ufeff"
"""Letters that some pattern takes for ASCII, digits of other scripts, ends of lines, and what nobody sees."""


def fill(letters: str, length: int) -> str:
    return (letters * length)[:length]


@pytest.mark.parametrize(("member", "letters", "least", "most", "_"), LIMITS)
def test_a_member_is_taken_up_to_its_limits(member: str, letters: str, least: int, most: int, _: str) -> None:
    base = SITE | {"carrier": "dhl", "kind": "retracted", "retracts": "e0"}
    for length in (least, most):
        read(base | {member: fill(letters, length)})
    for letter in letters:
        read(base | {member: letter * least})


@pytest.mark.parametrize(("member", "letters", "least", "most", "_"), LIMITS)
def test_a_member_beyond_its_limits_is_refused(member: str, letters: str, least: int, most: int, _: str) -> None:
    for length in (0, least - 1, most + 1, 10 * most):
        error = refusal(SITE | {member: fill(letters, length)})
        assert (error.field, error.code) == (member, "FIELD_INVALID_FORMAT")
        assert "does not match" in str(error)


@pytest.mark.parametrize(("member", "letters", "least", "most", "wrong"), LIMITS)
def test_a_letter_that_is_not_allowed_is_refused(member: str, letters: str, least: int, most: int, wrong: str) -> None:
    assert most > 1
    rest = fill(letters, max(least - 1, 1))
    for letter in wrong + (ODD if member in NAMES else "\x00"):
        for text in (letter * least, rest + letter, letter + rest):
            assert refusal(SITE | {member: text}).field == member, f"{letter!r}"


SOURCES = ["site:a", "carrier:" + "z" * 40, "api:a-b", "operator:a.b_c"]
NO_SOURCES = [
    "", "site", "site:", "Site:a", "site:A", "site:" + "a" * 41, "bank:a", "site:a ", "site:a\n", " site:a",
    "site:\u017f", "site:a:b", "site:a/b", "site:a\x00", "xsite:a", "carrier:\uff10",
]  # fmt: skip


@pytest.mark.parametrize("source", SOURCES)
def test_a_source_is_of_a_known_sort_and_named_in_small_letters(source: str) -> None:
    assert read(SITE | {"source": source, "kind": "retracted", "retracts": "e0"}).source == source


@pytest.mark.parametrize("source", NO_SOURCES)
def test_anything_else_is_no_source(source: str) -> None:
    assert refusal(SITE | {"source": source}).field == "source"
    assert refusal(SITE | {"kind": "retracted", "retracts": "e0", "retractedSource": source}).field == "retractedSource"


@pytest.mark.parametrize("url", ["http://a", "https://dhl.test/track?n=P1&l=de#top", "https://" + "x" * 500])
def test_a_tracking_url_is_a_web_address(url: str) -> None:
    event = read(SITE | {"trackingUrl": url})
    assert isinstance(event, ProductionEvent)
    assert event.tracking_url == url


@pytest.mark.parametrize(
    "url",
    [
        "", "https://", "javascript:alert(1)", "ftp://a", "//a", "https://a b", "https://a\n", "https://a\x00",
        'https://a"b', "https://a<b", "https://a>b", "https://a\\b", " https://a", "https://" + "x" * 501,
        "xhttps://a", "https://a\u2028", "https://a\u00a0",
    ],
)  # fmt: skip
def test_what_could_do_harm_in_a_page_is_no_tracking_url(url: str) -> None:
    assert refusal(SITE | {"trackingUrl": url}).field == "trackingUrl"


@pytest.mark.parametrize(("pattern", "length"), [(ISSUER_ID, 10), (CARD_ID, 48), (CORRELATION_ID, 64)])
def test_ids_of_a_path_keep_to_the_same_letters(pattern: re.Pattern[str], length: int) -> None:
    assert pattern.fullmatch(fill(WORD, length))
    assert not pattern.fullmatch(fill(WORD, length + 1))
    for letter in ODD + ". :/%":
        assert not pattern.fullmatch(fill(WORD, length - 1) + letter), f"{letter!r}"


# ── times ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-05T08:00:00Z", "2026-01-05T08:00:00.000000Z", "2026-01-05T09:00:00+01:00", "2026-01-04T22:00:00-10:00",
        "2026-01-05T08:00:00-00:00", "2026-01-05t08:00:00z", "2026-01-05 08:00:00Z",
    ],
)  # fmt: skip
def test_one_instant_may_be_written_in_many_ways(text: str) -> None:
    assert read(SITE | {"occurredAt": text}).occurred_at == NOW - 60_000_000


@pytest.mark.parametrize("text", ["2000-01-01T00:00:00Z", "2099-12-31T23:59:59.999999Z", "2099-12-31T23:59:59+00:00"])
def test_times_of_this_century_are_taken(text: str) -> None:
    at = read(SITE | {"occurredAt": text}).occurred_at
    assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at) == datetime.fromisoformat(text)


@pytest.mark.parametrize(
    "text",
    [
        "1999-12-31T23:59:59.999999Z", "2100-01-01T00:00:00Z", "2099-12-31T23:59:59.9999999Z",
        "2000-01-01T00:30:00+01:00", "2099-12-31T23:30:00-01:00", "1970-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
    ],
)  # fmt: skip
def test_times_of_another_century_are_taken_for_typing_errors(text: str) -> None:
    error = refusal(SITE | {"occurredAt": text})
    assert (error.field, error.code) == ("occurredAt", "FIELD_INVALID_VALUE")


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-05T08:00:00", "2026-01-05 08:00:00", "2026-01-05", "", "now", "2026-02-30T00:00:00Z",
        "2026-01-05T24:00:00Z", "2026-01-05T08:00:60Z", "2026-01-05T08:00Z", "2026-01-05T08:00:00+24:00",
        "2026-01-05T08:00:00Z ", "2026-01-05T08:00:00Z\n",
        "\uff12\uff10\uff12\uff16-01-05T08:00:00Z", "9999-12-31T23:59:59.9999999Z",
        "0000-01-01T00:00:00Z", "1767600000", "2026-01-05T08:00:00.Z",
    ],
)  # fmt: skip
def test_what_is_no_instant_is_refused(text: str) -> None:
    error = refusal(SITE | {"occurredAt": text})
    assert (error.field, error.code) == ("occurredAt", "FIELD_INVALID_FORMAT")


def test_an_instant_without_a_zone_is_refused_by_a_name_of_the_callers_choice() -> None:
    with pytest.raises(InputError, match=r"^since: needs a time zone"):
        instant(datetime(2026, 1, 5), "since")  # noqa: DTZ001 -- the point of the test


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2026-01-10", "2026-01-10"), ("20260110", "2026-01-10"), ("2026-01-10T23:59:59-14:00", "2026-01-10"),
        ("2026-01-10T00:00:00+14:00", "2026-01-10"), ("2026-01-10T12:00:00.000Z", "2026-01-10"),
        ("2026-01-10 12:00:00", "2026-01-10"), ("2026-01-10t12:00:00Z", "2026-01-10"),
        ("9999-12-31T23:59:59-14:00", "9999-12-31"), ("0001-01-01T00:00:00+14:00", "0001-01-01"),
    ],
)  # fmt: skip
def test_a_date_is_no_instant_and_stays_as_it_is_written(text: str, day: str) -> None:
    event = read(SITE | {"dueDate": text})
    assert isinstance(event, ProductionEvent)
    assert event.due_date == day
    seen = read(CARRIER | {"estimatedDelivery": text})
    assert isinstance(seen, CarrierEvent)
    assert seen.estimated_delivery == day


@pytest.mark.parametrize(
    "text",
    [
        "", "T", "2026", "2026-1-5", "2026-02-30", "2026-01-10T24:00", "2026-01-10T", "2026-01-10 ", " 2026-01-10",
        "2026-01-10\n",
        "\uff12\uff10\uff12\uff16-01-10", "10.01.2026", "tomorrow", "2026-01-10TT", "x" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_date_is_refused(text: str) -> None:
    for member, base in (("dueDate", SITE), ("estimatedDelivery", CARRIER)):
        error = refusal(base | {member: text})
        assert (error.field, error.code) == (member, "FIELD_INVALID_FORMAT")


# ── odd bytes ────────────────────────────────────────────────────────────────────────────────────────────────


def raw(members: bytes) -> bytes:
    return msgspec.json.encode(SITE)[:-1] + b"," + members + b"}"


@pytest.mark.parametrize(
    "members",
    [
        rb'"reason":"\ud800"', rb'"reason":"a\udc00"', rb'"reason":"\ud800\ud800"', rb'"reason":"\ud800x"',
        b'"reason":"\xff"', b'"reason":"\xed\xa0\x80"', b'"reason":"\xc0\x80"', b'"reason":"\x01"', b'"reason":"a\nb"',
        b'"reason":NaN', b'"reason":Infinity', b'"a":-Infinity', b'"a":01', b'"a":.5', b'"a":0x1', b"'a':1", b'"a":1,',
        b'"a":tru', b'"a"', b'"a":1}{', rb'"reason":"\x"', rb'"reason":"\u12"',
    ],
)  # fmt: skip
def test_what_is_no_json_is_a_parsing_error(members: bytes) -> None:
    with pytest.raises(ParsingError):
        decode_event(raw(members))


def test_no_half_of_a_letter_comes_in_that_could_not_be_written_out_again() -> None:
    for member in ("reason", "message", "status", "productionSite", "dueDate", "kind"):
        with pytest.raises(InputError):
            event_of(decode_event(raw(b'"%b":"x\\ud83d"' % member.encode())), NOW)


def test_a_letter_written_as_a_pair_of_escapes_is_taken() -> None:
    event = event_of(decode_event(raw(rb'"reason":"\ud83d\ude00"')), NOW)
    assert isinstance(event, ProductionEvent)
    assert event.reason == "😀"
    assert decode_events([encode_event(event)]) == [event]


def test_a_nul_is_refused_in_every_text_of_an_event() -> None:
    for member in {member for member, *_ in LIMITS} | {"source", "trackingUrl", "dueDate", "kind", "occurredAt"}:
        with pytest.raises(InputError):
            event_of(decode_event(raw(b'"%b":"a\\u0000"' % member.encode())), NOW)


@pytest.mark.parametrize(
    "body", [b"", b" ", b"{", b"nul", b"NaN", b"\xff", b"\xef\xbb\xbf{}", b"[" * 1000, b'{"a":' * 1000, b"}"]
)
def test_an_unreadable_event_is_a_parsing_error(body: bytes) -> None:
    with pytest.raises(ParsingError) as caught:
        decode_event(body)
    assert (caught.value.code, caught.value.field) == ("PARSING_ERROR", "")
    assert len(str(caught.value)) <= 200


@pytest.mark.parametrize("body", [b"null", b"[]", b"1", b'"x"', b"true", b"1e999", b"-0", b"9" * 5000])
def test_what_is_json_and_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(InputError):
        decode_event(body)


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"9" * 4000, b"1e-999", b"0." + b"9" * 4000])
def test_a_number_without_measure_harms_nobody(number: bytes) -> None:
    assert event_of(decode_event(raw(b'"colour":' + number)), NOW) == read(SITE)
    for member in (b"reason", b"final", b"occurredAt"):
        with pytest.raises(InputError):
            decode_event(raw(b'"%b":%b' % (member, number)))


def test_an_event_may_have_as_many_brackets_as_the_limit_and_no_more() -> None:
    room = MAX_BRACKETS - 1
    assert event_of(decode_event(raw(b'"x":' + b"[" * room + b"]" * room)), NOW) == read(SITE)
    assert event_of(decode_event(raw(b'"x":' + b'{"x":' * room + b"1" + b"}" * room)), NOW) == read(SITE)
    for deep in (b"[" * (room + 1) + b"]" * (room + 1), b"[" + b"{}," * room + b"{}]"):
        with pytest.raises(ParsingError, match="brackets"):
            decode_event(raw(b'"x":' + deep))


# ── batches ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_batch_is_taken_apart_without_reading_its_elements() -> None:
    parts = decode_batch(b'{"more":[1,{}],"events":[{"a":1}, 5 ,"x",null]}')
    assert [bytes(part).strip() for part in parts] == [b'{"a":1}', b"5", b'"x"', b"null"]


def test_a_batch_has_from_one_to_a_thousand_events() -> None:
    for count in (1, MAX_BATCH):
        assert len(decode_batch(b'{"events":[%b]}' % b",".join([b"{}"] * count))) == count
    for count in (0, MAX_BATCH + 1):
        with pytest.raises(InputError) as caught:
            decode_batch(b'{"events":[%b]}' % b",".join([b"{}"] * count))
        assert (caught.value.field, caught.value.code) == ("events", "FIELD_INVALID_VALUE")


@pytest.mark.parametrize("body", [b"{}", b'{"events":{}}', b'{"events":null}', b'{"events":"x"}', b'{"Events":[1]}'])
def test_a_batch_without_its_list_is_refused_by_name(body: bytes) -> None:
    with pytest.raises(InputError) as caught:
        decode_batch(body)
    assert (caught.value.field, caught.value.code) == ("events", "FIELD_INVALID_FORMAT")


@pytest.mark.parametrize("body", [b"[]", b"null", b"5", b'"events"'])
def test_a_batch_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(InputError):
        decode_batch(body)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"events":[', b'{"events":[{]}', b'{"events":[NaN]}', b'{"events":[1]}x', b"\xff\xfe"],
)
def test_an_unreadable_batch_is_a_parsing_error(body: bytes) -> None:
    with pytest.raises(ParsingError):
        decode_batch(body)


@pytest.mark.parametrize("begin", [b'{"events":[', b'{"x":'])
@pytest.mark.parametrize("deeper", [b"[", b'{"a":'])
def test_a_body_of_nothing_but_depth_is_a_parsing_error(begin: bytes, deeper: bytes) -> None:
    with pytest.raises(ParsingError, match="deep"):
        decode_batch(begin + deeper * (1_000_000 // len(deeper)))


HALVES = [
    rb"\ud800", rb"\uD83D", rb"\udc00", rb"\uDFFF", rb"\ud800\ud800", rb"\udc00\ud800", rb"\ud83d\ude00\ude00",
    rb"\\\ud800", rb"\ud83d\\ude00", rb"\ud83dx\ude00", rb"\n\ud800\"",
]  # fmt: skip


@pytest.mark.parametrize("half", HALVES)
def test_half_a_letter_voids_its_own_element_only(half: bytes) -> None:
    parts = decode_batch(b'{"events":[%b,{"a":1},{"a":"\\ud83d\\ude00"}]}' % raw(b'"reason":"cut %b"' % half))
    assert [bytes(part) for part in parts[1:]] == [b'{"a":1}', rb'{"a":"\ud83d\ude00"}']
    with pytest.raises(InputError, match="reason"):
        decode_event(parts[0])


def test_what_only_looks_like_half_a_letter_is_left_alone() -> None:
    good = raw(rb'"reason":"\\ud800 \\\\udc00"')
    parts = decode_batch(b'{"events":[%b,{"a":"\\ud800"}]}' % good)
    assert bytes(parts[0]) == good
    event = event_of(decode_event(parts[0]), NOW)
    assert isinstance(event, ProductionEvent)
    assert event.reason == r"\ud800 \\udc00"


def test_a_body_of_backslashes_takes_no_time() -> None:
    with pytest.raises(ParsingError):
        decode_batch(b'{"events":["' + b"\\" * 1_000_000)


def test_a_bad_element_leaves_its_neighbours_readable() -> None:
    parts = decode_batch(b'{"events":[{"reason":"\xff"},null,%b]}' % raw(b'"a":1'))
    for bad in parts[:2]:
        with pytest.raises(InputError):
            decode_event(bad)
    assert decode_event(parts[2]).event_id == "e1"


# ── the store ────────────────────────────────────────────────────────────────────────────────────────────────


def test_events_come_out_of_the_store_as_they_went_in() -> None:
    events = [read(SITE), read(CARRIER | {"status": "InTransit"}), read(SITE | {"kind": "retracted", "retracts": "e0"})]
    assert decode_events([encode_event(event) for event in events]) == events
    assert decode_events([]) == []


# ── pictures ─────────────────────────────────────────────────────────────────────────────────────────────────

DRAWN = Operation(
    operation_id="op-1", status=OperationStatus.SUCCESSFUL, start_time=1_767_600_000_123_999,
    end_time=1_767_700_000_000_000, card_id="card-1",
    details=Details("CARD_SHIPPED", None, "2026-01-10", "PERSO-1", PictureOfShipment("dhl", "P1", "InTransit")),
    input_file_name="day.csv", issuer_request_id="r-1", estimated_delivery="2026-01-12",
    checkpoints=(
        Checkpoint(1_767_650_000_000_000, ShipmentStatus.IN_TRANSIT, "PU", "Picked up", "Köln"),
        Checkpoint(1_767_660_000_000_000, None, "ZZ", None, None),
    ),
)  # fmt: skip
PUBLISHED = {
    "operationId": "op-1", "operation": "PRODUCE", "status": "SUCCESSFUL", "startTime": "2026-01-05T08:00:00.123Z",
    "endTime": "2026-01-06T11:46:40.000Z", "cardId": "card-1",
    "details": {
        "status": "CARD_SHIPPED", "dueDate": "2026-01-10", "productionSite": "PERSO-1",
        "shipment": {"carrier": "dhl", "trackingNumber": "P1", "status": "InTransit"},
    },
    "inputFileName": "day.csv", "issuerRequestId": "r-1",
}  # fmt: skip


def test_the_published_form_is_exactly_the_contracts() -> None:
    assert picture_of(DRAWN).published == msgspec.json.encode(PUBLISHED)


def test_our_extension_is_the_last_member_and_the_strict_form_ends_before_it() -> None:
    picture = picture_of(DRAWN)
    full = picture.sealed(7)
    decoded = msgspec.json.decode(full)
    assert list(decoded) == [*PUBLISHED, "cardtrail"]
    assert decoded["cardtrail"] == {
        "sequence": 7, "estimatedDelivery": "2026-01-12",
        "checkpoints": [
            {"time": "2026-01-05T21:53:20.000Z", "status": "InTransit", "code": "PU", "message": "Picked up",
             "location": "Köln"},
            {"time": "2026-01-06T00:40:00.000Z", "status": "Unknown", "code": "ZZ"},
        ],
    }  # fmt: skip
    assert strict_form(full, picture.strict_length) == picture.published


def test_a_picture_without_an_extension_carries_its_sequence_alone() -> None:
    bare = msgspec.structs.replace(DRAWN, estimated_delivery=None, checkpoints=())
    assert msgspec.json.decode(picture_of(bare).sealed(1))["cardtrail"] == {"sequence": 1}


def test_a_failure_is_published_with_its_cause() -> None:
    failed = msgspec.structs.replace(DRAWN, status=OperationStatus.FAILED, error_code="E-1", error="torn")
    decoded = msgspec.json.decode(picture_of(failed).published)
    assert (decoded["errorCode"], decoded["error"]) == ("E-1", "torn")


def test_an_answer_is_a_list_of_pictures() -> None:
    assert answer_of([]) == b'{"operations":[]}'
    assert answer_of([b'{"a":1}', b"{}"]) == b'{"operations":[{"a":1},{}]}'


def test_a_validator_is_of_exactly_these_bytes() -> None:
    assert etag_of(b"a") == etag_of(b"a") != etag_of(b"b")
    assert re.fullmatch(r'"[0-9a-f]{24}"', etag_of(b""))


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"), (999, "1970-01-01T00:00:00.000Z"), (1_000, "1970-01-01T00:00:00.001Z"),
        (-1, "1969-12-31T23:59:59.999Z"), (86_399_999_999, "1970-01-01T23:59:59.999Z"),
        (951_782_400_000_000, "2000-02-29T00:00:00.000Z"), (4_102_444_799_999_999, "2099-12-31T23:59:59.999Z"),
    ],
)  # fmt: skip
def test_an_instant_is_published_in_milliseconds_cut_and_never_rounded_up(at: int, text: str) -> None:
    assert timestamp(at) == text
