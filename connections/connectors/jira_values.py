"""Jira's values in our words and back. Pure.

Source: Jira Cloud platform REST API v3, "Issues" and "Issue fields"; document format: "Atlassian Document Format".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from connections.connectors.numbers import plain

TEXT_LENGTH = 255  # summary and single-line custom fields
DOCUMENT_LENGTH = 32_767
CUSTOM = "com.atlassian.jira.plugin.system.customfieldtypes:"

# System fields whose value is an object known by its name.
NAMED = {"status", "priority", "resolution", "issuetype", "securitylevel"}
DOCUMENTS = {"description", "environment"}
NAMED_ITEMS = {"component", "version", "group"}
# System fields that say nothing worth keeping in agreement, or that have an object type of their own.
LEFT_OUT = {
    "project", "comment", "attachment", "issuelinks", "subtasks", "worklog", "votes", "watches", "progress",
    "aggregateprogress", "workratio", "lastViewed", "thumbnail", "timetracking", "statuscategorychangedate",
    "statusCategory", "issuerestriction",
}  # fmt: skip
READ_ONLY = {"creator", "created", "updated", "resolutiondate"}
# How the changelog tells a set: as words, as names joined with commas beside their ids, or one member an item.
WORDS, JOINED, MEMBERS = "words", "joined", "members"


@dataclass(frozen=True, slots=True)
class Spec:
    """One field of the site. `name_key`: where an option's name lies in Jira's object ("name" or "value").

    `told`: how the changelog tells a set; "" for a single value, and for a set whose telling nobody describes.
    """

    id: str
    label: str
    kind: str
    format: str | None = None
    name_key: str = "name"
    custom: bool = False
    clause: str = ""  # its name in JQL
    max_length: int | None = None
    told: str = ""


KEY = Spec("key", "Key", "text", clause="key")


def spec_of(field: Mapping[str, Any]) -> Spec | None:
    """The field of an entry of GET /field, or None where we have no form for its values."""
    schema = field.get("schema") or {}
    id, label = str(field.get("id", "")), str(field.get("name") or field.get("id"))
    custom = id.startswith("customfield_")
    if not id or (not custom and id in LEFT_OUT):
        return None
    clause = f"cf[{id.removeprefix('customfield_')}]" if custom else id
    type_, items, custom_type = schema.get("type"), schema.get("items"), str(schema.get("custom") or "")

    def spec(kind: str, **more: Any) -> Spec:
        return Spec(id, label, kind, custom=custom, clause=clause, **more)

    if type_ == "string":
        if id in DOCUMENTS or custom_type == CUSTOM + "textarea":
            return spec("rich_text", format="adf", max_length=DOCUMENT_LENGTH)
        short = id == "summary" or custom_type == CUSTOM + "textfield"
        return spec("text", max_length=TEXT_LENGTH if short else None)
    if type_ in ("number", "date", "datetime"):
        return spec(type_)
    if type_ == "user":
        return spec("person")
    if type_ == "option":
        return spec("option", name_key="value")
    if type_ in NAMED or (custom and type_ in NAMED_ITEMS):
        return spec("option")
    if type_ == "array" and items == "string":
        labels = not custom or custom_type == CUSTOM + "labels"  # an app joins its texts as it likes
        return spec("set", name_key="", told=WORDS if labels else "")
    if type_ == "array" and items == "option":
        return spec("set", name_key="value", told=JOINED)
    if type_ == "array" and items in NAMED_ITEMS:
        return spec("set", told=JOINED if custom else MEMBERS)
    if type_ == "issuelink" and id == "parent":
        return spec("reference")
    return None


# Times ---------------------------------------------------------------------------------------------------------


def parsed_time(raw: Any) -> datetime | None:
    """Jira's time, "2022-01-15T20:44:55.445-0500" or milliseconds since 1970."""
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        return datetime.fromtimestamp(raw / 1000, UTC)
    if not isinstance(raw, str) or not raw:
        return None
    try:
        when = datetime.fromisoformat(raw)
    except ValueError:
        return None
    return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)


def moment(raw: Any) -> str | None:
    """A time as a value of a field, in the contract's form; Jira keeps milliseconds."""
    when = parsed_time(raw)
    if when is None:
        return None
    milliseconds = when.microsecond // 1000
    return when.strftime("%Y-%m-%dT%H:%M:%S") + (f".{milliseconds:03d}000Z" if milliseconds else "Z")


def stamp(raw: Any) -> str | None:
    """A time of a record: always with milliseconds, so that stamps compare as text."""
    when = parsed_time(raw)
    return when.strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond // 1000:03d}Z" if when else None


def epoch_ms(normalised: str) -> int:
    return round(datetime.fromisoformat(normalised).timestamp() * 1000)


# Reading -------------------------------------------------------------------------------------------------------


def person(user: Any) -> str | None:
    """A user object as a person value: the address, or the account where the address is hidden."""
    if not isinstance(user, Mapping):
        return None
    email = str(user.get("emailAddress") or "").strip().lower()
    if email:
        return email
    return f"id:{user['accountId']}" if user.get("accountId") else None


def number(value: Any) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return plain(value)


def text(value: Any) -> str | None:
    if value is None or value == "":
        return None
    return str(value).replace("\r\n", "\n").replace("\r", "\n")


def normal(spec: Spec, raw: Any) -> Any:
    """The normalised value of what Jira shows for a field."""
    if raw is None:
        return [] if spec.kind == "set" else None
    match spec.kind:
        case "rich_text":
            return document(raw)
        case "person":
            return person(raw)
        case "number":
            return number(raw)
        case "date":
            return str(raw)[:10] or None
        case "datetime":
            return moment(raw)
        case "option":
            return text(named(raw, spec.name_key))
        case "set":
            items = raw if isinstance(raw, list) else []
            found = {item if isinstance(item, str) else named(item, spec.name_key or "name") for item in items}
            return sorted(str(item) for item in found if item)
        case "reference":
            return str(raw["id"]) if isinstance(raw, Mapping) and raw.get("id") else None
    return text(raw)


def understood(spec: Spec, raw: Any) -> bool:
    """⚑ Whether `normal` makes of it what it is: an app may keep another form in its field, and that is not empty."""
    if raw is None or raw == "":
        return True
    match spec.kind:
        case "set":
            return isinstance(raw, list) and all(item in ("", None) or normal(spec, [item]) for item in raw)
        case "rich_text":
            return isinstance(raw, Mapping)
        case "date":
            return bool(re.match(r"\d{4}-\d\d-\d\d(?!\d)", str(raw)))
        case "text":
            return isinstance(raw, str | int | float)
        case "option" if not isinstance(raw, Mapping):
            return isinstance(raw, str | int | float)
    return normal(spec, raw) is not None


def named(raw: Any, key: str) -> Any:
    return raw.get(key) or raw.get("name") or raw.get("value") if isinstance(raw, Mapping) else raw


def document(raw: Any) -> dict[str, Any] | None:
    """A document; None where it holds nothing but empty paragraphs, which Jira also stores for "empty"."""
    if not isinstance(raw, Mapping):
        return None
    content = raw.get("content") or []
    empty = all(
        isinstance(node, Mapping) and node.get("type") == "paragraph" and not node.get("content") for node in content
    )
    return None if empty else dict(raw)


# Writing -------------------------------------------------------------------------------------------------------


def sent(spec: Spec, value: Any) -> Any:
    """What to put into "fields" for a normalised value. Persons are sent by account id, see `Site.account_of`.

    Raises ValueError, with a message for people, on a value this field cannot hold.
    """
    match spec.kind:
        case "rich_text":
            if value is not None and not (isinstance(value, Mapping) and value.get("type") == "doc"):
                raise ValueError("The value is not a Jira document.")
            return value
        case "set":
            items: Sequence[Any] = value or []
            if not spec.name_key:
                spaced = [item for item in items if re.search(r"\s", str(item))]
                if spaced:
                    raise ValueError(f"“{spaced[0]}” holds a space, which a Jira label cannot.")
                return list(items)
            return [{spec.name_key: item} for item in items]
    if value is None:
        return None
    match spec.kind:
        case "option":
            return {spec.name_key: value}
        case "reference":
            return {"id": str(value)}
        case "datetime":
            parsed = datetime.fromisoformat(str(value)).astimezone(UTC)
            return parsed.strftime("%Y-%m-%dT%H:%M:%S.") + f"{parsed.microsecond // 1000:03d}+0000"
        case "text":
            if spec.id == "summary" and "\n" in str(value):
                raise ValueError("A Jira summary is one line.")
    return value


# Search --------------------------------------------------------------------------------------------------------


def quoted(value: str) -> str:
    """A JQL string."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def phrase(value: str) -> str | None:
    """A JQL string that finds texts holding the words of `value` in a row; None where it has no words.

    Signs the text search gives a meaning are left out: its index holds words only. ⚑ Signs that it counts to the word
    stay in it: “can't” and “10.0.0.5” are one word there, and are not found as two.
    """
    words = " ".join(re.findall(r"\w+(?:['’.,:;·]\w+)*", value))
    return quoted(f'"{words}"') if words else None


# History -------------------------------------------------------------------------------------------------------

# Items of the changelog name system fields in their own way where "fieldId" is missing.
HISTORY_NAMES = {"Key": "key", "Parent": "parent", "IssueParentAssociation": "parent", "Due Date": "duedate"}


def history_field(item: Mapping[str, Any]) -> str:
    return str(item.get("fieldId") or HISTORY_NAMES.get(str(item.get("field")), item.get("field") or ""))


def history_value(spec: Spec | None, id: Any, shown: Any) -> Any:
    """One side of a changelog item (`id`: "from"/"to", `shown`: "fromString"/"toString"), normalised where possible.

    Persons come as "id:<account>"; rich text as the vendor's wiki text; a set that cannot be told so as None.
    """
    if spec is None:
        return text(shown)
    match spec.kind:
        case "set":
            if spec.told == WORDS:
                return sorted(set(str(shown or "").split()))
            return _joined(str(id or ""), str(shown or "")) if spec.told == JOINED else None
        case "person":
            return f"id:{id}" if id else None
        case "number":
            try:
                return number(float(shown)) if shown not in (None, "") else None
            except ValueError:
                return text(shown)
        case "date":
            return str(id or shown or "")[:10] or None
        case "datetime":
            return moment(id) or text(shown)
        case "reference":
            return str(id) if id else None
    return text(shown)


def _joined(ids: str, names: str) -> list[str] | None:
    """The names in "Supply,Fulfilment", beside whose ids "[10218, 10244]" they stand; None where they do not fit.

    A name may hold a comma itself, but none begins with a blank: where the count fits, there is one way to part them.
    """
    count = len([id for id in ids.strip("[]").split(",") if id.strip()])
    if not names:
        return [] if count == 0 else None
    if names.startswith("["):
        return None  # the brackets of a list that is joined in another way
    if count == 1 or (count == 0 and "," not in names):
        return [names]
    parts = re.split(r",(?! )", names)
    return sorted(set(parts)) if len(parts) == count else None
