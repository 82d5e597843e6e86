"""What counts as a place in a trace: the published form of version 00, once, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardtrail.traces.traceparent import ids_of, traceparent_in, traceparent_of

GOOD = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def told(*values: bytes) -> str:
    return traceparent_in([(b"host", b"x"), *((b"traceparent", value) for value in values)])


def test_the_published_form_counts() -> None:
    assert told(GOOD.encode()) == GOOD
    assert ids_of(GOOD) == (0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331, True)


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("03", True), ("ff", True)])
def test_one_bit_says_whether_it_is_sampled(flags: str, sampled: bool) -> None:  # noqa: FBT001 - a column of the table
    ids = ids_of(GOOD[:-2] + flags)
    assert ids is not None
    assert ids[2] is sampled


@pytest.mark.parametrize(
    "value",
    [
        "", "-", GOOD + "\n", " " + GOOD, GOOD + "-00", GOOD.upper(), "01" + GOOD[2:], "ff" + GOOD[2:], GOOD[:-1],
        f"00-{'0' * 32}-b7ad6b7169203331-01", f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
        GOOD.replace("a", "٣"), GOOD.replace("a", "g"), GOOD.replace("-", "_"), "x" * 100_000,
    ],
)  # fmt: skip
def test_any_other_form_is_nothing(value: str) -> None:
    assert told(value.encode("utf-8")) == ""
    assert ids_of(value) is None


def test_none_and_two_are_nothing() -> None:
    assert told() == ""
    assert told(GOOD.encode(), GOOD.encode()) == ""


@given(st.binary(max_size=80))
def test_no_header_breaks_it(value: bytes) -> None:
    found = told(value)
    assert not found or ids_of(found)


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1))
def test_what_is_written_is_read(trace_id: int, span_id: int) -> None:
    assert ids_of(traceparent_of(trace_id, span_id)) == (trace_id, span_id, True)
