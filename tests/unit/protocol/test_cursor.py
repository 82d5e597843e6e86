"""Cursors: one text for one place, and what is none."""

from base64 import urlsafe_b64encode

import pytest

from cardtrail.errors import InputError
from cardtrail.protocol.cursor import MAX_CURSOR, MAX_NUMBER, Cursor, cursor_for, decode_cursor, encode_cursor

PLACE = Cursor("0123456789abcdef", "ISSUER0001", 42)
TEXT = "AQEjRWeJq83vSVNTVUVSMDAwMQAAAAAAAAAq"


def refusal(text: str) -> InputError:
    with pytest.raises(InputError) as caught:
        decode_cursor(text)
    return caught.value


def raw(version: int = 1, epoch: bytes = b"12345678", issuer: bytes = b"ISSUER0001", number: int = 1) -> str:
    return urlsafe_b64encode(bytes([version]) + epoch + issuer + number.to_bytes(8)).decode()


def test_the_text_of_a_place_never_changes_between_releases() -> None:
    assert encode_cursor(PLACE) == TEXT
    assert decode_cursor(TEXT) == PLACE
    assert len(TEXT) == MAX_CURSOR


@pytest.mark.parametrize("number", [0, 1, MAX_NUMBER])
def test_a_change_number_has_63_bits(number: int) -> None:
    place = Cursor("f" * 16, "_-abcXYZ09", number)
    assert decode_cursor(encode_cursor(place)) == place


@pytest.mark.parametrize(
    "place",
    [
        Cursor("0123456789abcdef", "ISSUER0001", -1),
        Cursor("0123456789abcdef", "ISSUER0001", MAX_NUMBER + 1),
        Cursor("0123456789ABCDEF", "ISSUER0001", 1),
        Cursor("01 23456789abcde", "ISSUER0001", 1),
        Cursor("0123456789abcde", "ISSUER0001", 1),
        Cursor("0123456789abcdef", "ISSUER001", 1),
        Cursor("0123456789abcdef", "ISSUER000\xe4", 1),
    ],
)
def test_what_could_not_be_read_back_is_not_written(place: Cursor) -> None:
    with pytest.raises(ValueError, match=r"expected|no cursor"):
        encode_cursor(place)


@pytest.mark.parametrize(
    "text",
    [
        "", "0", "42", TEXT[:-1], TEXT + "A", TEXT + "=", TEXT + "\n", " " + TEXT[1:], TEXT[:-1] + "+",
        TEXT[:-1] + "/",
        TEXT[:-1] + "\xe4", TEXT[:-1] + "\udce4", TEXT[:-1] + "\uff10", TEXT * 1_000, "-" * MAX_CURSOR,
        "A" * MAX_CURSOR,
        raw(version=0), raw(version=2), raw(issuer=b"ISSUER.001"), raw(issuer=b"ISSUER\x00001"),
        raw(issuer=b"ISSUER00\xc3\xa4"), raw(number=MAX_NUMBER + 1),
    ],
)  # fmt: skip
def test_any_other_text_is_refused_by_the_name_of_its_parameter(text: str) -> None:
    error = refusal(text)
    assert (error.field, error.code) == ("since", "FIELD_INVALID_FORMAT")
    assert len(str(error)) < 100


def test_a_cursor_of_another_issuer_is_refused() -> None:
    assert cursor_for(TEXT, "ISSUER0001") == PLACE
    with pytest.raises(InputError, match=r"^since: this cursor belongs to the feed of another issuer$") as caught:
        cursor_for(TEXT, "issuer0001")
    assert caught.value.code == "FIELD_INVALID_VALUE"


def test_whether_the_epoch_is_ours_is_not_asked_here() -> None:
    assert cursor_for(raw(epoch=bytes(8)), "ISSUER0001") == Cursor("0" * 16, "ISSUER0001", 1)
