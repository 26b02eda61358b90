"""What people do with a connection: test it, accept another account."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from connections import breaker, hooks
from connections.access import requires
from connections.connectors.base import ConnectorError
from connections.models import Connection
from connections.open import FoundAnother, accept_account
from connections.open import test_connection as run_test
from connections.pauses import answers_as_another
from connections.usage import uses_of, visible_connections

State = Connection.State


def _found(request: HttpRequest, pk: int) -> Connection:
    return get_object_or_404(visible_connections(request.user), pk=pk)


def _audit(request: HttpRequest, action: str, code: str, connection: Connection, **details: Any) -> None:
    hooks.audit(action, code, user=request.user, connection_id=connection.pk, object_label=connection.name, **details)


def _wake_mappings(connection: Connection) -> None:
    """Changes waited while the connection could not be used: look for them now."""
    for use in uses_of(connection):
        hooks.wake(use.mapping.pk)


@requires("connections.test")
@require_POST
def test(request: HttpRequest, pk: int) -> HttpResponse:
    connection = _found(request, pk)
    before = connection.state
    try:
        result = run_test(connection)
    except ConnectorError as error:
        _audit(request, "test", "connection_test_failed", connection, params={"message": error.message})
        messages.error(request, f"The test of {connection.name} failed. · {error.message}")
        return redirect("connection", pk)
    _audit(
        request,
        "test",
        "connection_tested",
        connection,
        params={"account": result.account_name, "missing": list(result.missing), "state": connection.state},
    )
    if answers_as_another(connection):  # which a pause does not hide
        messages.warning(
            request, f"{connection.name} answers, but as somebody else. · Nothing is synced until you decide."
        )
    elif result.missing:
        count = len(result.missing)
        names = "permission is" if count == 1 else "permissions are"
        messages.warning(request, f"{connection.name} answers, but {count} {names} missing. · What needs them waits.")
    else:
        messages.success(request, f"{connection.name} works.")
    breaker.close(connection)
    if before != State.OK and connection.state == State.OK:
        _wake_mappings(connection)
    return redirect("connection", pk)


@requires("connections.test")
@require_POST
def probe(request: HttpRequest, pk: int) -> HttpResponse:
    """Try a connection that is left alone because it did not answer, without waiting for the time of its probe."""
    connection = _found(request, pk)
    if connection.down_since is None:
        messages.info(request, f"{connection.name} is called as usual. · Nothing had to be tried.")
        return redirect("connection", pk)
    answers = breaker.probe(connection, by_person=True)
    connection.refresh_from_db()
    if connection.state == State.PAUSED:
        messages.info(request, f"{connection.name} is paused. · No run calls it before the pause ends.")
    elif answers is None:
        messages.info(request, f"{connection.name} is being tried just now. · Look again in a few seconds.")
    elif connection.down_since is None and connection.usable:
        messages.success(request, f"{connection.name} answers again. · What waited goes out now.")
    elif connection.down_since is None:
        messages.warning(
            request, f"{connection.name} answers again, but needs a person. · Changes wait. · {connection.state_reason}"
        )
    else:
        why = connection.state_reason
        again = (
            f"It is tried again at {timezone.localtime(connection.probe_at):%H:%M:%S}." if connection.probe_at else ""
        )
        messages.error(
            request,
            f"{connection.name} still does not answer: {why} · Nothing is lost; changes wait. · {again}",
        )
    _audit(request, "test", "connection_probed", connection, params={"state": connection.state})
    return redirect("connection", pk)


@requires("connections.edit")
@require_POST
def accept(request: HttpRequest, pk: int) -> HttpResponse:
    """Take the account or site that the page showed, as the last test found it, as the right one."""
    connection = _found(request, pk)
    if connection.state == State.ACCOUNT_CHANGED:
        before = {"account": connection.account_name, "tenant": connection.tenant}
        try:
            with transaction.atomic():
                accept_account(connection, request.POST)
                after = {"account": connection.account_name, "tenant": connection.tenant}
                _audit(request, "config", "connection_account_accepted", connection, before=before, after=after)
        except FoundAnother:
            messages.error(
                request,
                f"{connection.name} was tested again meanwhile and answers as somebody else than you saw. · Nothing "
                "was accepted; its mappings stay halted. · Look at who answers now, then decide.",
            )
            return redirect("connection", pk)
        _wake_mappings(connection)
        messages.success(request, f"{connection.name} uses {connection.account_name} from now on.")
    return redirect("connection", pk)
