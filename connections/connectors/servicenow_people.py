"""Users and groups of a ServiceNow instance: from an e-mail address or a group's name to an id, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from connections.connectors import servicenow_query as query
from connections.connectors.base import Refused
from connections.connectors.servicenow_fields import ACCOUNT, GROUPS, QUEUE, USERS, plain
from connections.connectors.servicenow_instance import Instance, remembered
from connections.connectors.servicenow_listing import PAGE_ROWS

# A new user or a changed address is taken up after this long at the latest; an unknown one is asked for at once.
REMEMBER_SECONDS = 300.0
# More is no help in a list to choose from.
SUGGESTIONS = 20
SEARCHED = 200  # what a search reads at most to fill that list


def account_ids(instance: Instance, people: Iterable[str]) -> dict[str, str | Refused]:
    """The id of the active user or of the group each person value names, or why it cannot be told."""
    known = remembered(instance, "accounts", REMEMBER_SECONDS)
    asked = list(dict.fromkeys(people))
    found: dict[str, str | Refused] = {}
    for value in asked:
        if value.startswith(ACCOUNT):
            account = value.removeprefix(ACCOUNT)
            found[value] = account if query.is_id(account) else Refused(_unknown(value))
    missing = [value for value in asked if value not in found and _key(value) not in known]
    emails = {_key(value) for value in missing if not value.startswith(QUEUE)}
    for address, ids in _users(instance, sorted(emails)).items():
        if len(ids) == 1:
            known[address] = ids[0]
        else:
            found[address] = Refused(
                f"{len(ids)} active ServiceNow users have the address {address}. Nothing was written. Give all but one "
                "of them another address, or choose the person by hand."
            )
    for value, groups in _groups(instance, [value for value in missing if value.startswith(QUEUE)]).items():
        if len(groups) == 1:
            known[value] = groups[0]
        else:
            found[value] = Refused(
                f"{len(groups)} active ServiceNow groups are named {value.removeprefix(QUEUE)}. The field was not "
                "changed. Give all but one of them another name."
            )
    for value in asked:
        found.setdefault(value, known.get(_key(value)) or found.get(_key(value)) or Refused(_unknown(value)))
    return found


def names(instance: Instance, accounts: Iterable[str]) -> dict[str, str]:
    """The name of each user by what they sign in with (the form in which records name their editors)."""
    known = remembered(instance, "names", REMEMBER_SECONDS)
    for chunk in query.chunks([a for a in dict.fromkeys(accounts) if a and a not in known]):
        wanted = query.any_of(term for account in chunk if (term := _term("user_name", account)))
        rows = instance.some(USERS, wanted, ("sys_id", "user_name", "name"), PAGE_ROWS, ids=False) if wanted else []
        known |= dict.fromkeys(chunk, "") | {plain(row.get("user_name")): plain(row.get("name")) for row in rows}
    return {account: known.get(account) or account for account in accounts}


def values(instance: Instance, table: str, ids: Iterable[str]) -> dict[str, str]:
    """The person value of each user or group id; ids that cannot be read become "id:…"."""
    known = remembered(instance, f"values of {table}", REMEMBER_SECONDS)
    column = "name" if table == GROUPS else "email"
    for chunk in query.chunks([i for i in dict.fromkeys(ids) if query.is_id(i) and i not in known]):
        rows = instance.some(table, query.one_of("sys_id", chunk), ("sys_id", column), PAGE_ROWS)
        told = {str(row["sys_id"]): plain(row.get(column)) for row in rows}
        for id in chunk:
            name = told.get(id, "")
            known[id] = (QUEUE + name if table == GROUPS else name.lower()) if name else ACCOUNT + id
    return {id: known.get(id) or ACCOUNT + id for id in ids}


def search(instance: Instance, text: str) -> list[tuple[str, str]]:
    """(person value, name) of active users and groups whose name or address contains `text`."""
    part = query.plain(text)
    fits = f"^nameLIKE{part}^ORemailLIKE{part}" if part else ""
    users = instance.some(USERS, f"active=true{fits}^ORDERBYname", ("sys_id", "name", "email", "active"), SEARCHED)
    named = f"^nameLIKE{part}" if part else ""
    groups = instance.some(GROUPS, f"active=true{named}^ORDERBYname", ("sys_id", "name"), SEARCHED)
    low = text.lower()
    people = [
        (plain(row.get("email")).lower() or ACCOUNT + str(row["sys_id"]), plain(row.get("name")))
        for row in users
        if plain(row.get("active")) != "false" and low in f"{plain(row.get('name'))} {plain(row.get('email'))}".lower()
    ]
    queues = [(QUEUE + name, f"{name} (group)") for row in groups if low in (name := plain(row.get("name"))).lower()]
    return people[:SUGGESTIONS] + queues[:SUGGESTIONS]


def _key(value: str) -> str:
    return value if value.startswith(QUEUE) else value.lower()


def _term(field: str, value: str) -> str | None:
    try:
        return query.term(field, value)
    except ValueError:
        return None


def _users(instance: Instance, emails: Sequence[str]) -> dict[str, list[str]]:
    """Active users by address. Where several share one, the one who signs in with it is meant."""
    found: dict[str, list[tuple[bool, str]]] = {}
    for row in _rows(instance, USERS, "email", emails, ("sys_id", "email", "user_name", "active")):
        email = plain(row.get("email")).lower()
        if email in emails and plain(row.get("active")) != "false":
            found.setdefault(email, []).append((plain(row.get("user_name")).lower() == email, str(row["sys_id"])))
    return {email: [id for exact, id in users if exact] or [id for _, id in users] for email, users in found.items()}


def _groups(instance: Instance, wanted: Sequence[str]) -> dict[str, list[str]]:
    """Active groups by their names, in any case. Where several share one, nobody can say which is meant."""
    by_name = {value.removeprefix(QUEUE).lower(): value for value in wanted}
    found: dict[str, list[str]] = {}
    for row in _rows(instance, GROUPS, "name", [v.removeprefix(QUEUE) for v in wanted], ("sys_id", "name", "active")):
        if value := by_name.get(plain(row.get("name")).lower()):
            found.setdefault(value, []).append(str(row["sys_id"]))
    return found


def _rows(
    instance: Instance, table: str, field: str, wanted: Sequence[str], columns: Sequence[str]
) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    for chunk in query.chunks(wanted):
        terms = [term for value in chunk if (term := _term(field, value))]
        if terms:
            asked = query.combine(["active=true"], query.any_of(terms))
            found += instance.some(table, asked, columns, PAGE_ROWS)
    return found


def _unknown(value: str) -> str:
    if value.startswith(QUEUE):
        return (
            f"ServiceNow has no active group named {value.removeprefix(QUEUE)}. The field was not changed. Make the "
            "group, or map it to another."
        )
    return (
        f"No active ServiceNow user has the address {value.removeprefix(ACCOUNT)}. The field was not changed. Activate "
        "the user, or map the person to somebody else."
    )
