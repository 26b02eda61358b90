"""The description of an API as a whole: how it begins, its sections with what they lack, export, import and use."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.text import slugify
from django.views.decorators.http import require_POST

from connections import hooks
from connections.access import requires
from connections.connectors import rest_openapi as openapi
from connections.connectors.base import ConnectorError
from connections.connectors.rest_definition import Definition, DefinitionError, dump, parse
from connections.connectors.rest_library import LONGEST_FILE, from_yaml, to_yaml
from connections.connectors.rest_sections import gaps_with_places
from connections.describe_forms import StartForm
from connections.describing import (
    DRAFT,
    KIND,
    Change,
    differs,
    discard_draft,
    draft_of,
    save_draft,
    seal_of,
    snapshot,
    use_draft,
)
from connections.fetched import fetch_text
from connections.models import Connection
from connections.open import test_connection as run_test
from connections.views.describe_section import found
from connections.views.describe_steps import steps_of, title_of

OPEN_GAPS = "gaps"  # key of Connection.facts: what an OpenAPI document did not say


@requires("connections.edit")
def start(request: HttpRequest) -> HttpResponse:
    form = StartForm(request.POST or None, request.FILES or None)
    if form.is_valid():
        try:
            document, address, gaps = _begun(form)
        except DefinitionError as error:
            form.add_error(None, f"{error} Nothing was saved.")
        except ConnectorError as error:
            form.add_error("url", error.message)
        else:
            address = form.cleaned_data["address"] or address
            if not address:
                form.add_error("address", "The document does not say it. Enter it.")
            else:
                return redirect("api-section", _created(request, form, document, address, gaps).pk, "system")
    return render(request, "connections/describe/start.html", {"form": form}, status=422 if form.errors else 200)


def _begun(form: StartForm) -> tuple[dict[str, Any], str, list[str]]:
    """(document, address or "", what could not be filled in). Raises DefinitionError, ConnectorError."""
    data = form.cleaned_data
    if data["source"] == "yaml":
        return dump(from_yaml(_text(data["yaml"], LONGEST_FILE))), "", []
    if data["source"] == "openapi":
        if data["file"]:
            text, base = _text(data["file"], openapi.LONGEST), ""
        else:
            text, base = fetch_text(data["url"], openapi.LONGEST), data["url"]
        made = openapi.described(openapi.read(text), data["name"], base)
        return made.document, made.address, list(made.gaps)
    return {"version": 1, "name": data["name"]}, "", []


def _text(file: Any, longest: int) -> str:
    if file.size > longest:
        raise DefinitionError((), f"the file is larger than {longest // 1_000_000 or 1} MB")
    try:
        return str(file.read().decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise DefinitionError((), "the file is no text in UTF-8") from None


def _created(request: HttpRequest, form: StartForm, document: Any, address: str, gaps: list[str]) -> Connection:
    with transaction.atomic():
        connection = Connection.objects.create(
            kind=KIND,
            name=form.cleaned_data["name"],
            address=address.rstrip("/"),
            settings={DRAFT: document},
            facts={OPEN_GAPS: gaps} if gaps else {},
        )
        hooks.audit(
            "config", "connection_created", user=request.user, connection_id=connection.pk,
            object_label=connection.name, after=snapshot(connection),
        )  # fmt: skip
    return connection


@requires("connections.edit")
def show(request: HttpRequest, pk: int) -> HttpResponse:
    connection = found(pk)
    document = draft_of(connection)
    unreadable = ""
    try:
        definition = parse(document)
    except DefinitionError as error:
        unreadable, definition = str(error), Definition(name=connection.name)
    missing = gaps_with_places(document, definition)
    context = {
        "connection": connection,
        "steps": steps_of(document, ""),
        "gaps": [{"text": text, "where": where, "title": title_of(document, where)} for text, where in missing],
        "open": connection.facts.get(OPEN_GAPS, []),
        "types": [(f"type.{number}", each) for number, each in enumerate(definition.object_types)],
        "differs": differs(connection),
        "runs": bool(connection.settings.get("definition")),
        "seal": seal_of(connection),
        "unreadable": unreadable,
        "name": definition.name,
    }
    return render(request, "connections/describe/overview.html", context)


@requires("connections.edit")
@require_POST
def use(request: HttpRequest, pk: int) -> HttpResponse:
    """Let runs use the draft, and test the connection with it."""
    connection = found(pk)
    try:
        if not use_draft(connection, request.user, request.POST.get("seal", "")):
            return _moved(request, pk)
    except DefinitionError as error:
        messages.error(request, f"The description has gaps: {error} · Nothing changed for what runs.")
        return redirect("api", pk)
    try:
        result = run_test(connection)
    except ConnectorError as error:
        _audit_test(request, "connection_test_failed", connection, {"message": error.message})
        messages.error(
            request, f"The description is in use, but the test of {connection.name} failed. · {error.message}"
        )
        return redirect("connection", pk)
    params = {"account": result.account_name, "missing": list(result.missing), "state": connection.state}
    _audit_test(request, "connection_tested", connection, params)
    if result.missing:
        messages.warning(request, f"{connection.name} answers, but something is missing. · What needs it waits.")
    else:
        messages.success(request, f"{connection.name} works. · A mapping can use it now.")
    return redirect("connection", pk)


def _audit_test(request: HttpRequest, code: str, connection: Connection, params: dict[str, Any]) -> None:
    hooks.audit(
        "test", code, user=request.user, connection_id=connection.pk, object_label=connection.name, params=params
    )


def _moved(request: HttpRequest, pk: int) -> HttpResponse:
    messages.warning(request, "Somebody else changed the description meanwhile. · Nothing was changed. · Look again.")
    return redirect("api", pk)


@requires("connections.edit")
@require_POST
def discard(request: HttpRequest, pk: int) -> HttpResponse:
    connection = found(pk)
    if not discard_draft(connection, request.user, request.POST.get("seal", "")):
        return _moved(request, pk)
    messages.success(request, "The draft is gone. · What runs did not change.")
    return redirect("api", pk)


@requires("connections.edit")
def export(request: HttpRequest, pk: int) -> HttpResponse:
    """The draft as YAML. What was entered as a secret is not part of it."""
    connection = found(pk)
    try:
        definition = parse(draft_of(connection))
    except DefinitionError as error:
        messages.error(request, f"It cannot be exported: {error}")
        return redirect("api", pk)
    answer = HttpResponse(to_yaml(definition), content_type="application/yaml; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{slugify(definition.name) or "api"}.yaml"'
    return answer


@requires("connections.edit")
@require_POST
def take_over(request: HttpRequest, pk: int) -> HttpResponse:
    """Replace the draft by an exported description."""
    connection = found(pk)
    file = request.FILES.get("yaml")
    try:
        if file is None:
            raise DefinitionError((), "no file was chosen")
        document = dump(from_yaml(_text(file, LONGEST_FILE)))
        change = Change(document, connection.name, connection.address, {}, {})
        if not save_draft(connection, change, request.user, request.POST.get("seal", ""), "imported"):
            return _moved(request, pk)
    except DefinitionError as error:
        messages.error(request, f"The file cannot be taken. {error} · Nothing was changed.")
    else:
        messages.success(request, "The description is taken over as a draft. · What runs did not change.")
    return redirect("api", pk)
