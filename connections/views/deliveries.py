"""The log of received webhooks: what became of each and why; looking at their records again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_POST

from connections import hooks
from connections.access import requires
from connections.connectors.base import Hint
from connections.models import Connection, Delivery
from connections.usage import uses_of, visible_connections
from connections.views.health import health
from connections.views.kinds import kind_of
from syncadmin import filters
from syncadmin.paging import page

Outcome = Delivery.Outcome

EXPLAINED = {
    Outcome.WAITING: "It is stored; its records are marked in a moment.",
    Outcome.ACCEPTED: "Its sender is proved. Its records are looked at; our own writes coming back cost nothing.",
    Outcome.HINT: "Nothing proves who sent it. Its records are looked at, and nothing else is believed.",
    Outcome.NO_RECORD: "It tells of no record: a test, or another kind of event.",
    Outcome.OTHER_TYPE: "It tells of an object type that no mapping here syncs.",
    Outcome.NO_MAPPING: "No published mapping uses this connection.",
}
# What has records that can be looked at again.
WITH_RECORDS = (Outcome.ACCEPTED, Outcome.HINT, Outcome.OTHER_TYPE, Outcome.NO_MAPPING, Outcome.FAILED)
# Records looked at again by one request, and of one transaction of it; beyond that a shorter span is asked for.
MOST_RECORDS, AT_ONCE = 10_000, 500


@dataclass(frozen=True, slots=True)
class Line:
    row: Delivery
    why: str
    records: list[dict[str, Any]]  # the first few
    more: int
    again: bool


RECORDS_SHOWN = 3


def line_of(row: Delivery) -> Line:
    # What nothing proves is a hint; until it is taken in it waits like any other.
    why = row.reason if row.outcome not in EXPLAINED else EXPLAINED[Outcome(row.outcome)]
    shown = row.hints[:RECORDS_SHOWN]
    return Line(row, why, shown, len(row.hints) - len(shown), bool(row.hints) and row.outcome in WITH_RECORDS)


def _found(request: HttpRequest, pk: int) -> Connection:
    return get_object_or_404(visible_connections(request.user), pk=pk)


@requires("connections.read")
def listing(request: HttpRequest, pk: int) -> HttpResponse:
    connection = _found(request, pk)
    tidy = filters.tidy_address(request)
    if tidy:
        return redirect(tidy)
    chips = _chips(request)
    pager = page(request, _filtered(connection.deliveries.all(), chips))
    context = {
        "connection": connection,
        "kind": kind_of(connection),
        "health": health(connection, uses_of(connection)),
        "chips": chips,
        "set_chips": [chip for chip in chips if chip.value],
        "pager": pager,
        "lines": [line_of(row) for row in pager.rows],
        "since": request.GET.get("since", ""),
    }
    return render(request, "connections/deliveries.html", context)


def _chips(request: HttpRequest) -> list[filters.Filter]:
    return [
        filters.choice(request, "outcome", "Became", "anything", Outcome.choices),
        filters.text(request, "event", "Event", "any"),
        filters.text(request, "record", "Record", "any id"),
        filters.text(request, "from", "Sender", "any address"),
        filters.text(request, "since", "Since", "", kind="date"),
        filters.text(request, "until", "Until", "", kind="date"),
    ]


def _filtered(rows: QuerySet[Delivery], chips: list[filters.Filter]) -> QuerySet[Delivery]:
    values = {chip.name: chip.value for chip in chips}
    if values["outcome"]:
        rows = rows.filter(outcome=values["outcome"])
    if values["event"]:
        rows = rows.filter(event__icontains=values["event"])
    if values["record"]:
        rows = rows.filter(hints__icontains=f'"{values["record"]}"')
    if values["from"]:
        rows = rows.filter(sender=values["from"])
    for name, look_up, time in (("since", "received_at__gte", "00:00"), ("until", "received_at__lte", "23:59:59")):
        moment = _moment(f"{values[name]}T{time}") if values[name] else None
        if moment:
            rows = rows.filter(**{look_up: moment})
    return rows


def _moment(text: str) -> datetime | None:
    """A moment as a form sends it, in the site's time; None if it is none."""
    try:
        found = parse_datetime(text)
    except ValueError:
        return None
    return timezone.make_aware(found) if found and timezone.is_naive(found) else found


# Looking again. ------------------------------------------------------------------------------------------------------


@requires("deliveries.replay")
@require_POST
def replay_one(request: HttpRequest, pk: int, delivery: int) -> HttpResponse:
    connection = _found(request, pk)
    row = get_object_or_404(connection.deliveries, pk=delivery)
    _replay(request, connection, connection.deliveries.filter(pk=row.pk), row.received_at, row.received_at)
    return redirect("connection-deliveries", pk)


@requires("deliveries.replay")
@require_POST
def replay_span(request: HttpRequest, pk: int) -> HttpResponse:
    connection = _found(request, pk)
    since, until = _moment(request.POST.get("since", "")), _moment(request.POST.get("until", ""))
    if since is None or until is None or since > until:
        messages.error(
            request,
            "Nothing was looked at again: the span has no beginning, no end, or ends before it begins. · Nothing "
            "changed. · Enter both moments.",
        )
    else:
        rows = connection.deliveries.filter(received_at__gte=since, received_at__lte=until)
        _replay(request, connection, rows, since, until)
    return redirect("connection-deliveries", pk)


def _replay(
    request: HttpRequest, connection: Connection, rows: QuerySet[Delivery], since: datetime, until: datetime
) -> None:
    """Mark the records again. Their deliveries prove nothing any more but a deletion: each record takes a look."""
    rows = rows.filter(outcome__in=WITH_RECORDS)
    hints = list(dict.fromkeys(_hints(rows)))
    if not hints:
        messages.info(request, "None of these webhooks names a record. · Nothing is looked at again.")
        return
    if len(hints) > MOST_RECORDS:
        messages.error(
            request,
            f"More than {MOST_RECORDS:,} records are named in that time. · Nothing was marked. · "
            "Choose a shorter span, or verify the mapping instead.",
        )
        return
    number = rows.count()
    for start in range(0, len(hints), AT_ONCE):
        with transaction.atomic():
            hooks.ring(connection.pk, hints[start : start + AT_ONCE])
            if not start:
                hooks.audit(
                    "replay",
                    "deliveries_replayed",
                    user=request.user,
                    connection_id=connection.pk,
                    object_label=connection.name,
                    params={
                        "number": number,
                        "records": len(hints),
                        "since": f"{since:%Y-%m-%d %H:%M:%S}",
                        "until": f"{until:%Y-%m-%d %H:%M:%S}",
                    },
                )
    records = "1 record is" if len(hints) == 1 else f"{len(hints):,} records are"
    messages.success(request, f"{records} looked at again, of {number:,} webhook{'' if number == 1 else 's'}.")


def _hints(rows: QuerySet[Delivery]) -> Iterator[Hint]:
    """At most one more than may be."""
    found: set[Hint] = set()
    for verified, hints in rows.order_by("pk").values_list("verified", "hints").iterator(chunk_size=500):
        for one in hints:
            hint = Hint(one["object_type"], one["external_id"], deleted=bool(one.get("deleted")), verified=verified)
            found.add(hint)
            yield hint
        if len(found) > MOST_RECORDS:
            return
