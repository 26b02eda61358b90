"""What an answer of an API nobody has seen before suggests: where its records are, and what their fields are. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connections.connectors.rest_paths import look

DEEPEST = 3  # levels that are looked into
MOST_FIELDS = 60
SAMPLE_LENGTH = 60
DATE = re.compile(r"\d{4}-\d\d-\d\d")
MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?\s?(Z|[+-]\d\d:?\d\d)?")
PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Numbers of this size are moments between 2001 and 2100 and hardly anything else.
EPOCH, EPOCH_MS = (10**9, 4.1 * 10**9), (10**12, 4.1 * 10**12)

# What the parts of a record's place are often called; the first that is there is proposed.
NAMES: dict[str, tuple[str, ...]] = {
    "id": ("id", "gid", "uid", "uuid", "key", "sys_id", "_id", "@id"),
    "updated_at": ("updated_at", "updated", "updatedat", "modified_at", "modified", "modifiedat", "last_modified",
                   "lastmodified", "lastmodifieddate", "last_updated", "changed", "changed_at",
                   "updated_on", "activity"),
    "created_at": ("created_at", "created", "createdat", "created_on", "creation", "date_created", "createdate"),
    "version": ("version", "etag", "@etag", "_etag", "revision", "lock_version", "rev", "_rev"),
    "title": ("title", "name", "subject", "summary", "display_name", "label"),
}  # fmt: skip

# The same for other answers; letters alone are compared. What lies nearest to the top comes first.
TOKENS = ("accesstoken", "token", "jwt", "authtoken", "sessiontoken", "sessionid")
LIFETIMES = ("expiresin", "ttl", "maxage", "expires")
ACCOUNTS = ("id", "gid", "uid", "uuid", "userid", "accountid", "sysid", "ref", "key")
LOGINS = ("name", "displayname", "fullname", "username", "login", "display", "email")
MESSAGES = (
    "message", "errormessage", "errordescription", "detail", "description", "msg", "text", "reason", "error", "title",
)  # fmt: skip
PROBLEMS = ("fields", "fielderrors", "errors", "violations", "details")
CURSORS = ("next", "nextcursor", "nextpagetoken", "cursor", "nextpage", "nexturl", "nextlink")


@dataclass(frozen=True, slots=True)
class Guess:
    """A field that was seen; its name is where a record has it. `sample`: a value as text; `times`: see time_format."""

    name: str
    label: str
    kind: str
    sample: str
    times: str = ""


def lists_in(body: Any) -> list[str]:
    """Where an answer has lists of objects, as expressions; the nearest first."""
    return [path or "@" for path, value in _walk(body) if _is_records(value)]


def named(body: Any, names: Sequence[str], *kinds: type) -> str:
    """Where an answer has a value of one of these kinds under one of these names; "" where it has none."""
    found = [
        (path.count("."), names.index(name), path)
        for path, value in _walk(body)
        for name in [re.sub(r"[^a-z]", "", path.rpartition(".")[2].lower())]
        if name in names and isinstance(value, kinds) and not isinstance(value, bool)
    ]
    return min(found)[2] if found else ""


def record_in(body: Any, id: str) -> str:
    """Where an answer has one record with this expression for its id; "" where it has none but itself."""
    return next((path for path, value in _walk(body) if path and isinstance(value, Mapping) and _has(value, id)), "")


def _has(record: Mapping[str, Any], id: str) -> bool:
    return isinstance(look(id, record), str | int)


def _is_records(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, Mapping) for each in value)


def _walk(value: Any) -> Iterator[tuple[str, Any]]:
    level = [("", value)]
    for _ in range(DEEPEST + 1):
        yield from level
        level = [
            (f"{path}.{key_of(key)}".lstrip("."), inner)
            for path, each in level
            if isinstance(each, Mapping)
            for key, inner in each.items()
        ]


def key_of(key: Any) -> str:
    """A key as an expression has it."""
    text = str(key)
    return text if PLAIN_KEY.fullmatch(text) else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def fields_in(records: Sequence[Any], known: Sequence[str] = ()) -> list[Guess]:
    """Fields of the records that are not `known`, groups of them by their parts."""
    values: dict[str, list[Any]] = {}
    for record in records:
        if isinstance(record, Mapping):
            for path, value in _leaves(record):
                values.setdefault(path, []).append(value)
    names = [path for path in values if path not in known][:MOST_FIELDS]
    return [
        Guess(path, label_of(path), kind, _sample(seen), "iso" if kind == "datetime" else "")
        for path in names
        for seen, kind in [(values[path], _kind(values[path]))]
    ]


def _leaves(record: Mapping[str, Any], path: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    for key, value in record.items():
        here = f"{path}.{key_of(key)}".lstrip(".")
        if isinstance(value, Mapping) and value and depth < DEEPEST - 1:
            yield from _leaves(value, here, depth + 1)
        elif not isinstance(value, list) or all(not isinstance(each, Mapping | list) for each in value):
            yield here, value


def label_of(path: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", path.replace('"', "")).replace("_", " ").replace(".", " ").split()
    text = " ".join(words)
    return text[:1].upper() + text[1:]


def _kind(values: Sequence[Any]) -> str:
    present = [value for value in values if value not in (None, "", [], {})]
    if not present:
        return "set" if any(isinstance(value, list) for value in values) else "text"
    if all(isinstance(value, bool) for value in present):
        return "boolean"
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in present):
        return "number"
    if all(isinstance(value, list) for value in present):
        return "set"
    if all(isinstance(value, str) and DATE.fullmatch(value) for value in present):
        return "date"
    if all(isinstance(value, str) and MOMENT.fullmatch(value) for value in present):
        return "datetime"
    return "text"


def _sample(values: Sequence[Any]) -> str:
    for value in values:
        if value not in (None, "", [], {}):
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            return text if len(text) <= SAMPLE_LENGTH else text[:SAMPLE_LENGTH] + "…"
    return ""


def places_in(records: Sequence[Any]) -> dict[str, str]:
    """{part of a record's place: the key that seems to be it}."""
    first = next((record for record in records if isinstance(record, Mapping)), {})
    lower = {str(key).lower(): str(key) for key in first}
    found = {}
    for part, names in NAMES.items():
        for name in names:
            key = lower.get(name)
            if key is not None and (not part.endswith("_at") or time_format(first[key])):
                found[part] = key_of(key)
                break
    return found


def time_format(value: Any) -> str:
    """How a moment seems to be written: iso, epoch or epoch_ms; "" where it seems to be none."""
    if isinstance(value, str):
        return "iso" if MOMENT.fullmatch(value) else ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    if EPOCH[0] <= value <= EPOCH[1]:
        return "epoch"
    return "epoch_ms" if EPOCH_MS[0] <= value <= EPOCH_MS[1] else ""


def kinds_of_id(ids: Sequence[Any]) -> set[str]:
    """The kinds of value that ids are: more than one where an id changes its type."""
    return {"number" if isinstance(id, int) else "text" for id in ids if isinstance(id, str | int)}
