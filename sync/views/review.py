"""The review queue and the conflict page: what a person has to settle, and the way their answer goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.contrib import messages
from django.core import signing
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from connections.access import can, check, requires
from connections.connectors.base import ConnectorError
from mappings.models import Mapping as SyncMapping
from sync import audit, clobbers, failures, instructions, jobs, schema_watch
from sync.models import Conflict, Instruction, Operation
from sync.views import _candidates, _schema, _whole
from sync.views._progress import Progress, can_undo, progress_of
from sync.views._questions import RESTORE, Question, question, restored, verdicts
from sync.views._queue import PAGE_SIZE, alike, cause_of, grouped, oldest_first, rows_of
from sync.views._values import CannotRead, system_names, typed
from sync.wording import sentence
from syncadmin import filters

# htmx stops polling when it is answered with this status.
STOP_POLLING = 286
# The values shown are sent back signed: an answer always speaks of values that were on somebody's screen.
SALT = "sync.review.seen"
SEEN_SECONDS = 7 * 24 * 3600  # a page left open for longer is shown afresh
TAKES = ("base", "left", "right", "value", "ignore")
RELATED = (
    "link",
    "mapping__left_connection",
    "mapping__right_connection",
    "mapping__published",
    "instruction",
    "version",
)


def _open(user: Any) -> QuerySet[Conflict]:
    return Conflict.objects.visible_to(user).filter(state=Conflict.State.OPEN).select_related(*RELATED)


# The queue. ------------------------------------------------------------------------------------------------------


@requires("review.read")
def queue(request: HttpRequest) -> HttpResponse:
    tidy = filters.tidy_address(request)
    if tidy is not None:
        return redirect(tidy)
    chips = _chips(request)
    rows = _open(request.user)
    columns = {"mapping": "mapping__slug", "kind": "kind", "field": "field_label"}
    for chip in chips:
        if chip.value:
            rows = rows.filter(**{columns[chip.name]: chip.value})
    pager = oldest_first(request, rows)
    shown = rows_of(pager.rows)
    context = {
        "pager": pager,
        "groups": grouped(shown, request.user),
        "chips": chips,
        "filtered": [chip for chip in chips if chip.value],
        "number": len(shown),
        "more": pager.older is not None,
        "page_size": PAGE_SIZE,
    }
    if not shown:
        context["hidden"] = bool(context["filtered"]) and _open(request.user).exists()
    return render(request, "sync/review/queue.html", context)


def _chips(request: HttpRequest) -> list[filters.Filter]:
    mappings = SyncMapping.objects.visible_to(request.user).values_list("slug", "name")
    fields = (
        Conflict.objects.visible_to(request.user)
        .filter(state=Conflict.State.OPEN)
        .exclude(field_label="")
        .order_by("field_label")
        .values_list("field_label", flat=True)
        .distinct()[:100]
    )
    return [
        filters.choice(request, "mapping", "Mapping", "any", list(mappings)),
        filters.choice(request, "kind", "Kind", "any", Conflict.Kind.choices),
        filters.choice(request, "field", "Field", "any", [(name, name) for name in fields]),
    ]


@requires("review.read")
def same(request: HttpRequest, pk: int) -> HttpResponse:
    """All conflicts like this one, and one answer for those that are ticked."""
    one = _find(request, pk, "review.settle")
    if not one.rule_id:
        return redirect("conflict", pk=pk)
    if request.method == "POST":
        return _settle_same(request, one)
    found = alike(one, request.user)
    if len(found) < 2:
        return redirect("conflict", pk=pk)
    shown = question(one, _document(one.mapping), system_names(one.mapping))
    context = {
        "one": one,
        "question": shown,
        "found": found,
        "seen": signing.dumps({str(other.pk): _values(other) for other in found}, salt=SALT, compress=True),
    }
    return render(request, "sync/review/same.html", context)


def _settle_same(request: HttpRequest, one: Conflict) -> HttpResponse:
    seen, take = _seen(request), request.POST.get("take", "")
    wanted = [int(pk) for pk in request.POST.getlist("c") if pk in seen]
    if take not in ("left", "right", "base", "ignore") or not wanted:
        messages.error(request, "Nothing was chosen. · Nothing was written. · Tick at least one, then choose a side.")
        return redirect("review-same", pk=one.pk)
    wishes, skipped = [], []
    for other in Conflict.objects.visible_to(request.user).filter(pk__in=wanted).select_related("link", "mapping"):
        shown = seen[str(other.pk)]
        moved = other.state != Conflict.State.OPEN or other.kind == Conflict.Kind.CLOBBER or _values(other) != shown
        if moved or other.link is None or other.mapping_id != one.mapping_id:
            skipped.append(str(other.pk))
            continue
        choice = {"take": take, "seen": shown}
        wishes.append((other.link, {other.rule_id: choice}))
    asked = instructions.ask_all(one.mapping, wishes, Instruction.Kind.RESOLVE, request.user) if wishes else []
    asked_ids = [str(instruction.pk) for instruction in asked]
    parts = [f"{name}={','.join(ids)}" for name, ids in (("asked", asked_ids), ("skipped", skipped)) if ids]
    return redirect(f"{reverse('review-answers')}?{'&'.join(parts)}")


@requires("review.read")
def answers(request: HttpRequest) -> HttpResponse:
    """What became of one answer to many: polled until all are written, with the skipped ones named."""
    asked = Instruction.objects.visible_to(request.user).filter(pk__in=_ids(request, "asked")).select_related("link")
    rows = [progress_of(one, operations=()) for one in asked]
    skipped = Conflict.objects.visible_to(request.user).filter(pk__in=_ids(request, "skipped")).select_related("link")
    context = {
        "rows": rows,
        "skipped": skipped,
        "done": sum(1 for row in rows if row.word == "done"),
        "open": any(row.open for row in rows),
        "failed": [row for row in rows if row.kind in ("warn", "bad") and not row.open],
        "total": len(rows),
    }
    if request.headers.get("HX-Request"):
        status = 200 if context["open"] else STOP_POLLING
        return render(request, "sync/review/_answers.html", context, status=status)
    return render(request, "sync/review/answers.html", context)


def _ids(request: HttpRequest, name: str) -> list[int]:
    parts = request.GET.get(name, "").split(",")
    return [int(part) for part in parts if part.isdecimal() and len(part) < 19][:500]


# One conflict. ---------------------------------------------------------------------------------------------------


def _find(request: HttpRequest, pk: int, action: str) -> Conflict:
    conflict: Conflict = get_object_or_404(Conflict.objects.visible_to(request.user).select_related(*RELATED), pk=pk)
    check(request.user, action, conflict.mapping)
    return conflict


def _document(mapping: SyncMapping) -> Mapping[str, Any]:
    empty: dict[str, Any] = {"rules": []}
    return mapping.published.document if mapping.published else empty


def _values(conflict: Conflict) -> dict[str, Any]:
    """What the page shows, as the `seen` of an answer."""
    return {"left": conflict.left_value, "right": conflict.right_value, **clobbers.named(conflict)}


def _seen(request: HttpRequest) -> dict[str, dict[str, Any]]:
    try:
        found: dict[str, dict[str, Any]] = signing.loads(request.POST.get("seen", ""), salt=SALT, max_age=SEEN_SECONDS)
    except signing.BadSignature:
        return {}
    return found


@requires("review.read")
def conflict(request: HttpRequest, pk: int) -> HttpResponse:
    one = _find(request, pk, "review.read")
    if failures.about_fields(one):
        return _schema_entry(request, one)
    answered: dict[int, Question] = {}
    if request.method == "POST":
        check(request.user, "review.settle", one.mapping)
        saved = _settle(request, one)
        if isinstance(saved, HttpResponse):
            return saved
        answered = saved
    names = system_names(one.mapping)
    may_settle = can(request.user, "review.settle", one.mapping)
    waiting = _together(one)
    document = _document(one.mapping)
    shown = [answered.get(other.pk) or question(other, document, names, may_settle) for other in waiting]
    context = {
        "one": one,
        "names": names,
        "mapping": one.mapping,
        "link": one.link,
        "questions": shown,
        "open_questions": [q for q in shown if q.conflict.state == Conflict.State.OPEN and not q.lost],
        "cause": cause_of(one, names),
        "agree": len(document["rules"]) - len([q for q in shown if not q.lost]) if one.rule_id else None,
        "verdicts": next((verdicts(q) for q in shown if q.conflict.pk == one.pk), []),
        "may_settle": may_settle and one.state == Conflict.State.OPEN,
        "seen": signing.dumps({str(other.pk): _values(other) for other in waiting or [one]}, salt=SALT, compress=True),
        "progress": _progress(request, one),
        "whole": _whole.shown(one, names) if not one.rule_id else None,
        "next": following(request.user, one),
        "record_url": reverse("record", args=[one.link_id]) if one.link_id else "",
    }
    return render(request, "sync/review/conflict.html", context)


def _schema_entry(request: HttpRequest, one: Conflict) -> HttpResponse:
    """An entry of a mapping: it is put right in the system or in the mapping, never by a choice here."""
    minutes = schema_watch.LOOK_SECONDS // 60
    context = {
        "one": one,
        "mapping": one.mapping,
        "heading": _schema.title(one),
        "changes": _schema.changes(one),
        "meaning": _schema.meaning(one),
        "afterwards": _schema.AFTERWARDS,
        "ways": _schema.ways(one, request.user),
        "may_look": can(request.user, "runs.start", one.mapping),
        "ended": sentence(one.closed_code, {"number": one.mapping.published.number if one.mapping.published else "?"}),
        "minutes": minutes,
        "next": following(request.user, one),
    }
    return render(request, "sync/review/schema.html", context)


@requires("runs.start")
@require_POST
def look(request: HttpRequest, pk: int) -> HttpResponse:
    """Read the fields of both systems again, and close the entry if it is put right."""
    one = _find(request, pk, "runs.start")
    if not failures.about_fields(one):
        return redirect("conflict", pk=pk)
    try:
        judged = schema_watch.look_now(one.mapping)
    except ConnectorError as error:
        why = error.message.rstrip(".") or "no reason was given"
        messages.error(request, f"The fields could not be read: {why}. · Nothing was changed. · Try again in a moment.")
        return redirect("conflict", pk=pk)
    audit.write("look", "schema_looked", user=request.user, mapping=one.mapping, field_label=one.field_label)
    jobs.wake(one.mapping_id)
    one.refresh_from_db()
    if not judged:
        messages.info(request, "A run is at it. · It reads the fields next. · Load this page again in a moment.")
    elif one.state == Conflict.State.CLOSED:
        messages.success(request, "It is put right. · What waited goes on now.")
    elif one.params.get("stops") == "reading":
        messages.info(request, "The next run lists the records again. · Load this page again in a moment.")
    else:
        messages.warning(request, f"It is still so. · {_schema.meaning(one)} · {_schema.changes(one)[0].todo}")
    return redirect("conflict", pk=pk)


def _together(one: Conflict) -> list[Conflict]:
    """The conflict and the other open ones about fields of the same pair: one page, one answer."""
    if not one.rule_id:
        return []
    others = (
        Conflict.objects.filter(link=one.link_id, state=Conflict.State.OPEN)
        .exclude(rule_id="")
        .exclude(pk=one.pk)
        .select_related("link", "mapping")
        .order_by("pk")
        if one.state == Conflict.State.OPEN
        else ()
    )
    return [one, *others]


def following(user: Any, one: Conflict) -> Conflict | None:
    """The next open conflict after this one, of another pair; from the end it goes on at the oldest."""
    rest = Conflict.objects.visible_to(user).filter(state=Conflict.State.OPEN).exclude(pk=one.pk)
    if one.link_id:
        rest = rest.exclude(link=one.link_id)
    found: Conflict | None = rest.filter(pk__gt=one.pk).order_by("pk").first() or rest.order_by("pk").first()
    return found


def _progress(request: HttpRequest, one: Conflict) -> Progress | None:
    """The answer this page speaks of: the one just given (?asked=), else the one that settles or settled it."""
    asked = request.GET.get("asked", "")
    found: Instruction | None = None
    if asked.isdecimal() and len(asked) < 19:
        found = (
            Instruction.objects.visible_to(request.user)
            .filter(pk=int(asked))
            .select_related("link", "mapping", "mapping__run_state")
            .first()
        )
    if found is None and one.state != Conflict.State.OPEN:
        found = one.instruction
    return progress_of(found) if found else None


@requires("review.read")
def progress(request: HttpRequest, pk: int) -> HttpResponse:
    """Polled every second after saving. At the end of an answer about this page the page is loaded again."""
    visible = Instruction.objects.visible_to(request.user).select_related("link", "mapping", "mapping__run_state")
    shown = progress_of(get_object_or_404(visible, pk=pk))
    context = {"progress": shown, "here": request.GET.get("here", "")}
    if shown.open:
        return render(request, "sync/review/_progress.html", context)
    response = render(request, "sync/review/_progress.html", context, status=STOP_POLLING)
    if context["here"]:
        response["HX-Refresh"] = "true"
    return response


def _settle(request: HttpRequest, one: Conflict) -> HttpResponse | dict[int, Question]:
    """Ask for what was chosen; where something typed cannot be read, the questions as they were answered, with what is
    wrong. A choice between values that moved meanwhile is not kept: it would be about others."""
    seen = _seen(request)
    if not seen:
        messages.error(
            request, "This page was open for too long. · Nothing was written. · Check the values, then save again."
        )
        return redirect("conflict", pk=one.pk)
    waiting = {other.pk: other for other in _together(one) if other.state == Conflict.State.OPEN}
    names, document = system_names(one.mapping), _document(one.mapping)
    choices: dict[str, dict[str, Any]] = {}
    again: dict[int, Question] = {}
    for other in waiting.values():
        take = request.POST.get(f"take-{other.pk}", "")
        if str(other.pk) not in seen:
            continue
        back = restored(take, seen[str(other.pk)])
        if not back and take not in TAKES:
            continue
        choice: dict[str, Any] = {"take": take, "seen": seen[str(other.pk)], **back}
        shown = question(other, document, names)
        if _values(other) == seen[str(other.pk)]:
            shown.taken = take
        if take == "value":
            text = request.POST.get(f"value-{other.pk}", "")
            shown.control = replace(shown.control, text=text) if shown.control else None
            try:
                choice |= {"in": shown.typed_side, "value": _typed(shown, text)}
            except CannotRead as problem:
                shown.error, shown.taken = str(problem), take
        again[other.pk] = shown
        choices[other.rule_id] = choice
    if any(shown.error for shown in again.values()):
        messages.error(request, "A value cannot be read. · Nothing was written. · Correct it, then save again.")
        return again
    if one.state != Conflict.State.OPEN:
        messages.warning(request, "Somebody else was first. · Nothing of yours was written. · See what was decided.")
        return redirect("conflict", pk=one.pk)
    if not choices or one.link is None:
        messages.error(request, "Nothing was chosen. · Nothing was written. · Choose a value, then save.")
        return redirect("conflict", pk=one.pk)
    restoring = request.POST.get(f"take-{one.pk}", "").startswith(RESTORE)
    kind = Instruction.Kind.RESTORE if restoring else Instruction.Kind.RESOLVE
    asked = instructions.ask(one.link, kind, choices, request.user)
    after = following(request.user, one) if "next" in request.POST else None
    return redirect(f"{reverse('conflict', args=[(after or one).pk])}?asked={asked.pk}")


def _typed(shown: Question, text: str) -> Any:
    if shown.rule is None or shown.control is None:
        raise CannotRead("The rule does not write to that side.")
    return typed(text, shown.rule.field(shown.typed_side), shown.stored.value(shown.typed_side))


@requires("review.read")
def candidates(request: HttpRequest, pk: int) -> HttpResponse:
    """The record in question beside those that fit it, read live: a part of the page, loaded after it."""
    one = _find(request, pk, "review.read")
    if failures.about_fields(one):
        return redirect("conflict", pk=pk)
    context: dict[str, Any] = {"one": one, "names": system_names(one.mapping)}
    context["may_settle"] = can(request.user, "review.settle", one.mapping)
    context["whole"] = _whole.shown(one, context["names"])
    try:
        context["looked"] = _candidates.look(one, context["whole"].candidates)
        context["none"] = not any(record.fits for record in context["looked"])
    except ConnectorError as error:
        context["trouble"] = error.message.rstrip(".") or "no reason was given"
    return render(request, "sync/review/_candidates.html", context)


@requires("review.read")
@require_POST
def whole(request: HttpRequest, pk: int) -> HttpResponse:
    """Answer a question about a record as a whole."""
    one = _find(request, pk, "review.settle")
    if failures.about_fields(one):
        return redirect("conflict", pk=pk)
    answer = _whole.answer(one, request.POST, _seen(request).get(str(one.pk)), request.user)
    if answer.problem:
        messages.error(request, answer.problem)
    if answer.said:
        messages.success(request, answer.said)
    if answer.asked is not None:
        return redirect(f"{reverse('conflict', args=[one.pk])}?asked={answer.asked.pk}")
    if answer.link is not None:
        return redirect("record", pk=answer.link.pk)
    return redirect("conflict", pk=one.pk)


# Undo ------------------------------------------------------------------------------------------------------------


@requires("review.read")
@require_POST
def undo(request: HttpRequest, pk: int) -> HttpResponse:
    """Write back what a write replaced; applies if the field still says what we wrote."""
    visible = Operation.objects.visible_to(request.user).select_related("link", "mapping")
    operation: Operation = get_object_or_404(visible, pk=pk)
    check(request.user, "records.repair", operation.mapping)
    if not can_undo(operation):
        messages.error(request, "This cannot be undone. · Nothing was written. · Edit the value in its system instead.")
        return redirect("record", pk=operation.link_id)
    asked = instructions.undo(operation, request.user)
    return redirect(f"{reverse('record', args=[operation.link_id])}?asked={asked.pk}")
