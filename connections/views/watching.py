"""Triggers: which object types a system writes changes down for, and having it begin or end that."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from connections import hooks
from connections.access import requires
from connections.connectors.base import ConnectorError
from connections.models import Connection
from connections.open import open_connector
from connections.usage import uses_of, visible_connections
from connections.views.kinds import kind_of

ACTS = {"install": "watch_installed", "remove": "watch_removed"}


@requires("connections.edit")
def page(request: HttpRequest, pk: int) -> HttpResponse:
    connection = get_object_or_404(visible_connections(request.user), pk=pk)
    kind = kind_of(connection)
    if kind is None or not kind.watches:
        raise Http404
    if request.method == "POST":
        return _act(request, connection)
    used = {use.object_type for use in uses_of(connection)}
    context: dict[str, Any] = {"connection": connection, "kind": kind, "used": used, "watches": [], "trouble": ""}
    try:
        found = open_connector(connection).watched()
        context["watches"] = sorted(found, key=lambda one: (one.object_type not in used, not one.on, one.label))
    except ConnectorError as error:
        context["trouble"] = error.message or "The system did not answer."
    return render(request, "connections/watching.html", context)


def _act(request: HttpRequest, connection: Connection) -> HttpResponse:
    act, object_type = request.POST.get("act", ""), request.POST.get("object_type", "")
    if act not in ACTS or not object_type:
        raise Http404
    try:
        connector = open_connector(connection)
        said = connector.watch(object_type) if act == "install" else connector.unwatch(object_type)
    except ConnectorError as error:
        messages.error(request, f"Nothing was changed at {connection.name}. · {error.message}")
        return redirect("connection-watching", connection.pk)
    hooks.audit(
        "config",
        ACTS[act],
        user=request.user,
        connection_id=connection.pk,
        object_label=connection.name,
        params={"object_type": object_type},
    )
    messages.success(request, said)
    return redirect("connection-watching", connection.pk)
