"""The description of an API as a connection keeps it: the draft that people edit, and the one that runs.

`Connection.settings`: "draft", a document that may have gaps, and "definition", what its runs use. Secrets are in the
connection's encrypted column; one that was entered for one place is never sent to another.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from connections import hooks
from connections.connectors.rest_definition import Definition, DefinitionError, dump, gaps, parse
from connections.connectors.rest_form import ALL, DEFINITION, PARTS
from connections.connectors.rest_paths import fill
from connections.forms import SENDERS, dict_of
from connections.guard import origin
from connections.models import Connection
from connections.pauses import note_set_up_anew

KIND = "rest"
DRAFT = "draft"  # key of Connection.settings
SECRET_NAMES = frozenset(each.name for each in ALL if each.secret)
SHORTEST_SECRET = 6  # a shorter text may stand in a description by chance

Settings = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """What a section changes: the document, and beside it name, address, plain settings and secrets entered anew."""

    document: Mapping[str, Any]
    name: str
    address: str
    given: Mapping[str, str]  # settings: user, client_id, parameters
    secrets: Mapping[str, str]


def draft_of(connection: Connection) -> dict[str, Any]:
    """The document that people edit: that of the runs until it was changed."""
    settings = connection.settings or {}
    found: dict[str, Any] = settings.get(DRAFT) or settings.get(DEFINITION) or {"name": connection.name}
    return found


def seal_of(connection: Connection) -> str:
    """Names a state of the draft, so that two people do not overwrite each other's sections."""
    text = json.dumps([draft_of(connection), connection.address, connection.name], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def differs(connection: Connection) -> bool:
    """Whether the draft is not what runs."""
    return draft_of(connection) != (connection.settings or {}).get(DEFINITION)


def snapshot(connection: Connection) -> dict[str, Any]:
    """What the audit log keeps of a connection: everything a person set, secrets by name alone."""
    return {
        "name": connection.name,
        "kind": connection.kind,
        "address": connection.address,
        "settings": connection.settings,
        "secrets": sorted(name for name, value in dict_of(connection.secrets).items() if value),
    }


def reached(address: str, document: Any, settings: Settings) -> frozenset[Any]:
    """The places that secrets are sent to. Raises DefinitionError."""
    places = {_origin(address)}
    if document:
        definition = parse(document)
        path = definition.authentication.token_path
        if "://" in path:
            own = {each.name: settings.get(each.name) or each.default for each in definition.parameters}
            places.add(_origin(fill(path, {**own, "address": address})))
    return frozenset(places)


def _origin(address: str) -> Any:
    try:
        return origin(address)
    except ValueError:
        return address


def kept_secrets(connection: Connection, change: Change) -> dict[str, str]:
    """Stored secrets that may go on being used: none of them once the description leads to a new place."""
    stored = {n: v for n, v in dict_of(connection.secrets).items() if n in SECRET_NAMES}
    settings = connection.settings or {}
    before: set[Any] = set()
    for document in (settings.get(DRAFT), settings.get(DEFINITION)):
        with contextlib.suppress(DefinitionError):  # one that cannot be read led nowhere
            before |= reached(connection.address, document, settings)
    after = reached(change.address, change.document, {**settings, **change.given})
    return stored if after <= before else {}


def secret_inside(document: Any, secrets: Mapping[str, str]) -> str:
    """The label of a secret that stands in a description, which is exported; "" where none does."""
    text = json.dumps(document, ensure_ascii=False)
    for name, value in secrets.items():
        if len(value) >= SHORTEST_SECRET and json.dumps(value, ensure_ascii=False)[1:-1] in text:
            return PARTS.get(name, name)
    return ""


def tried(connection: Connection, change: Change) -> Connection:
    """The connection as it would be with what was entered, unsaved: for a try. Raises DefinitionError."""
    settings = {**(connection.settings or {}), **change.given, DEFINITION: dict(change.document)}
    made: Any = Connection(pk=connection.pk, kind=KIND, name=change.name, address=change.address)
    made.settings = settings
    made.secrets = {**kept_secrets(connection, change), **change.secrets}
    made.retry_after = connection.retry_after
    return made


def save_draft(connection: Connection, change: Change, user: Any, seal: str, section: str) -> bool:
    """Keep a section. False where the draft changed meanwhile. Raises DefinitionError; nothing is saved then."""
    with transaction.atomic():
        row: Any = Connection.objects.select_for_update(no_key=True).get(pk=connection.pk)
        if seal_of(row) != seal:
            return False
        parse(change.document)
        before = snapshot(row)
        secrets = {**kept_secrets(row, change), **change.secrets}
        if inside := secret_inside(change.document, secrets):
            raise DefinitionError((), f"the {inside.lower()} stands in the description, which is exported with it")
        other_way = secrets != dict_of(row.secrets) or change.address != row.address
        columns = ["name", "address", "settings", "secrets", "updated_at"]
        row.name, row.address, row.secrets = change.name, change.address, secrets
        row.settings = {**(row.settings or {}), **change.given, DRAFT: dict(change.document)}
        told = {name: value for name, value in change.given.items() if name != SENDERS.name}
        if other_way or any(before["settings"].get(name, "") != value for name, value in told.items()):
            columns += _as_untested(row)
        row.save(update_fields=columns)
        if snapshot(row) != before or change.secrets:
            hooks.audit(
                "config", "description_saved", user=user, connection_id=row.pk, object_label=row.name,
                params={"section": section}, before=before, after=snapshot(row),
            )  # fmt: skip
    connection.refresh_from_db()
    return True


def _as_untested(row: Any) -> list[str]:
    row.tokens = {}  # they were got with what was replaced
    note_set_up_anew(row)
    return ["tokens"]


def use_draft(connection: Connection, user: Any, seal: str) -> bool:
    """Let runs use the draft. False where it changed meanwhile. Raises DefinitionError while it has gaps."""
    with transaction.atomic():
        row: Any = Connection.objects.select_for_update(no_key=True).get(pk=connection.pk)
        if seal_of(row) != seal:
            return False
        definition = parse(draft_of(row))
        if missing := gaps(definition):
            raise DefinitionError((), " ".join(missing).rstrip("."))
        before = snapshot(row)
        row.settings = {**row.settings, DEFINITION: dump(definition)}
        del row.settings[DRAFT]
        row.save(update_fields=["settings", "updated_at", *_as_untested(row)])
        hooks.audit(
            "config", "description_used", user=user, connection_id=row.pk, object_label=row.name,
            before=before, after=snapshot(row),
        )  # fmt: skip
    connection.refresh_from_db()
    return True


def discard_draft(connection: Connection, user: Any, seal: str) -> bool:
    """Go back to what runs. False where the draft changed meanwhile, or nothing runs yet."""
    with transaction.atomic():
        row: Any = Connection.objects.select_for_update(no_key=True).get(pk=connection.pk)
        if seal_of(row) != seal or not row.settings.get(DEFINITION):
            return False
        before = snapshot(row)
        row.settings = {name: value for name, value in row.settings.items() if name != DRAFT}
        row.save(update_fields=["settings", "updated_at"])
        hooks.audit(
            "config", "description_discarded", user=user, connection_id=row.pk, object_label=row.name,
            before=before, after=snapshot(row),
        )  # fmt: skip
    connection.refresh_from_db()
    return True


def definition_of(connection: Connection) -> Definition:
    """The draft, parsed. Raises DefinitionError where another version wrote it."""
    return parse(draft_of(connection))
