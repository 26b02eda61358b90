"""Value maps: which value on the left means which on the right."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import ProtectedError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from connections import access, hooks
from connections.access import requires
from mappings.forms import ValueMapForm, entry_text, entry_value
from mappings.models import FieldMapping, Mapping, ValueMap
from syncadmin.seen import state_digest

MAX_LINES = 500  # a map a person keeps by hand; longer lists come by the configuration file


@requires("value_maps.read")
def listing(request: HttpRequest) -> HttpResponse:
    value_maps = list(ValueMap.objects.all())
    users = used_by(request, "value_map")
    rows = [{"map": value_map, "used_by": users.get(value_map.pk, [])} for value_map in value_maps]
    return render(request, "value_maps/list.html", {"rows": rows})


def used_by(request: HttpRequest, column: str) -> dict[int, list[str]]:
    """Names of the visible mappings whose drafts use each row of `column` ("value_map" or "policy")."""
    visible = Mapping.objects.visible_to(request.user)
    rules = FieldMapping.objects.filter(mapping__in=visible, **{f"{column}__isnull": False})
    names: dict[int, list[str]] = {}
    for pk, name in rules.values_list(f"{column}_id", "mapping__name").distinct().order_by("mapping__name"):
        names.setdefault(pk, []).append(name)
    return names


@requires("value_maps.read")
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    value_map = get_object_or_404(ValueMap, pk=pk)
    if request.method == "POST":
        access.check(request.user, "value_maps.edit")
    return _page(request, value_map)


@requires("value_maps.edit")
def new(request: HttpRequest) -> HttpResponse:
    return _page(request, ValueMap())


def _digest(value_map: ValueMap) -> str:
    return state_digest(value_map.name, value_map.description, value_map.entries) if value_map.pk else ""


def _page(request: HttpRequest, value_map: ValueMap) -> HttpResponse:
    before, seen = list(value_map.entries), _digest(value_map)
    form = ValueMapForm(request.POST or None, instance=value_map)
    lines = _posted_lines(request) if request.method == "POST" else _lines(before)
    moved: list[dict[str, Any]] = []
    if request.method == "POST" and not _rearranged(request, lines):
        entries = _read(lines)
        if form.is_valid() and not any(line["error"] for line in lines):
            if request.POST.get("seen", "") != seen:
                moved = _lines(before)
            elif not entries:
                form.add_error(None, "The map has no line. Nothing was saved. Add at least one.")
            else:
                _save(request, form.save(commit=False), entries, before)
                messages.success(
                    request,
                    f"{value_map.name} is saved. · Published versions keep the lines they had. · "
                    "Publish the mappings that use it.",
                )
                return redirect("value-maps")
    return render(
        request,
        "value_maps/edit.html",
        {
            "value_map": ValueMap.objects.filter(pk=value_map.pk).first(),
            "form": form,
            "lines": lines,
            "moved": moved,
            "seen": seen,
            "may_edit": access.can(request.user, "value_maps.edit"),
            "used_by": used_by(request, "value_map").get(value_map.pk or 0, []),
        },
    )


def _lines(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**{side: entry_text(entry[side]) for side in ("left", "right")}, "error": ""} for entry in entries] + [
        {"left": "", "right": "", "error": ""}
    ]


def _posted_lines(request: HttpRequest) -> list[dict[str, Any]]:
    pairs = zip(request.POST.getlist("left"), request.POST.getlist("right"), strict=False)
    return [{"left": left, "right": right, "error": ""} for left, right in pairs][:MAX_LINES]


def _rearranged(request: HttpRequest, lines: list[dict[str, Any]]) -> bool:
    """Whether the press asked for another arrangement of the lines instead of saving; then it is done."""
    up, gone = request.POST.get("up", ""), request.POST.get("remove", "")
    if up.isdecimal() and 0 < int(up) < len(lines):
        lines[int(up) - 1], lines[int(up)] = lines[int(up)], lines[int(up) - 1]
    elif gone.isdecimal() and int(gone) < len(lines):
        del lines[int(gone)]
    elif "add" in request.POST:
        lines.append({"left": "", "right": "", "error": ""})
    else:
        return bool(up or gone)
    return True


def _read(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries; a line that cannot be read gets its error. Lines empty on both sides are left out."""
    entries = []
    for line in lines:
        if not line["left"].strip() and not line["right"].strip():
            continue
        try:
            entry = {side: entry_value(line[side]) for side in ("left", "right")}
        except ValidationError as error:
            line["error"] = error.messages[0]
            continue
        if entry in entries:
            line["error"] = "This line stands there already."
        entries.append(entry)
    return entries


def _save(request: HttpRequest, value_map: ValueMap, entries: list[Any], before: list[Any]) -> None:
    with transaction.atomic():
        created = value_map.pk is None
        value_map.entries = entries
        value_map.save()
        hooks.audit(
            "config",
            "value_map_created" if created else "value_map_saved",
            user=request.user,
            params={"name": value_map.name},
            object_label=value_map.name,
            before=None if created else before,
            after=entries,
        )


@requires("value_maps.edit")
@require_POST
def remove(request: HttpRequest, pk: int) -> HttpResponse:
    value_map = get_object_or_404(ValueMap, pk=pk)
    try:
        with transaction.atomic():
            hooks.audit(
                "config",
                "value_map_removed",
                user=request.user,
                params={"name": value_map.name},
                object_label=value_map.name,
                before=value_map.entries,
            )
            value_map.delete()
    except ProtectedError:
        messages.error(
            request,
            f"{value_map.name} is used by a rule of a draft. · Nothing was removed. · Take it out of the rules first.",
        )
        return redirect("value-map", pk=pk)
    messages.success(request, f"{value_map.name} is removed. · Published versions keep the lines they had.")
    return redirect("value-maps")
