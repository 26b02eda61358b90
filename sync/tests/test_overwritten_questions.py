"""What ends the question about an edit that we overwrote, and what does not: whoever ends it was shown that edit."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from sync.models import AuditEntry, SchemaLook
from sync.tests.conftest import Pair
from sync.tests.test_engine_overwritten import overwritten

pytestmark = pytest.mark.django_db


def looks_are_due() -> None:
    SchemaLook.objects.update(looked_at=timezone.now() - timedelta(hours=1), due_at=timezone.now())


def test_a_standstill_that_takes_a_refusal_over_does_not_end_it(pair: Pair) -> None:
    left, _, one = overwritten(pair)
    SchemaLook.objects.update(looked_at=timezone.now())  # what the refusal says is not looked into at once
    pair.right.change("body", writable=False)
    pair.left.edit(left, body="refused")
    pair.quiet()
    one.refresh_from_db()
    assert (one.kind, one.params["overwritten"]) == ("refused", "bob's")
    looks_are_due()
    pair.quiet()
    one.refresh_from_db()
    assert (one.state, one.kind, one.params["overwritten"]) == ("open", "clobber", "bob's")
    assert AuditEntry.objects.filter(action="conflict_closed", code="overwritten_still_asked").count() == 1
    pair.right.change("body", writable=True)
    looks_are_due()
    pair.quiet()
    one.refresh_from_db()
    assert (one.state, one.kind, pair.right.value(one.link.right_id, "body")) == ("open", "clobber", "refused")
