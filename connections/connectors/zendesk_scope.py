"""The scope of a mapping's Zendesk side: {"group": "Tier 2", "type": "Task", "tag": "vip"}; all have to fit.

Pure. A ticket shows all of it, so the scope is judged from what was read and costs no call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connections.connectors.base import FormField, Refused, Values
from connections.connectors.zendesk_fields import FORM, GROUP, Shape, plain_id

FIELDS = (
    FormField("group", "Only tickets of the group", required=False, help="Its name, like: Tier 2."),
    FormField("form", "Only tickets with the form", required=False, help="Its name. For accounts with ticket forms."),
    FormField("type", "Only tickets of the type", required=False, help="Question, Incident, Problem or Task."),
    FormField("tag", "Only tickets with the tag", required=False, help="One tag, in lower case."),
)
PATHS = {"group": GROUP, "form": FORM, "type": "type"}


def asked(shape: Shape, scope: Values) -> dict[str, Any]:
    """{path: stored value} that a ticket in the scope has. Raises Refused where the scope names what is not there."""
    found: dict[str, Any] = {}
    for name, path in PATHS.items():
        wanted = str(scope.get(name) or "").strip()
        options = shape.columns[path].options if path in shape.columns else {}
        fitting = [stored for stored, shown in options.items() if shown.lower() == wanted.lower()]
        if wanted and len(fitting) != 1:
            raise Refused(
                f"Zendesk has {len(fitting) or 'no'} active {name}{'s' * (len(fitting) > 1)} named {wanted}. Nothing "
                "was read. Correct the mapping's scope."
            )
        if wanted:
            found[path] = fitting[0] if path == "type" else int(fitting[0])
    tag = str(scope.get("tag") or "").strip().lower()
    return found | ({"tags": [tag]} if tag else {})


def facts(row: Mapping[str, Any]) -> dict[str, Any]:
    """What of a ticket a scope may ask for."""
    tags = row.get("tags")
    return {
        GROUP: plain_id(row.get(GROUP)),
        FORM: plain_id(row.get(FORM)),
        "type": row.get("type"),
        "tags": frozenset(tags)
        if isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)
        else frozenset(),
    }


def fits(told: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(
        set(value) <= told["tags"] if path == "tags" else told[path] == str(value) for path, value in wanted.items()
    )
