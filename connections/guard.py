"""The address guard: which addresses a connection may reach.

People type addresses, and systems name further ones in their answers; neither may lead us into the network we run
in. Refused are private, loopback, link-local, metadata and other special addresses, odd spellings of addresses,
user names in addresses, and ports of services that are no web API. `ALLOWED_PRIVATE_ADDRESSES` names exceptions
as "ip", "ip:port", "[ip6]:port", "network/bits" or "host:port".

A name is resolved when the connection is opened, every address it has is checked, and the socket goes to a checked
address: there is no second look-up that could answer differently.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from requests.adapters import HTTPAdapter
from requests_hardened.ip_filter import EXTRA_BLOCKED_NET_RANGES
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.connection import allowed_gai_family, create_connection

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

DEFAULT_PORTS = {"http": 80, "https": 443}
# Below 1024 live system services (ssh 22, mail 25, directory 389 ...); only these two speak HTTP.
WEB_PORTS_BELOW_1024 = {80, 443}
# Services above 1024 that answer to, or can be harmed by, an HTTP request sent to them.
REFUSED_PORTS = {
    1433,  # SQL Server
    1521,  # Oracle
    2049,  # NFS
    2375,  # container engines
    2376,
    3306,  # MySQL
    3389,  # remote desktop
    5432,  # PostgreSQL
    5900,  # VNC
    6000,  # X11
    6379,  # Redis
    6443,  # Kubernetes
    6667,  # IRC
    9200,  # Elasticsearch
    10250,  # kubelet
    11211,  # memcached
    27017,  # MongoDB
}
# Cloud machines hand out their own credentials here. A network that happens to hold them does not allow them.
METADATA = {
    ipaddress.ip_address(address)
    for address in ("169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "fd00:ec2::254")
}
REMEDY = (
    "Use the address under which the system is reachable from the internet, or ask whoever runs SyncAdmin to add it "
    "to ALLOWED_PRIVATE_ADDRESSES."
)
HOSTS = 50  # whose connections are kept open; the one unused for longest gives way
ADDRESSES_TRIED = 3  # each may use up the whole connect time-out
NOTHING_SENT = "Nothing was sent."


class AddressRefused(ValueError):
    """The guard lets no request go there. Its text is for people."""


@dataclass(frozen=True)
class _Exception:
    """One entry of ALLOWED_PRIVATE_ADDRESSES. `port` None: any."""

    network: Network | None
    host: str
    port: int | None


def exceptions() -> list[_Exception]:
    return [_read_exception(entry.strip()) for entry in settings.ALLOWED_PRIVATE_ADDRESSES if entry.strip()]


def _read_exception(entry: str) -> _Exception:
    """Raises ValueError on an entry that cannot be read: a typo must not allow more, or silently less."""
    try:
        return _Exception(ipaddress.ip_network(entry, strict=False), "", None)
    except ValueError:
        host, _, port = entry.rpartition(":")
    if not port.isdigit() or not host:
        raise ValueError(f"ALLOWED_PRIVATE_ADDRESSES: “{entry}” is no ip, ip:port, network/bits or host:port.")
    host = host.strip("[]").lower()
    try:
        return _Exception(ipaddress.ip_network(host), "", int(port))
    except ValueError:
        return _Exception(None, host, int(port))


def _excepted(host: str, ip: Address, port: int) -> bool:
    for entry in exceptions():
        if entry.port not in (None, port):
            continue
        if entry.host and entry.host == host:
            return True
        if entry.network and ip.version == entry.network.version and ip in entry.network:
            if ip in METADATA and entry.network.num_addresses > 1:
                continue
            return True
    return False


def _unwrapped(ip: Address) -> Address:
    """The IPv4 address inside an IPv6 one that stands for it: that is where the packets go."""
    return ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped else ip


def is_public(ip: Address) -> bool:
    """Whether an address is an ordinary one of the internet."""
    ip = _unwrapped(ip)
    special = ip.is_multicast or ip.is_reserved or ip in METADATA
    return ip.is_global and not special and not any(ip in network for network in EXTRA_BLOCKED_NET_RANGES)


def origin(
    url: str, ports: Mapping[str, int] = DEFAULT_PORTS, example: str = "https://example.com"
) -> tuple[str, str, int]:
    """(scheme, host, port) of a URL. Raises AddressRefused on one that no request may be sent to by its spelling.

    ports: the schemes an address may have, with their usual ports.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise AddressRefused(f"“{url[:200]}” is no address. {NOTHING_SENT} Write it like {example}.") from None
    if parts.scheme not in ports or not parts.hostname:
        kind = "web address" if ports is DEFAULT_PORTS else "address of such a system"
        raise AddressRefused(f"“{url[:200]}” is no {kind}. {NOTHING_SENT} Write it like {example}.")
    if parts.username is not None or parts.password is not None:
        raise AddressRefused(
            f"The address {parts.scheme}://…@{parts.hostname} holds a user name. {NOTHING_SENT} "
            "Take it out of the address; the sign-in has fields of its own."
        )
    host = parts.hostname.lower()
    if re.search(r"[\s\\%<>^|]|[^\x21-\x7e]", host):
        raise AddressRefused(
            f"The host in “{url[:200]}” holds characters no host name has. {NOTHING_SENT} Correct the address; write "
            "an international name in its xn-- form."
        )
    if _oddly_spelled(host):
        raise AddressRefused(
            f"“{host}” is an unusual spelling of a numeric address. {NOTHING_SENT} Write it as four decimal numbers."
        )
    return parts.scheme, host, port or ports[parts.scheme]


def _oddly_spelled(host: str) -> bool:
    """Whether the host is a number to the resolver (decimal, octal, hexadecimal, short) but no plain IP address."""
    if literal(host) is not None:
        return False
    last = host.rstrip(".").rpartition(".")[2]
    return bool(re.fullmatch(r"\d+|0x[0-9a-f]*", last))


def literal(host: str) -> Address | None:
    """The IP address a host name is, if it is one."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def check_target(
    scheme: str,
    host: str,
    port: int,
    addresses: Sequence[Address],
    on_the_internet: Callable[[str, str, int], None] | None = None,
) -> None:
    """Raise AddressRefused unless each of `addresses`, which `host` resolved to, may be reached.

    on_the_internet: (scheme, host, port) → None; raises it too, on what holds where no exception was made.
    """
    where = f"{host}:{port}"
    excepted = [_excepted(host, _unwrapped(ip), port) or _excepted(host, ip, port) for ip in addresses]
    for ip, is_excepted in zip(addresses, excepted, strict=True):
        if not is_excepted and not is_public(ip):
            leads = "" if str(ip) == host else f" leads to {ip}, which"
            raise AddressRefused(f"{where}{leads} is not an address of the internet. {NOTHING_SENT} {REMEDY}")
    if not excepted or not all(excepted):
        (on_the_internet or _check_web)(scheme, host, port)


def _check_web(scheme: str, host: str, port: int) -> None:
    """What holds on the internet, where no exception was made."""
    if scheme != "https":
        raise AddressRefused(
            f"http://{host}:{port} is not encrypted, so passwords and records could be read on the way. "
            f"{NOTHING_SENT} Write the address with https://."
        )
    if (port < 1024 and port not in WEB_PORTS_BELOW_1024) or port in REFUSED_PORTS:
        raise AddressRefused(
            f"Port {port} of {host} is not a port of a web API. {NOTHING_SENT} Correct the port in the address."
        )


def check_address(url: str) -> None:
    """Raise ValueError, with a message for people, on an address no connection may have. For forms.

    Names are not resolved here: what they lead to is checked whenever a socket is opened.
    """
    scheme, host, port = origin(url)
    ip = literal(host)
    if host == "localhost" or host.endswith(".localhost"):
        ip = ipaddress.ip_address("127.0.0.1")
    if ip is not None:
        check_target(scheme, host, port, [ip])
    elif scheme == "https" or not exceptions():
        _check_web(scheme, host, port)  # with exceptions, the name may turn out to be one of them


def resolve(
    scheme: str, host: str, port: int, on_the_internet: Callable[[str, str, int], None] | None = None
) -> list[Address]:
    """The checked addresses of a host. Raises AddressRefused or OSError (the name is unknown)."""
    found = socket.getaddrinfo(host, port, allowed_gai_family(), socket.SOCK_STREAM)
    # A scope ("%eth0") only comes with link-local addresses, which are refused with or without it.
    addresses = list(dict.fromkeys(ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))
    check_target(scheme, host, port, addresses, on_the_internet)
    return addresses


# Sockets -----------------------------------------------------------------------------------------------------


class NotConnected(Exception):
    """No connection came about, so nothing was sent. `__cause__` says why."""


class _Guarded:
    """Opens the socket to a checked address; Host header, TLS name and certificate stay those of the name."""

    scheme = "http"

    def connect(self) -> None:
        try:
            super().connect()  # type: ignore[misc]
        except Exception as error:
            # Whatever failed up to here (look-up, guard, socket, TLS) failed before the first byte of the request.
            raise NotConnected from error

    def _new_conn(self) -> socket.socket:
        host, port = self.host.strip("[]").lower(), int(self.port)  # type: ignore[attr-defined]
        failure: OSError | None = None
        for address in resolve(self.scheme, host, port)[:ADDRESSES_TRIED]:
            try:
                return create_connection(
                    (str(address), port),
                    self.timeout,  # type: ignore[attr-defined]
                    socket_options=self.socket_options,  # type: ignore[attr-defined]
                )
            except OSError as error:
                failure = error
        raise failure or OSError(f"{host} has no address")


class GuardedHTTPConnection(_Guarded, HTTPConnection):
    pass


class GuardedHTTPSConnection(_Guarded, HTTPSConnection):
    scheme = "https"


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = GuardedHTTPConnection


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = GuardedHTTPSConnection


class GuardedAdapter(HTTPAdapter):
    """requests' adapter with guarded sockets, no proxies and no retries."""

    def __init__(self, pool_size: int) -> None:
        super().__init__(max_retries=0, pool_connections=HOSTS, pool_maxsize=pool_size)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        raise AddressRefused(f"A proxy ({proxy}) would connect for us unchecked. {NOTHING_SENT} Unset the proxy.")
