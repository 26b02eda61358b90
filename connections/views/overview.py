"""The list of connections, and the page of one: its last test, its limits, its webhooks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone

from connections import calls
from connections.access import requires
from connections.budget import LANES
from connections.connectors import connector_class
from connections.connectors.base import Capabilities
from connections.credentials import masked
from connections.forecast import Forecast, forecast
from connections.forms import dict_of
from connections.models import Connection
from connections.overwrites import detection, exception
from connections.pauses import standstill
from connections.usage import calls_last_hour, uses_of, visible_connections
from connections.views.deliveries import line_of
from connections.views.health import health, webhook_url
from connections.views.kinds import kind_of
from connections.windows import is_over, words

DELIVERIES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the last test. kind: ok, warn or bad."""

    kind: str
    icon: str
    head: str
    text: str = ""


@requires("connections.read")
def listing(request: HttpRequest) -> HttpResponse:
    found = list(visible_connections(request.user).prefetch_related("left_mappings", "right_mappings"))
    rows = [{"connection": one, "kind": kind_of(one), "uses": uses_of(one)} for one in found]
    troubled = sum(one.state in NEED_A_PERSON for one in found)
    return render(request, "connections/list.html", {"rows": rows, "title": _answer(len(found), troubled)})


NEED_A_PERSON = (Connection.State.SIGN_IN, Connection.State.ACCOUNT_CHANGED)


def _answer(count: int, troubled: int) -> str:
    if troubled:
        return f"{troubled} of {count} connections {'needs' if troubled == 1 else 'need'} you"
    if count == 1:
        return "One connection"
    return f"{count} connections" if count else "No connections yet"


@requires("connections.read")
def show(request: HttpRequest, pk: int) -> HttpResponse:
    connection = get_object_or_404(visible_connections(request.user), pk=pk)
    kind = kind_of(connection)
    able = kind.capabilities if kind else None
    uses = uses_of(connection)
    deliveries = list(connection.deliveries.all()[:DELIVERIES_SHOWN])
    day = timezone.now() - timedelta(days=1)
    context = {
        "connection": connection,
        "kind": kind,
        "uses": uses,
        "still": standstill(connection, timezone.now()),
        "window_words": [words(one) for one in connection.windows if not is_over(one, timezone.now())],
        "findings": findings(connection),
        "able": able,
        "behaviour": behaviour(able, kind.blind_in, kind.looks_at) if kind and able else [],
        "secrets": stored_secrets(connection),
        "calls": calls_last_hour(uses),
        "spent": spent_of(connection, able.rate_per_second) if able else None,
        "waiting": connection.retry_after
        if connection.retry_after and connection.retry_after > timezone.now()
        else None,
        "webhook_url": webhook_url(connection),
        "deliveries": [line_of(row) for row in deliveries],
        "refused_today": connection.deliveries.filter(outcome="refused", received_at__gte=day).count(),
        "health": health(connection, uses),
        "drift": abs(connection.clock_offset or 0.0),
    }
    return render(request, "connections/show.html", context)


# Lanes of the rate budget for people, from the one that goes first.
LANE_WORDS = {
    "live": "Live edits, and people",
    "retry": "Retries",
    "backfill": "First runs and long lists",
    "verify": "Verifications",
}


@dataclass(frozen=True, slots=True)
class LaneUse:
    """Calls of one lane. `share`: percent of the budget at which it stops; the rest is kept for those above."""

    name: str
    hour: int
    day: int
    share: int


@dataclass(frozen=True, slots=True)
class Spent:
    lanes: list[LaneUse]
    hour: int
    day: int
    since: datetime | None
    forecast: Forecast
    runs_out_at: datetime | None
    known: bool
    told: bool  # the system says what is left

    @property
    def verdict(self) -> str:
        return {"ok": "Enough", "warn": "Nearly used up", "bad": "Runs out"}[self.forecast.kind]


def spent_of(connection: Connection, rate: float) -> Spent:
    """The calls of all workers by lane, and how far they go at this pace. `rate`: our own limit, calls a second."""
    found, now = calls.counted(connection.pk), timezone.now()
    lanes = [
        LaneUse(words, found.hour[lane], found.day[lane], round(LANES[lane] * 100))
        for lane, words in LANE_WORDS.items()
    ]
    ahead = forecast(found.quota, found.per_hour(now.timestamp()), rate, now.timestamp())
    out = now + timedelta(seconds=ahead.runs_out_in) if ahead.runs_out_in is not None else None
    return Spent(
        lanes, found.hour.total(), found.day.total(), found.since, ahead, out, found.known, found.quota is not None
    )


def stored_secrets(connection: Connection) -> list[tuple[str, str]]:
    """(label, masked hint) of each secret there is."""
    try:
        labels = {declared.name: declared.label for declared in connector_class(connection.kind).form}
    except KeyError:
        labels = {}
    return [
        (labels.get(name, name), masked(str(value))) for name, value in dict_of(connection.secrets).items() if value
    ]


def findings(connection: Connection) -> list[Finding]:
    """What the last test found, worst first."""
    found: dict[str, Any] = connection.check_result or {}
    if not found:
        return []
    lines = [Finding("bad", "xc", "Missing:", name) for name in found.get("missing", ())]
    if found.get("personal_account"):
        lines.append(
            Finding(
                "warn",
                "user",
                "A person seems to use this account too.",
                "Their edits and our writes cannot be told apart there. Better give SyncAdmin an account of its own.",
            )
        )
    lines += [
        Finding("warn", "warn", "", note) if "same account" in note else Finding("ok", "okc", "", note)
        for note in found.get("notes", ())
    ]
    lines.append(Finding("ok", "okc", "Signed in", f"as {found.get('account_name') or found.get('account_id')}"))
    if found.get("tenant"):
        lines.append(Finding("ok", "okc", "Site", f"{found['tenant']}, pinned: another one behind this address halts"))
    if not found.get("missing"):
        lines.append(Finding("ok", "okc", "Permissions", "nothing missing"))
    if found.get("rate_limit"):
        lines.append(Finding("ok", "speed", "Limit", found["rate_limit"]))
    return sorted(lines, key=lambda line: ("bad", "warn", "ok").index(line.kind))


def behaviour(able: Capabilities, blind_in: Mapping[str, str], looks_at: str = "") -> list[tuple[str, str]]:
    """The declared capabilities, in words."""
    bells = {"webhook": "it calls our webhook", "stream": "we listen to its change stream", "none": "polling alone"}
    deletions = {
        "webhook": "told by its webhook, and looked for in a complete listing every hour",
        "stream": "told by its change stream, and looked for in a complete listing every hour",
        "none": "looked for in a complete listing every hour",
    }
    overwrite = detection(able, looks_at)
    writes = f"; writes {able.writes_per_second:g} a second" if able.writes_per_second else ""
    return [
        ("Live changes", bells[able.bell]),
        ("Batch", f"{able.bulk_read} reads, {able.bulk_write} writes"),
        ("At once", f"{able.concurrency} calls, at most {able.rate_per_second:g} a second{writes}"),
        ("Creates", "safe to repeat" if able.idempotent_create else "looked up by our key before a repeat"),
        ("Overwrite check", f"{overwrite.what} {overwrite.meaning}{exception(blind_in)}"),
        ("Deletions", "listed by the system" if able.lists_deletions else deletions[able.bell]),
        ("Who changed what", "field history" if able.field_history else "the record's last editor"),
        ("Polls read again", f"{able.overlap:g} s each time, {2 * able.lookback:g} s once in {able.lookback:g} s"),
    ]
