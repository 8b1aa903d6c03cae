"""Which addresses a message may go to: a receiver's name must not lead to this machine or into its network."""

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from aiohttp import AddrInfoType

from emag_syncd.marketplace.transport import keepalive_socket

_NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))


class PrivateAddressError(OSError):
    """A receiver's name leads to an address that is not public."""


def is_public(address: str) -> bool:
    """Whether ``address`` is one of the internet's, also where it wraps an IPv4 address. Raises ValueError."""
    ip = ip_address(address.partition("%")[0])
    return all(one.is_global and not one.is_multicast for one in (ip, *_wrapped(ip)))


def public_socket(info: AddrInfoType) -> socket.socket:
    """Return a socket for a connection that is about to be made, so no later answer of the DNS can lead elsewhere.

    Raises PrivateAddressError.
    """
    target = info[4]
    if not is_public(str(target[0])):
        raise PrivateAddressError(
            f"{target[0]} is a private address; webhooks.allow_private = true permits receivers there"
        )
    return keepalive_socket(info)


def _wrapped(ip: IPv4Address | IPv6Address) -> list[IPv4Address]:
    """Return the IPv4 addresses that packets to an IPv6 address end up at."""
    if isinstance(ip, IPv4Address):
        return []
    wrapped = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
    if any(ip in network for network in _NAT64):
        wrapped.append(IPv4Address(int(ip) & 0xFFFFFFFF))
    return [one for one in wrapped if one is not None]
