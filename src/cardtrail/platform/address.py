"""Which IP addresses may be called: by default only what is routed in the public internet, and no disguises.

IPv4 is refused by a list of blocks, IPv6 is allowed by one block and refused by the odd ones in it. Behind both
stands the standard library as a second judge. Networks that an operator allows win over all of that, with one
exception: IPv4 written as IPv6 is never let through, since the same address has a plain spelling.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from cardtrail.errors import SettingError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Networks = tuple[Network, ...]

MAX_NETWORKS = 100
"""Most networks that a setting may allow."""

_IPV4 = tuple(
    (IPv4Network(network), kind)
    for network, kind in (
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared behind a provider's NAT"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "a cloud's metadata service"),
        ("169.254.0.0/16", "link-local, where metadata services live"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "kept for protocols"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "a 6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("255.255.255.255/32", "broadcast"),
        ("240.0.0.0/4", "reserved"),
    )
)
_IPV6 = tuple(
    (IPv6Network(network), kind)
    for network, kind in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::/96", "IPv4 in IPv6"),
        ("64:ff9b::/96", "IPv4 in IPv6 (NAT64)"),
        ("64:ff9b:1::/48", "IPv4 in IPv6 (NAT64)"),
        ("100::/64", "discarded"),
        ("2001::/32", "IPv4 in IPv6 (Teredo)"),
        ("2001::/23", "kept for protocols"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "IPv4 in IPv6 (6to4)"),
        ("3fff::/20", "documentation"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)
_PUBLIC_IPV6 = IPv6Network("2000::/3")
_MAPPED = IPv6Network("::ffff:0:0/96")
_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})
"""The upper half of an interface id whose lower half is an IPv4 address."""


def objection_to(address: Address, allow: Networks = ()) -> str | None:
    """Return why an address must not be called, such as "loopback", or None if it may; `allow` is let through."""
    if isinstance(address, IPv6Address):
        if address in _MAPPED:
            return "IPv4 in IPv6"
        if address.scope_id is not None:
            return "bound to a network interface"
    if any(address in network for network in allow):
        return None
    return _kind_of(address)


def _kind_of(address: Address) -> str | None:
    if isinstance(address, IPv4Address):
        kind = next((kind for network, kind in _IPV4 if address in network), None)
    else:
        kind = next((kind for network, kind in _IPV6 if address in network), None)
        if kind is None and address not in _PUBLIC_IPV6:
            kind = "reserved"
        if kind is None and int(address) >> 32 & 0xFFFF_FFFF in _ISATAP:
            kind = "IPv4 in IPv6 (ISATAP)"
    if kind is None and not (address.is_global and not address.is_multicast and not address.is_reserved):
        kind = "not routed in the public internet"
    return kind


def literal_of(host: str) -> Address | None:
    """Return the address that a host is, if it is spelled as its own standard form; None for anything else."""
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return address if str(address) == host else None


def networks_of(text: str) -> Networks:
    """Return the networks of a setting such as "127.0.0.0/8, 10.1.0.0/16". Raises SettingError."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if len(names) > MAX_NETWORKS:
        raise SettingError(f"egress_allow: {len(names)} networks, at most {MAX_NETWORKS}")
    return tuple(_network_of(name) for name in names)


def _network_of(name: str) -> Network:
    try:
        network = ip_network(name)
    except ValueError as error:
        raise SettingError(f"egress_allow: {error}") from None
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        raise SettingError(f"egress_allow: {name} is IPv4 in IPv6, which is never called; write it as IPv4")
    return network
