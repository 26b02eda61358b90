"""Users and queues of a Salesforce org: from an e-mail address or a queue's name to an id, and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from connections.connectors import salesforce_soql as soql
from connections.connectors.base import Refused
from connections.connectors.salesforce_fields import ACCOUNT, QUEUE, person
from connections.connectors.salesforce_org import Org, remembered

# A new user or a changed address is taken up after this long at the latest; an unknown one is asked for at once.
REMEMBER_SECONDS = 300.0
# More is no help in a list to choose from.
SUGGESTIONS = 20


def account_ids(org: Org, people: Iterable[str]) -> dict[str, str | Refused]:
    """The id of the active user or of the queue each person value names, or why it cannot be told."""
    known = remembered(org, "accounts", REMEMBER_SECONDS)
    wanted = [p for p in dict.fromkeys(people) if p not in known]
    for value in [p for p in wanted if p.startswith(ACCOUNT)]:
        wanted.remove(value)
        account = value.removeprefix(ACCOUNT)
        known[value] = soql.long_id(account) if soql.is_id(account) else ""
    queues = [p.removeprefix(QUEUE) for p in wanted if p.startswith(QUEUE)]
    emails = [p.lower() for p in wanted if not p.startswith(QUEUE)]
    found: dict[str, str | Refused] = {p: known[p] for p in people if known.get(p)}
    for address, ids in _users(org, emails).items():
        if len(ids) == 1:
            known[address] = ids[0]
        elif ids:
            found[address] = Refused(
                f"{len(ids)} active Salesforce users have the address {address}. The owner was not changed. "
                "Give all but one of them another address, or choose the owner by hand."
            )
    for name, ids in _queues(org, queues).items():
        if len(ids) == 1:
            known[QUEUE + name] = ids[0]
        elif ids:
            found[QUEUE + name] = Refused(
                f"{len(ids)} Salesforce queues have the name {name}. The owner was not changed. "
                "Rename all but one of them, or choose the owner by hand."
            )
    for value in people:
        key = value if value.startswith((QUEUE, ACCOUNT)) else value.lower()
        if value not in found:
            found[value] = known.get(key) or found.get(key) or Refused(_unknown(value))
    return found


def account_values(org: Org, ids: Iterable[str]) -> dict[str, str]:
    """The person value of each user or queue id; ids that cannot be read become "id:…"."""
    known = remembered(org, "people", REMEMBER_SECONDS)
    wanted = [i for i in dict.fromkeys(map(soql.long_id, ids)) if i not in known and soql.is_id(i)]
    for prefix, table, columns in (("005", "User", "Id, Name, Email"), ("00G", "Group", "Id, Name")):
        of_kind = [i for i in wanted if i.startswith(prefix)]
        for chunk in soql.chunks(of_kind, around=200):
            for row in org.rows(f"SELECT {columns} FROM {table} WHERE {soql.one_of('Id', chunk)}"):  # noqa: S608
                known[soql.long_id(row["Id"])] = person(row["Id"], row) or ""
    return {i: known.get(soql.long_id(i)) or ACCOUNT + soql.long_id(i) for i in ids}


def search(org: Org, query: str) -> list[tuple[str, str]]:
    """(person value, name) of active users and of queues whose name or address contains `query`."""
    like = soql.contains(query)
    users = org.rows(
        "SELECT Id, Name, Email FROM User WHERE IsActive = true"  # noqa: S608
        f" AND (Name LIKE {like} OR Email LIKE {like}) ORDER BY Name LIMIT {SUGGESTIONS}",
        needs=("Id", "Name"),
    )
    queues = org.rows(
        "SELECT Id, Name FROM Group WHERE Type = 'Queue'"  # noqa: S608
        f" AND Name LIKE {like} ORDER BY Name LIMIT {SUGGESTIONS}",
        needs=("Id", "Name"),
    )
    return [(person(r["Id"], r) or "", str(r["Name"])) for r in users] + [
        (QUEUE + str(r["Name"]), f"{r['Name']} (queue)") for r in queues
    ]


def _users(org: Org, emails: Sequence[str]) -> dict[str, list[str]]:
    """Active users by address. Where several share one, the one who signs in with it is meant."""
    found: dict[str, list[tuple[bool, str]]] = {}
    for chunk in soql.chunks(emails, around=200):
        rows = org.rows(
            f"SELECT Id, Email, Username FROM User WHERE IsActive = true AND {soql.one_of('Email', chunk)}",  # noqa: S608
            needs=("Id", "Email", "Username"),
        )
        for row in rows:
            email = str(row["Email"]).lower()
            found.setdefault(email, []).append((str(row["Username"]).lower() == email, soql.long_id(row["Id"])))
    return {
        email: [account for exact, account in users if exact] or [account for _, account in users]
        for email, users in found.items()
    }


def _queues(org: Org, names: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for chunk in soql.chunks(names, around=200):
        where = f"Type = 'Queue' AND {soql.one_of('Name', chunk)}"
        for row in org.rows(f"SELECT Id, Name FROM Group WHERE {where}", needs=("Id", "Name")):  # noqa: S608
            found.setdefault(str(row["Name"]).lower(), []).append(soql.long_id(row["Id"]))
    return {name: found.get(name.lower(), []) for name in names}


def _unknown(value: str) -> str:
    if value.startswith(QUEUE):
        return f"Salesforce has no queue named {value.removeprefix(QUEUE)}. The owner was not changed. Create it."
    return (
        f"No active Salesforce user has the address {value.removeprefix(ACCOUNT)}. The field was not changed. "
        "Activate the user in Setup → Users, or map the person to somebody else."
    )
