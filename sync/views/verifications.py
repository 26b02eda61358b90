"""Verifications of a mapping: begin, follow, stop, read what differs, repair what is chosen, take the list along."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST

from connections.access import can, check, requires
from mappings.models import Mapping, Side
from sync import repair, verify
from sync.models import Verification, VerifiedDifference
from sync.views import _verified as shown
from sync.views._values import system_names
from syncadmin import filters, spreadsheet
from syncadmin.paging import page

# htmx stops polling when it is answered with this status.
STOP_POLLING = 286
# Rows of an export held at once.
EXPORT_CHUNK = 500


def _mapping(request: HttpRequest, slug: str, action: str) -> Mapping:
    visible = Mapping.objects.visible_to(request.user).select_related(
        "left_connection", "right_connection", "published"
    )
    mapping = get_object_or_404(visible, slug=slug)
    check(request.user, action, mapping)
    return mapping


def _find(request: HttpRequest, pk: int, action: str) -> Verification:
    visible = Verification.objects.visible_to(request.user).select_related(
        "mapping__left_connection", "mapping__right_connection", "mapping__published", "version"
    )
    one: Verification = get_object_or_404(visible, pk=pk)
    check(request.user, action, one.mapping)
    return one


# The verifications of a mapping. ---------------------------------------------------------------------------------


@requires("verify.read")
def listing(request: HttpRequest, slug: str) -> HttpResponse:
    mapping = _mapping(request, slug, "verify.read")
    pager = page(request, Verification.objects.filter(mapping=mapping).select_related("version"))
    going = Verification.objects.filter(mapping=mapping, state__in=Verification.OPEN).first()
    context = {
        "mapping": mapping,
        "tab": "verify",
        "going": going,
        "pager": pager,
        "size": verify.SAMPLE_PAIRS,
        "pairs": verify.pairs_of(mapping).count(),
        "may_read_mapping": can(request.user, "mappings.read", mapping),
    }
    return render(request, "sync/verifications/list.html", context)


@requires("verify.start")
@require_POST
def start(request: HttpRequest, slug: str) -> HttpResponse:
    mapping = _mapping(request, slug, "verify.start")
    kind = Verification.Kind.COMPLETE if request.POST.get("kind") == "complete" else Verification.Kind.SAMPLE
    try:
        one = verify.begin(mapping, kind, request.user.get_username())
    except verify.CannotBegin as problem:
        messages.error(request, str(problem))
        return redirect("verifications", slug=slug)
    return redirect("verification", pk=one.pk)


# One verification. -----------------------------------------------------------------------------------------------


@requires("verify.read")
def verification(request: HttpRequest, pk: int) -> HttpResponse:
    tidy = filters.tidy_address(request)
    if tidy:
        return redirect(tidy)
    one = _find(request, pk, "verify.read")
    chips = _chips(request, one)
    pager = page(request, _differences(one, chips))
    rows = shown.rows_of(one, pager.rows)
    context = {
        "one": one,
        "mapping": one.mapping,
        "names": system_names(one.mapping),
        "answer": shown.answer(one),
        "live": one.state in Verification.OPEN,
        "progress": shown.progress_of(one, timezone.now()),
        "trouble": shown.trouble_of(one),
        "waits": shown.waits_of(one),
        "asked": bool(one.counts.get("waits", {}).get("question")),
        "fields": shown.fields_of(one),
        "calls": shown.calls_of(one),
        "overwrites": shown.overwrites_of(one),
        "chips": chips,
        "set_chips": [chip for chip in chips if chip.value],
        "pager": pager,
        "rows": rows,
        "pending": any(row.pending for row in rows),
        "most_at_once": repair.MOST_AT_ONCE,
        "may_repair": can(request.user, "verify.repair", one.mapping) and any(row.can_choose for row in rows),
        "may_read_mapping": can(request.user, "mappings.read", one.mapping),
    }
    return render(request, "sync/verifications/show.html", context)


def _chips(request: HttpRequest, one: Verification) -> list[filters.Filter]:
    fields = [(rule, row["label"]) for rule, row in one.counts.get("fields", {}).items()]
    return [
        filters.choice(request, "kind", "Kind", "any", VerifiedDifference.Kind.choices),
        filters.choice(request, "field", "Field", "any", sorted(fields, key=lambda field: field[1])),
    ]


def _differences(one: Verification, chips: Sequence[filters.Filter]) -> QuerySet[VerifiedDifference]:
    columns = {"kind": "kind", "field": "rule_id"}
    wanted = {columns[chip.name]: chip.value for chip in chips if chip.value}
    return VerifiedDifference.objects.filter(verification=one, **wanted).select_related("link", "instruction")


@requires("verify.read")
def progress(request: HttpRequest, pk: int) -> HttpResponse:
    """The live part of the page, asked for every 2 seconds. At the end the whole page is new."""
    one = _find(request, pk, "verify.read")
    live = one.state in Verification.OPEN
    context = {"one": one, "live": live, "progress": shown.progress_of(one, timezone.now())}
    context["names"] = system_names(one.mapping)
    response = render(request, "sync/verifications/_progress.html", context, status=200 if live else STOP_POLLING)
    if not live:
        response["HX-Refresh"] = "true"
    return response


@requires("verify.stop")
@require_POST
def stop(request: HttpRequest, pk: int) -> HttpResponse:
    one = _find(request, pk, "verify.stop")
    if verify.stop(one, request.user.get_username()):
        messages.success(
            request, "It ends before its next call. · What was compared until then stands. · Nothing was written."
        )
    else:
        messages.info(request, "It had ended already. · Nothing changed.")
    return redirect("verification", pk=pk)


# Repair. ---------------------------------------------------------------------------------------------------------


@requires("verify.repair")
@require_POST
def repairs(request: HttpRequest, pk: int) -> HttpResponse:
    """First what would be written where; asked for once it is confirmed."""
    one = _find(request, pk, "verify.repair")
    take, chosen = request.POST.get("take", ""), _chosen(request, one)
    if take not in Side.values or not chosen:
        messages.error(request, "Nothing was chosen. · Nothing was written. · Tick at least one, then choose a side.")
        return redirect("verification", pk=pk)
    if "confirm" in request.POST:
        return _ask(request, one, chosen, take)
    found = one.differences.filter(pk__in=chosen).select_related("link", "instruction").order_by("pk")
    lines = repair.preview(one, list(found), take)
    possible, left_out = [line for line in lines if not line.why_not], [line for line in lines if line.why_not]
    context = {
        "one": one,
        "mapping": one.mapping,
        "names": system_names(one.mapping),
        "take": take,
        "target": "right" if take == "left" else "left",
        "possible": [shown.line_of(line) for line in possible],  # all: what a person confirms is what can be seen
        "number": len(possible),
        "left_out": [shown.line_of(line) for line in left_out],
        "chosen": ",".join(str(line.difference.pk) for line in possible),
        "more_fit": "all" in request.POST and len(chosen) == repair.MOST_AT_ONCE,
        "may_read_mapping": can(request.user, "mappings.read", one.mapping),
    }
    return render(request, "sync/verifications/repair.html", context)


def _chosen(request: HttpRequest, one: Verification) -> list[int]:
    """The ticked differences, or all that fit the filters the page was shown with."""
    if "all" in request.POST:
        kind, field = request.POST.get("kind", ""), request.POST.get("field", "")
        wanted = {name: value for name, value in (("kind", kind), ("rule_id", field)) if value}
        fields = one.differences.exclude(kind=VerifiedDifference.Kind.MISSING).filter(**wanted, instruction=None)
        return list(fields.order_by("pk").values_list("pk", flat=True)[: repair.MOST_AT_ONCE])
    given = [part for text in request.POST.getlist("d") for part in text.split(",")]
    return [int(part) for part in given if part.isdecimal() and len(part) < 19][: repair.MOST_AT_ONCE]


def _ask(request: HttpRequest, one: Verification, chosen: Sequence[int], take: str) -> HttpResponse:
    asked, left_out = repair.ask_repairs(one, chosen, take, request.user)
    target = system_names(one.mapping)["right" if take == "left" else "left"]
    if asked:
        also = f" {left_out:,} could not be asked for any more." if left_out else ""
        what = "repair was" if asked == 1 else "repairs were"
        messages.success(
            request,
            f"{asked:,} {what} asked for. · Each field is read once more, and {target} is written only where both "
            f"values still are those you saw.{also} · What became of them stands in the list below.",
        )
    else:
        messages.warning(
            request,
            "None of them can be repaired any more. · Nothing was written. · See below what became of them, or "
            "verify again.",
        )
    return redirect("verification", pk=one.pk)


# The list to take along. -----------------------------------------------------------------------------------------

HEADER = ("Left", "Right", "Left id", "Right id", "Title", "Kind", "Field", "Left value", "Right value", "Repair")


@requires("verify.read")  # type: ignore[arg-type]  # the guard hands any answer through, streams too
def export(request: HttpRequest, pk: int) -> StreamingHttpResponse:
    """The differences that fit the filters, as CSV."""
    one = _find(request, pk, "verify.read")
    rows = _differences(one, _chips(request, one)).order_by("pk")
    response = StreamingHttpResponse(spreadsheet.lines(HEADER, _cells(rows)), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{one.mapping.slug}-verification-{one.pk}.csv"'
    return response


def _cells(rows: QuerySet[VerifiedDifference]) -> Iterator[tuple[Any, ...]]:
    after = 0
    while found := list(rows.filter(pk__gt=after)[:EXPORT_CHUNK]):
        after = found[-1].pk
        for row in found:
            link = row.link
            keys = (link.left_key or link.left_id, link.right_key or link.right_id, link.left_id, link.right_id)
            what = row.field_label or f"not there on the {row.side}"
            became = shown.OUTCOMES.get(repair.outcome_of(row), ("", "", ""))[2]
            yield (*keys, link.title, row.get_kind_display(), what, row.left_value, row.right_value, became)
