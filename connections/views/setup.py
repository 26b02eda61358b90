"""Set connections up: choose a system, fill its form, change it, delete it."""

from __future__ import annotations

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from connections import hooks
from connections.access import requires
from connections.connectors import all_connectors, connector_class
from connections.connectors.base import Connector
from connections.describing import KIND as DESCRIBED
from connections.describing import snapshot
from connections.forms import ConnectionForm
from connections.models import Connection
from connections.usage import uses_of
from connections.views.kinds import described
from syncadmin.seen import state_digest


@requires("connections.edit")
def choose(request: HttpRequest) -> HttpResponse:
    return render(
        request, "connections/choose.html", {"kinds": [described(connector) for connector in all_connectors()]}
    )


def _kind_or_404(name: str) -> type[Connector]:
    try:
        return connector_class(name)
    except KeyError:
        raise Http404 from None


@requires("connections.edit")
def create(request: HttpRequest, kind: str) -> HttpResponse:
    connector = _kind_or_404(kind)
    form = ConnectionForm(connector, Connection(kind=kind), request.POST or None)
    if form.is_valid():
        with transaction.atomic():
            connection = form.save()
            hooks.audit(
                "config",
                "connection_created",
                user=request.user,
                connection_id=connection.pk,
                object_label=connection.name,
                after=snapshot(connection),
            )
        messages.success(request, f"{connection.name} is saved. · Nothing was called yet. · Test it now.")
        return redirect("connection", connection.pk)
    return render(
        request,
        "connections/form.html",
        {"form": form, "kind": described(connector)},
        status=422 if form.errors else 200,
    )


@requires("connections.edit")
def edit(request: HttpRequest, pk: int) -> HttpResponse:
    connection = get_object_or_404(Connection, pk=pk)
    if connection.kind == DESCRIBED:
        return redirect("api", pk)
    connector = _kind_or_404(connection.kind)
    before = snapshot(connection)
    seen = state_digest(before)
    form = ConnectionForm(connector, connection, request.POST or None)
    moved = form.differences() if form.is_valid() and request.POST.get("seen") != seen else []
    if form.is_valid() and not moved:
        with transaction.atomic():
            form.save()
            hooks.audit(
                "config",
                "connection_changed",
                user=request.user,
                connection_id=connection.pk,
                object_label=connection.name,
                params={"replaced": form.replaced_secrets},
                before=before,
                after=snapshot(connection),
            )
        messages.success(request, f"{connection.name} is saved.")
        return redirect("connection", connection.pk)
    context = {
        "form": form,
        "kind": described(connector),
        "connection": connection,
        "seen": request.POST.get("seen", "") if form.errors else seen,  # theirs is shown with the first valid form
        "moved": moved,
    }
    status = 422 if form.errors else 409 if moved else 200
    return render(request, "connections/form.html", context, status=status)


@requires("connections.edit")
def delete(request: HttpRequest, pk: int) -> HttpResponse:
    connection = get_object_or_404(Connection, pk=pk)
    uses = uses_of(connection)
    if request.method == "POST" and not uses:
        before = snapshot(connection)
        with transaction.atomic():
            hooks.audit(
                "config",
                "connection_deleted",
                user=request.user,
                connection_id=connection.pk,
                object_label=connection.name,
                before=before,
            )
            connection.delete()
        messages.success(request, f"{before['name']} is deleted. · No record of any system was touched.")
        return redirect("connections")
    context = {"connection": connection, "uses": uses}
    return render(request, "connections/delete.html", context, status=409 if request.method == "POST" else 200)
