"""All mappings, and a new one."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from connections import access, hooks
from connections.access import requires
from connections.connectors.base import ConnectorError
from mappings.forms import NewMappingForm
from mappings.models import Mapping, Side
from mappings.remote import object_types


@requires("mappings.read")
def listing(request: HttpRequest) -> HttpResponse:
    allowed = access.mappings_for(request.user, "mappings.read")
    visible = Mapping.objects.visible_to(request.user)
    if allowed is not None:
        visible = visible.filter(pk__in=allowed)
    mappings = visible.select_related("left_connection", "right_connection", "published").annotate(
        # Conflicts belong to an upper app; they are counted by their reverse name.
        waiting=Count("conflicts", filter=Q(conflicts__state="open"))
    )
    may_create = access.can_everywhere(request.user, "mappings.edit")
    return render(request, "mappings/list.html", {"mappings": mappings, "may_create": may_create})


@requires("mappings.edit")
def new(request: HttpRequest) -> HttpResponse:
    """Two steps on one page: the connections first, then the object types these offer."""
    if not access.can_everywhere(request.user, "mappings.edit"):
        # A role for chosen mappings cannot see one that nobody chose yet.
        raise access.Denied("mappings.edit")
    form = NewMappingForm(request.POST or None)
    ready = bool(request.POST) and _offer_types(request, form)
    asked = "left_object_type" in request.POST and "right_object_type" in request.POST
    if ready and asked and form.is_valid():
        return redirect("mapping-settings", slug=_create(request, form.cleaned_data).slug)
    if not asked or not ready:
        # The types were not asked for yet: only trouble with what was filled in is worth saying.
        for side in Side.values:
            if not ready:
                form.fields.pop(f"{side}_object_type", None)
        if not asked and ready:
            form = _second_step(form)
    return render(request, "mappings/new.html", {"form": form, "ready": ready})


def _offer_types(request: HttpRequest, form: NewMappingForm) -> bool:
    """Offer the object types of both chosen connections; whether both could be asked."""
    form.full_clean()
    asked = 0
    for side in Side.values:
        connection = form.cleaned_data.get(f"{side}_connection")
        if connection is None:
            continue
        try:
            # Comments and the like belong to records: they are no mapping's own.
            types = [(kind.name, kind.label) for kind in object_types(connection) if kind.parent is None]
        except ConnectorError as error:
            why = error.message.rstrip(".") or "no reason was given"
            messages.error(
                request,
                f"{connection.name} did not tell us its object types: {why}. · Nothing was made. · "
                "Test the connection, then try again.",
            )
            continue
        form.offer(side, types)
        asked += 1
    form._errors = None  # type: ignore[attr-defined]  # the menus have just changed: validate again
    return asked == len(Side.values) and "name" in form.cleaned_data


def _second_step(form: NewMappingForm) -> NewMappingForm:
    """The same form, filled in and without complaints about what was not asked yet."""
    second = NewMappingForm(initial={name: form.data.get(name) for name in form.fields})
    for side in Side.values:
        second.fields[f"{side}_object_type"] = form.fields[f"{side}_object_type"]
    return second


def _create(request: HttpRequest, data: dict[str, Any]) -> Mapping:
    names = ("name", "slug", "left_connection", "left_object_type", "right_connection", "right_object_type")
    with transaction.atomic():
        mapping = Mapping.objects.create(**{name: data[name] for name in names})
        hooks.audit("config", "mapping_created", user=request.user, mapping=mapping, params={"name": mapping.name})
    messages.success(
        request, f"{mapping.name} is there as a draft. · Nothing is synced yet. · Set its scope, then pair fields."
    )
    return mapping
