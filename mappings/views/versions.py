"""Publish a draft, look at versions, roll back, discard the draft."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from connections.access import requires
from connections.connectors.base import ConnectorError
from mappings.changes import diff_versions, rule_label, sides_to_list
from mappings.models import Mapping, MappingVersion
from mappings.publish import DraftMoved, NotPublishable, fresh_rules, restore_draft, roll_back
from mappings.publish import publish as publish_draft
from mappings.views.drafts import editing, find, posted_revision, say_moved, state_of


@requires("mappings.publish")
def publish(request: HttpRequest, slug: str) -> HttpResponse:
    mapping = find(request, slug, "mappings.publish")
    if request.method == "POST":
        mapping.revision = posted_revision(request)
        try:
            version = publish_draft(mapping, request.user, request.POST.get("note", "")[:300])
        except DraftMoved:
            say_moved(request)
        except NotPublishable as error:
            messages.error(request, f"{error} · The version that runs is unchanged. · Correct what is listed below.")
        except ConnectorError as error:
            why = error.message.rstrip(".") or "no reason was given"
            messages.error(
                request,
                f"A system did not tell us its fields: {why}. · Nothing was published. · "
                "Test the connection, then publish again.",
            )
        else:
            paused = " It runs once you resume the mapping." if mapping.state == Mapping.State.PAUSED else ""
            first = " · Its first run compares both sides and waits under Runs for your approval."
            messages.success(
                request,
                f"Version {version.number} is published.{paused} · Nothing was written by publishing it."
                + (first if version.number == 1 else ""),
            )
            return redirect("mapping", slug=slug)
        return redirect("mapping-publish", slug=slug)
    state = state_of(mapping)
    return render(
        request,
        "mappings/publish.html",
        {
            "mapping": mapping,
            "state": state,
            "tab": "fields",
            "links": _links(mapping),
            "fresh": [rule_label(rule) for rule in fresh_rules(mapping, state.document)],
            "first": mapping.published is None,
            "listed": [mapping.connection(side) for side in _to_list(mapping, state.document)],
        },
    )


def _to_list(mapping: Mapping, document: dict[str, Any]) -> list[str]:
    return sides_to_list(mapping.published.document, document) if mapping.published else []


def _links(mapping: Mapping) -> int:
    """Linked pairs; they belong to an upper app and are counted by their reverse name."""
    links: Any = mapping.links
    return int(links.filter(state="active").count())


@requires("mappings.read")
def versions(request: HttpRequest, slug: str) -> HttpResponse:
    mapping = find(request, slug, "mappings.read")
    found = list(mapping.versions.select_related("published_by"))
    rows = [
        {"version": newer, "older": older, "changes": len(diff_versions(_document(older), newer.document))}
        for newer, older in zip(found, [*found[1:], None], strict=True)
    ]
    context = {"mapping": mapping, "state": state_of(mapping), "tab": "versions", "rows": rows}
    return render(request, "mappings/versions.html", context)


def _document(version: MappingVersion | None) -> dict[str, Any] | None:
    return version.document if version is not None else None


@requires("mappings.read")
def version(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """One version: its rules, and what differs from another one (?against=, else the one before)."""
    mapping = find(request, slug, "mappings.read")
    shown = get_object_or_404(mapping.versions, number=number)
    against = request.GET.get("against", "")
    others = mapping.versions.exclude(number=number)
    other = (
        others.filter(number=int(against)).first()
        if against.isdecimal() and len(against) < 10
        else others.filter(number__lt=number).first()
    )
    return render(
        request,
        "mappings/version.html",
        {
            "mapping": mapping,
            "tab": "versions",
            "version": shown,
            "other": other,
            "others": others,
            "changes": diff_versions(_document(other), shown.document),
        },
    )


@requires("mappings.publish")
def roll_back_to(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    mapping = find(request, slug, "mappings.publish")
    target = get_object_or_404(mapping.versions, number=number)
    if request.method == "POST":
        mapping.revision = posted_revision(request)
        try:
            landed = roll_back(mapping, number, request.user)
        except DraftMoved:
            say_moved(request)
            return redirect("mapping-roll-back", slug=slug, number=number)
        except ValueError as error:
            messages.error(request, str(error))
            return redirect("mapping-roll-back", slug=slug, number=number)
        messages.success(
            request,
            f"Version {landed.number} repeats version {number}. · No record was changed by it. · "
            "What later versions wrote is listed under Records.",
        )
        return redirect("mapping-versions", slug=slug)
    state = state_of(mapping)
    current = mapping.published
    return render(
        request,
        "mappings/roll_back.html",
        {
            "mapping": mapping,
            "state": state,
            "tab": "versions",
            "target": target,
            "current": current,
            "next_number": mapping.versions.values_list("number", flat=True)[0] + 1,
            "changes": diff_versions(_document(current), target.document),
            "later": mapping.versions.filter(number__gt=number),
        },
    )


@requires("mappings.edit")
@require_POST
def discard(request: HttpRequest, slug: str) -> HttpResponse:
    """Set the draft back to the published version; what it was stays in the audit log."""
    mapping = find(request, slug, "mappings.edit")
    published = mapping.published
    if published is None:
        messages.info(request, "Nothing is published yet. · The draft is all there is, so it was kept.")
        return redirect("mapping", slug=slug)
    try:
        with editing(request, mapping, posted_revision(request)) as locked:
            restore_draft(locked, published.document)
    except DraftMoved:
        say_moved(request)
    except ValueError as error:
        messages.error(request, str(error))
    else:
        messages.success(
            request, f"The draft is version {published.number} again. · What it was is kept in the audit log."
        )
    return redirect("mapping", slug=slug)
