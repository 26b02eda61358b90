"""Any normalised value as people read it, on pages and in diffs."""

from __future__ import annotations

import json
from html import escape
from typing import Any

import nh3

from mappings.transforms import html
from mappings.transforms.base import FieldSpec
from mappings.transforms.plain import PLAIN
from mappings.transforms.rich_text import format_of

_TAGS = frozenset(
    {"p", "br", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "pre", "code", "blockquote", "table", "tbody"}
    | {"tr", "td", "th", "hr", "strong", "em", "u", "s", "sub", "sup", "a"}
)
_ATTRIBUTES = {"a": {"href"}, "ol": {"start"}}
_SCHEMES = {"http", "https", "mailto", "tel"}


def as_plain(value: Any, spec: FieldSpec) -> str:
    """One readable text for a value; empty for an empty one."""
    if value is None:
        return ""
    if spec.kind == "rich_text":
        return PLAIN.write(format_of(spec).read(value)) or ""
    if isinstance(value, bool):
        return "Yes" if value else "No"
    if isinstance(value, list):
        return "\n".join(as_plain(member, spec) for member in value)
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True)
    return str(value)


def as_text(value: Any) -> str:
    """The same for a value alone, whose field is not known: only one kind of rich text shows by itself what it is."""
    if isinstance(value, dict) and value.get("type") == "doc":
        return as_plain(value, FieldSpec("", "", "rich_text", format="adf"))
    return as_plain(value, FieldSpec("", "", "text"))


def one_line(text: str, most: int) -> str:
    """The text in one line, or as much of its beginning as `most` characters hold."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[:most].rstrip()}…"


def as_html(value: Any, spec: FieldSpec) -> str:
    """Safe HTML for a value: rich text with its form, without images, scripts and styles; other values as text."""
    if spec.kind != "rich_text":
        return escape(as_plain(value, spec)).replace("\n", "<br>")
    document = format_of(spec).read(value)
    return nh3.clean(
        html.HTML.key(document),
        tags=set(_TAGS),
        attributes=_ATTRIBUTES,
        url_schemes=_SCHEMES,
        link_rel="noopener noreferrer nofollow",
    )
