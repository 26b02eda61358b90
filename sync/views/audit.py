"""The audit log: the list, one entry, the check of the chain, the export."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST

from connections.access import Denied, can_everywhere, requires
from sync import audit as log
from sync.models import AuditEntry, Link
from sync.views import audit_lines
from syncadmin import filters
from syncadmin.paging import page

# Entries of the same request shown beside one entry; the list has them all.
MOST_SIBLINGS = 20


@requires("audit.read")
def listing(request: HttpRequest) -> HttpResponse:
    tidy = filters.tidy_address(request)
    if tidy:
        return redirect(tidy)
    chips = audit_lines.chips_of(request, audit_lines.readable_mappings(request.user))
    readable = audit_lines.readable_entries(request.user)
    pager = page(request, audit_lines.apply(readable, chips))
    set_chips = [chip for chip in chips if chip.value]
    context = {
        "chips": chips,
        "set_chips": set_chips,
        "pager": pager,
        "lines": audit_lines.lines_of(pager.rows),
        "hiding": audit_lines.hiding(readable, chips, request.user) if set_chips and not pager.rows else None,
        "proof": audit_lines.proof(),
        "whole": can_everywhere(request.user, "audit.export"),
    }
    return render(request, "sync/audit/list.html", context)


@requires("audit.read")
def entry(request: HttpRequest, pk: int) -> HttpResponse:
    """One entry with everything it keeps, what the same action also wrote, and its place in the chain."""
    readable = audit_lines.readable_entries(request.user)
    one = get_object_or_404(readable, pk=pk)
    siblings = readable.filter(request_id=one.request_id).exclude(pk=pk).order_by("-pk") if one.request_id else ()
    context = {
        "line": audit_lines.line_of(one),
        "entry": one,
        "siblings": [audit_lines.line_of(sibling, brief=True) for sibling in siblings[:MOST_SIBLINGS]],
        "previous": AuditEntry.objects.filter(number=one.number - 1).first() if one.number else None,
        "proof": audit_lines.proof(),
        "record": Link.objects.visible_to(request.user).filter(pk=one.link_id).exists() if one.link_id else False,
    }
    return render(request, "sync/audit/entry.html", context)


@requires("audit.verify")
@require_POST
def verify(request: HttpRequest) -> HttpResponse:
    """Seal what waits, check the whole chain, and keep a line of the answer."""
    started = timezone.now()
    log.seal()
    verdict = log.verify()
    seconds = (timezone.now() - started).total_seconds()
    params = {
        "number": verdict.last_number,
        "broken_at": verdict.broken_at,
        "why": verdict.why,
        "seconds": round(seconds, 1),
    }
    log.write("verify", "audit_verified" if verdict.intact else "audit_broken", user=request.user, params=params)
    if verdict.intact:
        messages.success(request, f"Verified to number {verdict.last_number:,}, without a gap.")
    else:
        messages.error(
            request,
            f"{verdict.why} · Entries up to number {verdict.last_number:,} are still proved; records and syncing are "
            "not affected. · Keep the database as it is, and compare it with a backup or an earlier export.",
        )
    return redirect("audit")


@requires("audit.export")  # type: ignore[arg-type]  # the guard hands any answer through, streams too
@require_POST
def export(request: HttpRequest) -> StreamingHttpResponse:
    """The whole sealed log as lines of JSON, which verifies offline; the export itself becomes an entry."""
    if not can_everywhere(request.user, "audit.export"):
        raise Denied("audit.export")  # a part of the chain proves nothing, and the whole is not theirs to read
    log.seal()
    log.write("export", "audit_exported", user=request.user)
    response = StreamingHttpResponse(log.export(), content_type="application/x-ndjson")
    name = f"syncadmin-audit-{timezone.now():%Y%m%d-%H%M%S}.jsonl"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
