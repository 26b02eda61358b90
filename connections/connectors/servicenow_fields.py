"""ServiceNow's dictionary and rows in SyncAdmin's words, and values back in ServiceNow's. Pure.

Rows are read with their raw values (`sysparm_display_value=false`): every one is a text, "" is empty, times are UTC,
choices are the stored values and references ids. Display values follow the account's language, time zone and date
format, so that the same record would read differently tomorrow. Recorded rows: payloads/servicenow.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from connections.connectors import numbers
from connections.connectors.base import Field, Option, Record, Values
from connections.connectors.servicenow_query import is_id

KINDS = {
    "boolean": "boolean",
    "choice": "text",
    "date": "date",
    "decimal": "number",
    "due_date": "datetime",
    "email": "text",
    "float": "number",
    "glide_date": "date",
    "glide_date_time": "datetime",
    "glide_list": "set",
    "html": "rich_text",
    "integer": "number",
    "longint": "number",
    "multi_two_lines": "text",
    "percent_complete": "number",
    "ph_number": "text",
    "phone_number_e164": "text",
    "reference": "reference",
    "string": "text",
    "string_full_utf8": "text",
    "sys_class_name": "text",
    "translated_html": "rich_text",
    "translated_text": "text",
    "url": "text",
}
# Journals are object types of their own; durations, currencies, scripts and the like have no common form.
JOURNALS = ("journal", "journal_input")
INTEGRAL = ("integer", "longint")
# With a list to choose from, and values outside it refused by forms; 2 is a list of suggestions.
CHOICE_LIST = ("1", "3")
CHOSEN = ("string", "integer", "choice", "sys_class_name")
# Columns that the system itself keeps.
SYSTEM_SHOWN = ("sys_created_on", "sys_created_by", "sys_updated_on", "sys_updated_by")
# What people recognise a record by.
TITLES = ("short_description", "name", "title", "label")
KEY = "correlation_id"
USERS, GROUPS = "sys_user", "sys_user_group"
QUEUE, ACCOUNT = "queue:", "id:"
UNREADABLE = "unreadable"  # the version of a record that tells none
SCRIPT = "javascript:"
RAW_MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


@dataclass(frozen=True, slots=True)
class Column:
    """One field with what is needed to read and write it."""

    shown: Field
    type: str  # as the dictionary says
    reference: str = ""  # the table a reference leads to
    labels: Mapping[str, str] = field(default_factory=dict)  # of a choice list: {stored value: what people see}
    default: str = ""  # what a new record has, as stored, or a script that says it

    @property
    def name_column(self) -> str | None:
        """What is read beside a person's id to name them."""
        if self.shown.kind != "person":
            return None
        return f"{self.shown.path}.{'name' if self.reference == GROUPS else 'email'}"

    def begins_as(self, raw: str) -> bool:
        """Whether a new record may have this stored value without anybody's doing; what a script says is not known."""
        return self.default.startswith(SCRIPT) or same_stored(self, self.default, raw)

    def stored(self, label: str) -> str | None:
        """The stored value of an option, or None where there is none such."""
        wanted = label.casefold()
        return next((value for value, shown in self.labels.items() if shown.casefold() == wanted), None)


@dataclass(frozen=True, slots=True)
class Shape:
    """One table as the account sees it."""

    name: str
    label: str
    columns: Mapping[str, Column]
    references: Mapping[str, str]  # every column of the table → the table it leads to, or ""
    journals: Mapping[str, str]  # path → label
    audited: bool
    hidden: frozenset[str] = frozenset()  # columns that read empty although they are not: hidden from our account
    extended: bool = False  # whether other tables extend it: their records are among its own

    @property
    def key_field(self) -> str | None:
        return KEY if KEY in self.references else None

    @property
    def title_field(self) -> str | None:
        return next((title for title in TITLES if title in self.references), None)

    @property
    def base(self) -> tuple[str, ...]:
        """The columns read with every record."""
        wanted = ["sys_id", "sys_mod_count", *SYSTEM_SHOWN, "number", self.title_field, self.key_field]
        return tuple(w for w in wanted if w and w in self.references)

    def named_in(self, text: str) -> list[str]:
        """The fields whose labels a text mentions, longest labels first, none within another."""
        found = []
        for path, column in sorted(self.columns.items(), key=lambda item: -len(item[1].shown.label)):
            label = column.shown.label
            pattern = rf"(?<!\w){re.escape(label)}(?!\w)"
            if label and re.search(pattern, text):
                found.append(path)
                text = re.sub(pattern, "", text)
        return found


def shape_of(
    name: str,
    label: str,
    chain: Sequence[str],
    dictionary: Sequence[Mapping[str, Any]],
    choices: Sequence[Mapping[str, Any]],
    hidden: frozenset[str],
) -> Shape:
    """chain: the table and those it extends, itself first. dictionary, choices: rows of sys_dictionary, sys_choice."""
    columns: dict[str, Column] = {}
    references: dict[str, str] = {}
    journals: dict[str, str] = {}
    audited = False
    # The table's own entry for a column wins over that of the tables it extends.
    rank = {table: place for place, table in enumerate(chain)}
    for row in sorted(dictionary, key=lambda row: -rank.get(plain(row.get("name")), len(chain))):
        element, type_ = plain(row.get("element")), plain(row.get("internal_type"))
        if not element:
            audited = audited or (plain(row.get("name")) == name and plain(row.get("audit")) == "true")
            continue
        references[element] = plain(row.get("reference"))
        if type_ in JOURNALS:
            journals[element] = plain(row.get("column_label")) or element
            continue
        column = _column(row, type_, _labels(element, chain, choices), _inactive(element, choices))
        if column:
            columns[element] = column
        else:
            columns.pop(element, None)
    return Shape(name, label, columns, references, journals, audited, hidden)


def read_list(shape: Shape, paths: Sequence[str]) -> list[str]:
    """The columns to ask for, so that `paths` and what every Record carries can be read."""
    wanted = list(shape.base)
    for path in paths:
        column = shape.columns.get(path)
        if column:
            wanted.append(path)
            if column.name_column:
                wanted.append(column.name_column)
    return list(dict.fromkeys(wanted))


def record_of(shape: Shape, row: Mapping[str, Any], paths: Sequence[str], deleted: bool = False) -> Record:
    """One row as a Record.

    A column that the row lacks is hidden from our account: ServiceNow leaves such out. One that cannot be read is
    unreadable, and nothing else is held up by it; without a version nothing of the record can be believed.
    """
    stamp, version = _moment(plain(row.get("sys_updated_on"))), _version(row)
    values: dict[str, Any] = {}
    if version and stamp:
        for path in paths:
            column = shape.columns.get(path)
            if column is None or path not in row or (path in shape.hidden and plain(row[path]) == ""):
                continue
            try:
                values[path] = value_of(column, row)
            except (ValueError, TypeError):
                continue
    created = _moment(plain(row.get("sys_created_on")))
    return Record(
        external_id=str(row["sys_id"]),
        version=version or UNREADABLE,
        values=values,
        updated_at=stamp,
        updated_by=_shown(row, "sys_updated_by"),
        updated_by_name=_shown(row, "sys_updated_by"),
        created_at=created,
        created_by=_shown(row, "sys_created_by"),
        key=_shown(row, "number"),
        title=_shown(row, shape.title_field or ""),
        correlation_key=_shown(row, KEY),
        deleted=deleted,
        unreadable=frozenset(path for path in paths if path not in values),
    )


def value_of(column: Column, row: Mapping[str, Any]) -> Any:
    """The normalised value of one field of a row. Raises ValueError where it has no form we know."""
    raw = text_of(row[column.shown.path])
    if column.shown.kind != "person":
        return normal(column, raw)
    if raw == "":
        return None
    return person(column, raw, plain(row.get(column.name_column or "")))


def normal(column: Column, raw: str) -> Any:
    """The normalised value of a stored one, for every kind but people."""
    kind = column.shown.kind
    if kind == "set":
        return sorted({part.strip() for part in raw.split(",") if part.strip()})
    if raw == "":
        return None
    match kind:
        case "option":
            return column.labels.get(raw, raw)
        case "boolean":
            return _boolean(raw)
        case "number":
            return _number(raw, column.type in INTEGRAL)
        case "date":
            return datetime.strptime(raw[:10], "%Y-%m-%d").date().isoformat()
        case "datetime":
            when = _moment(raw)
            if when is None:
                raise ValueError(raw)
            return when
    return raw.replace("\r\n", "\n").replace("\r", "\n")


def person(column: Column, raw: str, named: str) -> str:
    if column.reference == GROUPS:
        return QUEUE + named if named else ACCOUNT + raw
    return named.lower() if "@" in named else ACCOUNT + raw


def outgoing(column: Column, value: Any, accounts: Mapping[str, str]) -> str:
    """A normalised value as ServiceNow stores it. `accounts`: {person value: id}. Raises ValueError for an option
    that is not in the list, and for a fraction where only whole numbers are kept."""
    if value is None or value == "":
        return ""
    kind = column.shown.kind
    if kind == "set":
        return ",".join(value)
    if kind == "boolean":
        return "true" if value else "false"
    if kind == "datetime":
        return datetime.fromisoformat(str(value)).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    if kind == "person":
        return accounts[str(value)]
    if kind == "option":
        stored = column.stored(str(value))
        if stored is None:
            raise ValueError(f"“{value}” is not in the list of {column.shown.label}")
        return stored
    if column.type in INTEGRAL and isinstance(value, float) and not value.is_integer():
        raise ValueError(f"{column.shown.label} takes whole numbers, and {value} is none")
    return str(value)


def same_stored(column: Column, sent: str, held: str) -> bool:
    """Whether a stored text is the one that was sent, as far as one can tell: then nothing had to be written."""
    if column.shown.kind == "boolean":
        return (sent in ("true", "1")) is (held in ("true", "1"))
    try:
        if normal(column, sent) == normal(column, held):
            return True
    except ValueError:
        pass
    return " ".join(sent.split()) == " ".join(held.split())


def plain(raw: Any) -> str:
    """The stored text of a value of an answer; "" for what is none."""
    try:
        return text_of(raw)
    except ValueError:
        return ""


def text_of(raw: Any) -> str:
    """The stored text: references come plain or as {"link", "value"}. Raises ValueError for anything else."""
    if isinstance(raw, Mapping):
        raw = raw.get("value")
    if not isinstance(raw, str):
        raise ValueError(repr(raw))
    return raw


def raw_moment(value: str) -> str:
    """A normalised moment as queries have it, in whole seconds, cut off, so that ">=" lets nothing slip by."""
    return datetime.fromisoformat(value).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def has_id(row: Any) -> bool:
    return isinstance(row, Mapping) and is_id(row.get("sys_id"))


def _version(row: Mapping[str, Any]) -> str | None:
    """The count of updates with the time of the last: the count alone starts anew where a record is imported again."""
    count, stamp = plain(row.get("sys_mod_count")), plain(row.get("sys_updated_on"))
    if not count.isdecimal() or not RAW_MOMENT.fullmatch(stamp):
        return None
    return f"{int(count)} {stamp}"


def version_in(count: Any, stamp: Any) -> str | None:
    """The version that a count and a time told by themselves make, or None."""
    return _version({"sys_mod_count": str(count), "sys_updated_on": str(stamp)})


def _moment(raw: str) -> str | None:
    if not RAW_MOMENT.fullmatch(raw):
        return None
    try:
        datetime.fromisoformat(raw)
    except ValueError:
        return None
    return raw.replace(" ", "T") + "Z"


def moment(raw: Any) -> str | None:
    return _moment(plain(raw))


def _shown(row: Mapping[str, Any], name: str) -> str | None:
    return plain(row.get(name)) or None


def _boolean(raw: str) -> bool:
    if raw.lower() not in ("true", "false", "1", "0"):
        raise ValueError(raw)
    return raw.lower() in ("true", "1")


def _number(raw: str, integral: bool) -> int | float:
    text = raw.replace(",", "")
    if text.removeprefix("-").isdecimal():
        return int(text)  # a float would round what has more than fifteen digits
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(raw)
    return int(number) if integral else numbers.plain(number)


def _column(row: Mapping[str, Any], type_: str, labels: Mapping[str, str], inactive: frozenset[str]) -> Column | None:
    kind = KINDS.get(type_)
    element = plain(row["element"])
    if not kind or (element.startswith("sys_") and element not in SYSTEM_SHOWN):
        return None
    reference = plain(row.get("reference"))
    if kind == "reference" and reference in (USERS, GROUPS):
        kind = "person"
    if type_ in CHOSEN and labels and plain(row.get("choice")) in CHOICE_LIST:
        kind = "option"
    options = tuple(Option(label, label, value not in inactive) for value, label in labels.items())
    length = plain(row.get("max_length"))
    writable = not element.startswith("sys_") and plain(row.get("read_only")) != "true" and element != KEY
    shown = Field(
        path=element,
        label=plain(row.get("column_label")) or element,
        kind=kind,
        format="html" if kind == "rich_text" else None,
        options=options if kind == "option" else (),
        writable=writable,
        creatable=writable,
        required=writable and plain(row.get("mandatory")) == "true" and kind != "boolean",
        max_length=int(length) if length.isdecimal() and int(length) and kind in ("text", "rich_text") else None,
        matchable=kind in ("text", "option", "reference"),
    )
    return Column(shown, type_, reference, labels if kind == "option" else {}, plain(row.get("default_value")))


def _labels(element: str, chain: Sequence[str], choices: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """{stored value: label} of a column: the nearest table with a list of its own has it, English where there is.

    Labels that several values share name their value as well, or a write could not tell which is meant.
    """
    for table in chain:
        rows = [r for r in choices if plain(r.get("element")) == element and plain(r.get("name")) == table]
        if rows:
            break
    else:
        return {}
    english_last = sorted(rows, key=lambda row: plain(row.get("language")) == "en")
    found = {plain(row.get("value")): plain(row.get("label")) or plain(row.get("value")) for row in english_last}
    found.pop("", None)
    seen: dict[str, int] = {}
    for label in found.values():
        seen[label.casefold()] = seen.get(label.casefold(), 0) + 1
    return {
        value: label if seen[label.casefold()] == 1 else f"{label} ({value})"
        for value, label in sorted(found.items(), key=lambda item: _place(rows, item[0]))
    }


def _place(rows: Sequence[Mapping[str, Any]], value: str) -> tuple[int, str]:
    sequence = next((plain(row.get("sequence")) for row in rows if plain(row.get("value")) == value), "")
    return (int(sequence) if sequence.isdecimal() else 10**6, value)


def _inactive(element: str, choices: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    of_column = [row for row in choices if plain(row.get("element")) == element]
    return frozenset(plain(row.get("value")) for row in of_column if plain(row.get("inactive")) == "true")


def people_in(values: Values, shape: Shape) -> list[str]:
    """The people among values that are to be written."""
    return [
        str(value)
        for path, value in values.items()
        if value and path in shape.columns and shape.columns[path].shown.kind == "person"
    ]
