"""Lists for spreadsheets: CSV whose cells no program takes for a formula."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from syncadmin.templatetags.syncadmin_ui import plain

# A text that begins so is run as a formula by common programs (OWASP, "CSV injection"); an apostrophe keeps it a text.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class _Echo:
    """A file that hands back what is written to it, so that rows are streamed."""

    def write(self, text: str) -> str:
        return text


def cell(value: Any) -> str | int | float:
    """A JSON value as one cell. Numbers stay numbers; nobody types a formula into them."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    text = plain(value)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def lines(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """The rows as lines of CSV, header first."""
    writer = csv.writer(_Echo())
    yield "\ufeff" + writer.writerow([cell(name) for name in header])  # the mark tells spreadsheets that it is UTF-8
    for row in rows:
        yield writer.writerow([cell(value) for value in row])
