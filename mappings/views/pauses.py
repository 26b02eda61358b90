"""Pause, resume and quiet hours of a mapping."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from connections import access, hooks
from connections.access import requires
from connections.views.pauses import change_windows, context_of, pause_from
from mappings.models import Mapping
from mappings.pauses import pause_mapping, resume_mapping
from mappings.views.drafts import find


def _show(request: HttpRequest, mapping: Mapping, **forms: Any) -> HttpResponse:
    context = {**context_of(mapping, **forms), "mapping": mapping, "tab": "pause"}
    context["may_pause"] = access.can(request.user, "runs.pause", mapping)
    return render(request, "mappings/pause.html", context)


@requires("mappings.read")
def pause(request: HttpRequest, slug: str) -> HttpResponse:
    """Pause with a reason. Writes that were already sent finish; nothing new starts while paused."""
    mapping = find(request, slug, "mappings.read")
    if request.method != "POST":
        return _show(request, mapping)
    access.check(request.user, "runs.pause", mapping)
    form = pause_from(request, mapping.name, lambda reason, until, user: pause_mapping(mapping, reason, until, user))
    return redirect("mapping-pause", slug=slug) if form is None else _show(request, mapping, pause=form)


@requires("runs.pause")
@require_POST
def resume(request: HttpRequest, slug: str) -> HttpResponse:
    mapping = find(request, slug, "runs.pause")
    if resume_mapping(mapping, request.user):
        messages.success(request, f"{mapping.name} runs again. · What waited is read and decided now.")
    else:
        messages.info(request, f"{mapping.name} was not paused. · Nothing changed.")
    back = request.POST.get("next", "")
    return redirect("mapping", slug=slug) if back != "list" else redirect("mappings")


@requires("runs.pause")
@require_POST
def change(request: HttpRequest, slug: str) -> HttpResponse:
    """Add or remove quiet hours."""
    mapping = find(request, slug, "runs.pause")
    form = change_windows(request, mapping, {"mapping": mapping})
    if form is not None:
        return _show(request, mapping, **{form.prefix: form})
    hooks.wake(mapping.pk)
    return redirect("mapping-pause", slug=slug)
