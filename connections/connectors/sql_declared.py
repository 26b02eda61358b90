"""What an admin declares of tables in the connection's form, because no database tells it by itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from connections.connectors.base import NotAllowed

# Words of a line and whether they take several columns, joined by "+".
WORDS = {
    "key": True,
    "changed": False,
    "created": False,
    "created_by": False,
    "changed_by": False,
    "correlation": False,
    "version": False,
    "title": False,
    "hidden": True,
}
PEOPLE_WORDS = {"email": False, "name": False, "active": False}
_NAME = r"[^\s:,=+]+"
_LINE = re.compile(rf"({_NAME})\s*:\s*(.*)")
_PAIR = re.compile(rf"(\w+)\s*=\s*({_NAME}(?:\s*\+\s*{_NAME})*)")


@dataclass(frozen=True, slots=True)
class Declared:
    """One table's line. Columns by name; "" or () where nothing is said."""

    key: tuple[str, ...] = ()
    changed: str = ""
    created: str = ""
    created_by: str = ""
    changed_by: str = ""
    correlation: str = ""
    version: str = ""
    title: str = ""
    hidden: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PeopleTable:
    """The table of people; `email` says who somebody is in every system."""

    table: str
    email: str
    name: str = ""
    active: str = ""


def declared_tables(text: str) -> dict[str, Declared]:
    """{table: what its line says}. Raises NotAllowed on a line that cannot be read: guessing would sync wrongly."""
    found: dict[str, Declared] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        table, words = _read(line.strip(), WORDS, f"Line {number} of Tables")
        found[table] = Declared(**words)  # type: ignore[arg-type]
    return found


def declared_people(text: str) -> PeopleTable | None:
    if not text.strip():
        return None
    table, words = _read(text.strip(), PEOPLE_WORDS, "The line of People")
    if "email" not in words:
        raise NotAllowed(
            "The line of People names no e-mail column. Nothing was read, or people could not be told apart. Add "
            "email=… to it in the connection."
        )
    return PeopleTable(table, **words)  # type: ignore[arg-type]


def _read(line: str, known: Mapping[str, bool], where: str) -> tuple[str, dict[str, str | tuple[str, ...]]]:
    parts = _LINE.fullmatch(line)
    words: dict[str, str | tuple[str, ...]] = {}
    for pair in parts.group(2).split(",") if parts else ():
        if not pair.strip():
            continue
        read = _PAIR.fullmatch(pair.strip())
        columns = tuple(one.strip() for one in read.group(2).split("+")) if read else ()
        word = read.group(1) if read else ""
        if word not in known or (len(columns) > 1 and not known[word]):
            parts = None
            break
        words[word] = columns if known[word] else columns[0]
    if parts is None:
        raise NotAllowed(
            f"{where} cannot be read: “{line[:100]}”. Nothing was read, or rows would be taken for what they are not. "
            f"Write it like table: word=column, with the words {', '.join(known)}."
        )
    return parts.group(1), words
