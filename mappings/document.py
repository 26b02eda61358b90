"""The parts of a version's document (format: mappings/compiled.py) that depend on nothing stored.

Pure: no Django, no HTTP library, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connections.connectors.base import Field

# What a rule without a policy of its own does. Sets merge by default: labels are added and removed one by one, and
# no label of either side is lost by it.
DEFAULT_POLICY = {"name": "Ask a person", "kind": "review", "tolerance": 2.0}
DEFAULT_SET_POLICY = {"name": "Merge sets", "kind": "merge_sets", "tolerance": 2.0}


def field_snapshot(path: str, fields: Mapping[str, Field]) -> dict[str, Any]:
    """What a version remembers of a field; kind "unknown" where the system does not name it (any more)."""
    found = fields.get(path)
    if found is None:
        found = Field(path=path, label=path, kind="unknown", writable=False, creatable=False)
    return {
        "path": found.path,
        "label": found.label,
        "kind": found.kind,
        "format": found.format,
        "options": [option.value for option in found.options],
        "writable": found.writable,
        "creatable": found.creatable,
        "required": found.required,
        "max_length": found.max_length,
        "separate_write": found.separate_write,
        "step": found.step,
    }


def signature(rule: Mapping[str, Any]) -> tuple[Any, ...]:
    """What the last agreed values of a rule depend on: its two fields, their types and its transform."""
    left, right = rule["left"], rule["right"]
    return (
        left["path"],
        left["kind"],
        left["format"],
        right["path"],
        right["kind"],
        right["format"],
        rule["transform"],
    )
