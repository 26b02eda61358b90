#!/usr/bin/env python3
"""Writes the table of capabilities into docs/connectors.md from what the connectors declare.

What each capability means comes from the table that is there already; a new one gets an empty cell, to be filled by
hand. A test holds the file to the declarations.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "docs" / "connectors.md"
HEAD = "| capability |"


def shown(value: Any) -> str:
    """A declared value as the table shows it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def table(meanings: dict[str, str]) -> str:
    """The table as Markdown; `meanings`: {capability: what it means}."""
    from connections.connectors import all_connectors
    from connections.connectors.base import Capabilities

    connectors = all_connectors()
    lines = [f"{HEAD} means | {' | '.join(connector.label for connector in connectors)} |"]
    lines.append("|" + "---|" * (2 + len(connectors)))
    for field in dataclasses.fields(Capabilities):
        cells = [shown(getattr(connector.capabilities, field.name)) for connector in connectors]
        lines.append(f"| `{field.name}` | {meanings.get(field.name, '')} | {' | '.join(cells)} |")
    return "\n".join(lines)


def meanings_of(text: str) -> dict[str, str]:
    """{capability: what the table in `text` says it means}"""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in _old(text).splitlines()[2:]]
    return {row[0].strip("`"): row[1] for row in cells}


def _old(text: str) -> str:
    return text[text.index(HEAD) :].split("\n\n")[0]


def renewed(text: str) -> str:
    """The document with its table as it should be."""
    return text.replace(_old(text), table(meanings_of(text)))


def main() -> int:
    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "syncadmin.settings_test")
    os.environ.setdefault("ENV_FILE", os.devnull)
    import django

    django.setup()
    FILE.write_text(renewed(FILE.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
