"""Test base of the sync pages: two connections, mappings with a version and a state, and rows made by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from connections.models import Connection, RoleAssignment
from mappings.models import Mapping, MappingVersion
from sync.models import Link, MappingState, Operation, Run
from syncadmin.tests.cases import RolesCase

DOCUMENT = {
    "rules": [
        {
            "id": "prio",
            "left": {"path": "priority", "label": "Priority"},
            "right": {"path": "Priority", "label": "Case priority"},
        }
    ]
}


class PagesCase(RolesCase):
    """`self.mapping` is active and approved; `make_…` add what a test needs."""

    def setUp(self) -> None:
        self.jira = Connection.objects.create(name="Jira", kind="jira", address="https://jira.example", state="ok")
        self.org = Connection.objects.create(name="Org", kind="salesforce", address="https://org.example", state="ok")
        self.mapping = self.make_mapping()
        self.as_("admin")

    def make_mapping(self, name: str = "Support", **changes: Any) -> Mapping:
        sides = {"left_connection": self.jira, "left_object_type": "issue"}
        sides |= {"right_connection": self.org, "right_object_type": "Case"}
        mapping = Mapping.objects.create(name=name, slug=name.lower(), **{**sides, "state": "active", **changes})
        mapping.published = MappingVersion.objects.create(mapping=mapping, number=1, document=DOCUMENT)
        mapping.save()
        # Long ago: a version as fresh as the run would be named as a brake's cause.
        MappingVersion.objects.filter(pk=mapping.published.pk).update(published_at=timezone.now() - timedelta(days=9))
        MappingState.objects.create(mapping=mapping, approved_at=timezone.now(), next_poll_at=timezone.now())
        return mapping

    def make_run(self, mapping: Mapping | None = None, **changes: Any) -> Run:
        mapping = mapping or self.mapping
        values = {"kind": "live", "state": "done", "finished_at": timezone.now(), **changes}
        return Run.objects.create(mapping=mapping, version=mapping.versions.get(), **values)

    def make_operation(self, run: Run, key: str = "SUP-1", **changes: Any) -> Operation:
        link = Link.objects.create(mapping=run.mapping, left_key=key, left_id=key, right_id=f"r{key}", right_key="C1")
        fields = {"prio": {"path": "Priority", "before": "P3", "value": "P1", "code": "edited", "params": {}}}
        values = {"side": "right", "kind": "update", "state": "confirmed", "fields": fields, **changes}
        return Operation.objects.create(mapping=run.mapping, version=run.version, run=run, link=link, **values)

    def halt(self, run: Run, halt: str, **params: Any) -> None:
        """The mapping of `run` waits for a person because of it."""
        code = {"brake": "brake", "approval": "waits_for_approval"}[halt]
        MappingState.objects.filter(mapping=run.mapping).update(
            halt=halt, halt_reason={"code": code, "params": {"run": run.pk, **params}}, halted_at=timezone.now()
        )

    def braked_run(self, **params: Any) -> Run:
        run = self.make_run(state="halted")
        known = {"side": "right", "kind": "delete", "planned": 30, "already": 4, "limit": 20, "looked": 41}
        self.halt(run, "brake", **{**known, "sample": ["SUP-1 = C1", "SUP-2 = C2"], **params})
        return run

    def give_stranger(self, role: str, mapping: Mapping) -> None:
        """The stranger gets `role` for this mapping alone."""
        mapping.assignments.add(RoleAssignment.objects.create(user=self.stranger, role=role, everywhere=False))

    def html(self, url: str, status: int = 200) -> str:
        response = self.client.get(url)
        self.assertEqual(response.status_code, status)
        return response.content.decode()
