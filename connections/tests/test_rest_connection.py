"""A described API as a connection: its row, its test, its webhooks, its forms."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from connections import open as opening
from connections.connectors import connector_class
from connections.forms import ConnectionForm
from connections.models import Connection, Delivery
from connections.open import cached_fields, open_connector, test_connection
from connections.sandbox.rest_habits import Habits
from connections.tests.rest_documents import things_document
from connections.tests.rest_world import SECRETS, SETTINGS, RestWorld, rest_world

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_paused", {})
    monkeypatch.setattr(opening, "_fields", {})
    monkeypatch.setattr(opening.Budget, "spend", lambda self: None)


@pytest.fixture
def world() -> Iterator[tuple[RestWorld, Connection]]:
    with rest_world(Habits(sign_in="login")) as found:
        settings: dict[str, Any] = {**SETTINGS, "definition": things_document(found.app.habits)}
        row = Connection.objects.create(
            name="Things", kind="rest", address=found.address, settings=settings, secrets=SECRETS
        )
        yield found, row


def test_a_described_connection_is_tested_and_its_fields_shown(world: tuple[RestWorld, Connection]):
    found, row = world
    found.things.create({"title": "Thing"}, "7")
    test_connection(row)
    row.refresh_from_db()
    assert (row.state, row.account_id, row.tenant) == (Connection.State.OK, "sync", "acme")
    assert {"title", "status"} <= {field.path for field in cached_fields(row, "thing", {})}
    # The token of the first sign-in serves the next worker.
    row.refresh_from_db()
    open_connector(row).object_types()
    assert [path for method, path, _ in found.app.log if path == "/auth/login"] == ["/auth/login"]


def test_a_webhook_is_taken_over_where_the_description_has_one(world: tuple[RestWorld, Connection], client: Client):
    found, row = world
    id = str(found.things.create({"title": "Thing"}, "7")["id"])
    found.app.now = time.time
    headers, body = found.app.signed(id)
    url = webhook_path(row)
    answer = client.post(url, body, content_type="application/json", headers=headers)
    assert answer.status_code == 200
    assert [(d.verified, d.hints[0]["external_id"]) for d in Delivery.objects.all()] == [(True, id)]
    forged = {**headers, "X-Signature": "sha256=00", "X-Delivery": "other"}
    assert client.post(url, body, content_type="application/json", headers=forged).status_code == 401


def test_without_a_webhook_in_its_description_a_connection_takes_none(
    world: tuple[RestWorld, Connection], client: Client
):
    found, row = world
    document = things_document(found.app.habits)
    del document["webhook"]
    Connection.objects.filter(pk=row.pk).update(settings={**SETTINGS, "definition": document})
    headers, body = found.app.signed("1")
    assert client.post(webhook_path(row), body, content_type="application/json", headers=headers).status_code == 401


def webhook_path(row: Connection) -> str:
    return reverse("webhook", args=[row.webhook_token])


def test_the_ordinary_form_keeps_the_description(world: tuple[RestWorld, Connection]):
    _, row = world
    data = {"name": "Renamed", "address": row.address, "user": "sync"}
    form = ConnectionForm(connector_class("rest"), row, data)
    assert form.is_valid(), form.errors
    saved = form.save()
    assert saved.name == "Renamed" and saved.settings["definition"] == things_document(Habits(sign_in="login"))


def test_a_system_with_a_definition_is_connected_by_the_ordinary_form():
    kind = connector_class("asana")
    data = {"name": "Asana", "address": "https://app.asana.com", "workspace": "1200", "key": "a-long-token"}
    form = ConnectionForm(kind, Connection(kind="asana"), data)
    assert form.is_valid(), form.errors
    row = form.save()
    assert row.settings == {"workspace": "1200"}
    assert open_connector(row).capabilities.lists_changes
    assert not ConnectionForm(kind, Connection(kind="asana"), {**data, "name": "B", "key": ""}).is_valid()
