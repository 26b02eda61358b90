"""What a check of a draft is given and what it answers.

Pure: no Django, no HTTP library, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connections.connectors.base import Field, FormField

SIDES = ("left", "right")
OTHER = {"left": "right", "right": "left"}
# A list in a sentence stops being read after a few items.
NAMED_VALUES = 5


@dataclass(frozen=True, slots=True)
class SideFacts:
    """What a system says about the object type on one side."""

    name: str  # of the connection, for sentences
    fields: Sequence[Field]
    scope_form: Sequence[FormField] = ()
    feed_retention: float | None = None  # seconds for which it keeps its changes, where it forgets them

    def field(self, path: str) -> Field | None:
        return next((field for field in self.fields if field.path == path), None)


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding. `what` · `means` · `todo` are the three parts of its sentence; `rule_id` and `field` say where."""

    level: str  # "error" or "warning"
    code: str
    what: str
    means: str
    todo: str
    rule_id: str = ""
    side: str = ""
    field: str = ""  # path, or the name of a mapping setting

    @property
    def message(self) -> str:
        return f"{self.what} {self.means} {self.todo}"


def writes(rule: Mapping[str, Any], side: str) -> bool:
    return bool(rule["direction"] in ("both", f"to_{side}"))


def named(values: Sequence[Any]) -> str:
    quoted = [f"“{value}”" if value is not None else "empty" for value in values[:NAMED_VALUES]]
    rest = len(values) - NAMED_VALUES
    return ", ".join(quoted) + (f" and {rest} more" if rest > 0 else "")


def rule_label(rule: Mapping[str, Any]) -> str:
    return f"{rule['left']['label']} ↔ {rule['right']['label']}"


def kind_words(kind: str) -> str:
    return kind.replace("_", " ")
