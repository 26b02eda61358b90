"""Live changes of a connection: its webhook address, setting it up and ending it at the system, the first event."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST

from connections import hooks
from connections.access import can, requires
from connections.connectors import connector_class
from connections.connectors.base import Connector, ConnectorError, DeliveryRequest, Refused, Step
from connections.models import Connection, new_webhook_token
from connections.open import delivery_reader, open_connector
from connections.usage import uses_of, visible_connections
from connections.views.health import health, webhook_url
from connections.views.kinds import kind_of


def _found(request: HttpRequest, pk: int) -> Connection:
    return get_object_or_404(visible_connections(request.user), pk=pk)


def _audit(request: HttpRequest, code: str, connection: Connection, **details: Any) -> None:
    name = _label(connection)
    hooks.audit(
        "config",
        code,
        user=request.user,
        connection_id=connection.pk,
        object_label=connection.name,
        params={"system": name},
        **details,
    )


def _label(connection: Connection) -> str:
    kind = kind_of(connection)
    return kind.label if kind else connection.kind


@requires("connections.read")
def page(request: HttpRequest, pk: int) -> HttpResponse:
    connection = _found(request, pk)
    kind = kind_of(connection)
    uses = uses_of(connection)
    mine = kind is not None and can(request.user, "connections.edit")
    context = {
        "connection": connection,
        "kind": kind,
        "uses": uses,
        "health": health(connection, uses),
        "webhook_url": webhook_url(connection) if mine else "",
        "steps": steps(connection) if mine else [],
        "provable": not kind or _can_be_proved(connection),
        "senders": str((connection.settings or {}).get("webhook_senders") or "").split(),
    }
    return render(request, "connections/live.html", context)


@requires("connections.read")
def first(request: HttpRequest, pk: int) -> HttpResponse:
    """The part of the page that waits for the first event."""
    return render(request, "connections/_first.html", {"connection": _found(request, pk)})


def _wanted(connection: Connection) -> list[tuple[list[str], dict[str, Any]]]:
    """(object types, scope): what mappings must be told of."""
    by_scope: dict[str, set[str]] = defaultdict(set)
    for use in uses_of(connection):
        by_scope[json.dumps(use.scope, sort_keys=True)].add(use.object_type)
    return [(sorted(types), json.loads(scope)) for scope, types in by_scope.items()]


def steps(connection: Connection) -> list[Step]:
    """What an administrator does by hand, for all scopes; none while no mapping says what for."""
    try:
        connector: Connector = delivery_reader(connection)
        found = [
            step
            for types, scope in _wanted(connection)
            for step in connector.steps_by_hand(types, scope, webhook_url(connection))
        ]
    except (ConnectorError, NotImplementedError):
        return []
    return list(dict.fromkeys(found))


def _can_be_proved(connection: Connection) -> bool:
    """Whether a sender could prove itself: what is needed for that is agreed."""
    try:
        connector = delivery_reader(connection)
    except ConnectorError:
        return False
    return connector.verdict(DeliveryRequest("POST", "/", {}, b"")).provable


def _subscribes(connection: Connection) -> bool:
    try:
        return connector_class(connection.kind).capabilities.subscribes
    except KeyError:
        return False


@requires("connections.edit")
@require_POST
def subscribe(request: HttpRequest, pk: int) -> HttpResponse:
    """Have the system call our webhook for what its mappings need; what was set up before is replaced."""
    connection = _found(request, pk)
    if not _subscribes(connection):
        messages.info(request, f"{_label(connection)} lets nobody set this up from outside. · Follow the steps below.")
    elif not _wanted(connection):
        messages.info(request, "No mapping uses this connection yet. · So there is nothing to be told about.")
    elif _set_up(request, connection):
        messages.success(request, f"{connection.name} now calls our webhook.")
    return redirect("connection-live", pk)


def _set_up(request: HttpRequest, connection: Connection) -> bool:
    refused = []
    try:
        connector = open_connector(connection)
        connector.unsubscribe()
        wanted = _wanted(connection)
        for types, scope in wanted:
            try:
                connector.subscribe(types, scope, webhook_url(connection))
            except Refused as error:  # of these object types; others may be told of
                refused.append(error)
        if refused and len(refused) == len(wanted):
            raise refused[0]
    except ConnectorError as error:
        messages.error(
            request,
            f"The webhook could not be set up. · {error.message} Until then we ask regularly. · "
            "Follow the steps below, or correct it and try again.",
        )
        return False
    for one in refused:
        messages.warning(request, one.message)
    with transaction.atomic():
        Connection.objects.filter(pk=connection.pk).update(webhook_set_up_at=timezone.now())
        _audit(request, "webhook_set_up", connection)
    return True


@requires("connections.edit")
@require_POST
def unsubscribe(request: HttpRequest, pk: int) -> HttpResponse:
    """Have the system call our webhook no longer, where we set it up."""
    connection = _found(request, pk)
    if not _subscribes(connection):
        messages.info(request, "It was set up by hand. · Nothing changed. · End it at the system, the same way.")
        return redirect("connection-live", pk)
    try:
        open_connector(connection).unsubscribe()
    except ConnectorError as error:
        messages.error(request, f"The webhook could not be ended. · {error.message} · Try again, or end it by hand.")
        return redirect("connection-live", pk)
    with transaction.atomic():
        Connection.objects.filter(pk=connection.pk).update(webhook_set_up_at=None)
        _audit(request, "webhook_ended", connection)
    messages.success(request, f"{connection.name} calls our webhook no longer. · Changes are found by polls.")
    return redirect("connection-live", pk)


@requires("connections.edit")
@require_POST
def replace_address(request: HttpRequest, pk: int) -> HttpResponse:
    """Another unguessable address; where we registered the old one, the new one takes its place at once."""
    connection = _found(request, pk)
    registered = connection.webhook_set_up_at is not None
    connection.webhook_token = new_webhook_token()
    connection.webhook_made_at, connection.bell_first_at = timezone.now(), None
    with transaction.atomic():
        connection.save(update_fields=["webhook_token", "webhook_made_at", "bell_first_at"])
        _audit(request, "webhook_address_replaced", connection)
    if registered and _subscribes(connection) and _set_up(request, connection):
        messages.success(request, f"The address was replaced, and {connection.name} calls the new one.")
    else:
        messages.warning(
            request,
            "The address was replaced: the old one is refused from now on. · Nothing is lost; polls find changes. · "
            "Enter the new one at the system.",
        )
    return redirect("connection-live", pk)
