"""The laws of `newer`: which of two observed pictures to believe."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cardtrail.core.operation import Newer, Observation, Rule, Verdict, judge, newer
from cardtrail.core.status import ProductionStatus, ShipmentStatus

OPPOSITE = {Newer.YES: Newer.NO, Newer.NO: Newer.YES, Newer.SAME: Newer.SAME, Newer.UNSURE: Newer.UNSURE}

stages = st.sampled_from([*(stage.value for stage in ProductionStatus), "CARD_PROD_GILDED", ""])
numbers = st.sampled_from([None, "T1", "T2"])
carriers = st.sampled_from([None, "dhl", "ups"])
parcels = st.sampled_from([None, *(status.value for status in ShipmentStatus), "Teleported"])


@st.composite
def pictures(draw: st.DrawFn) -> dict[str, Any]:
    """Return what a picture says; its content differs wherever what it says differs."""
    said: dict[str, Any] = {"stage": draw(stages), "ended": draw(st.booleans()), "shipment_status": draw(parcels)}
    said["parcel"] = draw(carriers), draw(numbers)
    more = draw(st.sampled_from(["", "ON_HOLD: x"]))
    return said | {"content": repr((said, more)).encode()}


@st.composite
def observations(draw: st.DrawFn, *, numbered: bool = True, timed: bool = True) -> Observation:
    """Return a picture and how we came by it: nothing is asked for after it was observed."""
    asked = draw(st.one_of(st.none(), st.integers(0, 5))) if timed else None
    observed = (asked or 0) + draw(st.integers(0, 5)) if timed else 0
    sequence = draw(st.one_of(st.none(), st.integers(1, 4))) if numbered else None
    source: Any = "notification" if asked is None else "answer"
    return Observation(
        operation_id="op-1", source=source, observed_at=observed, asked_at=asked, sequence=sequence, **draw(pictures())
    )


@given(observations(), observations())
def test_what_is_newer_one_way_is_older_the_other(a: Observation, b: Observation) -> None:
    assert newer(b, a) is OPPOSITE[newer(a, b)]


@given(observations())
def test_nothing_is_newer_than_itself(a: Observation) -> None:
    assert newer(a, a) is Newer.SAME


@given(observations(timed=False, numbered=False), observations(timed=False, numbered=False))
def test_without_times_and_sequences_the_same_means_the_same_content(a: Observation, b: Observation) -> None:
    assert (newer(a, b) is Newer.SAME) == (a.content == b.content)


@given(observations(timed=False), observations(timed=False))
def test_the_same_never_means_two_contents(a: Observation, b: Observation) -> None:
    assert newer(a, b) is not Newer.SAME or a.content == b.content


@given(observations(timed=False), observations(timed=False))
def test_different_sequences_leave_no_doubt(a: Observation, b: Observation) -> None:
    if a.sequence is not None and b.sequence is not None and a.sequence != b.sequence:
        assert newer(a, b) is (Newer.YES if a.sequence > b.sequence else Newer.NO)


@given(observations(), observations())
def test_an_answer_asked_for_after_the_other_was_observed_wins(a: Observation, b: Observation) -> None:
    if a.asked_at is not None and a.asked_at > b.observed_at:
        assert newer(a, b) is Newer.YES


@given(observations(timed=False, numbered=False), observations(timed=False, numbered=False))
def test_progress_of_one_parcel_says_nothing_of_another(a: Observation, b: Observation) -> None:
    if (a.stage, a.ended) == (b.stage, b.ended) and None not in {*a.parcel, *b.parcel} and a.parcel != b.parcel:
        assert judge(a, b) == Verdict(Newer.UNSURE, Rule.PARCEL)


@given(*[observations(timed=False)] * 3)
def test_of_three_numbered_pictures_the_newest_is_newest(a: Observation, b: Observation, c: Observation) -> None:
    if None not in {a.sequence, b.sequence, c.sequence} and newer(a, b) is newer(b, c) is Newer.YES:
        assert newer(a, c) is Newer.YES
