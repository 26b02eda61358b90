"""One rule of a draft: add, edit, copy, remove, reorder, and try with a sample record."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from connections.access import requires
from mappings.forms import RuleForm
from mappings.models import FieldMapping, Mapping
from mappings.preview import Sample, outcomes
from mappings.publish import DraftMoved, rule_document
from mappings.remote import sample_choices
from mappings.transforms import suggested
from mappings.validation import check
from mappings.views.drafts import DraftState, editing, find, posted_revision, say_moved, state_of
from mappings.views.editor import next_position, read_sample, spec

COPIED = ("direction", "transform", "value_map", "policy", "one_way_target", "initial")


@requires("mappings.edit")
def new(request: HttpRequest, slug: str) -> HttpResponse:
    """A rule that is not there yet: empty, from two fields (?left=&right=), or a copy of another one (?copy=)."""
    mapping = find(request, slug, "mappings.edit")
    return _page(request, state_of(mapping), FieldMapping(mapping=mapping))


@requires("mappings.edit")
def edit(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    mapping = find(request, slug, "mappings.edit")
    rule = mapping.rules.filter(pk=pk).first()
    if rule is None and request.method == "POST":
        # Removed by somebody else meanwhile: what was typed is not lost, it can be added again.
        say_moved(request)
        return _page(request, state_of(mapping), FieldMapping(mapping=mapping), gone=True)
    return _page(request, state_of(mapping), rule or get_object_or_404(mapping.rules, pk=pk))


def _page(request: HttpRequest, state: DraftState, rule: FieldMapping, gone: bool = False) -> HttpResponse:
    mapping = state.mapping
    form = _form(request, state, rule, request.POST if request.method == "POST" else None)
    moved: list[dict[str, Any]] = []
    if request.method == "POST" and not gone and "try" not in request.POST and form.is_valid():
        try:
            with editing(request, mapping, posted_revision(request)) as locked:
                saved = form.save(commit=False)
                saved.mapping = locked
                if saved.pk is None:
                    saved.position = next_position(locked)
                saved.save()
        except DraftMoved:
            moved = _both_versions(form, FieldMapping.objects.filter(pk=rule.pk).first())
            mapping.refresh_from_db()
        else:
            messages.success(request, f"{saved} is in the draft. · Nothing runs until you publish.")
            return redirect("mapping", slug=mapping.slug)
    shown = _unsaved(form, rule)
    return render(
        request,
        "mappings/rule.html",
        {
            "mapping": mapping,
            "state": state,
            "form": form,
            "rule": rule,
            "moved": moved,
            "post_url": "" if not gone else None,
            "gone": gone,
            "choices": sample_choices(mapping),
            **_trial(state, shown, request.POST.get("sample", "")),
        },
    )


def _form(request: HttpRequest, state: DraftState, rule: FieldMapping, data: Any) -> RuleForm:
    return RuleForm(
        data,
        instance=rule,
        initial=_start(request, state, rule) if rule.pk is None else None,
        left_fields=state.left.fields,
        right_fields=state.right.fields,
        names=(state.left.name, state.right.name),
    )


def _start(request: HttpRequest, state: DraftState, rule: FieldMapping) -> dict[str, Any]:
    """What a new rule is filled with."""
    start: dict[str, Any] = {"left_field": request.GET.get("left", ""), "right_field": request.GET.get("right", "")}
    copied = request.GET.get("copy", "")
    original = state.mapping.rules.filter(pk=copied).first() if copied.isdecimal() and len(copied) < 15 else None
    if original is not None:
        rule.transform, rule.params = original.transform, original.params
        return start | {name: getattr(original, name) for name in COPIED}
    left, right = state.left.field(start["left_field"]), state.right.field(start["right_field"])
    if left and right:
        start["transform"] = suggested(spec(left), spec(right))
        if not (left.writable and right.writable):
            start["direction"] = "to_right" if right.writable else "to_left"
    return start


def _both_versions(form: RuleForm, stored: FieldMapping | None) -> list[dict[str, Any]]:
    """What differs between the form and the stored rule, for the person who has to decide."""
    if stored is None:
        return []
    rows = []
    for name in RuleForm.Meta.fields:
        mine, theirs = form.cleaned_data.get(name), getattr(stored, name)
        if mine != theirs:
            rows.append({"label": form.fields[name].label or name, "theirs": _said(stored, name), "mine": mine})
    return rows


def _said(rule: FieldMapping, name: str) -> Any:
    display = getattr(rule, f"get_{name}_display", None)
    return display() if display else getattr(rule, name)


@requires("mappings.edit")
@require_POST
def trial(request: HttpRequest, slug: str) -> HttpResponse:
    """A part of the rule page: what the rule in the form would do with the sample. Saves nothing."""
    mapping = find(request, slug, "mappings.edit")
    state = state_of(mapping)
    pk = request.POST.get("rule", "")
    rule = mapping.rules.filter(pk=pk).first() if pk.isdecimal() and len(pk) < 15 else None
    rule = rule or FieldMapping(mapping=mapping)
    shown = _unsaved(_form(request, state, rule, request.POST), rule)
    context = {"mapping": mapping, "state": state, **_trial(state, shown, request.POST.get("sample", ""))}
    return render(request, "mappings/_trial.html", context)


def _unsaved(form: RuleForm, rule: FieldMapping) -> FieldMapping | None:
    """The rule as the form has it now; None while its fields are not chosen."""
    if form.is_bound:
        form.is_valid()  # fills cleaned_data and the instance with whatever is right so far
        chosen = form.cleaned_data
        if not chosen.get("left_field") or not chosen.get("right_field") or not chosen.get("transform"):
            return None
        return form.save(commit=False) if form.is_valid() else rule
    if rule.pk is not None:
        return rule
    start = form.initial
    if start.get("left_field") and start.get("right_field"):
        rule.left_field, rule.right_field = start["left_field"], start["right_field"]
        rule.transform, rule.direction = start.get("transform") or "same", start.get("direction") or "both"
        return rule
    return None


def _trial(state: DraftState, rule: FieldMapping | None, wanted: str) -> dict[str, Any]:
    """Outcomes with the sample, and the findings about this rule alone."""
    if rule is None or not rule.left_field or not rule.right_field:
        return {"outcomes": {}, "problems": [], "sample": Sample(), "wanted": wanted, "shown": None}
    left, right = ({field.path: field for field in facts.fields} for facts in (state.left, state.right))
    document = rule_document(rule, left, right)
    others = [other for other in state.document["rules"] if other["id"] != rule.rule_id]
    draft = {**state.document, "rules": [*others, document]}
    problems = [p for p in check(draft, state.left, state.right) if p.rule_id == rule.rule_id]
    choices = sample_choices(state.mapping)
    wanted = wanted or (choices[0][0] if choices else "")
    found = read_sample(state.mapping, wanted, [rule])
    return {
        "outcomes": outcomes(document, found),
        "problems": problems,
        "sample": found,
        "wanted": wanted,
        "shown": document,
    }


@requires("mappings.edit")
@require_POST
def remove(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    mapping = find(request, slug, "mappings.edit")
    try:
        with editing(request, mapping, posted_revision(request)) as locked:
            rule = get_object_or_404(locked.rules, pk=pk)
            rule.delete()
    except DraftMoved:
        say_moved(request)
    else:
        messages.success(
            request, f"{rule} is out of the draft. · The published version still has it. · Discard brings it back."
        )
    return redirect("mapping", slug=slug)


@requires("mappings.edit")
@require_POST
def move(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """One place up or down (`to`): the order in which people read the rules."""
    mapping = find(request, slug, "mappings.edit")
    try:
        with editing(request, mapping, posted_revision(request)) as locked:
            _swap(locked, pk, -1 if request.POST.get("to") == "up" else 1)
    except DraftMoved:
        say_moved(request)
    return redirect("mapping", slug=slug)


def _swap(mapping: Mapping, pk: int, step: int) -> None:
    rules = list(mapping.rules.all())
    here = next((index for index, rule in enumerate(rules) if rule.pk == pk), None)
    if here is None or not 0 <= here + step < len(rules):
        return
    rules[here], rules[here + step] = rules[here + step], rules[here]
    with transaction.atomic():
        for position, rule in enumerate(rules):
            rule.position = position
        FieldMapping.objects.bulk_update(rules, ["position"])
