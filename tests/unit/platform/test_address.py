"""Which addresses may be called, and what an operator can allow."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardtrail.errors import SettingError
from cardtrail.platform.address import MAX_NETWORKS, literal_of, networks_of, objection_to

PUBLIC = (
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "93.184.215.14", "100.63.255.255", "100.128.0.0",
    "126.255.255.255", "128.0.0.1", "169.253.255.255", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255",
    "198.17.255.255", "198.20.0.0", "223.255.255.255",
    "2000::1", "2001:200::1", "2606:4700:4700::1111", "2a00:1450:4001:80b::200e", "3ffe::1",
)  # fmt: skip

REFUSED = {
    "0.0.0.0": "this network",  # noqa: S104 -- nothing is bound to it
    "0.255.255.255": "this network",
    "10.0.0.0": "private",
    "10.255.255.255": "private",
    "100.64.0.0": "NAT",
    "100.100.100.200": "NAT",
    "100.127.255.255": "NAT",
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "168.63.129.16": "metadata",
    "169.254.0.1": "link-local",
    "169.254.169.254": "metadata",
    "172.16.0.0": "private",
    "172.31.255.255": "private",
    "192.0.0.1": "protocols",
    "192.0.0.192": "protocols",
    "192.0.2.1": "documentation",
    "192.88.99.1": "6to4",
    "192.168.0.1": "private",
    "198.18.0.1": "benchmarking",
    "198.19.255.255": "benchmarking",
    "198.51.100.1": "documentation",
    "203.0.113.1": "documentation",
    "224.0.0.1": "multicast",
    "239.255.255.255": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.254": "reserved",
    "255.255.255.255": "broadcast",
    "::": "unspecified",
    "::1": "loopback",
    "::2": "IPv4 in IPv6",
    "::7f00:1": "IPv4 in IPv6",
    "::808:808": "IPv4 in IPv6",
    "::ffff:127.0.0.1": "IPv4 in IPv6",
    "::ffff:8.8.8.8": "IPv4 in IPv6",
    "::ffff:0:7f00:1": "reserved",
    "64:ff9b::7f00:1": "NAT64",
    "64:ff9b::808:808": "NAT64",
    "64:ff9b:1::1": "NAT64",
    "100::1": "discarded",
    "1000::1": "reserved",
    "2001::1": "Teredo",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2": "Teredo",
    "2001:2::1": "protocols",
    "2001:10::1": "protocols",
    "2001:20::1": "protocols",
    "2001:db8::1": "documentation",
    "2002:7f00:1::": "6to4",
    "2002:808:808::1": "6to4",
    "2a00::5efe:7f00:1": "ISATAP",
    "2a00::200:5efe:a00:1": "ISATAP",
    "3fff::1": "documentation",
    "4000::1": "reserved",
    "5f00::1": "reserved",
    "fc00::1": "private",
    "fd00:ec2::254": "private",
    "fd20:ce::254": "private",
    "fe80::1": "link-local",
    "fe80::1%eth0": "interface",
    "2a00::1%eth0": "interface",
    "febf::1": "link-local",
    "fec0::1": "site-local",
    "ff02::1": "multicast",
    "ff0e::1": "multicast",
}


@pytest.mark.parametrize("text", PUBLIC)
def test_a_public_address_may_be_called(text: str) -> None:
    assert objection_to(ip_address(text)) is None


@pytest.mark.parametrize("text", REFUSED)
def test_any_other_address_is_refused_and_told_what_it_is(text: str) -> None:
    assert REFUSED[text] in (objection_to(ip_address(text)) or "it was let through")


@given(st.ip_addresses())
def test_what_the_standard_library_holds_for_private_is_never_let_through(address: IPv4Address | IPv6Address) -> None:
    let_through = objection_to(address) is None
    assert not let_through or (address.is_global and not address.is_private and not address.is_multicast)


@given(st.ip_addresses(v=4).map(int))
def test_ipv4_in_ipv6_is_refused_whatever_it_holds_and_whatever_is_allowed(ipv4: int) -> None:
    everything = networks_of("0.0.0.0/0, ::/0")
    assert objection_to(IPv6Address(0xFFFF << 32 | ipv4), everything) is not None
    for prefix in (0, 0x64FF9B << 96, 0x64_FF9B << 96):
        assert objection_to(IPv6Address(prefix | ipv4)) is not None


@pytest.mark.parametrize(
    ("allow", "address", "allowed"),
    [
        ("127.0.0.0/8", "127.0.0.1", True),
        ("127.0.0.0/8", "10.0.0.1", False),
        ("127.0.0.0/8", "::1", False),
        ("127.0.0.0/8", "::ffff:127.0.0.1", False),
        ("127.0.0.0/8", "::7f00:1", False),
        ("10.1.0.0/16, 192.168.7.9", "10.1.255.1", True),
        ("10.1.0.0/16, 192.168.7.9", "192.168.7.9", True),
        ("10.1.0.0/16, 192.168.7.9", "10.2.0.1", False),
        ("10.1.0.0/16, 192.168.7.9", "192.168.7.8", False),
        ("::1", "::1", True),
        ("fd00:1::/32", "fd00:1::9", True),
        ("fd00:1::/32", "fd00:2::9", False),
        ("fe80::/10", "fe80::1%eth0", False),
        ("", "127.0.0.1", False),
    ],
)
def test_an_operator_lets_networks_through_and_nothing_beside_them(allow: str, address: str, allowed: bool) -> None:  # noqa: FBT001 -- a column of the table
    assert (objection_to(ip_address(address), networks_of(allow)) is None) is allowed


@pytest.mark.parametrize(
    "text",
    [
        "localhost", "10.1.2.3/16", "10.0.0.0/33", "127.1", "0x7f000001", "10.0.0.0-10.0.0.9", "::ffff:127.0.0.1",
        "::ffff:0:0/96", "10.0.0.0/8 11.0.0.0/8", ", ".join(["127.0.0.1"] * (MAX_NETWORKS + 1)),
    ],
)  # fmt: skip
def test_a_list_that_cannot_be_read_names_its_setting(text: str) -> None:
    with pytest.raises(SettingError, match="egress_allow"):
        networks_of(text)


def test_a_list_may_be_empty_or_loosely_written() -> None:
    assert networks_of("") == networks_of(" , ") == ()
    assert networks_of(" 127.0.0.0/8,::1 ,") == networks_of("127.0.0.0/8, ::1/128")


@pytest.mark.parametrize("text", ["127.0.0.1", "::1", "2001:db8::1"])
def test_an_address_in_standard_form_is_a_literal(text: str) -> None:
    assert literal_of(text) == ip_address(text)


@pytest.mark.parametrize("text", ["127.1", "2130706433", "127.0.0.01", "::0:1", "2001:DB8::1", "localhost", ""])
def test_an_address_in_another_form_is_none(text: str) -> None:
    assert literal_of(text) is None
