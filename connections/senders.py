"""Which address a webhook request came from, and whether the connection takes it from there. Pure.

Behind a proxy the socket's address is the proxy's, and `X-Forwarded-For` is whatever the sender wrote, with what each
proxy added at its end. So the header counts only as far as proxies that we trust by name (TRUSTED_PROXIES) wrote it:
read from its end, the first address that is none of them is the sender. Nothing before it is believed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def networks(text: str) -> list[Network]:
    """Addresses and networks, divided by commas, spaces or lines. Raises ValueError, with a message for people."""
    found = []
    for word in text.replace(",", " ").split():
        try:
            found.append(ipaddress.ip_network(word, strict=False))
        except ValueError:
            raise ValueError(
                f"“{word}” is no address and no network. Nothing was saved. Write them like 203.0.113.7 or "
                "203.0.113.0/24."
            ) from None
    return found


def sender_of(socket_address: str, forwarded_for: str, trusted: Sequence[Network]) -> str:
    """The sender's address as far as it is known; "" where the socket has none (a Unix socket nobody vouches for)."""
    seen = [part.strip() for part in forwarded_for.split(",") if part.strip()]
    current = socket_address
    # A Unix socket has no address: only a proxy on this machine can use it, which counts as trusted if any is.
    while seen and (within(current, trusted) or (not current and trusted)):
        current = seen.pop()
    address = _read(current)
    return str(address) if address else ""


def within(address: str, these: Sequence[Network]) -> bool:
    ip = _read(address)
    return ip is not None and any(ip in network for network in these)


def is_private(address: str) -> bool:
    """Whether it is an address of our own network: in a webhook from the internet, a proxy's."""
    ip = _read(address)
    return ip is not None and not ip.is_global


def _read(text: str) -> Address | None:
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:  # "203.0.113.7:4711", as some proxies write it
        host = host.partition(":")[0]
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return mapped or ip
