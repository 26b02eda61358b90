"""The rows of the review queue: oldest first, the same change grouped, each with its values in a few words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from connections.access import can
from mappings.compiled import field_spec
from mappings.models import Mapping as SyncMapping
from mappings.transforms.base import FieldSpec
from sync import failures
from sync.merge import OTHER
from sync.models import Conflict
from sync.views import _schema
from sync.views._changes import Shown, shown
from sync.views._questions import rules_of
from sync.views._values import LONG_TEXT, brief, system_names
from sync.wording import sentence
from syncadmin.paging import Pager

PAGE_SIZE = 100
SHOWN_OF_GROUP = 3  # the others of a group are folded
# One answer reaches at most so many: each is an instruction, audited on its own.
MOST_ALIKE = 500

# Deletions, in the systems' own names.
DELETED: Mapping[str, str] = {
    "deleted_and_edited": "It {how}, while it was edited in {kept}.",
    "deleted_and_unread": "It {how}. {kept} does not show our account {fields}, so nobody can tell whether it was "
    "edited there.",
    "deleted_out_of_scope": "It {how}. The scope of the mapping leaves this pair out, so what is left in {kept} is "
    "neither deleted nor closed unasked.",
    "deleted_ask": "It {how} and is still there in {kept}. The mapping leaves what to do to you.",
    "merged_away": "It was merged in {gone} into {into}, which is kept in agreement with {twin}. In {kept} both are "
    "still there: delete this one once {twin} holds all that you need of it, or let it be.",
}
TOLD_GONE = "was deleted in {gone}"
# No system told of it (`Link.may_return`).
NOT_FOUND = "was not found in {gone} twice, an hour apart, and counts as deleted there"
MAY_RETURN = " Should it only be hidden from our account, this question ends by itself once it is shown again."
EDITED = ("both_changed", "edits_touch", "times_overlap")


@dataclass(frozen=True, slots=True)
class Row:
    conflict: Conflict
    names: Mapping[str, str]
    base: SafeString | str
    left: SafeString | str
    right: SafeString | str
    cause: str  # "" where the template names both editors
    edits: Sequence[tuple[str, Shown]] = ()  # of a long text: what each side changed, instead of the values

    @property
    def title(self) -> str:
        return _schema.title(self.conflict) if failures.about_fields(self.conflict) else self.conflict.title

    @property
    def has_values(self) -> bool:
        return bool(self.conflict.rule_id) and not failures.about_fields(self.conflict)


@dataclass(slots=True)
class Group:
    """Conflicts where the same change met the same change. `like`: the one that stands for them all."""

    rows: list[Row] = field(default_factory=list)
    may_settle: bool = False

    @property
    def like(self) -> Row:
        return self.rows[0]

    @property
    def first(self) -> list[Row]:
        return self.rows[:SHOWN_OF_GROUP]

    @property
    def rest(self) -> list[Row]:
        return self.rows[SHOWN_OF_GROUP:]


def oldest_first(request: HttpRequest, rows: QuerySet[Conflict]) -> Pager:
    """Keyset paging as in syncadmin.paging, oldest first: `?after=` goes on to newer ones."""
    after, before = (request.GET.get(name, "") for name in ("after", "before"))
    if _is_id(before):
        found = list(rows.filter(pk__lt=int(before)).order_by("-pk")[: PAGE_SIZE + 1])
        shown = found[:PAGE_SIZE][::-1]
        more_older = len(found) > PAGE_SIZE
        return Pager(shown, shown[-1].pk if shown else None, shown[0].pk if more_older else None)
    if _is_id(after):
        rows = rows.filter(pk__gt=int(after))
    found = list(rows.order_by("pk")[: PAGE_SIZE + 1])
    shown = found[:PAGE_SIZE]
    return Pager(
        shown,
        shown[-1].pk if len(found) > PAGE_SIZE else None,
        shown[0].pk if shown and _is_id(after) else None,
    )


def _is_id(text: str) -> bool:
    return text.isdecimal() and len(text) < 19


class Specs:
    """The fields of published versions, by mapping and rule: read once a page."""

    def __init__(self) -> None:
        self._rules: dict[int, dict[str, Mapping[str, Any]]] = {}

    def find(self, mapping: SyncMapping, rule_id: str) -> dict[str, FieldSpec]:
        if mapping.pk not in self._rules:
            self._rules[mapping.pk] = rules_of(mapping.published.document) if mapping.published else {}
        rule = self._rules[mapping.pk].get(rule_id)
        return {side: field_spec(rule[side]) for side in ("left", "right")} if rule else {}


def rows_of(conflicts: Iterable[Conflict]) -> list[Row]:
    specs = Specs()
    return [row_of(conflict, specs) for conflict in conflicts]


def row_of(conflict: Conflict, specs: Specs) -> Row:
    names = system_names(conflict.mapping)
    if failures.about_fields(conflict):
        return Row(conflict, names, "", "", "", f"{_schema.what(conflict)} {_schema.meaning(conflict)}")
    spec = specs.find(conflict.mapping, conflict.rule_id)
    values: dict[str, SafeString | str] = {"left": "", "right": "", "base": ""}
    edits: list[tuple[str, Shown]] = []
    if conflict.rule_id:
        edits = _edits(conflict, spec.get("left"))
        values = {
            "left": brief(conflict.left_value, spec.get("left")),
            "right": brief(conflict.right_value, spec.get("right")),
            "base": brief(conflict.left_base, spec.get("left")) if conflict.has_base else "",
        }
    cause = cause_of(conflict, names)
    return Row(conflict, names, values["base"], values["left"], values["right"], cause, edits)


def _edits(conflict: Conflict, spec: FieldSpec | None) -> list[tuple[str, Shown]]:
    if spec is None or spec.kind not in ("text", "rich_text") or not conflict.has_base:
        return []
    pairs = [("left", conflict.left_base, conflict.left_value), ("right", conflict.right_base, conflict.right_value)]
    if all(len(str(value or "")) <= LONG_TEXT for _, *both in pairs for value in both):
        return []
    return [(side, shown(before, after, brief=True)) for side, before, after in pairs if before != after]


def cause_of(conflict: Conflict, names: Mapping[str, str]) -> str:
    """One sentence; "" where both editors are known, whom the template names with their times."""
    if conflict.code in EDITED and (conflict.left_by or conflict.right_by):
        return ""
    side = str(conflict.params.get("side", ""))
    if conflict.code in DELETED and side in names:
        told = {name: conflict.params.get(name, "") for name in ("into", "twin")}
        told["fields"] = ", ".join(conflict.params.get("fields", ()))
        unsure = conflict.link is not None and conflict.link.may_return
        told["how"] = (NOT_FOUND if unsure else TOLD_GONE).format(gone=names[side])
        said = DELETED[conflict.code].format(gone=names[side], kept=names[OTHER[side]], **told)
        return said + MAY_RETURN if unsure else said
    return sentence(conflict.code, conflict.params)


def grouped(rows: Sequence[Row], user: Any) -> list[Group]:
    """Groups of the same change first as their oldest row comes; a row like no other is a group of its own."""
    groups: dict[Any, Group] = {}
    for row in rows:
        groups.setdefault(sameness(row.conflict), Group()).rows.append(row)
    for group in groups.values():
        group.may_settle = len(group.rows) > 1 and can(user, "review.settle", group.like.conflict.mapping)
    return list(groups.values())


def sameness(conflict: Conflict) -> Any:
    """Equal for conflicts that one answer fits: same mapping, rule, kind and values on both sides, before and now.

    ⚑ Each question about an edit that we overwrote loses its own value, which no list shows: it is like no other.
    """
    if not conflict.rule_id or conflict.link_id is None or conflict.kind == Conflict.Kind.CLOBBER:
        return conflict.pk
    values = [conflict.has_base, conflict.left_base, conflict.right_base, conflict.left_value, conflict.right_value]
    said = json.dumps([*values, conflict.params.get("sent")], sort_keys=True)
    return conflict.mapping_id, conflict.rule_id, conflict.kind, said


def alike(conflict: Conflict, user: Any) -> list[Conflict]:
    """The open conflicts that are like this one, itself among them, oldest first."""
    same = Conflict.objects.visible_to(user).filter(
        mapping=conflict.mapping_id, rule_id=conflict.rule_id, kind=conflict.kind, state=Conflict.State.OPEN
    )
    wanted = sameness(conflict)
    found = same.select_related("link", "mapping").order_by("pk")[: 4 * MOST_ALIKE]
    return [one for one in found if sameness(one) == wanted][:MOST_ALIKE]
