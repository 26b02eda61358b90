"""One section of the description of an API: its form, its try, and what of an answer is taken over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from connections import hooks, tries, write_tries
from connections.access import requires
from connections.connectors import rest_sections as sections
from connections.connectors.rest_definition import Definition, DefinitionError, ObjectType, Place, Times, parse
from connections.connectors.rest_sections import Section, section_at
from connections.describe_forms import SectionForm
from connections.describing import KIND, Change, draft_of, save_draft, seal_of, tried
from connections.models import Connection
from connections.trial import Trial
from connections.views.describe_steps import after, steps_of, title_of

KINDS = ("text", "number", "boolean", "date", "datetime", "set", "option", "rich_text", "person", "reference")
MOST_TAKEN = 60


def found(pk: int) -> Connection:
    return get_object_or_404(Connection, pk=pk, kind=KIND)


def described(connection: Connection) -> Definition:
    """The draft; an empty one where it cannot be read, so that it can be mended."""
    try:
        return parse(draft_of(connection))
    except DefinitionError:
        return Definition(name=connection.name)


def _section_or_404(connection: Connection, where: str) -> Section:
    section = section_at(where)
    if section is None or sections.found_at(draft_of(connection), section) is None:
        raise Http404
    return section


@requires("connections.edit")
def show(request: HttpRequest, pk: int, where: str) -> HttpResponse:
    connection = found(pk)
    section = _section_or_404(connection, where)
    document = draft_of(connection)
    form = SectionForm(
        section, sections.texts_at(document, section), connection, described(connection), request.POST or None
    )
    moved = False
    if request.method == "POST" and form.is_valid():
        change = _change_of(form, request.POST)
        if change and not form.errors:
            try:
                if save_draft(
                    connection, change, request.user, request.POST.get("seal", ""), title_of(document, where)
                ):
                    return redirect(_next(connection, where, request.POST))
                moved = True
            except DefinitionError as error:
                _tell(form, document, change.document, error)
    context = {**_context(connection, section, form), "moved": moved}
    return render(request, "connections/describe/section.html", context, status=422 if form.errors or moved else 200)


def _next(connection: Connection, where: str, given: Any) -> str:
    draft = draft_of(connection)
    if "stay" in given:
        return reverse("api-section", args=[connection.pk, _settled(draft, where)])
    following = after(draft, _settled(draft, where), "add" in given)
    return (
        reverse("api-section", args=[connection.pk, following]) if following else reverse("api", args=[connection.pk])
    )


def _settled(document: Mapping[str, Any], where: str) -> str:
    """The address of a section that was new until now."""
    section = section_at(where)
    if section is None or not section.is_new:
        return where
    holder: Any = document
    for step in section.way[:-1]:
        holder = holder[step]
    return where.removesuffix("new") + str(len(holder) - 1)


def _change_of(form: SectionForm, given: Any) -> Change | None:
    """What was entered, with the proposals that are ticked. None where an input cannot be read: the form says so."""
    connection, section = form.connection, form.section
    document, wrong = sections.entered(draft_of(connection), section, form.texts)
    for name, what in wrong.items():
        form.add_error(name, what)
    if wrong:
        return None
    if section.type_number is not None:
        document = with_taken(document, section.type_number, given)
    return Change(
        document,
        form.cleaned_data.get("own-name") or connection.name,
        form.cleaned_data.get("own-address") or connection.address,
        form.given(secret=False),
        form.given(secret=True),
    )


def with_taken(document: dict[str, Any], number: int, given: Any) -> dict[str, Any]:
    """The document with the fields and places that were ticked in a try."""
    own = document["object_types"][number]
    for proposal in given.getlist("place"):
        part, _, expression = proposal.partition("=")
        if part in sections.PLACES:
            own.setdefault("place", {})[part] = expression
        if part == "times" and expression in ("epoch", "epoch_ms"):
            document["times"] = {**document.get("times", {}), "format": expression}
    known = {each.get("name") for each in own.get("fields", [])}
    usual = document.get("times", {}).get("format", "iso")
    for name in given.getlist("take")[:MOST_TAKEN]:
        kind = given.get(f"kind-{name}", "text")
        if name in known or kind not in KINDS:
            continue
        field: dict[str, Any] = {"name": name, "label": given.get(f"label-{name}", "")[:100], "kind": kind}
        if kind == "rich_text":
            field["format"] = "html"
        if kind == "datetime" and given.get(f"times-{name}") == "iso" != usual:
            field["times"] = {}
        own.setdefault("fields", []).append(field)
    return document


def _tell(form: SectionForm, before: Any, document: Mapping[str, Any], error: DefinitionError) -> None:
    """Put an error where it belongs: at its input, or on top with the section that it is about."""
    name = ""
    at = sections.where_of(document, error.place)
    here = form.section.where.replace("new", str(_count(before, form.section)))
    if at == here:
        name = sections.input_of(form.section, error.place)
    text = f"{error.what[:1].upper()}{error.what[1:]}."
    form.add_error(name or None, text if name else f"{title_of(document, at)}: {error}" if at != here else str(error))


def _count(document: Any, section: Section) -> int:
    holder: Any = document
    for step in section.way[:-1]:
        holder = holder[step] if isinstance(step, int) else holder.get(step, [])
    return len(holder) if section.is_new else 0


def _context(connection: Connection, section: Section, form: SectionForm) -> dict[str, Any]:
    document = draft_of(connection)
    number = section.type_number
    of_type = document["object_types"][number] if number is not None else None
    context: dict[str, Any] = {
        "connection": connection,
        "section": section,
        "title": title_of(document, section.where),
        "form": form,
        "shown": form.shown,
        "steps": steps_of(document, section.where),
        "seal": seal_of(connection),
        "number": number,
        "of_type": of_type,
        "last": after(document, section.where, False) == "",
        "part": section.where.rpartition(".")[2],
        "asked": [],
        "parameters": document.get("parameters", []),
        "own_page": number is not None and not section.is_new and section.where == f"type.{number}",
        "prefix": f"type.{number}",
        "removable": bool(section.way) and not section.is_new and section.where.rpartition(".")[2].isdecimal(),
    }
    if of_type is not None and section.where.endswith(".write"):
        try:
            own = parse(document).object_types[number or 0]
            context["asked"] = write_tries.asked_fields(own)
            context["parent"] = own.parent
        except DefinitionError:
            pass
    return context


@requires("connections.edit")
@require_POST
def attempt(request: HttpRequest, pk: int, where: str) -> HttpResponse:
    """Try a section with what stands in its form, saved or not. A write is asked about first."""
    connection = found(pk)
    section = _section_or_404(connection, where)
    document = draft_of(connection)
    form = SectionForm(section, sections.texts_at(document, section), connection, described(connection), request.POST)
    trial = Trial()
    change = _change_of(form, request.POST) if form.is_valid() else None
    if change is None or form.errors:
        first = next(iter(form.errors.items()))
        label = form.fields[first[0]].label if first[0] in form.fields else "This section"
        trial.trouble = f"{label}: {first[1][0]} Nothing was called. Correct it and try again."
    else:
        trial = _run(request, form, change)
    number = section.type_number if not section.is_new else None
    trial.guesses = [replace(each, kind=request.POST.get(f"kind-{each.name}", each.kind)) for each in trial.guesses]
    context = {
        "connection": connection, "where": where, "trial": trial, "kinds": KINDS, "number": number,
        "ticked": {*request.POST.getlist("place"), *request.POST.getlist("take")},
        "at_title": title_of(document, trial.at) if trial.at else "",
        "fills": [(name, form.fields[name].label, value) for name, value in trial.fills.items() if name in form.fields],
    }  # fmt: skip
    return render(request, "connections/describe/_trial.html", context)


def _unticked(form: SectionForm, document: Mapping[str, Any], given: Any) -> tuple[ObjectType, Times] | None:
    """The object type as entered, and how times are written, without the proposals that are ticked."""
    number = form.section.type_number
    if number is None:
        return None
    own = parse(document).object_types[number]
    parts = {proposal.partition("=")[0] for proposal in given.getlist("place")} & sections.PLACES
    place = replace(own.place, **{part: getattr(Place(), part) for part in parts})
    fields = tuple(each for each in own.fields if each.name not in given.getlist("take"))
    return replace(own, place=place, fields=fields), described(form.connection).times


def _run(request: HttpRequest, form: SectionForm, change: Change) -> Trial:
    connection, section = form.connection, form.section
    given = {name: str(value) for name, value in request.POST.items()}
    where = section.where.replace("new", str(_count(draft_of(connection), section)))
    try:
        as_entered = tried(connection, change)
        if not where.endswith(".write"):
            return tries.run(as_entered, where, given, _unticked(form, change.document, request.POST))
        if given.get("step") != "do":
            return write_tries.ask(as_entered, where, given)
        trial = write_tries.run(as_entered, where, given)
    except DefinitionError as error:
        trial = Trial()
        name = sections.input_of(section, error.place)
        label = next((one.label for one in section.group.all_inputs if one.name == name), "")
        said = f"{label}: {error.what}." if label else str(error)
        trial.trouble = f"{said} Nothing was called. Correct it and try again."
        at = sections.where_of(change.document, error.place)
        trial.at = "" if at == where else at
        return trial
    told = [f"{one.head} {one.text}".strip() for one in trial.findings] + ([trial.trouble] if trial.trouble else [])
    steps = f"Writes to {connection.name} were tried with a test record: {' '.join(told)}"
    hooks.audit(
        "test", "description_write_tried", user=request.user, connection_id=connection.pk,
        object_label=connection.name, params={"steps": steps[:1000]},
    )  # fmt: skip
    return trial


@requires("connections.edit")
@require_POST
def remove(request: HttpRequest, pk: int, where: str) -> HttpResponse:
    """Take an object type, a field, a filter or a parameter out of the draft."""
    connection = found(pk)
    section = _section_or_404(connection, where)
    if not section.way or section.is_new or section.where.endswith((".list", ".read", ".write")):
        raise Http404
    document = draft_of(connection)
    change = Change(sections.without(document, section), connection.name, connection.address, {}, {})
    try:
        if save_draft(connection, change, request.user, request.POST.get("seal", ""), title_of(document, where)):
            messages.success(request, f"{title_of(document, where)} is out of the draft.")
        else:
            messages.warning(request, "Somebody else changed the description meanwhile. · Nothing was removed.")
    except DefinitionError as error:
        messages.error(request, f"It is still needed: {error} · Nothing was removed.")
        return redirect("api-section", pk, where)
    above = where.rpartition(".")[0].rpartition(".")[0]
    return redirect("api-section", pk, above) if above.startswith("type.") else redirect("api", pk)
