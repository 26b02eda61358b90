"""Pause, resume and maintenance windows of a connection; the pages of mappings use the parts that are alike."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST

from connections import access, hooks, windows
from connections.access import requires
from connections.models import Connection, Pausable
from connections.pause_forms import MOST_WINDOWS, PauseForm, SingleWindowForm, WeeklyWindowForm
from connections.pauses import pause_connection, resume_connection, standstill
from connections.usage import uses_of, visible_connections

FORMS: dict[str, type[WeeklyWindowForm | SingleWindowForm]] = {"weekly": WeeklyWindowForm, "single": SingleWindowForm}


# What mappings and connections share. ---------------------------------------------------------------------------


def context_of(row: Pausable, pause: PauseForm | None = None, **bound: Any) -> dict[str, Any]:
    """What the page shows of `row`: whether it stands still, its windows, and the forms (`bound`: one with errors)."""
    now = timezone.now()
    shown = [
        {"id": one["id"], "words": windows.words(one), "note": one.get("note", ""), "open": windows.is_open([one], now)}
        for one in row.windows
        if not windows.is_over(one, now)
    ]
    return {
        "row": row,
        "still": standstill(row, now),
        "windows": shown,
        "next": None if windows.is_open(row.windows, now) else windows.next_change(row.windows, now),
        "pause_form": pause or PauseForm(),
        # Two forms with a field of the same name on one page: their labels must not lead to the other one's.
        **{name: bound.get(name) or form(prefix=name) for name, form in FORMS.items()},
    }


def change_windows(request: HttpRequest, row: Pausable, told: dict[str, Any]) -> Any:
    """Add or remove a window as posted, audited with `told`. Returns a form with errors, or None."""
    kind = request.POST.get("add", "")
    if kind not in FORMS:
        _remove(request, row, told)
        return None
    form = FORMS[kind](request.POST, prefix=kind)
    if not form.is_valid():
        return form
    window = form.window()
    with transaction.atomic():
        locked = _locked(row)
        kept = [one for one in locked.windows if not windows.is_over(one, timezone.now())]
        wrong = windows.problem([*kept, window])
        if len(kept) >= MOST_WINDOWS:
            wrong = f"There are {MOST_WINDOWS} windows already. Remove one first."
        if wrong:
            form.add_error(None, wrong)
            return form
        _store(request, locked, [*kept, window], "window_added", window, told)
    messages.success(
        request,
        f"The window is added: {windows.words(window)}. · Within it {row} neither reads nor writes, and changes "
        "wait. · It goes on by itself.",
    )
    return None


def _remove(request: HttpRequest, row: Pausable, told: dict[str, Any]) -> None:
    with transaction.atomic():
        locked = _locked(row)
        gone = next((one for one in locked.windows if one["id"] == request.POST.get("remove")), None)
        if gone is not None:
            kept = [one for one in locked.windows if one is not gone]
            _store(request, locked, kept, "window_removed", gone, told)
    if gone is None:
        messages.info(request, "That window was not there any more. · Nothing changed.")
    else:
        messages.success(request, f"The window is removed: {windows.words(gone)}. · What waited is looked at now.")


def _locked(row: Pausable) -> Any:
    return type(row)._default_manager.select_for_update(no_key=True).get(pk=row.pk)


def _store(
    request: HttpRequest, row: Any, kept: list[Any], code: str, window: dict[str, Any], told: dict[str, Any]
) -> None:
    type(row)._default_manager.filter(pk=row.pk).update(windows=kept)
    params = {"name": str(row), "window": windows.words(window), "note": window.get("note", "")}
    hooks.audit("config", code, user=request.user, params=params, before=row.windows, after=kept, **told)


def pause_from(request: HttpRequest, name: str, pause: Callable[[str, datetime | None, Any], bool]) -> PauseForm | None:
    """Carry a posted pause out by `pause(reason, until, user)`; a form with errors, or None."""
    form = PauseForm(request.POST)
    if not form.is_valid():
        return form
    until = form.cleaned_data["until"]
    if not pause(form.cleaned_data["reason"], until, request.user):
        messages.info(request, f"{name} does not run anyway. · Nothing changed.")
    else:
        ends = f"It goes on at {timezone.localtime(until):%-d %b, %H:%M %Z}." if until else "Resume it to go on."
        messages.success(
            request, f"{name} is paused. · Nothing is lost: changes on both sides are kept and wait. · {ends}"
        )
    return None


# Connections. ---------------------------------------------------------------------------------------------------


def _found(request: HttpRequest, pk: int) -> Connection:
    return get_object_or_404(visible_connections(request.user), pk=pk)


def _wake(connection: Connection) -> None:
    for use in uses_of(connection):
        hooks.wake(use.mapping.pk)


def _show(request: HttpRequest, connection: Connection, **forms: Any) -> HttpResponse:
    context = {**context_of(connection, **forms), "connection": connection}
    context["may_pause"] = access.can(request.user, "connections.pause")
    return render(request, "connections/pause.html", context)


@requires("connections.read")
def pause(request: HttpRequest, pk: int) -> HttpResponse:
    connection = _found(request, pk)
    if request.method != "POST":
        return _show(request, connection)
    access.check(request.user, "connections.pause")
    form = pause_from(
        request, connection.name, lambda reason, until, user: pause_connection(connection, reason, until, user)
    )
    return redirect("connection", pk) if form is None else _show(request, connection, pause=form)


@requires("connections.pause")
@require_POST
def resume(request: HttpRequest, pk: int) -> HttpResponse:
    connection = _found(request, pk)
    if resume_connection(connection, request.user):
        _wake(connection)
        messages.success(request, f"{connection.name} goes on.")
    return redirect("connection", pk)


@requires("connections.pause")
@require_POST
def change(request: HttpRequest, pk: int) -> HttpResponse:
    """Add or remove a maintenance window."""
    connection = _found(request, pk)
    form = change_windows(request, connection, {"connection_id": connection.pk, "object_label": connection.name})
    if form is not None:
        return _show(request, connection, **{form.prefix: form})
    _wake(connection)
    return redirect("connection-pause", pk)
