"""Where a database is and how we sign in: what address, settings and secrets of a connection say, read once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from connections.connectors.base import Context, FormField, NotAllowed, Refused
from connections.guard import AddressRefused, origin
from connections.guard_database import FILE_SCHEME, PORTS, example_of

TRIGGERS, COLUMN = "triggers", "column"
READ_WRITE, READ_ONLY = "read_write", "read_only"
VERIFIED, OFF = "verified", "off"

FORM_SIGN_IN = (
    FormField("user", "User name", help="A database user of its own, with no more rights than its tables need."),
    FormField("password", "Password", secret=True, required=False),
    FormField(
        "tls",
        "Encryption",
        choices=((VERIFIED, "TLS, the server's certificate is verified"), (OFF, "None, in our own network only")),
        default=VERIFIED,
        help="Without encryption only addresses named in ALLOWED_PRIVATE_ADDRESSES are reached.",
    ),
    FormField(
        "ca",
        "Certificate authority",
        required=False,
        multiline=True,
        show_if=("tls", VERIFIED),
        help="In PEM, where the server's certificate is of your own authority. Empty: the public authorities.",
    ),
)
FORM_MODE = FormField(
    "mode",
    "Access",
    choices=((READ_WRITE, "Read and write"), (READ_ONLY, "Read only")),
    default=READ_WRITE,
    help="Read only: the database itself is told to take no write of ours.",
)
FORM_CHANGES = FormField(
    "changes",
    "Changes are found by",
    choices=((TRIGGERS, "Triggers: every change and deletion is seen"), (COLUMN, "A column that changes with a row")),
    default=TRIGGERS,
    help="Triggers are installed per table, on the connection's page. A column is named below; deletions are then "
    "found by a complete listing every hour.",
)
FORM_TABLES = (
    FormField(
        "tables",
        "Tables",
        required=False,
        multiline=True,
        help="What the database does not tell by itself, one table a line, like: tickets: changed=updated_at, "
        "created=created_at, created_by=author, title=subject, hidden=salary+iban. Also key=a+b for a view, "
        "changed_by, correlation (a column for our key), version.",
    ),
    FormField(
        "people",
        "People",
        required=False,
        help="The table of people, like: users: email=email, name=full_name, active=is_active. Columns that refer to "
        "it then hold people.",
    ),
    FormField(
        "zone",
        "Time zone of times without one",
        required=False,
        default="UTC",
        help="Like Europe/Berlin. For columns whose type knows no zone.",
    ),
    FormField(
        "link",
        "Page of a row",
        required=False,
        help="Address at which people see a row, like https://shop.example.com/{table}/{id}. Empty: none.",
    ),
)


@dataclass(frozen=True)
class Place:
    """One database and our account there. `password` never shows: the class has no repr of its fields."""

    scheme: str
    host: str
    port: int
    database: str  # for a file: its path below the folder that holds them
    user: str
    password: str
    encrypted: bool
    ca: str
    read_only: bool
    triggers: bool
    zone: ZoneInfo
    name: str  # the connection's, for messages and as the name our sessions carry

    def __repr__(self) -> str:
        return f"<{self.name}>"

    @property
    def key(self) -> tuple[str, ...]:
        """Equal for connections that may share their sessions."""
        secret = hashlib.sha256(self.password.encode()).hexdigest()
        parts = (self.scheme, self.host, str(self.port), self.database, self.user, secret, self.ca, self.name)
        return (*parts, str(self.encrypted), str(self.read_only))


def place_of(context: Context) -> Place:
    """Raises Refused on an address or a zone that cannot be read."""
    settings = context.settings
    scheme, host, port, database = _address(context.address)
    return Place(
        scheme=scheme,
        host=host,
        port=port,
        database=database,
        user=settings.get("user", ""),
        password=context.secrets.get("password", ""),
        encrypted=settings.get("tls", VERIFIED) != OFF,
        ca=settings.get("ca", "").strip(),
        read_only=settings.get("mode") == READ_ONLY,
        triggers=settings.get("changes", TRIGGERS) == TRIGGERS,
        zone=_zone(settings),
        name=context.name,
    )


def _address(address: str) -> tuple[str, str, int, str]:
    if address.startswith(f"{FILE_SCHEME}:///"):
        return FILE_SCHEME, "", 0, unquote(address.removeprefix(f"{FILE_SCHEME}:///"))
    try:
        scheme, host, port = origin(address, PORTS, example_of(("postgresql",)))
    except AddressRefused as error:
        raise Refused(str(error)) from None
    database = unquote(urlsplit(address).path.strip("/"))
    if not database:
        raise Refused(f"“{address}” names no database. Nothing was sent. Write it like {example_of((scheme,))}.")
    return {"mariadb": "mysql"}.get(scheme, scheme), host, port, database


def _zone(settings: Mapping[str, str]) -> ZoneInfo:
    wanted = settings.get("zone", "").strip() or "UTC"
    try:
        return ZoneInfo(wanted)
    except (ZoneInfoNotFoundError, ValueError):
        raise NotAllowed(
            f"“{wanted}” is no time zone. Nothing was read, or times would be wrong. Write one like Europe/Berlin in "
            "the connection."
        ) from None
