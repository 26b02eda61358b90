"""The demo's mapping between Jira and Salesforce, run by the real engine over HTTP, while fields of both change."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from connections.budget import Budget
from connections.connectors import jira_site
from connections.sandbox.base import Server
from connections.sandbox.jira import JiraStandin
from connections.sandbox.salesforce import SalesforceStandin
from mappings.models import Mapping
from sync import apply, engine, hints, jobs, read
from sync.models import ChangedRecord, Conflict, Cursor, Link, MappingState, SchemaLook
from sync.session import SIDES
from sync.simulation.crash import InOrder
from syncadmin.demo import seed_config, standins
from syncadmin.demo.credentials import INTEGRATION_EMAIL, Credentials
from syncadmin.demo.notes import MAPPING_SLUG

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass
class Demo:
    jira: JiraStandin
    salesforce: SalesforceStandin
    mapping: Mapping
    link: Link

    def run(self) -> None:
        """Look at the pair until nothing waits; the lists of the whole demo are not read."""
        for side in SIDES:
            hints.mark(self.mapping.pk, side, [self.link.record_id(side) or ""])
        for _ in range(6):
            ChangedRecord.objects.filter(attempts=0).update(not_before=timezone.now())
            assert engine.run(self.mapping.pk).state == "done"
            if not ChangedRecord.objects.exists():
                break
        self.link.refresh_from_db()

    def look(self) -> None:
        SchemaLook.objects.update(looked_at=timezone.now() - timedelta(hours=1), due_at=timezone.now())
        self.run()

    def entries(self) -> set[tuple[str, str]]:
        rows = Conflict.objects.filter(kind="schema", state="open")
        return {(one.field_label, one.code) for one in rows}


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> Iterator[Demo]:
    monkeypatch.setattr(jobs, "enqueue", lambda *args: None)
    for module in (apply, read):  # the tables of an SQLite database in memory know one writer at a time
        monkeypatch.setattr(module, "ThreadPoolExecutor", InOrder)
    monkeypatch.setattr(Budget, "spend", lambda self: None)  # how fast the machine is decides nothing here
    monkeypatch.setenv("DEMO_BELLS", "0")
    os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    word = Credentials("a word")
    jira, salesforce = (standins.make(kind, ":memory:", 0.0, word) for kind in ("jira", "salesforce"))
    assert isinstance(jira, JiraStandin) and isinstance(salesforce, SalesforceStandin)
    jira_site._caches.clear()
    with Server(jira) as left, Server(salesforce) as right:
        kept: Any = SimpleNamespace(
            jira_url=left,
            salesforce_url=right,
            credentials=word,
            users=[{"username": "admin", "role": "admin", "password": "p"}],
            new=True,
        )
        seed_config.seed(kept)
        mapping = Mapping.objects.get(slug=MAPPING_SLUG)
        now = timezone.now()
        MappingState.objects.update_or_create(
            mapping=mapping, defaults={"approved_at": now, "surveyed_at": now, "next_poll_at": now + timedelta(hours=1)}
        )
        case = next(iter(salesforce.org.tables["Case"].values()))
        assert not Cursor.objects.exists()
        hints.mark(mapping.pk, "right", [case["Id"]])
        engine.run(mapping.pk)
        engine.run(mapping.pk)
        yield Demo(jira, salesforce, mapping, Link.objects.get(right_id=case["Id"]))


def test_a_field_hidden_at_either_system_stops_its_rule_while_the_rest_flows(demo: Demo) -> None:
    org, case = demo.salesforce.org, demo.link.right_id or ""
    author = org.tables["Case"][case]["CreatedById"]
    described = org.tables["Case"][case]["Description"]
    demo.look()
    assert SchemaLook.objects.exclude(digest="").count() == 2
    assert demo.entries() == set(), "as it was published, it stands nowhere still"

    org.set_field("Case", "Description", hidden=True)
    org.edit(case, author, Subject="Said at Salesforce")
    demo.look()
    assert demo.entries() == {("Description", "field_hidden")}
    assert demo.link.title == "Said at Salesforce"

    org.set_field("Case", "Description", hidden=False)
    demo.jira.update_user(INTEGRATION_EMAIL, hidden_fields=["description"])
    org.edit(case, author, Subject="Said once more")
    demo.look()
    assert demo.entries() == {("Description", "field_hidden")}
    assert Conflict.objects.get(kind="schema", state="open").params["side"] == "left"
    assert demo.link.title == "Said once more"

    demo.jira.update_user(INTEGRATION_EMAIL, hidden_fields=[])
    demo.look()
    assert demo.entries() == set() and not ChangedRecord.objects.exists()
    assert org.tables["Case"][case]["Description"] == described, "hidden is not empty"
