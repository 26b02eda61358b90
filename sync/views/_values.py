"""Values and systems as the review and record pages show them, and what people type read back."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any
from urllib.parse import unquote, urlsplit

from django.utils.dateparse import parse_date, parse_datetime
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from connections.connectors import connector_class
from mappings.models import Mapping, Side
from mappings.transforms.base import FieldSpec
from mappings.transforms.render import as_html, as_plain, one_line
from mappings.transforms.rich_text import PLAIN, carrier, format_of
from mappings.transforms.values import typed_number
from syncadmin.templatetags.syncadmin_ui import set_diff, word_diff

SHORT = 90  # characters of a value in a list; more would hide the rest of its row
LONG_TEXT = 120  # characters from which a text is typed into several lines
EMPTY = mark_safe('<span class="dim">empty</span>')
NO_RECORD = mark_safe('<span class="dim">no record yet</span>')


def system_names(mapping: Mapping) -> dict[str, str]:
    """What people call the two systems: "Jira"; the connections' names where both are of one kind."""
    labels = {side: _label(mapping.connection(side).kind) for side in Side.values}
    if labels["left"] == labels["right"] or not all(labels.values()):
        return {side: mapping.connection(side).name for side in Side.values}
    return labels


def _label(kind: str) -> str:
    try:
        return str(connector_class(kind).label).removesuffix(" Cloud")
    except LookupError:
        return ""


def brief(value: Any, spec: FieldSpec | None) -> SafeString:
    """A value in a few words."""
    if value is None or value == "" or value == []:
        return EMPTY
    if isinstance(value, list):
        return format_html_join(" ", '<span class="tag">{}</span>', ((str(one),) for one in value[:8]))
    text = one_line(as_plain(value, spec) if spec else str(value), SHORT)
    return format_html("{}", text) if text else EMPTY


def full(value: Any, spec: FieldSpec) -> SafeString:
    """A value to read, rich text with its form."""
    if value is None or value == "" or value == []:
        return EMPTY
    if isinstance(value, list):
        return format_html_join(" ", '<span class="tag">{}</span>', ((str(one),) for one in value))
    if spec.kind == "rich_text":
        return format_html('<div class="rich">{}</div>', mark_safe(as_html(value, spec)))  # noqa: S308  cleaned there
    return format_html('<span class="val">{}</span>', as_plain(value, spec))


def difference(before: Any, after: Any, spec: FieldSpec) -> SafeString:
    """What an edit did: words for a text, members for a set, struck and underlined for everything else."""
    if before == after:
        return (
            full(after, spec) if spec.kind != "rich_text" else word_diff(as_plain(after, spec), as_plain(after, spec))
        )
    if isinstance(before, list) or isinstance(after, list):
        return set_diff(before, after)
    old, new = as_plain(before, spec), as_plain(after, spec)
    if spec.kind in ("text", "rich_text") and old and new:
        return word_diff(old, new)
    parts = [format_html("<{0}>{1}</{0}>", tag, text) for tag, text in (("del", old), ("ins", new)) if text]
    return (
        format_html('{}<span class="sr"> to </span>{}', parts[0], parts[1])
        if len(parts) == 2
        else (
            format_html("{} {}", parts[0], mark_safe('<span class="dim">now empty</span>') if old else "")
            if parts
            else EMPTY
        )
    )


# Typing ----------------------------------------------------------------------------------------------------------


NOTHING = ("", "empty")  # of what a select offers


@dataclass(frozen=True, slots=True)
class Control:
    """How a value of a field is typed. widget: text, textarea, select, number, date; text: what is in it at first."""

    widget: str
    text: str
    options: Sequence[tuple[str, str]] = ()
    help: str = ""
    max_length: int | None = None


def control_for(spec: FieldSpec, value: Any, options: Sequence[Any] = ()) -> Control:
    """The control for a field; `options` stand in where the field names none of its own.

    ⚑ The value that is there is always among what can be chosen, though the version does not know it: a browser chooses
    another one unasked.
    """
    offered = [str(one) for one in (spec.options or options) if one is not None]
    if spec.kind == "boolean":
        said = {True: "yes", False: "no"}.get(value, "")
        return Control("select", said, (*([] if said else [NOTHING]), ("yes", "Yes"), ("no", "No")))
    if offered and spec.kind != "set":
        said = str(value or "")
        empty = [NOTHING] if not (spec.required and said) else []
        newer = [said] if said and said not in offered else []
        return Control("select", said, (*empty, *((one, one) for one in [*newer, *offered])))
    if spec.kind == "set":
        return Control("text", _entries_line(value or ()), help=ENTRIES_HELP)
    if spec.kind in ("number", "date"):
        return Control(spec.kind, "" if value is None else str(value))
    text = as_plain(value, spec)
    several = spec.kind == "rich_text" or len(text) > LONG_TEXT or "\n" in text or (spec.max_length or 0) > 255
    formatted = spec.kind == "rich_text" and format_of(spec) is not PLAIN
    note = "What you do not touch keeps its form." if formatted else ""
    return Control("textarea" if several else "text", text, help=note, max_length=spec.max_length)


class CannotRead(ValueError):
    """What was typed is no value of the field; the text says why, for people."""


def typed(text: str, spec: FieldSpec, old: Any) -> Any:
    """The value that was typed. `old` is the field's present value: rich text is patched into it. Raises CannotRead."""
    text = text.replace("\r\n", "\n")
    if spec.kind == "set":
        return _entries(text)
    if spec.kind == "rich_text" and format_of(spec) is not PLAIN:
        return carrier(PLAIN, format_of(spec))(text or None, old, None)
    if not text.strip():
        return None
    if spec.kind == "boolean":
        return text == "yes"
    if spec.kind == "number":
        return _number(text.strip())
    if spec.kind == "date" and _parsed(parse_date, text) is None:
        raise CannotRead(f"“{text}” is no day; write it as 2026-09-24.")
    if spec.kind == "datetime" and _parsed(parse_datetime, text) is None:
        raise CannotRead(f"“{text}” is no time; write it as 2026-09-24T09:41:00Z.")
    if spec.max_length and len(text) > spec.max_length:
        raise CannotRead(f"{len(text) - spec.max_length:,} characters too long; {spec.max_length:,} fit.")
    return text if spec.kind in ("text", "rich_text") else text.strip()


ENTRIES_HELP = 'Separate the entries by commas; one that has a comma itself stands in "quotes".'


def _entries_line(entries: Sequence[Any]) -> str:
    """The entries of a set as they are typed, so that each comes back as it was."""
    lines = [StringIO() for _ in entries]
    for line, entry in zip(lines, entries, strict=True):
        csv.writer(line, lineterminator="").writerow([entry])
    return ", ".join(line.getvalue() for line in lines)


def _entries(text: str) -> list[str]:
    try:
        rows = list(csv.reader(text.split("\n"), skipinitialspace=True, strict=True))
    except csv.Error:
        raise CannotRead("A quotation mark is not closed, or a comma is missing after one.") from None
    return sorted({entry.strip() for row in rows for entry in row if entry.strip()})


def _number(text: str) -> int | float:
    try:
        return typed_number(text)
    except ValueError as problem:
        raise CannotRead(str(problem)) from None


def _parsed(parse: Any, text: str) -> Any:
    try:
        return parse(text.strip())
    except ValueError:
        return None


def last_part(text: str) -> str:
    """An id or key as typed, or the last part of a pasted address."""
    text = text.strip().replace("\0", "")
    if "://" not in text:
        return text[:200]
    parts = [part for part in urlsplit(text).path.split("/") if part and part not in ("view", "edit")]
    return unquote(parts[-1])[:200] if parts else ""
