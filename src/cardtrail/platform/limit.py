"""Limits: how often a party may call, and how often an address may fail."""

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


class PeerLimit:
    """Counts failed checks per address. When there are too many, the one that failed longest ago is forgotten."""

    def __init__(self, failures: int = FAILURES) -> None:
        self._failures = failures
        self._peers: OrderedDict[str, Bucket] = OrderedDict()

    def admit(self, peer: str, now: float) -> None:
        """Raise TooMany if this address has failed too often; `now` in s of a monotonic clock."""
        bucket = self._peers.get(_network_of(peer))
        wait = bucket.wait(now) if bucket is not None else 0.0
        if wait:
            raise TooMany("too many failed calls from this address", ceil(wait))

    def charge(self, peer: str, now: float) -> None:
        """Note a failed check."""
        network = _network_of(peer)
        bucket = self._peers.get(network)
        if bucket is None:
            bucket = self._peers[network] = Bucket(self._failures / MINUTE, self._failures)
            if len(self._peers) > MAX_PEERS:
                self._peers.popitem(last=False)
        self._peers.move_to_end(network)
        bucket.take(now)

    def __len__(self) -> int:
        return len(self._peers)


def _network_of(peer: str) -> str:
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
