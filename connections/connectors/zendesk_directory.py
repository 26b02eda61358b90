"""Users and organizations of a Zendesk account, as records of their own.

Their key lies in `external_id`, too, which Zendesk keeps unique for them. A write takes no condition: the record is
read right before. Nobody tells who made one, or what it held before; a deleted user is shown as inactive.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connections.connectors import zendesk_errors as errors
from connections.connectors import zendesk_export as export
from connections.connectors import zendesk_people as people
from connections.connectors.base import Field, Gone, Page, Record, Refused, Uncertain, Values, VersionMismatch
from connections.connectors.zendesk_desk import DESCRIBE_SECONDS, PAGE, Desk, remembered
from connections.connectors.zendesk_fields import (
    KINDS as KINDS_OF_FIELDS,
)
from connections.connectors.zendesk_fields import (
    TEXT_LENGTH,
    UNREADABLE,
    Column,
    Shape,
    moment,
    normal,
    options_of,
    outgoing,
    pairs_of,
    plain_id,
)

NAME_LENGTH = 255
ROLES = {"end-user": "End user", "agent": "Agent", "admin": "Administrator"}
COMMON = (
    Field("name", "Name", "text", required=True, max_length=NAME_LENGTH),
    Field("notes", "Notes", "rich_text", format="plain", max_length=TEXT_LENGTH),
    Field("details", "Details", "rich_text", format="plain", max_length=TEXT_LENGTH),
    # Some of them belong to drop-downs and boxes, and a write replaces all.
    Field("tags", "Tags", "set", writable=False, creatable=False),
    Field("created_at", "Created", "datetime", writable=False, creatable=False),
)


@dataclass(frozen=True, slots=True)
class Kind:
    """list, one, definitions: Zendesk's names of many, of one, and of the fields people added."""

    label: str
    list: str
    one: str
    definitions: str
    fixed: tuple[Field, ...]
    matchable: str
    by_cursor: bool


USER = Kind(
    label="User",
    list="users",
    one="user",
    definitions="user_fields",
    fixed=(
        *COMMON,
        # ⚑ Written later it would be added as a second address, and the first, read back, look like an edit.
        Field("email", "E-mail address", "text", writable=False, matchable=True, max_length=NAME_LENGTH),
        Field("phone", "Phone", "text", max_length=NAME_LENGTH),
        Field("organization_id", "Organization", "reference"),
        # Who may do what is decided in Zendesk.
        Field("role", "Role", "option", options=options_of(ROLES), writable=False, creatable=False),
        Field("suspended", "Suspended", "boolean", writable=False, creatable=False),
    ),
    matchable="email",
    by_cursor=True,
)
ORGANIZATION = Kind(
    label="Organization",
    list="organizations",
    one="organization",
    definitions="organization_fields",
    fixed=(*COMMON, Field("domain_names", "Domains", "set")),
    matchable="name",
    by_cursor=False,
)
KINDS = {"user": USER, "organization": ORGANIZATION}


# What there is ------------------------------------------------------------------------------------------------------


def shape_of_kind(desk: Desk, kind: Kind) -> Shape:
    known = remembered(desk, f"shape of {kind.list}", DESCRIBE_SECONDS)
    if "shape" not in known:
        columns = {one.path: Column(one, "", ROLES if one.path == "role" else {}) for one in kind.fixed}
        name = columns["name"].shown
        if kind.matchable == "name":
            columns["name"] = Column(
                Field("name", name.label, "text", required=True, max_length=NAME_LENGTH, matchable=True), ""
            )
        for row in desk.all(kind.definitions, kind.definitions):
            column = _custom(kind, row)
            if column:
                columns[column.shown.path] = column
        known["shape"] = Shape(columns, frozenset())
    shape: Shape = known["shape"]
    return shape


def _custom(kind: Kind, row: Mapping[str, Any]) -> Column | None:
    type, key = row.get("type"), row.get("key")
    of_field = "option" if type == "dropdown" else KINDS_OF_FIELDS.get(str(type))
    if not row.get("active", True) or not isinstance(key, str) or of_field in (None, "reference"):
        return None
    options = pairs_of(row.get("custom_field_options"))
    shown = Field(
        f"{kind.definitions}.{key}",
        str(row.get("title") or key),
        str(of_field),
        format="plain" if of_field == "rich_text" else None,
        options=options_of(options) if of_field in ("option", "set") else (),
        max_length=TEXT_LENGTH if of_field in ("text", "rich_text") else None,
    )
    return Column(shown, str(type), options)


# Reading ------------------------------------------------------------------------------------------------------------


def rows_of(desk: Desk, kind: Kind, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    wanted = [id for id in dict.fromkeys(ids) if id.isascii() and plain_id(id)]
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(wanted), PAGE):
        part = wanted[start : start + PAGE]
        rows = desk.rows(f"{kind.list}/show_many", kind.list, {"ids": ",".join(part)})
        found |= {str(row["id"]): row for row in rows if str(row["id"]) in part}
    return found


def read(desk: Desk, kind: Kind, ids: Sequence[str], fields: Sequence[str]) -> dict[str, Record]:
    shape = shape_of_kind(desk, kind)
    return {id: record_of(kind, shape, row, fields) for id, row in rows_of(desk, kind, ids).items()}


def record_of(kind: Kind, shape: Shape, row: Mapping[str, Any], paths: Sequence[str]) -> Record:
    values: dict[str, Any] = {}
    version = moment(row.get("updated_at"))
    for path in paths:
        try:
            if version and path in shape.columns:
                values[path] = normal(shape, path, _raw(kind, row, path), {})
        except (KeyError, ValueError, TypeError):
            continue
    key, name = row.get("external_id"), row.get("name")
    return Record(
        external_id=str(plain_id(row.get("id"))),
        version=version or UNREADABLE,
        values=values,
        updated_at=version,
        created_at=moment(row.get("created_at")),
        key=name if isinstance(name, str) and name else None,
        title=name if isinstance(name, str) and name else None,
        correlation_key=key if isinstance(key, str) and key else None,
        deleted=not alive(row),
        unreadable=frozenset(path for path in paths if path not in values),
    )


def _raw(kind: Kind, row: Mapping[str, Any], path: str) -> Any:
    own = path.removeprefix(f"{kind.definitions}.")
    return row[path] if own == path else row[kind.definitions][own]


def alive(row: Mapping[str, Any]) -> bool:
    return row.get("active") is not False and not row.get("deleted_at")


def changes(desk: Desk, kind: Kind, since: str | None, tag: str) -> Iterator[Page]:
    """Ids of what changed, oldest change first; a list is a minute behind, as that of tickets."""
    reached = since
    for page in _exported(desk, kind, since):
        stamps = [at for row in page.rows if page.ordered and (at := moment(row.get("updated_at")))]
        reached = max([reached or "", *(at[:19] + "Z" for at in stamps)]) or None
        if page.last and page.started:
            reached = max(reached or "", export.complete_until(page.started))
        rows = [row for row in page.rows if not alive(row) or fits(row, tag)]
        listed = [
            Record(str(row["id"]), moment(row.get("updated_at")) or UNREADABLE, {}, deleted=not alive(row))
            for row in rows
        ]
        yield Page(listed, reached, server_time=page.started, last=page.last)


def _exported(desk: Desk, kind: Kind, since: str | None) -> Iterator[export.Exported]:
    path = f"incremental/{kind.list}"
    if kind.by_cursor:
        return export.by_cursor(desk, f"{path}/cursor", kind.list, since)
    return export.by_time(desk, path, kind.list, since)


def fits(row: Mapping[str, Any], tag: str) -> bool:
    tags = row.get("tags")
    return not tag or (isinstance(tags, list) and tag in tags)


def tag_of(kind: Kind, scope: Values) -> str:
    """The tag that narrows the mapping. Raises Refused where the scope asks for what only tickets have."""
    odd = [name for name, value in scope.items() if value and name != "tag"]
    if odd:
        raise Refused(
            f"A Zendesk {kind.one} has no {odd[0]}. Nothing was read. Take it out of the mapping's scope; a tag may "
            "stay."
        )
    return str(scope.get("tag") or "").strip().lower()


def every_id(desk: Desk, kind: Kind, tag: str) -> Iterator[list[str]]:
    for rows, _ in desk.pages(kind.list, kind.list):
        yield [str(row["id"]) for row in rows if alive(row) and fits(row, tag)]


def by_keys(desk: Desk, kind: Kind, keys: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    wanted = [key for key in dict.fromkeys(keys) if key and "," not in key]
    for start in range(0, len(wanted), PAGE):
        part = wanted[start : start + PAGE]
        for row in desk.rows(f"{kind.list}/show_many", kind.list, {"external_ids": ",".join(part)}):
            if row.get("external_id") in part and alive(row):
                found.setdefault(str(row["external_id"]), []).append(row)
    return found


def made_since(desk: Desk, kind: Kind, since: str) -> list[dict[str, Any]]:
    """All that were made since then: nobody tells by whom, the key does."""
    rows = {row["id"]: row for page in _exported(desk, kind, since) for row in page.rows}
    return [row for row in rows.values() if alive(row) and (moment(row.get("created_at")) or "") >= since[:19]]


def by_value(desk: Desk, kind: Kind, path: str, wanted: Sequence[Any], tag: str) -> list[dict[str, Any]]:
    if path != kind.matchable:
        raise Refused(f"Zendesk cannot look {kind.list} up by {path}. Nothing was read. Choose another match field.")
    texts = {str(value).strip().casefold(): str(value).strip() for value in wanted if value not in (None, "")}
    if kind is USER:
        rows = [row for found in people.by_email(desk, list(texts.values())).values() for row in found]
    else:
        lists = (desk.rows("organizations/search", "organizations", {"name": name}) for name in texts.values())
        rows = [row for found in lists for row in found]
    fresh = rows_of(desk, kind, [str(row["id"]) for row in rows]).values()
    return [r for r in fresh if alive(r) and fits(r, tag) and str(r.get(path) or "").strip().casefold() in texts]


# Writing ------------------------------------------------------------------------------------------------------------


def update(
    desk: Desk, kind: Kind, external_id: str, values: Values, version: str | None, fields: Sequence[str]
) -> Record:
    shape = shape_of_kind(desk, kind)
    body = _body(kind, shape, values, creating=False)
    row = rows_of(desk, kind, [external_id]).get(external_id)
    if row is None or not alive(row):
        raise _gone(kind)
    if version and moment(row.get("updated_at")) != version:
        raise VersionMismatch(f"The Zendesk {kind.one} changed meanwhile; nothing was written. We read it again.")
    return _send(desk, kind, shape, "PUT", f"{kind.list}/{external_id}", body, [*fields, *values])


def create(desk: Desk, kind: Kind, values: Values, key: str, tag: str) -> Record:
    shape = shape_of_kind(desk, kind)
    body = _body(kind, shape, values, creating=True) | {"external_id": key}
    body |= {"tags": [tag]} if tag else {}
    body |= {"skip_verify_email": True} if kind is USER else {}  # nobody asked that people get mail
    return _send(desk, kind, shape, "POST", kind.list, body, list(values))


def delete(desk: Desk, kind: Kind, external_id: str) -> None:
    row = rows_of(desk, kind, [external_id]).get(external_id)
    if row is None or not alive(row):
        raise _gone(kind)
    desk.call("DELETE", f"{kind.list}/{external_id}", write=True)


def write_key(desk: Desk, kind: Kind, external_id: str, key: str) -> None:
    if plain_id(external_id) is None:
        raise _gone(kind)
    desk.call("PUT", f"{kind.list}/{external_id}", json={kind.one: {"external_id": key}}, write=True)


def _send(
    desk: Desk, kind: Kind, shape: Shape, method: str, path: str, body: Mapping[str, Any], paths: Sequence[str]
) -> Record:
    sent = [*body, *(f"{kind.definitions}.{key}" for key in body.get(kind.definitions, {}))]
    answer = desk.call(
        method, path, json={kind.one: body}, write=True, named=lambda key, text: shape.named(sent, key, text)
    )
    row = answer.json.get(kind.one) if isinstance(answer.json, Mapping) else None
    if not isinstance(row, Mapping) or not plain_id(row.get("id")) or moment(row.get("updated_at")) is None:
        raise Uncertain(f"{errors.UNKNOWN_FORM} It may have taken our change or not; we look before it is sent again.")
    return record_of(kind, shape, row, [*dict.fromkeys(paths)])


def _body(kind: Kind, shape: Shape, values: Values, creating: bool) -> dict[str, Any]:
    refused: dict[str, str] = {}
    body: dict[str, Any] = {}
    for path, value in values.items():
        column = shape.columns.get(path)
        if column is None or not (column.shown.creatable if creating else column.shown.writable):
            refused[path] = f"Zendesk has no field {path} of {kind.list} that can be written."
            continue
        shown = column.shown
        if shown.required and value in (None, ""):
            refused[path] = f"{shown.label} must not be empty."
        elif shown.max_length and isinstance(value, str) and len(value) > shown.max_length:
            refused[path] = f"{shown.label} holds {shown.max_length} characters: the text has {len(value)}."
        else:
            try:
                stored = outgoing(shape, path, value)
            except (ValueError, TypeError) as error:
                refused[path] = f"{error}."
                continue
            own = path.removeprefix(f"{kind.definitions}.")
            target = body if own == path else body.setdefault(kind.definitions, {})
            target[own] = stored
    if creating and "name" not in values:
        refused["name"] = "Name must not be empty."
    if refused:
        raise Refused(f"{' '.join(refused.values())} Nothing was written. Change the value or the mapping.", refused)
    return body


def _gone(kind: Kind) -> Gone:
    return Gone(f"Zendesk shows no such {kind.one}. Nothing was changed. It was deleted, or is hidden.", certain=False)
