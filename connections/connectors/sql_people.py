"""People of a database: rows of the declared table, who are their e-mail addresses elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from connections.connectors.sql_shape import PeopleShape, Shape

SHOWN = 50


def ids_of(session: sa.Connection, shape: Shape, people: Sequence[str]) -> dict[str, Any]:
    """{person value: id in the table of people} of those who are there and active; "id:…" is taken by its word."""
    table = shape.people
    if table is None or not people:
        return {}
    emails = {value.lower() for value in people if "@" in value}
    given = {value.removeprefix("id:") for value in people if value.startswith("id:")}
    key = sa.cast(table.id, sa.CHAR(64) if session.dialect.name == "mysql" else sa.Text)
    query = sa.select(table.id, sa.func.lower(table.email), key).where(
        sa.or_(sa.func.lower(table.email).in_(sorted(emails)), key.in_(sorted(given)))
    )
    if table.active is not None:
        query = query.where(table.active.is_(sa.true()) if session.dialect.name == "postgresql" else table.active == 1)
    found: dict[str, Any] = {}
    twice: set[str] = set()
    for id_, email, text in session.execute(query):
        if email in emails:
            twice |= {email} & set(found)  # an address of two people names neither
            found[email] = id_
        if str(text) in given:
            found[f"id:{text}"] = id_
    return {value: found[value.lower() if "@" in value else value] for value in people if _named(value, found, twice)}


def _named(value: str, found: dict[str, Any], twice: set[str]) -> bool:
    value = value.lower() if "@" in value else value
    return value in found and value not in twice


def search(session: sa.Connection, people: PeopleShape, query: str) -> list[tuple[str, str]]:
    """(e-mail address, name) of active people whose name or address holds `query`."""
    wanted = query.strip().casefold()
    rows = sa.select(sa.func.lower(people.email), people.name).where(people.email.is_not(None))
    if people.active is not None:
        active = people.active.is_(sa.true()) if session.dialect.name == "postgresql" else people.active == 1
        rows = rows.where(active)
    if wanted:
        sign = "!"
        held = wanted.replace(sign, sign * 2).replace("%", sign + "%").replace("_", sign + "_")
        rows = rows.where(
            sa.or_(
                sa.func.lower(people.name).like(f"%{held}%", escape=sign),
                sa.func.lower(people.email).like(f"%{held}%", escape=sign),
            )
        )
    found = session.execute(rows.order_by(people.name).limit(SHOWN))
    return [(email, name or email) for email, name in found if email]
