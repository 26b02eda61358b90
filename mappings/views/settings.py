"""The settings of a draft: name, scopes, match keys, creation, deletions, schedule, polling, brakes."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from connections import access
from connections.access import requires
from mappings.changes import shown
from mappings.forms import (
    ExtraValues,
    MatchPairs,
    SettingsForm,
    extra_rows,
    extra_values_of,
    field_choices,
    match_keys_of,
    match_rows,
)
from mappings.models import Mapping, Side
from mappings.publish import DraftMoved
from mappings.remote import scope_form, scope_help
from mappings.views.drafts import DraftState, editing, find, posted_revision, state_of

EXTRAS = ("create_defaults_left", "create_defaults_right", "close_values_left", "close_values_right")


@requires("mappings.read")
def settings(request: HttpRequest, slug: str) -> HttpResponse:
    mapping = find(request, slug, "mappings.read")
    may_edit = access.can(request.user, "mappings.edit", mapping)
    if request.method == "POST":
        access.check(request.user, "mappings.edit", mapping)
    state = state_of(mapping)
    form, match, extras = _forms(state, request.POST if request.method == "POST" else None)
    moved: list[dict[str, str]] = []
    if request.method == "POST" and all([form.is_valid(), match.is_valid(), *(e.is_valid() for e in extras.values())]):
        try:
            with editing(request, Mapping.objects.get(pk=mapping.pk), posted_revision(request)) as locked:
                _save(locked, form, match, extras)
        except DraftMoved:
            stored = Mapping.objects.get(pk=mapping.pk)
            moved = _both_versions(stored, form, match, extras)
            mapping.revision = stored.revision
        else:
            messages.success(request, "The settings are in the draft. · Nothing runs by them until you publish.")
            return redirect("mapping-settings", slug=slug)
    return render(
        request,
        "mappings/settings.html",
        {
            "mapping": mapping,
            "state": state,
            "tab": "settings",
            "form": form,
            "match": match,
            "extras": extras,
            "moved": moved,
            "may_edit": may_edit,
            "scope_help": {side: scope_help(mapping.connection(side).kind) for side in Side.values},
        },
    )


def _forms(state: DraftState, data: Any) -> tuple[SettingsForm, Any, dict[str, Any]]:
    mapping = state.mapping
    forms = {side: scope_form(mapping.connection(side)) for side in Side.values}
    # The form writes into its instance while it validates; the page goes on showing the stored mapping.
    form = SettingsForm(data, instance=Mapping.objects.get(pk=mapping.pk), scope_forms=forms)
    # A bound row equal to its initial value would count as "not filled in" and vanish: bound rows have none.
    rows = match_rows(mapping.match_keys)
    choices = {side: field_choices(state.facts(side).fields, [row[side] for row in rows]) for side in Side.values}
    match = MatchPairs(data, prefix="match", initial=rows if data is None else None, form_kwargs={"choices": choices})
    extras = {}
    for name in EXTRAS:
        stored, fields = getattr(mapping, name), state.facts(name.rsplit("_", 1)[1]).fields
        extras[name] = ExtraValues(
            data,
            prefix=name,
            initial=extra_rows(stored) if data is None else None,
            form_kwargs={"fields": fields, "choices": field_choices(fields, stored)},
        )
    return form, match, extras


def _values(form: SettingsForm, match: Any, extras: dict[str, Any]) -> dict[str, Any]:
    """Everything the page holds, by the mapping's field name."""
    return {
        **{name: form.cleaned_data[name] for name in SettingsForm.Meta.fields},
        "left_scope": form.scope("left"),
        "right_scope": form.scope("right"),
        "match_keys": match_keys_of(match),
        "brakes": form.brakes(),
        "schedule": form.schedule(),
        **{name: extra_values_of(formset) for name, formset in extras.items()},
    }


def _save(mapping: Mapping, form: SettingsForm, match: Any, extras: dict[str, Any]) -> None:
    values = _values(form, match, extras)
    for name, value in values.items():
        setattr(mapping, name, value)
    mapping.save(update_fields=[*values, "updated_at"])


def _both_versions(stored: Mapping, form: SettingsForm, match: Any, extras: dict[str, Any]) -> list[dict[str, str]]:
    """Where the page and the stored draft differ: nothing of either is lost, the person decides."""
    rows = []
    for name, mine in _values(form, match, extras).items():
        theirs = getattr(stored, name)
        if mine != theirs:
            field = form.fields.get(name)
            label = str(field.label) if field is not None and field.label else name.replace("_", " ").capitalize()
            rows.append({"label": label, "theirs": shown(theirs), "mine": shown(mine)})
    return rows
