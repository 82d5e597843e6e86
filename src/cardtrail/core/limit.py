"""Limits: how often an address, or whatever else is named, may fail."""

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address
from math import ceil

from cardtrail.core.bucket import Bucket
from cardtrail.errors import TooMany

MAX_PEERS = 10_000
"""Most addresses that are remembered."""
FAILURES = 100
"""Failed checks an address has a minute."""
MINUTE = 60.0


class FailureLimit:
    """Counts failures per name: `burst` at once, then `rate` a minute; `what` is what the refusal tells of.

    When there are too many names, the one that failed longest ago is forgotten.
    """

    def __init__(self, rate: float, burst: float, what: str) -> None:
        self._rate = rate / MINUTE
        self._burst = burst
        self._what = what
        self._names: OrderedDict[str, Bucket] = OrderedDict()

    def admit(self, name: str, now: float) -> None:
        """Raise TooMany if this one has failed too often; `now` in s of a monotonic clock."""
        bucket = self._names.get(name)
        wait = bucket.wait(now) if bucket is not None else 0.0
        if wait:
            raise TooMany(f"too many failed {self._what}", ceil(wait))

    def charge(self, name: str, now: float) -> None:
        """Note a failure, or a try that may become one."""
        bucket = self._names.get(name)
        if bucket is None:
            bucket = self._names[name] = Bucket(self._rate, self._burst)
            if len(self._names) > MAX_PEERS:
                self._names.popitem(last=False)
        self._names.move_to_end(name)
        bucket.take(now)

    def forgive(self, name: str) -> None:
        """Take back one charge: the try did not fail."""
        if (bucket := self._names.get(name)) is not None:
            bucket.give_back()

    def __len__(self) -> int:
        return len(self._names)


class PeerLimit:
    """Counts failures per address; with IPv6 per network. All as FailureLimit does."""

    def __init__(
        self, failures: int = FAILURES, burst: int | None = None, what: str = "calls from this address"
    ) -> None:
        self._limit = FailureLimit(failures, failures if burst is None else burst, what)

    def admit(self, peer: str, now: float) -> None:
        """Raise TooMany if this address has failed too often; `now` in s of a monotonic clock."""
        self._limit.admit(network_of(peer), now)

    def charge(self, peer: str, now: float) -> None:
        """Note a failure, or a try that may become one."""
        self._limit.charge(network_of(peer), now)

    def forgive(self, peer: str) -> None:
        """Take back one charge: the try did not fail."""
        self._limit.forgive(network_of(peer))

    def __len__(self) -> int:
        return len(self._limit)


def network_of(peer: str) -> str:
    """Return who is meant by an address: with IPv6 its /64, in which one host has as many as it likes."""
    if ":" not in peer:
        return peer
    try:
        address = ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    if not isinstance(address, IPv6Address):
        return peer
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return address.exploded[:19]
