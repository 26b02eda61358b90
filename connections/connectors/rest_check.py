"""The test of a connection to a described API: who we are, which lists can be read, and what can be promised."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from connections.connectors.base import CheckResult, NeedsAuthorization, NotAllowed
from connections.connectors.rest_client import Client
from connections.connectors.rest_definition import Definition, ObjectType, gaps
from connections.connectors.rest_objects import Objects
from connections.connectors.rest_paths import look, truth
from connections.connectors.rest_records import NO_VERSION
from connections.guard import origin


def check(client: Client, objects: Mapping[str, Objects]) -> CheckResult:
    definition = client.definition
    if missing := gaps(definition):
        raise NotAllowed(
            f"The description of {definition.name} is not complete. {' '.join(missing)} Nothing was read. Complete it."
        )
    account, name, tenant, offset = account_of(client)
    notes, refused = [*definition.notes], []
    for each in objects.values():
        if each.type.parent or any(limit.required for limit in each.type.scope):
            continue
        try:
            chunk = next(each.lister.pages([field.name for field in each.type.fields]))
        except NotAllowed as error:
            refused.append(f"{each.type.label or each.type.name}: {error.message}")
            continue
        offset = _offset(chunk.date) if offset is None else offset
        notes += _of_list(each.type, [record.version for record in chunk.records], chunk.broken)
        hidden = sorted({path for record in chunk.records for path in record.unreadable})
        if hidden and all(set(hidden) <= record.unreadable for record in chunk.records):
            notes.append(
                f"No {each.type.label or each.type.name} on the first page shows {', '.join(hidden)}: rules with these "
                "fields stand still. Check where a record has them."
            )
    return CheckResult(
        account_id=account,
        account_name=name,
        missing=refused,
        clock_offset=offset,
        rate_limit=f"At most {definition.limits.per_second:g} calls a second, as its description says.",
        notes=[*notes, *promises(definition)],
        tenant=tenant,
    )


def account_of(client: Client) -> tuple[str, str, str, float | None]:
    """(id, name, tenant, clock offset). Raises NeedsAuthorization for an answer that is for nobody."""
    context, own = client.context, client.definition.account
    _, host, port = origin(context.address)
    site = f"{host}:{port}" if port not in (80, 443) else host
    user = context.settings.get("user") or context.settings.get("client_id") or "the account of the key"
    if own is None or not own.path:
        return str(user), str(user), site, None
    answer = client.call("GET", client.path(own.path, user=str(user)), about="list")
    account = look(own.id, answer.json)
    if truth(own.anonymous, answer.json):
        raise NeedsAuthorization(
            f"{client.definition.name} answers, but takes us for nobody. Nothing was read. Check the credentials."
        )
    if account in (None, "", False) or isinstance(account, dict | list):
        raise client.unusable(f"our account at “{own.id}”")
    tenant = look(own.tenant, answer.json)
    return str(account), str(look(own.name, answer.json) or account), str(tenant or site), _offset(answer.date)


def _offset(date: datetime | None) -> float | None:
    return (date - datetime.now(UTC)).total_seconds() if date else None


def _of_list(each: ObjectType, versions: list[str], broken: int) -> list[str]:
    label = each.label or each.name
    found = []
    if broken:
        found.append(
            f"{broken} entries on the first page of {label} have no id. They are left out, the others are read."
        )
    unclear = versions.count(NO_VERSION)
    if unclear:
        found.append(
            f"{unclear} of {len(versions)} records on the first page of {label} have no version or time. "
            "They stand still until they have. Check where a record has them."
        )
    return found


def promises(definition: Definition) -> list[str]:
    """What people should know of a system that is described so."""
    found = []
    for each in definition.object_types:
        label = each.label or each.name
        if each.parent:
            continue
        if each.list and not each.list.changed:
            found.append(f"{label}: the list knows no changes, so every poll reads all of it and compares digests.")
        if each.update and each.update.whole and not each.condition:
            found.append(
                f"{label}: a write sends the whole record and nothing stops it where somebody was faster. An edit made "
                "between our read and our write is lost. Better let one side only be written."
            )
        if each.create and not (each.key and (each.key.read or each.key.header)):
            found.append(
                f"{label}: it has no place for our key, so a create without an answer is asked about and not repeated."
            )
    return found
