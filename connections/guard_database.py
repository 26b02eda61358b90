"""The address guard for databases: the same rules as for web addresses, with the ports and the encryption of databases.

The driver is given the checked address as well as the name, so that there is no second look-up; the certificate is
still proved for the name.
"""

from __future__ import annotations

from collections.abc import Sequence

from connections.guard import (
    NOTHING_SENT,
    REFUSED_PORTS,
    Address,
    AddressRefused,
    check_target,
    exceptions,
    literal,
    origin,
    resolve,
)

# By the beginning of the address: the port a server of that kind usually has.
PORTS = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306, "oracle": 1521, "sqlserver": 1433}
FILE_SCHEME = "sqlite"  # names a file, not a host: see connectors/sql_files.py
_OTHERS_PORTS = REFUSED_PORTS - set(PORTS.values())


def check_database_address(url: str, schemes: Sequence[str]) -> None:
    """Raise ValueError, with a message for people, on an address no connection may have. For forms.

    What a name leads to, and whether an encrypted connection is asked for, is checked when a socket is opened.
    """
    if FILE_SCHEME in schemes:
        if not url.startswith(f"{FILE_SCHEME}:///") or "?" in url or "#" in url:
            raise AddressRefused(f"“{url[:200]}” names no file. {NOTHING_SENT} Write it like sqlite:///shop.db.")
        return
    scheme, host, port = origin(url, {one: PORTS[one] for one in schemes}, example_of(schemes))
    ip = literal(host)
    if ip is not None:
        check_target(scheme, host, port, [ip], _check_port)
    elif not exceptions():
        _check_port(scheme, host, port)  # with exceptions, the name may turn out to be one of them


def example_of(schemes: Sequence[str]) -> str:
    return f"{schemes[0]}://db.example.com/shop"


def resolve_database(scheme: str, host: str, port: int, encrypted: bool) -> list[Address]:
    """The checked addresses of a database host. Raises AddressRefused or OSError (the name is unknown)."""

    def on_the_internet(scheme: str, host: str, port: int) -> None:
        _check_port(scheme, host, port)
        if not encrypted:
            raise AddressRefused(
                f"The connection to {host}:{port} is not encrypted, so the password and all rows could be read on the "
                f"way. {NOTHING_SENT} Choose the verified encryption in the connection, or ask whoever runs SyncAdmin "
                "to add an address of your own network to ALLOWED_PRIVATE_ADDRESSES."
            )

    return resolve(scheme, host, port, on_the_internet)


def _check_port(scheme: str, host: str, port: int) -> None:
    if port < 1024 or port in _OTHERS_PORTS:
        raise AddressRefused(
            f"Port {port} of {host} is not a port of a database. {NOTHING_SENT} Correct the port in the address."
        )
