"""Client certificates as a proxy that ends TLS names them: by their SHA-256 thumbprint in a header.

The header is believed only from the addresses listed: anybody else could write it, too.
"""

import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from cardtrail.errors import SettingError

HEADER = "x-client-cert-sha256"
"""The header that is read where no other is set."""
UNCLEAR = ""
"""A proxy said something about the certificate that cannot be read: equal to no thumbprint and not to None."""
Networks = Sequence[IPv4Network | IPv6Network]

_BASE64URL = re.compile(r"[A-Za-z0-9_-]{43}")
_HEX = re.compile(r"[0-9A-Fa-f]{64}")


def thumbprint_in(text: str) -> str:
    """Return the thumbprint that a text is: base64url, or hexadecimal with or without colons; UNCLEAR for others."""
    text = text.strip().removesuffix("=")
    if _BASE64URL.fullmatch(text):
        return text
    digits = text.replace(":", "")
    if _HEX.fullmatch(digits):
        return urlsafe_b64encode(bytes.fromhex(digits)).rstrip(b"=").decode()
    return UNCLEAR


def is_listed(address: str, proxies: Networks) -> bool:
    """Tell whether an IP address is a listed proxy's; a server of both families writes IPv4 as `::ffff:192.0.2.7`."""
    if not proxies:
        return False
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return any(found in network for network in proxies)


def proxies_of(names: Iterable[str]) -> Networks:
    """Return the networks of addresses such as `192.0.2.7` or `2001:db8::/32`. Raises SettingError."""
    try:
        return [ip_network(name.strip()) for name in names if name.strip()]
    except ValueError as error:
        raise SettingError(f"trusted_proxies: {error}") from None
