"""Addresses that fail too often have to wait."""

import pytest

from cardtrail.core.limit import FAILURES, MAX_PEERS, FailureLimit, PeerLimit
from cardtrail.errors import TooMany


def fail(limit: PeerLimit, peer: str, times: int, now: float = 10.0) -> None:
    for _ in range(times):
        limit.admit(peer, now)
        limit.charge(peer, now)


def test_an_address_that_failed_too_often_has_to_wait() -> None:
    limit = PeerLimit()
    fail(limit, "192.0.2.1", FAILURES)
    with pytest.raises(TooMany) as refusal:
        limit.admit("192.0.2.1", 10.0)
    assert refusal.value.retry_after == 1
    limit.admit("192.0.2.1", 11.0)
    limit.admit("192.0.2.2", 10.0)


def test_addresses_of_one_ipv6_network_count_as_one() -> None:
    limit = PeerLimit(failures=3)
    fail(limit, "2001:db8::1", 1)
    fail(limit, "2001:db8::ffff", 1)
    fail(limit, "2001:db8:0:0:1::5", 1)
    with pytest.raises(TooMany):
        limit.admit("2001:db8::77", 10.0)
    limit.admit("2001:db8:0:1::1", 10.0)


def test_an_ipv4_address_is_the_same_inside_ipv6() -> None:
    limit = PeerLimit(failures=1)
    fail(limit, "::ffff:192.0.2.1", 1)
    with pytest.raises(TooMany):
        limit.admit("192.0.2.1", 10.0)


@pytest.mark.parametrize("peer", ["", "a:b", "fe80::1%eth0", "unix"])
def test_odd_addresses_are_counted_too(peer: str) -> None:
    limit = PeerLimit(failures=1)
    fail(limit, peer, 1)
    with pytest.raises(TooMany):
        limit.admit(peer, 10.0)


def test_only_so_many_addresses_are_remembered() -> None:
    limit = PeerLimit(failures=1)
    for number in range(MAX_PEERS + 5):
        limit.charge(f"peer-{number}", 10.0)
    assert len(limit) == MAX_PEERS
    limit.admit("peer-0", 10.0)
    with pytest.raises(TooMany):
        limit.admit(f"peer-{MAX_PEERS}", 10.0)


def test_a_try_that_did_not_fail_is_taken_back() -> None:
    limit = PeerLimit(failures=1)
    for _ in range(50):
        limit.admit("2001:db8::1", 10.0)
        limit.charge("2001:db8::1", 10.0)
        limit.forgive("2001:db8::2")
    limit.forgive("never seen")
    assert len(limit) == 1


def test_after_the_burst_only_the_rate_is_left() -> None:
    limit = FailureLimit(rate=1, burst=3, what="tries")
    for _ in range(3):
        limit.admit("ada", 10.0)
        limit.charge("ada", 10.0)
    with pytest.raises(TooMany, match="too many failed tries") as refusal:
        limit.admit("ada", 10.0)
    assert 30 <= refusal.value.retry_after <= 60
    limit.admit("ada", 10.0 + 60)
