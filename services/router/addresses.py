"""Which addresses the exchange asks for whoever names them: global ones, in a sandbox this machine's own, too. Pure."""

from __future__ import annotations

import ipaddress
from typing import Final

_CARRIES_V4: Final = tuple(
    ipaddress.IPv6Network(each) for each in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")
)
"""IPv6 that leads to the IPv4 address in its last four bytes, by this machine or by a translator on the way."""
_V4_MASK: Final = (1 << 32) - 1


class Unfit(Exception):
    """An address that is not for us to ask."""


def fit_address(addresses: list[str], *, sandbox: bool) -> str:
    """The one to ask. Raises Unfit where any of them is not of the public Internet: a name with two faces is not trusted."""
    if not addresses:
        raise Unfit("the name has no address")
    for text in addresses:
        address = _meant(text)
        if not _is_public(address) and not (sandbox and address.is_loopback):
            raise Unfit(f"{text} is not an address of the public Internet")
    return addresses[0]


def _meant(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address that is reached in the end."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and int(address) > 1 and any(address in net for net in _CARRIES_V4):
        return ipaddress.IPv4Address(int(address) & _V4_MASK)
    return address


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    is_site_local = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
    return address.is_global and not address.is_multicast and not is_site_local
