"""The switchboard: a seed decides, each fault for itself, and only cards that are named are struck."""

from collections.abc import Collection
from typing import Any

import pytest

from cardtrail.errors import InputError
from cardtrail.sandbox.wire.faults import ENDS, MAX_CARDS, MAX_COUNT, MAX_SPARED, Faults
from cardtrail.sandbox.wire.kinds import Hop, Kind

N = Hop.NOTIFICATIONS
ALL = frozenset(Kind)


def strikes(faults: Faults, count: int, cards: Collection[str] = (), hop: Hop = N) -> list[list[Kind]]:
    """Return what strikes each of so many messages."""
    return [list(faults.strike(hop, cards, ALL)) for _ in range(count)]


def test_the_same_seed_and_the_same_calls_give_the_same_strikes_and_another_seed_gives_others() -> None:
    def drawn(seed: int) -> list[list[Kind]]:
        faults = Faults(seed)
        faults.set("duplicate", rate=0.3)
        faults.set("slow", "notifications", rate=0.5)
        return strikes(faults, 500)

    assert drawn(7) == drawn(7) != drawn(8)
    assert 100 < sum(Kind.DUPLICATE in struck for struck in drawn(7)) < 200


def test_what_one_fault_does_never_depends_on_the_others() -> None:
    alone, together = Faults(1), Faults(1)
    alone.set("reset", rate=0.5)
    together.set("reset", rate=0.5)
    together.set("drop", rate=0.5)
    pairs = zip(strikes(alone, 200), strikes(together, 200), strict=True)
    assert all(reset == struck for reset, struck in pairs if Kind.DROP not in struck)


def test_a_fault_that_is_set_again_begins_its_draws_and_its_count_again() -> None:
    faults = Faults(1)
    faults.set("reset", rate=0.5)
    first = strikes(faults, 50)
    again = faults.set("reset", rate=0.5)
    assert (again.struck, strikes(faults, 50)) == (0, first)
    assert faults.struck(Kind.RESET, N) == 2 * again.struck > 0


def test_faults_strike_in_the_order_of_the_table_and_nothing_strikes_behind_an_end() -> None:
    faults = Faults(1)
    for kind in ("reset", "slow", "duplicate", "unknown-status"):
        faults.set(kind, N)
    order = [Kind.UNKNOWN_STATUS, Kind.DUPLICATE, Kind.SLOW, Kind.RESET]
    assert strikes(faults, 1) == [order]
    assert [fault.kind for fault in faults.active()] == order
    faults.set("429", N)
    faults.set("500", N)
    assert strikes(faults, 1) == [[Kind.SERVER_ERROR]]
    assert [fault.struck for fault in faults.active()] == [1, 0, 1, 1, 1, 1]
    assert Kind.DROP in ENDS


def test_behind_what_postpones_a_message_only_a_duplicate_strikes() -> None:
    for first in (Kind.DELAY, Kind.REORDER):
        faults = Faults(1)
        for kind in (first, Kind.REORDER, Kind.DUPLICATE, Kind.SLOW, Kind.TRUNCATED, Kind.RESET):
            faults.set(kind, N)
        assert strikes(faults, 1) == [[first, Kind.DUPLICATE]]


def test_only_messages_that_carry_a_named_card_are_struck_and_only_on_the_hop() -> None:
    faults = Faults(1)
    fault = faults.set("slow", N, cards=["a", "b"])
    assert strikes(faults, 1, ["c"]) == strikes(faults, 1) == strikes(faults, 1, ["a"], Hop.ANSWERS) == [[]]
    assert strikes(faults, 1, ["c", "b"]) == [[Kind.SLOW]]
    assert (fault.struck, faults.names_cards(N), faults.names_cards(Hop.ANSWERS)) == (1, True, False)


def test_messages_of_other_cards_do_not_use_up_draws() -> None:
    plain, mixed = Faults(3), Faults(3)
    for faults in (plain, mixed):
        faults.set("slow", N, rate=0.5, cards=["a"])
    expected = strikes(plain, 100, ["a"])
    found = [pair for _ in range(100) for pair in (strikes(mixed, 1, ["b"]), strikes(mixed, 1, ["a"]))]
    assert [struck for [struck] in found[1::2]] == expected


def test_a_fault_ends_by_itself_after_as_many_strikes_as_it_was_told() -> None:
    faults = Faults(1)
    fault = faults.set("500", N, count=2)
    assert [bool(struck) for struck in strikes(faults, 4)] == [True, True, False, False]
    assert (fault.is_spent, fault.told()["struck"]) == (True, 2)
    assert faults.set("key-rotation", N).count == 1
    assert faults.set("key-rotation", N, count=0).count == 0


def test_what_has_nothing_to_change_has_not_struck() -> None:
    faults = Faults(1)
    fault = faults.set("unknown-carrier", N)
    assert faults.strike(N, (), ALL, lambda _: False) == {}
    assert fault.struck == 0


def test_faults_are_cleared_one_by_one_by_hop_or_all() -> None:
    faults = Faults(1)
    for hop in Hop:
        faults.set("500", hop)
    faults.set("slow", N)
    assert faults.clear("500", "answers") == 1
    assert faults.clear("500") == 2
    assert (faults.is_any, faults.clear(), faults.clear(), faults.is_any) == (True, 1, 0, False)
    assert faults.find(Kind.SLOW, N) is None


@pytest.mark.parametrize(
    ("told", "named"),
    [
        ({"kind": "nothing"}, "kind"), ({"hop": "answers"}, "hop"), ({"hop": "x"}, "hop"), ({"rate": 0}, "rate"),
        ({"rate": 1.01}, "rate"), ({"rate": float("nan")}, "rate"), ({"count": -1}, "count"),
        ({"count": MAX_COUNT + 1}, "count"), ({"cards": ["a b"]}, "cards"), ({"seconds": -1}, "seconds"),
        ({"cards": [f"c{number}" for number in range(MAX_CARDS + 1)]}, "cards"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_by_name_and_changes_nothing(told: dict[str, Any], named: str) -> None:
    faults = Faults(1)
    with pytest.raises(InputError) as refused:
        faults.set(**{"kind": "delay", **told})
    assert (refused.value.field, faults.is_any) == (named, False)


def test_to_clear_what_does_not_exist_is_refused() -> None:
    for kind, hop in (("nothing", None), (None, "nowhere")):
        with pytest.raises(InputError):
            Faults(1).clear(kind, hop)


def test_of_very_many_tokens_the_oldest_are_forgotten() -> None:
    fault = Faults(1).set("token-expiry")
    for number in range(MAX_SPARED + 1):
        fault.spare(str(number))
    assert (fault.spares("0"), fault.spares("1"), fault.spares(str(MAX_SPARED))) == (False, True, True)
