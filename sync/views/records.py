"""Records: every linked pair, the search by any id or address, and the page of one pair."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_POST

from connections.access import can, check, requires
from mappings.models import Mapping as SyncMapping
from sync import approval, hints, instructions, jobs
from sync.asked import may_resume
from sync.models import (
    AuditEntry,
    ChangedRecord,
    Conflict,
    Instruction,
    Link,
    Operation,
    Verification,
    VerifiedDifference,
)
from sync.session import SIDES
from sync.views._now import as_agreed, compiled_of, look
from sync.views._progress import progress_of
from sync.views._timeline import events
from sync.views._unlinked import known_of_unlinked
from sync.views._values import last_part, system_names
from sync.views._why import known_of, why
from syncadmin import filters
from syncadmin.paging import page

PAGE_SIZE = 50
TIMELINE_SIZE = 40
# A search that fits more than this is too wide to be read; a longer text narrows it.
MOST_FOUND = 50
STATES = (
    ("active", "Linked"),
    ("differs", "Differs"),
    ("creating", "Being created"),
    ("held", "Held"),
    ("unlinked", "Unlinked"),
    ("deleted", "Deleted"),
)


@dataclass(frozen=True, slots=True)
class Pager:
    """Keyset paging by the last change: as syncadmin.paging, whose key is the id."""

    rows: list[Link]
    older: str | None
    newer: str | None


def by_change(request: HttpRequest, links: QuerySet[Link]) -> Pager:
    """Newest change first; `?after=` and `?before=` hold the time and the id of the row to go on from."""
    after, before = _position(request.GET.get("after", "")), _position(request.GET.get("before", ""))
    if before:
        at, pk = before
        newer = links.filter(Q(changed_at__gt=at) | Q(changed_at=at, pk__gt=pk)).order_by("changed_at", "pk")
        found = list(newer[: PAGE_SIZE + 1])
        shown = found[:PAGE_SIZE][::-1]
        more = len(found) > PAGE_SIZE
        return Pager(shown, _mark(shown[-1]) if shown else None, _mark(shown[0]) if more else None)
    if after:
        at, pk = after
        links = links.filter(changed_at__lte=at).filter(Q(changed_at__lt=at) | Q(pk__lt=pk))
    found = list(links.order_by("-changed_at", "-pk")[: PAGE_SIZE + 1])
    shown = found[:PAGE_SIZE]
    return Pager(
        shown,
        _mark(shown[-1]) if len(found) > PAGE_SIZE else None,
        _mark(shown[0]) if shown and after else None,
    )


def _mark(link: Link) -> str:
    return f"{link.changed_at.isoformat()}_{link.pk}"


def _position(text: str) -> tuple[datetime, int] | None:
    stamp, _, pk = text.partition("_")
    try:
        at = parse_datetime(stamp)
    except ValueError:
        return None
    return (at, int(pk)) if at and at.tzinfo and pk.isdecimal() and len(pk) < 19 else None


def _visible(user: Any) -> QuerySet[Link]:
    return Link.objects.visible_to(user).select_related(
        "mapping__left_connection", "mapping__right_connection", "mapping__published", "mapping__run_state"
    )


# The list. -------------------------------------------------------------------------------------------------------


@requires("records.read")
def listing(request: HttpRequest) -> HttpResponse:
    tidy = filters.tidy_address(request)
    if tidy is not None:
        return redirect(tidy)
    mappings = list(SyncMapping.objects.visible_to(request.user).values_list("slug", "name"))
    chips = [
        filters.choice(request, "mapping", "Mapping", "any", mappings),
        filters.choice(request, "state", "State", "any", STATES),
        filters.text(request, "version", "Written under version", "", "set"),
    ]
    chosen = {chip.name: chip.value for chip in chips}
    links = _with_troubles(_visible(request.user))
    if chosen["mapping"]:
        links = links.filter(mapping__slug=chosen["mapping"])
    if chosen["state"] == "differs":
        links = links.filter(Q(waits=True) | Q(differed=True) | ~Q(agreed_differences={}))
    elif chosen["state"]:
        links = links.filter(state=chosen["state"])
    if chosen["version"]:
        number = int(chosen["version"]) if chosen["version"].isdecimal() and len(chosen["version"]) < 9 else 0
        written = Operation.objects.filter(link=OuterRef("pk"), state=Operation.State.CONFIRMED, version__number=number)
        links = links.filter(Exists(written))
    pager = by_change(request, links)
    context = {
        "pager": pager,
        "rows": [_with_names(link) for link in pager.rows],
        "chips": chips,
        "filtered": [chip for chip in chips if chip.value],
    }
    return render(request, "sync/records/list.html", context)


def _with_troubles(links: QuerySet[Link]) -> QuerySet[Link]:
    """`waits`: for a decision; `differed`: when the pairs were last compared, and not written to since."""
    waiting = Conflict.objects.filter(link=OuterRef("pk"), state__in=("open", "resolving"))
    # A complete comparison has the last word on every pair, a sample on none but its own.
    newer = Verification.objects.filter(
        mapping=OuterRef("verification__mapping"),
        kind=Verification.Kind.COMPLETE,
        state=Verification.State.DONE,
        pk__gt=OuterRef("verification"),
    )
    found = VerifiedDifference.objects.filter(
        ~Exists(newer),
        link=OuterRef("pk"),
        kind__in=(VerifiedDifference.Kind.DRIFT, VerifiedDifference.Kind.MISSING),
        verification__created_at__gte=OuterRef("changed_at"),
    )
    return links.annotate(waits=Exists(waiting), differed=Exists(found)).defer("left_bases", "right_bases")


def _with_names(link: Link) -> dict[str, Any]:
    return {"link": link, "names": system_names(link.mapping)}


# Search. ---------------------------------------------------------------------------------------------------------


@requires("records.read")
def search(request: HttpRequest) -> HttpResponse:
    """By id, key, address or title. One exact hit opens its page."""
    asked = request.GET.get("q", "").strip().replace("\0", "")[:500]
    if not asked:
        return redirect("records")
    text = last_part(asked)
    links = _with_troubles(_visible(request.user))
    exact = list(links.filter(_named(text)).order_by("-changed_at")[:MOST_FOUND]) if text else []
    if len(exact) == 1:
        return redirect("record", pk=exact[0].pk)
    found = exact or list(links.filter(title__icontains=asked).order_by("-changed_at")[:MOST_FOUND])
    context = {
        "asked": asked,
        "text": text or asked,
        "rows": [_with_names(link) for link in found],
        "most": len(found) == MOST_FOUND,
        "unlinked": [] if found or not text else known_of_unlinked(request.user, text),
        "mappings": [] if found else SyncMapping.objects.visible_to(request.user)[:MOST_FOUND],
    }
    return render(request, "sync/records/search.html", context)


def _named(text: str) -> Q:
    spellings = list({text, text.upper()})
    return (
        Q(left_id=text)
        | Q(right_id=text)
        | Q(left_key__in=spellings)
        | Q(right_key__in=spellings)
        | Q(identity__key=text)
    )


# One pair. -------------------------------------------------------------------------------------------------------


def _find(request: HttpRequest, pk: int, action: str = "records.read") -> Link:
    link: Link = get_object_or_404(_visible(request.user).select_related("identity"), pk=pk)
    check(request.user, action, link.mapping)
    return link


@requires("records.read")
def record(request: HttpRequest, pk: int) -> HttpResponse:
    link = _find(request, pk)
    mapping = link.mapping
    names = system_names(mapping)
    compiled, known = compiled_of(mapping), known_of(link)
    pager = page(request, AuditEntry.objects.filter(link_id=link.pk), TIMELINE_SIZE)
    asked = request.GET.get("asked", "")
    instruction = (
        Instruction.objects.filter(link=link, pk=int(asked)).select_related("link", "mapping").first()
        if asked.isdecimal() and len(asked) < 19
        else None
    )
    context = {
        "link": link,
        "mapping": mapping,
        "names": names,
        "why": why(link, known, names, compiled),
        "rows": as_agreed(link, compiled, [*known.conflicts, *known.schema]),
        "events": events(pager.rows, link),
        "pager": pager,
        "progress": progress_of(instruction) if instruction else None,
        "may_repair": can(request.user, "records.repair", mapping),
        "alone": not (link.left_id and link.right_id),
        "may_relink": may_resume(link),
    }
    return render(request, "sync/records/show.html", context)


@requires("records.read")
def now(request: HttpRequest, pk: int) -> HttpResponse:
    """Both records read live: a part of the page, loaded after it."""
    link = _find(request, pk)
    of_mapping = Q(mapping=link.mapping_id, link=None, kind=Conflict.Kind.SCHEMA)
    conflicts = Conflict.objects.filter(Q(link=link) | of_mapping, state__in=("open", "resolving"))
    shown = look(link, compiled_of(link.mapping), list(conflicts))
    context = {"link": link, "names": system_names(link.mapping), "now": shown, "rows": shown.rows, "live": True}
    return render(request, "sync/records/_now.html", context)


@requires("records.read")
@require_POST
def act(request: HttpRequest, pk: int) -> HttpResponse:
    """Sync now, unlink, link again, include a held pair, match a lone record again."""
    link = _find(request, pk, "records.repair")
    wanted, here = request.POST.get("act", ""), reverse("record", args=[pk])
    alone = not (link.left_id and link.right_id)
    try:
        if wanted == "sync":
            _look(link)
            messages.success(request, "Both records are looked at now. · What differs is written or asked about.")
        elif wanted == "include" and link.state == Link.State.HELD:
            approval.include(link, request.user)
            messages.success(request, "It is synced again. · Its changes are looked at now.")
            if not Link.objects.filter(pk=link.pk).exists():  # a new record, met as any other
                return redirect("records")
        elif wanted == "unlink" and link.state == Link.State.ACTIVE:
            asked = instructions.ask(link, Instruction.Kind.UNLINK, {}, request.user)
            return redirect(f"{here}?asked={asked.pk}")
        elif wanted == "relink" and may_resume(link):
            asked = instructions.ask(link, Instruction.Kind.RELINK, {}, request.user)
            return redirect(f"{here}?asked={asked.pk}")
        elif wanted == "match" and link.state == Link.State.UNLINKED and alone:
            instructions.match_again(link, request.user)
            messages.success(request, "The record is matched again. · Nothing was written.")
            return redirect("records")
        else:
            messages.error(
                request, "The pair is not in that state any more. · Nothing was done. · See its state below."
            )
    except approval.NotWaiting as problem:
        messages.error(request, f"{problem} · Nothing was done. · See its state below.")
    return redirect(here)


def _look(link: Link) -> None:
    """Ring for both records, also where a failed look made them wait."""
    for side in SIDES:
        if external_id := link.record_id(side):
            hints.mark(link.mapping_id, side, [external_id])
            ChangedRecord.objects.filter(mapping=link.mapping_id, side=side, external_id=external_id).update(
                not_before=F("first_rung_at")
            )
    jobs.wake(link.mapping_id)
