"""An entry about a field that is not what the mapping knows: what happened, what it means, what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from connections.access import can
from sync.merge import OTHER
from sync.models import Conflict
from sync.session import SIDES
from sync.wording import sentence

# By what stands still: how the entry is called, and what it means for the data.
TITLES: Mapping[str, str] = {
    "rule": "{field} stands still",
    "writes": "{field} is not written in {system}",
    "values": "Some values of {field} wait",
    "creates": "New records in {system} wait",
    "matching": "What looks new waits",
    "reading": "{system} cannot be listed",
}
MEANING: Mapping[str, str] = {
    "rule": "Nothing of this field is written and nothing is emptied. Edits on either side wait with what was last "
    "agreed; all other fields flow.",
    "writes": "Edits for {system} wait, and what it says stays as it is. What is edited there still flows, and so do "
    "all other fields.",
    "values": "Only the values that {system} cannot take wait; what it says stays as it is. All other values and "
    "fields flow.",
    "creates": "Records that would be made there without it wait, none is lost. Records that are linked keep flowing.",
    "matching": "New records are neither linked nor copied, because they may exist on the other side already. Linked "
    "records keep flowing.",
    "reading": "No change of this mapping can be read there. Changes wait, nothing is lost.",
}
PERMISSION = (
    "Give our account the right to see it in {system}, or put it back; else choose another field in the mapping."
)
TO_DO: Mapping[str, str] = {
    "field_removed": PERMISSION,
    "field_hidden": PERMISSION,
    "field_renamed": "If “{suggestion}” is the same field, choose it in the mapping and publish. Else put the old one "
    "back.",
    "type_changed": "Check the rule in the mapping, choose a transform that fits and publish, or change the type back.",
    "option_removed": "Put the option back, or let the value map name another one and publish.",
    "shortened": "Make the field longer again. Or publish the mapping anew: then each longer text is asked about.",
    "read_only": "Give our account the right to edit it in {system}, or let the rule run one way and publish.",
    "newly_required": "Add a rule or a value for new records and publish, or make the field optional again.",
    "create_value_unusable": "Correct the values for new records in the mapping's settings and publish.",
    "create_type_changed": "Check the values for new records in the mapping's settings and publish, or change the type "
    "back.",
    "create_option_removed": "Put the option back, or choose another value for new records in the mapping's settings "
    "and publish.",
    "create_shortened": "Make the field longer again, or shorten the value for new records in the mapping's settings "
    "and publish.",
    "match_field_removed": PERMISSION,
    "match_field_hidden": PERMISSION,
    "match_field_changed": "Name another way to find the same thing in the mapping's settings and publish.",
    "match_field_unsearchable": "Make it searchable again, or name another way to find the same thing and publish.",
    "scope_field_gone": "Correct the scope in the mapping's settings and publish, or put the field back.",
}
AFTERWARDS = "The entry closes by itself once it is put right, and what waited goes on."
IN_SETTINGS = ("creates", "matching", "reading")


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is not as the mapping knows it."""

    side: str
    what: str
    todo: str


@dataclass(frozen=True, slots=True)
class Way:
    """A page where it can be put right."""

    url: str
    label: str
    icon: str


def title(conflict: Conflict) -> str:
    return _said(TITLES, _stops(conflict), conflict.params, conflict.get_kind_display())


def what(conflict: Conflict) -> str:
    return sentence(conflict.code, conflict.params)


def meaning(conflict: Conflict) -> str:
    return _said(MEANING, _stops(conflict), conflict.params)


def changes(conflict: Conflict) -> list[Change]:
    """All of the entry, the one that names it first."""
    told: list[Mapping[str, Any]] = list(conflict.params.get("findings") or [])
    told.sort(key=lambda one: one.get("code") != conflict.code)
    return [Change(str(one["side"]), sentence(one["code"], one), _said(TO_DO, one["code"], one)) for one in told]


def fix(conflict: Conflict) -> str:
    """What to do about all of the entry, and what comes of it."""
    return " ".join([*dict.fromkeys(change.todo for change in changes(conflict)), AFTERWARDS])


def ways(conflict: Conflict, user: Any) -> Sequence[Way]:
    """Where the viewer can put it right: the mapping, and the connections it is about."""
    mapping = conflict.mapping
    found = []
    if can(user, "mappings.read", mapping):
        if _stops(conflict) in IN_SETTINGS:
            found.append(Way(reverse("mapping-settings", args=[mapping.slug]), "Settings of the mapping", "gear"))
        else:
            found.append(Way(reverse("mapping", args=[mapping.slug]), "Rules of the mapping", "map"))
    if can(user, "connections.read", mapping):
        sides = {one.side for one in changes(conflict)}
        for side in [side for side in SIDES if side in sides]:
            one = mapping.connection(side)
            found.append(Way(reverse("connection", args=[one.pk]), f"Connection {one.name}", "plug"))
    return found


def _stops(conflict: Conflict) -> str:
    return str(conflict.params.get("stops", ""))


def _said(texts: Mapping[str, str], key: str, params: Mapping[str, Any], default: str = "") -> str:
    shown = {name: ", ".join(map(str, given)) if isinstance(given, list) else given for name, given in params.items()}
    return texts.get(key, default).format_map(_Known(shown))


class _Known(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "?"


def about(conflicts: Sequence[Conflict], rule_id: str) -> Conflict | None:
    """The open entry that is about this rule."""
    return next((one for one in conflicts if one.subject == f"rule:{rule_id}"), None)


def creates_wait(conflicts: Sequence[Conflict], side: str) -> Conflict | None:
    """The open entry because of which no record is made on `side`."""
    wanted = (f"create:{side}", f"match:{side}", f"match:{OTHER[side]}")
    return next((one for one in conflicts if one.subject in wanted), None)
