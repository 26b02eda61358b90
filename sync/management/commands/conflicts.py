"""`manage.py conflicts`: what waits for a person (see docs/commands.md)."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db.models import Q

from sync.models import Conflict
from sync.wording import sentence


class Command(BaseCommand):
    help = "List the open conflicts, oldest first."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--mapping", help="name or slug of a mapping")
        parser.add_argument("--json", action="store_true", help="machine-readable answer")

    def handle(self, *args: Any, **options: Any) -> None:
        rows = Conflict.objects.filter(state__in=("open", "resolving")).select_related("link", "mapping")
        if options["mapping"]:
            rows = rows.filter(Q(mapping__slug=options["mapping"]) | Q(mapping__name=options["mapping"]))
        found = [describe(conflict) for conflict in rows.order_by("opened_at", "pk")]
        if options["json"]:
            self.stdout.write(json.dumps(found, ensure_ascii=False))
            return
        for one in found:
            self.stdout.write(f"{one['id']}  {one['kind']}  {one['record']['label']}  {one['field']}: {one['reason']}")
            if one["rule"]:
                self.stdout.write(f"     left  {one['left']['value']!r}  {one['left']['by']}")
                self.stdout.write(f"     right {one['right']['value']!r}  {one['right']['by']}")
        if not found:
            self.stdout.write("Nothing waits for you.")


def describe(conflict: Conflict) -> dict[str, Any]:
    """A conflict as other programs see it."""
    link = conflict.link
    return {
        "id": conflict.pk,
        "kind": conflict.kind,
        "state": conflict.state,
        "mapping": conflict.mapping.slug,
        "record": {
            "label": str(link) if link else conflict.title,
            "left_id": link.left_id if link else None,
            "right_id": link.right_id if link else None,
            "left_key": link.left_key if link else "",
            "right_key": link.right_key if link else "",
        },
        "rule": conflict.rule_id,
        "field": conflict.field_label,
        "base": {"left": conflict.left_base, "right": conflict.right_base} if conflict.has_base else None,
        "left": {"value": conflict.left_value, "by": conflict.left_by, "at": conflict.left_at},
        "right": {"value": conflict.right_value, "by": conflict.right_by, "at": conflict.right_at},
        "overwritten": conflict.params.get("overwritten"),
        "overwritten_before": conflict.params.get("overwritten_before", []),
        "code": conflict.code,
        "reason": sentence(conflict.code, conflict.params),
        "opened_at": conflict.opened_at.isoformat(),
    }
