"""Failures: every cause with what to do about it, the entries of one cause, and what an operator does with them."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_POST

from connections.access import can, check, requires
from mappings.models import Mapping as SyncMapping
from sync import failures, retrying
from sync.failures import Group, Standing
from sync.merge import is_empty
from sync.views._failures import Editable, cause_of, editable, rows_of
from sync.views._values import NO_RECORD, CannotRead, brief, system_names, typed
from syncadmin import filters
from syncadmin.paging import page

PAGE_SIZE = 50
# The values a person edits on are sent back signed, as on the conflict page.
SALT = "sync.failures.seen"
SEEN_SECONDS = 7 * 24 * 3600
REASON_LENGTH = 500


# What stands. ----------------------------------------------------------------------------------------------------


@requires("failures.read")
def listing(request: HttpRequest) -> HttpResponse:
    tidy = filters.tidy_address(request)
    if tidy is not None:
        return redirect(tidy)
    mappings = SyncMapping.objects.visible_to(request.user).values_list("slug", "name")
    chips = [
        filters.choice(request, "mapping", "Mapping", "any", list(mappings)),
        filters.choice(request, "show", "Show", "what stands", [("ignored", "Ignored")]),
    ]
    mapping, show = (chip.value for chip in chips)
    those = failures.visible_to(request.user)
    if mapping:
        those = those.where(mapping__slug=mapping)
    found = failures.groups(those.listed(bool(show)))
    permitted = _permitted(request.user)
    context = {
        "causes": [(cause_of(group, request.user), _may(request.user, group)) for group in found],
        "number": sum(group.number for group in found),
        "more": len(found) >= failures.MOST_CAUSES,
        "chips": chips,
        "filtered": [chip for chip in chips if chip.value],
        "mapping": mapping,
        "ignored": bool(show),
        "others": those.listed(not show).count(),
        "may_retry_all": any(_may(request.user, group)["retry"] for group in found),
        "permitted": permitted,
    }
    return render(request, "sync/failures/list.html", context)


def _permitted(user: Any) -> Standing:
    """What `user` may try again: reviewers what waits in their queue, operators everything."""
    return failures.within(failures.visible_to(user), user, "failures.answer", "failures.retry")


def _may(user: Any, group: Group) -> dict[str, bool]:
    answers = group.source == failures.QUESTION and not failures.about_fields(group.sample)
    action = "failures.answer" if answers else "failures.retry"
    mapping = group.sample.mapping
    return {"retry": can(user, action, mapping), "ignore": can(user, "failures.ignore", mapping)}


@requires("failures.read")
def group(request: HttpRequest, fingerprint: str) -> HttpResponse:
    """The entries of one cause, newest first."""
    ignored = request.GET.get("show") == "ignored"
    every = failures.visible_to(request.user).of_group(fingerprint)
    those = every.listed(ignored)
    found = failures.groups(those, most=1)
    context: dict[str, Any] = {"fingerprint": fingerprint, "ignored": ignored, "others": every.listed(not ignored)}
    context["others"] = context["others"].count()
    if found:
        one = found[0]
        entries = failures.with_related(one.source, those.lists[one.source])
        pager = page(request, entries, PAGE_SIZE)
        context |= {
            "cause": cause_of(one, request.user),
            "group": one,
            "pager": pager,
            "rows": rows_of(pager.rows),
            "may": _may(request.user, one),
        }
    return render(request, "sync/failures/group.html", context)


# What people do. -------------------------------------------------------------------------------------------------


@requires("failures.answer")
@require_POST
def act(request: HttpRequest) -> HttpResponse:
    """Retry, ignore or list again: `key` (one or more), `group`, or all of what the list showed (`mapping`)."""
    wanted, fingerprint = request.POST.get("act", ""), request.POST.get("group", "")
    those = _named(request, fingerprint)
    back = reverse("failure-group", args=[fingerprint]) if _is_fingerprint(fingerprint) else reverse("failures")
    if wanted == "retry":
        _retry(request, those)
    elif wanted == "ignore":
        check(request.user, "failures.ignore")
        _ignore(request, those)
    elif wanted == "heed":
        check(request.user, "failures.ignore")
        number = retrying.heed(failures.within(those, request.user, "failures.ignore", "failures.ignore"), request.user)
        messages.success(request, f"{_counted(number)} listed again. · Nothing was written.")
    else:
        messages.error(request, "Nothing was chosen. · Nothing was done. · Choose what to do.")
    return redirect(back)


def _named(request: HttpRequest, fingerprint: str) -> Standing:
    those = failures.visible_to(request.user)
    if keys := request.POST.getlist("key"):
        return those.of_keys(keys)
    if fingerprint:
        return those.of_group(fingerprint)
    mapping = request.POST.get("mapping", "")
    return those.where(mapping__slug=mapping) if mapping else those


def _is_fingerprint(text: str) -> bool:
    return text.isalnum() and len(text) <= 16


def _retry(request: HttpRequest, those: Standing) -> None:
    named = bool(request.POST.getlist("key"))
    allowed = failures.within(those, request.user, "failures.answer", "failures.retry")
    asked = retrying.retry(allowed if named else allowed.listed(), request.user)
    if asked.number:
        messages.success(
            request,
            f"{_counted(asked.number)} tried again. · Each is read afresh first; limits and brakes hold. · "
            "What fails again comes back to this list.",
        )
    if asked.fields:
        messages.success(
            request,
            "The next run reads the fields of both systems again. · Nothing is written to a record by that. · An "
            "entry whose field is put right closes by itself, and what waited goes on.",
        )
    if asked.number or asked.fields:
        return
    if asked.left_out:
        messages.warning(
            request,
            "Whether these writes arrived is not known. · Nothing was sent: it could make a second record, or undo "
            "what somebody did since. · Open each of them and say what is true.",
        )
    else:
        messages.error(
            request,
            "Nothing of it stands any more, or it takes an operator. · Nothing was tried. · See what is left below.",
        )


def _ignore(request: HttpRequest, those: Standing) -> None:
    reason = " ".join(request.POST.get("reason", "").split())[:REASON_LENGTH]
    if not reason:
        messages.error(request, "A reason is missing. · Nothing was ignored. · Say why it may be ignored.")
        return
    allowed = failures.within(those, request.user, "failures.ignore", "failures.ignore")
    number = retrying.ignore(allowed, reason, request.user)
    messages.success(
        request,
        f"{_counted(number)} ignored. · "
        + (
            "It stays as it is, and comes back here when its value or cause changes. · See it under “Ignored”."
            if number == 1
            else "They stay as they are; each comes back here when its value or cause changes. · "
            "See them under “Ignored”."
        ),
    )


def _counted(number: int) -> str:
    return "One failure is" if number == 1 else f"{number:,} failures are"


# Editing what is sent. -------------------------------------------------------------------------------------------


@requires("failures.answer")
def edit(request: HttpRequest, fingerprint: str, key: str) -> HttpResponse:
    """One value edited and sent again. It applies if the field's values are still those that were shown."""
    those = failures.within(_permitted(request.user), request.user, "failures.answer", "failures.retry").of_keys([key])
    entry = next((one for source, rows in those.lists.items() for one in failures.with_related(source, rows)), None)
    here = editable(entry, request.GET.get("field", "")) if entry is not None else None
    if entry is None or here is None:
        messages.warning(
            request, "This value cannot be edited any more. · Nothing was written. · See what is left below."
        )
        return redirect("failure-group", fingerprint)
    check(request.user, "failures.answer", entry.mapping)
    error = text = ""
    if request.method == "POST":
        seen, text = _seen(request), request.POST.get("value", "")
        try:
            value = typed(text, here.rule.field(here.side), here.seen[here.side])
            if here.rule.field(here.side).required and is_empty(value):
                raise CannotRead(f"{here.rule.field(here.side).label} must not be empty there.")
        except CannotRead as problem:
            error = str(problem)
        else:
            if seen is not None:
                asked = retrying.edit(here.link, here.rule.id, here.side, value, seen, request.user)
                query = urlencode({"asked": asked.pk})
                return redirect(f"{reverse('record', args=[here.link.pk])}?{query}")
            error = "This page was open for too long. Nothing was written. Check the values, then send it again."
    names = system_names(entry.mapping)
    found = failures.groups(failures.standing().of_keys([key]), most=1)
    context = {
        "fingerprint": fingerprint,
        "key": key,
        "entry": entry,
        "cause": cause_of(found[0], request.user) if found else None,
        "here": here,
        "names": names,
        "system": names[here.side],
        "other": names["left" if here.side == "right" else "right"],
        "shown": _shown(here),
        "text": text if error else here.control.text,
        "error": error,
        "seen": signing.dumps(dict(here.seen), salt=SALT, compress=True),
        "question": entry.pk if failures.source_of(entry) == failures.QUESTION else None,
    }
    return render(request, "sync/failures/edit.html", context)


def _shown(here: Editable) -> dict[str, Any]:
    shown = {side: brief(here.seen[side], here.rule.field(side)) for side in ("left", "right")}
    if here.link.state == "creating":
        shown[here.side] = NO_RECORD
    return shown


def _seen(request: HttpRequest) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = signing.loads(request.POST.get("seen", ""), salt=SALT, max_age=SEEN_SECONDS)
    except signing.BadSignature:
        return None
    return found
