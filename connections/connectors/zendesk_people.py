"""Users and groups of a Zendesk account: from an e-mail address or a group's name to an id, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from connections.connectors.base import Refused
from connections.connectors.zendesk_desk import PAGE, Desk, remembered
from connections.connectors.zendesk_fields import ACCOUNT, GROUP, QUEUE, plain_id

# A new user or a changed address is taken up after this long at the latest; an unknown one is asked for at once.
REMEMBER_SECONDS = 300.0
# Addresses in one question: terms for the same property are alternatives, and a line has its length.
ASKED = 20
SUGGESTIONS = 20
AGENTS = ("agent", "admin")


def values(desk: Desk, ids: Iterable[str]) -> dict[str, str]:
    """The person value of each user id; users without an address, or hidden ones, become "id:…"."""
    known = _users(desk, ids)
    return {id: _value(known[id]) if id in known else ACCOUNT + id for id in ids}


def names(desk: Desk, ids: Iterable[str]) -> dict[str, str]:
    known = _users(desk, ids)
    return {id: str(known[id].get("name") or id) if id in known else id for id in ids}


def account_ids(desk: Desk, people: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int | Refused]:
    """{(path, person value): the id to write, or why there is none}. Who is assigned has to be an agent."""
    wanted = list(dict.fromkeys(people))
    users = by_email(desk, [value for path, value in wanted if path != GROUP and "@" in value])
    return {(path, value): _id_of(desk, path, value, users) for path, value in wanted}


def search(desk: Desk, text: str) -> list[tuple[str, str]]:
    """(person value, name) of active users and of groups whose name or address contains `text`."""
    low = text.strip().lower()
    # A question with nothing but signs is none to Zendesk.
    asked = {"query": f'"{_plain(text)}"'} if _plain(text) else {}
    path = "users/search" if asked else "users"
    users = desk.rows(path, "users", asked or {"page[size]": str(PAGE)})
    found = [
        (_value(user), f"{user.get('name') or user['id']}")
        for user in users
        if _active(user) and low in f"{user.get('name') or ''} {user.get('email') or ''}".lower()
    ]
    groups = [(QUEUE + name, f"{name} (group)") for name in desk.groups().values() if low in name.lower()]
    return found[:SUGGESTIONS] + groups[:SUGGESTIONS]


def _users(desk: Desk, ids: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    known = remembered(desk, "users", REMEMBER_SECONDS)
    missing = [id for id in dict.fromkeys(ids) if id not in known]
    for start in range(0, len(missing), PAGE):
        part = missing[start : start + PAGE]
        rows = desk.rows("users/show_many", "users", {"ids": ",".join(part)})
        found = {str(row["id"]): row for row in rows}
        known |= {id: found.get(id) for id in part}
    return {id: user for id in ids if (user := known.get(id)) is not None}


def by_email(desk: Desk, emails: Sequence[str]) -> dict[str, list[Mapping[str, Any]]]:
    known = remembered(desk, "emails", REMEMBER_SECONDS)
    missing = [email for email in dict.fromkeys(e.lower() for e in emails) if email not in known and _plain(email)]
    for start in range(0, len(missing), ASKED):
        part = missing[start : start + ASKED]
        query = " ".join(f'email:"{_plain(email)}"' for email in part)
        rows = desk.rows("users/search", "users", {"query": query})
        remembered(desk, "users", REMEMBER_SECONDS).update({str(row["id"]): row for row in rows})
        for email in part:
            fitting = [row for row in rows if str(row.get("email") or "").lower() == email]
            if fitting:
                known[email] = fitting
    return {email: list(known.get(email, ())) for email in dict.fromkeys(e.lower() for e in emails)}


def _id_of(desk: Desk, path: str, value: str, users: Mapping[str, Sequence[Mapping[str, Any]]]) -> int | Refused:
    if value.startswith(ACCOUNT):
        id = plain_id(value.removeprefix(ACCOUNT))
        return int(id) if id else Refused(_unknown(value))
    if path == GROUP:
        name = value.removeprefix(QUEUE)
        if not value.startswith(QUEUE):
            return Refused(f"This field takes a group, and {value} is a person.")
        fitting = [id for id, known in desk.groups().items() if known.lower() == name.lower()]
        return int(fitting[0]) if len(fitting) == 1 else Refused(_unknown_group(name, len(fitting)))
    if value.startswith(QUEUE):
        return Refused(f"This field takes a person, and {value.removeprefix(QUEUE)} is a group.")
    active = [user for user in users.get(value.lower(), ()) if _active(user)]
    if path == "assignee_id":
        agents = [user for user in active if user.get("role") in AGENTS]
        if active and not agents:
            return Refused(
                f"{value} is no agent in Zendesk, and only agents are assigned. The field was not changed. Make the "
                "user an agent, or map the person to somebody else."
            )
        active = agents
    return int(str(active[0]["id"])) if active else Refused(_unknown(value))


def _active(user: Mapping[str, Any]) -> bool:
    return user.get("active") is not False and user.get("suspended") is not True


def _value(user: Mapping[str, Any]) -> str:
    email = user.get("email")
    return email.lower() if isinstance(email, str) and "@" in email else ACCOUNT + str(user["id"])


def _plain(text: str) -> str:
    """Text that ends no quotation and means nothing to the search."""
    return " ".join(text.replace('"', " ").replace("\\", " ").replace("*", " ").split())


def _unknown(value: str) -> str:
    return (
        f"No active Zendesk user has the address {value.removeprefix(ACCOUNT)}. The field was not changed. Activate "
        "the user, or map the person to somebody else."
    )


def _unknown_group(name: str, count: int) -> str:
    found = f"{count} groups" if count else "no group"
    return f"Zendesk has {found} named {name}. The field was not changed. Make the group, or map it to another."
