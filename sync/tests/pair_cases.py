"""Test base of pages about pairs: two systems in memory, driven by the real engine, seen by every role."""

from __future__ import annotations

import os
from typing import Any
from unittest import mock

from connections.connectors.memory import World
from connections.models import RoleAssignment
from mappings.models import Mapping
from sync.models import Conflict, Instruction, Link
from sync.tests.conftest import DEFAULT_RULES, Pair, build_pair, rule
from syncadmin.tests.cases import RolesCase

PRIORITY = rule(
    "prio",
    "status",
    "option",
    transform="value_map",
    entries=[
        {"left": "High", "right": "P1"},
        {"left": "Low", "right": "P4"},
        {"left": "Top", "right": "P0"},
        {"left": "Medium", "right": "P3"},
    ],
)
RULES = [PRIORITY if one["id"] == "status" else one for one in DEFAULT_RULES]


class PairCase(RolesCase):
    """`self.pair`: a mapping of Left and Right with a value map on the field `status` (rule "prio")."""

    pair: Pair

    def setUp(self) -> None:
        super().setUp()
        os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        patch = mock.patch("sync.jobs.enqueue")
        patch.start()
        self.addCleanup(patch.stop)
        self.addCleanup(World.registry.clear)
        self.pair = build_pair("Pair", World("Left"), World("Right"), RULES)
        self.pair.approve()

    def linked(self, number: int = 1, **values: Any) -> tuple[str, str, Link]:
        """Two linked records that agree on `values`; `status` is High and P1."""
        known = {"title": f"Record {number}", "ref": f"R{number}", **values}
        left = self.pair.left.add(**{**known, "status": "High"})
        right = self.pair.right.add(**{**known, "status": "P1"})
        self.pair.quiet()
        return left, right, Link.objects.get(left_id=left)

    def conflict(self, number: int = 1, path: str = "body", left: Any = "L", right: Any = "R") -> Conflict:
        """An open conflict about `path`, between two edits."""
        a, b, link = self.linked(number, body="b")
        self.pair.left.edit(a, by="ana", **{path: left})
        self.pair.right.edit(b, by="bob", **{path: right})
        self.pair.quiet()
        return Conflict.objects.get(link=link, state="open")

    def values(self, link: Link | None, path: str) -> tuple[Any, Any]:
        assert link is not None and link.left_id and link.right_id
        return self.pair.both(link.left_id, link.right_id, path)

    def html(self, url: str, status: int = 200) -> str:
        response = self.client.get(url)
        self.assertEqual(response.status_code, status)
        return response.content.decode()

    def newest(self) -> Instruction:
        found = Instruction.objects.order_by("-pk").first()
        assert found is not None
        return found

    def elsewhere(self, role: str) -> None:
        """The stranger gets `role` for another mapping only."""
        other = Mapping.objects.create(
            name="Other",
            slug="other",
            left_connection=self.pair.mapping.left_connection,
            left_object_type="thing",
            right_connection=self.pair.mapping.right_connection,
            right_object_type="thing",
        )
        other.assignments.add(RoleAssignment.objects.create(user=self.stranger, role=role, everywhere=False))
