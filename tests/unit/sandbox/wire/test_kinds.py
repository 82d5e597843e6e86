"""The table of faults: complete, explained, the same in the documentation, and strict about what a fault is told."""

from pathlib import Path

import pytest

from cardtrail.errors import InputError
from cardtrail.sandbox.wire.kinds import (
    HOPS,
    KINDS,
    MAX_EVENT_SECONDS,
    MAX_HOLD,
    MAX_SECONDS,
    TABLE,
    About,
    Hop,
    Kind,
    about,
    hop_of,
    part_of,
    seconds_of,
)

PAGE = Path(__file__).parents[4] / "docs/faults.md"


def test_the_table_has_every_kind_once_with_a_sentence_and_what_its_time_is() -> None:
    assert [each.kind for each in TABLE] == list(Kind)
    for each in TABLE:
        assert each.text.endswith("."), each
        assert each.hops, each
        assert bool(each.meaning) is (each.seconds is not None), each


def row_of(each: About) -> str:
    time = f"`{each.seconds:g}`: {each.meaning}" if each.seconds is not None else ""
    count = f"{each.count}" if each.count else ""
    return f"| `{each.kind}` | {', '.join(each.hops)} | {each.text} | {time} | {count} |"


def test_the_documentation_has_the_same_table_and_says_what_each_hop_is() -> None:
    lines = PAGE.read_text().splitlines()
    assert [line for line in lines if line.startswith("| `") and line.count("|") == 6] == [*map(row_of, TABLE)]
    for hop, text in HOPS.items():
        assert f"| `{hop}` | {text} |" in lines


def test_the_documentation_names_the_limits() -> None:
    page = PAGE.read_text()
    for limit in (MAX_SECONDS, MAX_HOLD, MAX_EVENT_SECONDS // 86_400):
        assert f" {limit:,} " in page, limit


def test_a_kind_that_does_not_exist_is_refused_with_all_that_do() -> None:
    with pytest.raises(InputError, match=r"kind: one of key-rotation, .*, reset"):
        about("earthquake")
    assert about("500").kind is Kind.SERVER_ERROR


@pytest.mark.parametrize("kind", Kind)
def test_a_hop_that_makes_no_sense_is_refused_with_those_that_do(kind: Kind) -> None:
    found = KINDS[kind]
    assert hop_of(found, None) is found.hops[0]
    assert [hop_of(found, str(hop)) for hop in found.hops] == list(found.hops)
    for hop in {*Hop, "nowhere"} - set(found.hops):
        with pytest.raises(InputError, match=f"hop: {kind} is for {' or '.join(found.hops)}"):
            hop_of(found, hop)


def test_a_time_has_a_default_and_limits_and_is_refused_where_it_means_nothing() -> None:
    slow, skew, delay = (KINDS[kind] for kind in (Kind.SLOW, Kind.CLOCK_SKEW, Kind.DELAY))
    assert seconds_of(slow, Hop.ANSWERS, None) == 2
    assert seconds_of(skew, Hop.NOTIFICATIONS, -MAX_SECONDS) == -MAX_SECONDS
    assert seconds_of(delay, Hop.EVENTS, MAX_EVENT_SECONDS) == MAX_EVENT_SECONDS
    for found, hop, seconds in (
        (slow, Hop.ANSWERS, MAX_HOLD + 1), (slow, Hop.EVENTS, MAX_HOLD + 1), (slow, Hop.ANSWERS, -1),
        (delay, Hop.NOTIFICATIONS, MAX_SECONDS + 1), (delay, Hop.EVENTS, MAX_EVENT_SECONDS + 1),
        (skew, Hop.NOTIFICATIONS, -MAX_SECONDS - 1), (slow, Hop.ANSWERS, float("nan")),
        (KINDS[Kind.RESET], Hop.ANSWERS, 1),
    ):  # fmt: skip
        with pytest.raises(InputError, match="seconds"):
            seconds_of(found, hop, seconds)


def test_a_rate_is_told_as_a_part() -> None:
    assert [part_of(rate) for rate in (0, 1, 1.0, 0.3, 0.001, 1 / 3)] == [
        "no", "all", "all", "30% of the", "0.1% of the", "33.3% of the"
    ]  # fmt: skip
