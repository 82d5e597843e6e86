"""The laws of "why is it this status": all of a picture is accounted for, and what is said to have decided did."""

from hypothesis import given

from cardtrail.core.event import Event, Retraction
from cardtrail.core.operation import operation_of
from cardtrail.core.order import Order, facts_of, project
from cardtrail.core.why import Account, Because, account_of, values_of
from tests.property.stories import stories, stories_of_one_order


def accounts(events: list[Event]) -> list[tuple[Order, Account]]:
    found = [(order, account_of(events, order.operation_id)) for order in project(events).orders]
    return [(order, account) for order, account in found if account is not None]


@given(stories)
def test_every_visible_value_is_accounted_for_and_nothing_else(events: list[Event]) -> None:
    told = accounts(events)
    assert [order for order, _ in told] == list(project(events).orders)
    for order, account in told:
        assert account.order == order
        shown = {each.member: each.value for each in account.because if each.value is not None}
        assert shown == values_of(operation_of(order))
        assert len({each.member for each in account.because}) == len(account.because)


@given(stories)
def test_what_decided_was_an_event_of_this_order_that_stands(events: list[Event]) -> None:
    homes, known = project(events).home, {event.key: event for event in events}
    for order, account in accounts(events):
        for each in account.because:
            key = each.source, each.event_id
            assert homes[key] == order.operation_id
            assert (each.happened_at, each.received_at) == (known[key].occurred_at, known[key].recorded_at)
            assert key not in account.taken_back
        moved_nothing = {(each.source, each.event_id) for each in account.ignored if each.code == "OUT_OF_TURN"}
        assert not moved_nothing & {(each.source, each.event_id) for each in account.because}


def value_of(events: list[Event], member: str) -> str | None:
    """Return a value of the picture that these events make."""
    orders = project(events).orders
    return values_of(operation_of(orders[0])).get(member) if orders else None


def turning(events: list[Event], each: Because) -> tuple[list[Event], list[Event]]:
    """Return all that came before the event that is said to have decided a value, without and with it."""
    facts: list[Event] = [fact for _, fact in facts_of(events)]
    place = next(place for place, fact in enumerate(facts) if fact.key == (each.source, each.event_id))
    return facts[:place], facts[: place + 1]


@given(stories_of_one_order)
def test_without_the_event_that_decided_a_value_it_was_another(events: list[Event]) -> None:
    standing: list[Event] = [event for event in events if not isinstance(event, Retraction)]
    for order, account in accounts(standing):
        if facts_of(standing)[0][0] < order.requested_at:
            continue  # what came before the request belongs to it only once it is there
        for each in account.because:
            before, until = turning(standing, each)
            if len(project(until).home) < len(until):
                continue  # a scan of a parcel that nobody has named yet belongs to the order only once somebody has
            assert value_of(until, each.member) == each.value
            assert value_of(before, each.member) != each.value
