"""How it goes at an endpoint: when it is let alone, tried again, met with more, and given up."""

from hypothesis import given
from hypothesis import strategies as st

from cardtrail.platform.circuit import GIVE_UP, LAPSE, MIN_FAILURES, THRESHOLD, Circuit

WAIT = 1_000


def fresh(limit: int = 8) -> Circuit:
    return Circuit(0, None, None, limit, lambda failures: WAIT << min(failures, 3))


def test_it_opens_after_so_many_failures_in_a_row_and_tells_so_once() -> None:
    circuit = fresh()
    told = [circuit.fail(now) for now in range(THRESHOLD + 3)]
    assert told == [False] * (THRESHOLD - 1) + [True] + [False] * 3
    assert (circuit.failing_since, circuit.failures) == (0, THRESHOLD + 3)


def test_a_success_between_begins_the_count_anew() -> None:
    circuit = fresh()
    for now in range(3 * THRESHOLD):
        if now % (THRESHOLD - 1) == 0:
            assert not circuit.succeed()
        circuit.fail(now)
    assert not circuit.is_open


def test_probes_come_more_and_more_seldom() -> None:
    circuit = fresh()
    waits = []
    for now in range(THRESHOLD + 5):
        circuit.fail(now)
        if circuit.probe_at is not None:
            waits.append(circuit.probe_at - now)
    assert waits == [WAIT, 2 * WAIT, 4 * WAIT, 8 * WAIT, 8 * WAIT, 8 * WAIT]


def test_a_success_closes_it_and_says_so_once() -> None:
    circuit = fresh()
    for now in range(THRESHOLD):
        circuit.fail(now)
    assert (circuit.succeed(), circuit.succeed()) == (True, False)
    assert (circuit.is_open, circuit.failures, circuit.failing_since, circuit.probe_at) == (False, 0, None, None)


def test_after_it_closed_there_are_two_calls_at_once_then_four_up_to_the_limit() -> None:
    circuit = fresh(limit=7)
    for now in range(THRESHOLD):
        circuit.fail(now)
    assert circuit.window == 1
    windows = []
    for _ in range(4):
        circuit.succeed()
        windows.append(circuit.window)
    assert windows == [2, 4, 7, 7]


def test_each_failure_halves_what_is_sent_at_once() -> None:
    circuit = fresh(limit=8)
    windows = []
    for now in range(THRESHOLD - 1):
        circuit.fail(now)
        windows.append(circuit.window)
    assert windows == [4, 2, 1, 1]


def test_what_was_stored_as_open_is_open_and_begins_small_whatever_the_window_was() -> None:
    assert Circuit(7, 1, 9, 8, lambda _: WAIT, window=8).window == 1
    assert Circuit(0, None, None, 8, lambda _: WAIT, window=3).window == 3
    assert Circuit(0, None, None, 2, lambda _: WAIT, window=8).window == 2


def test_it_can_be_opened_without_a_failure() -> None:
    circuit = fresh()
    circuit.open(5)
    assert (circuit.is_open, circuit.failures, circuit.failing_since, circuit.probe_at) == (
        True,
        THRESHOLD,
        5,
        5 + WAIT,
    )


def fail_until(circuit: Circuit, end: int, step: int) -> int:
    now = circuit.failing_since or 0
    while now < end:
        circuit.fail(now)
        now += step
    return now


def test_it_is_hopeless_after_five_days_of_trying_and_not_before() -> None:
    circuit = Circuit(0, None, None, 1, lambda _: 300_000_000)
    fail_until(circuit, GIVE_UP, 300_000_000)
    assert not circuit.is_hopeless(GIVE_UP - 1)
    assert circuit.is_hopeless(GIVE_UP)
    circuit.succeed()
    assert not circuit.is_hopeless(GIVE_UP)


def test_a_few_failures_are_not_hopeless_however_long_ago_they_began() -> None:
    circuit = fresh()
    for _ in range(THRESHOLD - 1):
        circuit.fail(0)
    circuit.fail(2 * GIVE_UP)
    assert not circuit.is_hopeless(2 * GIVE_UP)
    assert circuit.failures < MIN_FAILURES


def test_time_in_which_nobody_tried_is_forgiven_and_a_late_probe_is_not() -> None:
    circuit = fresh()
    for now in range(MIN_FAILURES):
        circuit.fail(now)
    assert circuit.probe_at is not None
    late = circuit.probe_at + LAPSE
    circuit.fail(late)
    assert circuit.failing_since == 0
    gap = circuit.probe_at + GIVE_UP
    circuit.fail(gap)
    assert circuit.failing_since == GIVE_UP
    assert not circuit.is_hopeless(gap)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 10**12)), max_size=60), st.integers(1, 256))
def test_whatever_happens_it_can_be_stored_and_keeps_within_its_limit(
    story: list[tuple[bool, int]], limit: int
) -> None:
    """The CHECKs of the table `lane`, and the bounds of what is sent at once."""
    circuit, now = fresh(limit), 0
    for success, gap in story:
        now += gap
        if success:
            circuit.succeed()
        else:
            circuit.fail(now)
        assert (circuit.failures == 0) == (circuit.failing_since is None)
        assert circuit.probe_at is None or circuit.failures >= THRESHOLD
        assert circuit.failing_since is None or circuit.failing_since <= now
        assert 1 <= circuit.window <= limit
        assert circuit.window == 1 or not circuit.is_open


def test_a_probe_waits_for_as_long_as_the_receiver_asked_for() -> None:
    """Was a bug: a receiver that answered 503 with Retry-After was probed every few seconds all the same."""
    circuit = Circuit(0, None, None, 8, lambda _failures: 5)
    for _ in range(THRESHOLD):
        circuit.fail(1_000, asked=70)
    assert circuit.probe_at == 1_070
    circuit.fail(1_070, asked=3)
    assert circuit.probe_at == 1_075
