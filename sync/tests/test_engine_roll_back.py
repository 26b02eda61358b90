"""A roll back, and what is asked about rules that only later versions have."""

from __future__ import annotations

import pytest

from mappings.models import ConflictPolicy, FieldMapping, Mapping
from mappings.publish import publish, roll_back
from sync.tests.conftest import Pair

pytestmark = pytest.mark.django_db


def published(pair: Pair) -> None:
    """The draft becomes the version that runs."""
    mapping = Mapping.objects.get(pk=pair.mapping.pk)
    publish(mapping, None, left_fields=pair.left.fields, right_fields=pair.right.fields)
    pair.mapping = Mapping.objects.get(pk=mapping.pk)


@pytest.mark.parametrize("back", [False, True])
def test_what_is_asked_about_a_rule_that_is_off_waits_over_a_roll_back(pair: Pair, back: bool) -> None:
    Mapping.objects.update(published=None, match_keys=[[{"left": "ref", "right": "ref"}]])
    pair.mapping.versions.all().delete()
    FieldMapping.objects.create(mapping=pair.mapping, rule_id="title", left_field="title", right_field="title")
    published(pair)
    first = pair.mapping.published
    assert first is not None
    body = FieldMapping.objects.create(mapping=pair.mapping, rule_id="body", left_field="body", right_field="body")
    published(pair)
    left, right, _ = pair.linked(body="agreed")
    pair.left.edit(left, body="left's")
    pair.right.edit(right, body="right's")
    pair.quiet()
    FieldMapping.objects.filter(pk=body.pk).update(enabled=False)
    published(pair)
    if back:
        roll_back(Mapping.objects.get(pk=pair.mapping.pk), first.number, None)
    pair.quiet()
    assert [one.rule_id for one in pair.open_conflicts()] == ["body"], "it waits for the rule"
    decides = ConflictPolicy.objects.create(name="Left decides", kind="left")
    FieldMapping.objects.filter(mapping=pair.mapping, left_field="body").update(enabled=True, policy=decides)
    published(pair)
    for side, external_id in (("left", left), ("right", right)):
        pair.ring(side, external_id)
    pair.quiet()
    assert pair.right.value(right, "body") == "right's", "nobody answered"
