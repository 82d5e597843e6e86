"""Envelopes: bodies byte for byte, and which calls share an id."""

import msgspec
import pytest

from cardtrail.protocol.cursor import MAX_CURSOR, Cursor, encode_cursor
from cardtrail.protocol.envelope import FRAME, body_of, halves, webhook_id_of

ONE, TWO = b'{"operationId":"op-1"}', b'{"operationId":"op-2"}'
CURSOR = encode_cursor(Cursor("0123456789abcdef", "ISSUER0001", 42))
END = "end_01"

# ── bodies ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_high_water_mark_is_the_last_member() -> None:
    assert body_of([ONE, TWO], CURSOR) == (
        b'{"operations":[{"operationId":"op-1"},{"operationId":"op-2"}],'
        b'"cardtrail":{"cursor":"AQEjRWeJq83vSVNTVUVSMDAwMQAAAAAAAAAq"}}'
    )


def test_the_strict_form_is_the_published_form_and_nothing_else() -> None:
    assert body_of([ONE], None) == b'{"operations":[{"operationId":"op-1"}]}'


def test_a_heartbeat_carries_only_the_mark() -> None:
    assert msgspec.json.decode(body_of([], CURSOR)) == {"operations": [], "cardtrail": {"cursor": CURSOR}}


def test_a_mark_of_any_letters_is_written_as_json() -> None:
    assert msgspec.json.decode(body_of([], '"}\n\\'))["cardtrail"] == {"cursor": '"}\n\\'}


# ── ids ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_notification_alone_gives_its_own_id() -> None:
    assert webhook_id_of(END, ["ntf_1-A"], strict=False) == "ntf_1-A"
    assert webhook_id_of(END, ["n" * 64], strict=True) == "n" * 64


@pytest.mark.parametrize("name", ["ntf_1#2", "ntf.1", "n" * 65, "n" * 80, "ntf 1", "ntf_\xe4", "ntf_1\n", "", "set_1"])
def test_a_name_that_cannot_be_an_id_is_hashed(name: str) -> None:
    webhook_id = webhook_id_of(END, [name], strict=False)
    assert webhook_id != name
    assert webhook_id.startswith("set_")
    assert len(webhook_id) == 36


def test_the_id_of_a_group_never_changes_between_releases() -> None:
    """A retry after an upgrade must keep its id."""
    assert webhook_id_of(END, ["ntf_1", "ntf_2"], strict=False) == "set_35RY9pmWBcv26bKfaC8Zc54BL2TkKgmW"


def test_each_body_has_an_id_of_its_own() -> None:
    groups = [["ntf_1", "ntf_2"], ["ntf_2", "ntf_1"], ["ntf_1", "ntf_2", "ntf_3"], ["ntf_1ntf_2"], ["ntf_1#1", "ntf_2"]]
    groups += [["ntf_1", "ntf_1"], ["ntf_1#1"], ["ntf_1#2"], ['ntf_1","ntf_2'], ["ntf_1,ntf_2"]]
    ids = [
        webhook_id_of(endpoint_id, names, strict=strict)
        for endpoint_id in (END, "end_02")
        for strict in (True, False)
        for names in groups
        if len(names) > 1 or "#" in names[0]
    ]
    assert len(set(ids)) == len(ids)
    assert ids == [webhook_id.strip() for webhook_id in ids]


def test_a_call_needs_a_name() -> None:
    with pytest.raises(ValueError, match="without a name"):
        webhook_id_of(END, [], strict=False)


def test_a_heartbeat_is_named_by_its_second() -> None:
    one, two = (webhook_id_of(END, [f"heartbeat#{second}"], strict=False) for second in (1, 2))
    assert one != two


def test_the_frame_holds_the_longest_mark() -> None:
    assert len(body_of([ONE], "x" * MAX_CURSOR)) == FRAME + len(ONE)


# ── splitting ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("number", "sizes"), [(2, (1, 1)), (3, (1, 2)), (1_000, (500, 500))])
def test_a_batch_is_split_in_the_middle(number: int, sizes: tuple[int, int]) -> None:
    first, second = halves(range(number))
    assert (len(first), len(second)) == sizes
    assert [*first, *second] == list(range(number))


@pytest.mark.parametrize("number", [0, 1])
def test_what_is_alone_is_refused_alone(number: int) -> None:
    with pytest.raises(ValueError, match="cannot be split"):
        halves(range(number))
