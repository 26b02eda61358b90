"""The draft editor: the rules with a sample record, suggestions, what is not paired, the check list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from connections.access import requires
from connections.connectors.base import Field
from mappings.changes import Change
from mappings.document import field_snapshot
from mappings.forms import kind_label
from mappings.models import FieldMapping, Mapping, Side, ValueMap
from mappings.preview import Outcome, Sample, outcomes
from mappings.problems import Problem
from mappings.publish import DraftMoved, rule_document
from mappings.remote import sample, sample_choices
from mappings.suggest import Suggestion, entries_for, suggest
from mappings.transforms import TRANSFORMS, suggested
from mappings.transforms.base import FieldSpec
from mappings.views.drafts import DraftState, editing, find, posted_revision, say_moved, state_of


@dataclass(frozen=True, slots=True)
class SideCell:
    """One side of a rule's row."""

    label: str
    path: str
    type: str
    outcome: Outcome | None


@dataclass(frozen=True, slots=True)
class Row:
    """One rule as the editor shows it."""

    rule: FieldMapping
    left: SideCell
    right: SideCell
    transform: str
    problems: list[Problem]
    changes: list[Change]

    @property
    def mark(self) -> str:
        if any(problem.level == "error" for problem in self.problems):
            return "err"
        return "wrn" if self.problems else ""


@requires("mappings.read")
def editor(request: HttpRequest, slug: str) -> HttpResponse:
    mapping = find(request, slug, "mappings.read")
    state = state_of(mapping)
    rules = _rules(mapping)
    paired = {side: {getattr(rule, f"{side}_field") for rule in rules} for side in Side.values}
    proposals = suggest(state.left.fields, state.right.fields, paired["left"], paired["right"])
    return render(
        request,
        "mappings/editor.html",
        {
            "mapping": mapping,
            "state": state,
            "tab": "fields",
            "rows": rows_of(state, rules, Sample()),
            "choices": sample_choices(mapping),
            "sample": Sample(),
            "wanted": request.GET.get("sample", ""),
            "suggestions": proposals,
            "sure": sum(1 for proposal in proposals if proposal.confidence >= SURE),
            "unpaired": {side: _unpaired(state, side, paired[side]) for side in Side.values},
        },
    )


# At this confidence names or labels agree; "add all the sure ones" stops below it.
SURE = 0.8


@requires("mappings.read")
def rules_with_sample(request: HttpRequest, slug: str) -> HttpResponse:
    """The table of rules with a sample record's values: read from the systems, so it comes after the page."""
    mapping = find(request, slug, "mappings.read")
    state, rules = state_of(mapping), _rules(mapping)
    choices = sample_choices(mapping)
    wanted = request.GET.get("sample", "") or (choices[0][0] if choices else "")
    found = read_sample(mapping, wanted, rules)
    context = {
        "mapping": mapping,
        "state": state,
        "rows": rows_of(state, rules, found),
        "choices": choices,
        "sample": found,
        "wanted": wanted,
        "loaded": True,
    }
    return render(request, "mappings/_rules.html", context)


def read_sample(mapping: Mapping, wanted: str, rules: list[FieldMapping]) -> Sample:
    paths = {side: [getattr(rule, f"{side}_field") for rule in rules] for side in Side.values}
    return sample(mapping, wanted, paths)


def _rules(mapping: Mapping) -> list[FieldMapping]:
    return list(mapping.rules.select_related("value_map", "policy", "mapping"))


def rows_of(state: DraftState, rules: list[FieldMapping], found: Sample) -> list[Row]:
    left, right = ({field.path: field for field in facts.fields} for facts in (state.left, state.right))
    rows = []
    for rule in rules:
        document = rule_document(rule, left, right)
        told = outcomes(document, found)
        transform = TRANSFORMS.get(rule.transform)
        rows.append(
            Row(
                rule=rule,
                left=_cell(rule.left_field, left, told.get("left")),
                right=_cell(rule.right_field, right, told.get("right")),
                transform=transform.label if transform else rule.transform,
                problems=state.problems_of(rule.rule_id) if rule.enabled else [],
                changes=[change for change in state.changes if change.rule_id == rule.rule_id],
            )
        )
    return rows


def _cell(path: str, fields: dict[str, Field], outcome: Outcome | None) -> SideCell:
    field = fields.get(path)
    return SideCell(field.label if field else path, path, kind_label(field) if field else "not there", outcome)


def _unpaired(state: DraftState, side: str, paired: set[str]) -> list[dict[str, Any]]:
    """Fields without a rule, required ones first, with the problem that names them."""
    fields = [field for field in state.facts(side).fields if field.path not in paired]
    problems = {p.field: p for p in state.problems if p.code == "required_unmapped" and p.side == side}
    rows = [{"field": field, "type": kind_label(field), "problem": problems.get(field.path)} for field in fields]
    return sorted(rows, key=lambda row: (row["problem"] is None, row["field"].label.lower()))


# Taking suggestions. -----------------------------------------------------------------------------------------


@requires("mappings.edit")
@require_POST
def take_suggestions(request: HttpRequest, slug: str) -> HttpResponse:
    """Add one proposed pair, or all the sure ones (`pair` = "left|right", or "sure")."""
    mapping = find(request, slug, "mappings.edit")
    state = state_of(mapping)
    rules = _rules(mapping)
    proposals = suggest(
        state.left.fields,
        state.right.fields,
        {rule.left_field for rule in rules},
        {rule.right_field for rule in rules},
    )
    wanted = request.POST.get("pair", "")
    chosen = [p for p in proposals if wanted == f"{p.left}|{p.right}" or (wanted == "sure" and p.confidence >= SURE)]
    try:
        with editing(request, mapping, posted_revision(request)) as locked:
            for position, proposal in enumerate(chosen, start=next_position(locked)):
                _add(locked, state, proposal, position)
    except DraftMoved:
        say_moved(request)
        return redirect("mapping", slug=slug)
    if chosen:
        names = ", ".join(f"{p.left_label} ↔ {p.right_label}" for p in chosen)
        messages.success(request, f"Added to the draft: {names}. · Nothing runs until you publish.")
    return redirect("mapping", slug=slug)


def next_position(mapping: Mapping) -> int:
    last = mapping.rules.order_by("-position").values_list("position", flat=True).first()
    return 0 if last is None else last + 1


def _add(mapping: Mapping, state: DraftState, proposal: Suggestion, position: int) -> None:
    left, right = state.left.field(proposal.left), state.right.field(proposal.right)
    if left is None or right is None:
        return
    transform = suggested(spec(left), spec(right))
    value_map = None
    entries = entries_for(left, right) if transform == "value_map" else []
    if entries:
        value_map = _fitting_map(f"{left.label} of {mapping.name}", entries)
    FieldMapping.objects.create(
        mapping=mapping,
        left_field=left.path,
        right_field=right.path,
        direction=proposal.direction,
        transform=transform,
        value_map=value_map,
        position=position,
    )


def spec(field: Field) -> FieldSpec:
    data = field_snapshot(field.path, {field.path: field})
    return FieldSpec(**{**data, "options": tuple(data["options"])})


def _fitting_map(name: str, entries: list[dict[str, str]]) -> ValueMap:
    for value_map in ValueMap.objects.all():
        if value_map.entries == entries:
            return value_map
    found, number = name[:90], 2
    while ValueMap.objects.filter(name=found).exists():
        found, number = f"{name[:90]} {number}", number + 1
    return ValueMap.objects.create(name=found, entries=entries)
