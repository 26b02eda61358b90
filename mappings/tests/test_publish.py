from __future__ import annotations

from dataclasses import replace

import pytest

from connections.connectors.base import Field
from connections.models import Connection
from mappings import changes
from mappings.changes import diff_versions
from mappings.compiled import compile_document
from mappings.models import ConflictPolicy, FieldMapping, Mapping, MappingVersion, ValueMap
from mappings.publish import (
    DraftMoved,
    NotPublishable,
    document_of,
    fresh_rules,
    publish,
    restore_draft,
    roll_back,
)
from mappings.tests.examples import LEFT_FIELDS, PRIORITY_ENTRIES, RIGHT_FIELDS, snapshot
from sync.models import AuditEntry, Link

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def woken(settings):
    """Mappings that were asked to run; no queue is needed here."""
    calls.clear()
    settings.WAKE = "mappings.tests.test_publish.wake"
    return calls


def wake(mapping_id):
    calls.append(mapping_id)


calls = []


@pytest.fixture
def user(django_user_model):
    return django_user_model.objects.create_user("mira")


@pytest.fixture
def mapping(db):
    left = Connection.objects.create(name="Jira", kind="memory", address="https://jira.example.com")
    right = Connection.objects.create(name="Salesforce", kind="memory", address="https://sf.example.com")
    mapping = Mapping.objects.create(
        name="Support",
        slug="support",
        left_connection=left,
        left_object_type="issue",
        right_connection=right,
        right_object_type="Case",
        match_keys=[[{"left": "summary", "right": "Subject"}]],
    )
    add(mapping, "summary", "Subject")
    add(mapping, "duedate", "Due__c")
    return mapping


def add(mapping, left, right, **values):
    return FieldMapping.objects.create(
        mapping=mapping, left_field=left, right_field=right, position=mapping.rules.count(), **values
    )


def landed(mapping, user, note="", left=LEFT_FIELDS, right=RIGHT_FIELDS):
    return publish(mapping, user, note, left, right)


def edit(mapping, left, /, **values):
    """Change one rule of the draft the way the editor does: raise the revision as well."""
    mapping.rules.filter(left_field=left).update(**values)
    Mapping.objects.filter(pk=mapping.pk).update(revision=mapping.revision + 1)
    mapping.refresh_from_db()


def ids(mapping):
    return dict(mapping.rules.values_list("left_field", "rule_id"))


def test_a_version_remembers_the_fields_that_its_values_for_new_records_fill(mapping, user):
    mapping.create_defaults_right = {"Priority": "P1"}
    mapping.save()
    document = landed(mapping, user).document
    assert document["create_fields"] == {"left": [], "right": [snapshot("right", "Priority")]}
    compile_document(document)


def test_publishing_makes_a_version_activates_the_mapping_audits_and_wakes(mapping, user):
    version = landed(mapping, user, "First try")
    assert (version.number, version.note, version.published_by, version.rolled_back_to) == (1, "First try", user, None)
    assert (mapping.published, mapping.state) == (version, Mapping.State.ACTIVE)
    assert version.document == document_of(mapping, LEFT_FIELDS, RIGHT_FIELDS)
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.code, entry.actor, entry.mapping_version) == ("publish", "version_published", "mira", 1)
    assert entry.values == {"before": None, "after": version.document}
    assert calls == [mapping.pk]


def test_numbers_count_up_and_the_audit_entry_holds_the_old_document(mapping, user):
    first = landed(mapping, user)
    edit(mapping, "duedate", direction="to_right")
    second = landed(mapping, user)
    assert second.number == 2
    assert AuditEntry.objects.first().values == {"before": first.document, "after": second.document}
    first.refresh_from_db()
    assert first.document["rules"][1]["direction"] == "both"  # a version never changes


def test_a_draft_with_errors_is_not_published_and_says_why(mapping, user):
    add(mapping, "nope", "Effort__c")
    with pytest.raises(NotPublishable, match="Jira has no field nope") as caught:
        landed(mapping, user)
    assert [problem.code for problem in caught.value.problems if problem.level == "error"] == ["unknown_field"]
    mapping.refresh_from_db()
    assert (mapping.published, mapping.revision, mapping.state) == (None, 0, Mapping.State.DRAFT)
    assert not MappingVersion.objects.exists()
    assert calls == []


def test_warnings_do_not_stop_publishing(mapping, user):
    add(mapping, "description", "Description")
    assert landed(mapping, user).number == 1


def test_a_draft_that_names_other_records_is_not_published(mapping, user):
    """Links, last agreed values and the approval are of the records that the mapping was published with."""
    landed(mapping, user)
    other = Connection.objects.create(name="Other", kind="memory", address="https://other.example.com")
    for change in ({"left_connection": other}, {"left_object_type": "epic"}):
        Mapping.objects.filter(pk=mapping.pk).update(**change)
        with pytest.raises(NotPublishable, match="The left side was published with “issue” of Jira, and now names"):
            landed(Mapping.objects.get(pk=mapping.pk), user)
    assert mapping.versions.count() == 1


def test_a_version_of_other_records_is_not_rolled_back_to(mapping, user):
    first = landed(mapping, user)
    elsewhere = {**first.document, "right": {**first.document["right"], "object_type": "Account"}}
    MappingVersion.objects.filter(pk=first.pk).update(document=elsewhere)
    second = MappingVersion.objects.create(mapping=mapping, number=2, document=first.document)
    Mapping.objects.filter(pk=mapping.pk).update(published=second)
    with pytest.raises(ValueError, match=r"now names “Account” of Salesforce\. · Nothing was changed"):
        roll_back(Mapping.objects.get(pk=mapping.pk), 1, user)
    mapping.refresh_from_db()
    assert (mapping.published, mapping.right_object_type, mapping.versions.count()) == (second, "Case", 2)


def test_a_draft_saved_meanwhile_is_not_published(mapping, user):
    seen = Mapping.objects.get(pk=mapping.pk)
    edit(mapping, "duedate", direction="to_right")
    with pytest.raises(DraftMoved) as caught:
        landed(seen, user)
    assert caught.value.revision == 1
    assert not MappingVersion.objects.exists()


def test_publishing_twice_from_one_page_is_noticed(mapping, user):
    seen = Mapping.objects.get(pk=mapping.pk)
    landed(mapping, user)
    with pytest.raises(DraftMoved):
        landed(seen, user)


def test_a_paused_mapping_stays_paused(mapping, user):
    landed(mapping, user)
    mapping.state = Mapping.State.PAUSED
    mapping.save()
    landed(mapping, user)
    assert mapping.state == Mapping.State.PAUSED


def test_rules_switched_off_are_not_in_the_document(mapping, user):
    edit(mapping, "duedate", enabled=False)
    assert [rule["left"]["path"] for rule in landed(mapping, user).document["rules"]] == ["summary"]


def test_sets_without_a_policy_merge_and_everything_else_asks(mapping):
    add(mapping, "labels", "Tags__c")
    policies = [rule["policy"]["kind"] for rule in document_of(mapping, LEFT_FIELDS, RIGHT_FIELDS)["rules"]]
    assert policies == ["review", "review", "merge_sets"]


# Rule ids. ---------------------------------------------------------------------------------------------------


def test_direction_and_policy_changes_keep_the_rule_id(mapping, user):
    landed(mapping, user)
    before = ids(mapping)
    edit(mapping, "duedate", direction="to_right", policy=ConflictPolicy.objects.create(name="Newest", kind="newest"))
    landed(mapping, user)
    assert ids(mapping) == before


def test_another_field_gets_a_new_rule_id_and_the_others_keep_theirs(mapping, user):
    landed(mapping, user)
    before = ids(mapping)
    edit(mapping, "duedate", left_field="points", right_field="Effort__c")
    version = landed(mapping, user)
    after = ids(mapping)
    assert after["summary"] == before["summary"]
    assert after["points"] != before["duedate"]
    assert [rule["id"] for rule in version.document["rules"]] == [after["summary"], after["points"]]


def test_another_type_of_the_same_field_gets_a_new_rule_id(mapping, user):
    landed(mapping, user)
    before = ids(mapping)
    left = [replace(field, kind="datetime") if field.path == "duedate" else field for field in LEFT_FIELDS]
    right = [replace(field, kind="datetime") if field.path == "Due__c" else field for field in RIGHT_FIELDS]
    landed(mapping, user, left=left, right=right)
    assert ids(mapping)["duedate"] != before["duedate"]
    assert ids(mapping)["summary"] == before["summary"]


def test_a_rule_removed_and_added_again_before_publishing_is_the_same_rule(mapping, user):
    landed(mapping, user)
    before = ids(mapping)
    mapping.rules.filter(left_field="duedate").delete()
    add(mapping, "duedate", "Due__c")
    assert ids(mapping) != before
    landed(mapping, user)
    assert ids(mapping) == before


def test_a_version_tells_rules_that_are_off_from_those_that_were_removed(mapping, user):
    landed(mapping, user)
    due = ids(mapping)["duedate"]
    mapping.rules.filter(left_field="duedate").update(enabled=False)
    assert landed(mapping, user).document["off"] == [due]
    mapping.rules.filter(left_field="duedate").delete()
    assert landed(mapping, user).document["off"] == []


def test_two_rules_that_exchange_their_fields_exchange_their_ids(mapping, user):
    landed(mapping, user)
    before = ids(mapping)
    summary, due = mapping.rules.get(left_field="summary"), mapping.rules.get(left_field="duedate")
    mapping.rules.filter(pk=due.pk).update(left_field="x", right_field="x")
    mapping.rules.filter(pk=summary.pk).update(left_field="duedate", right_field="Due__c")
    mapping.rules.filter(pk=due.pk).update(left_field="summary", right_field="Subject")
    landed(mapping, user)
    assert ids(mapping) == before


def test_a_rule_switched_off_and_on_again_keeps_its_id(mapping, user):
    landed(mapping, user)
    before = ids(mapping)
    edit(mapping, "duedate", enabled=False)
    landed(mapping, user)
    edit(mapping, "duedate", enabled=True)
    landed(mapping, user)
    assert ids(mapping) == before


def test_an_id_is_never_given_to_another_meaning_even_versions_later(mapping, user):
    landed(mapping, user)
    old = ids(mapping)["duedate"]
    edit(mapping, "duedate", enabled=False)
    landed(mapping, user)
    edit(mapping, "duedate", enabled=True, left_field="points", right_field="Effort__c")
    landed(mapping, user)
    assert ids(mapping)["points"] != old


def test_rules_without_last_agreed_values_are_known_before_publishing(mapping, user):
    def fresh():
        return [rule["left"]["path"] for rule in fresh_rules(mapping, document_of(mapping, LEFT_FIELDS, RIGHT_FIELDS))]

    assert fresh() == ["summary", "duedate"]
    landed(mapping, user)
    assert fresh() == []
    edit(mapping, "duedate", direction="to_right")
    assert fresh() == []
    edit(mapping, "duedate", transform="date_time")
    add(mapping, "points", "Effort__c")
    assert fresh() == ["duedate", "points"]
    edit(mapping, "duedate", enabled=False, transform="same")
    landed(mapping, user)
    edit(mapping, "duedate", enabled=True)
    assert fresh() == []  # what was agreed before it was switched off still holds


# Rolling back. -----------------------------------------------------------------------------------------------


def test_rolling_back_repeats_the_old_document_as_a_new_version_and_restores_the_draft(mapping, user):
    first = landed(mapping, user)
    before = ids(mapping)
    edit(mapping, "duedate", left_field="points", right_field="Effort__c", direction="to_right")
    landed(mapping, user)
    link = Link.objects.create(mapping=mapping, left_id="1", right_id="2", left_bases={before["duedate"]: "2026-01-01"})

    version = roll_back(mapping, 1, user)

    assert (version.number, version.rolled_back_to) == (3, 1)
    assert version.document == first.document
    assert mapping.published == version
    assert ids(mapping) == before
    assert document_of(mapping, LEFT_FIELDS, RIGHT_FIELDS) == first.document
    link.refresh_from_db()
    assert link.left_bases == {before["duedate"]: "2026-01-01"}  # what was agreed under the rule holds again
    assert list(AuditEntry.objects.values_list("code", flat=True)[:2]) == ["version_rolled_back", "draft_replaced"]
    assert calls == [mapping.pk] * 3


def test_rules_that_are_off_by_now_are_off_in_the_version_of_a_roll_back(mapping, user):
    """They stay in the draft, so what is asked about them waits."""
    first = landed(mapping, user)
    rule = add(mapping, "points", "Effort__c", enabled=False)
    version = roll_back(Mapping.objects.get(pk=mapping.pk), 1, user)
    assert version.document == {**first.document, "off": [rule.rule_id]}


def test_the_draft_that_a_roll_back_replaces_is_kept_in_the_audit_log(mapping, user):
    landed(mapping, user)
    edit(mapping, "duedate", direction="to_left")
    roll_back(mapping, 1, user)
    kept = AuditEntry.objects.get(code="draft_replaced").values["before"]
    assert kept["rules"][1]["direction"] == "to_left"


def test_rolling_back_a_draft_that_moved_changes_nothing(mapping, user):
    landed(mapping, user)
    seen = Mapping.objects.get(pk=mapping.pk)
    edit(mapping, "duedate", direction="to_left")
    with pytest.raises(DraftMoved):
        roll_back(seen, 1, user)
    assert mapping.versions.count() == 1
    assert mapping.rules.get(left_field="duedate").direction == "to_left"


def test_value_maps_and_policies_changed_since_are_copied_not_overwritten(mapping, user):
    value_map = ValueMap.objects.create(name="Priority", entries=PRIORITY_ENTRIES)
    policy = ConflictPolicy.objects.create(name="Newest wins", kind="newest")
    add(mapping, "priority", "Priority", value_map=value_map, policy=policy)
    document = document_of(mapping, LEFT_FIELDS, RIGHT_FIELDS)
    ValueMap.objects.update(entries=PRIORITY_ENTRIES[:1])
    ConflictPolicy.objects.update(kind="left")

    restore_draft(mapping, document)

    rule = mapping.rules.select_related("value_map", "policy").get(left_field="priority")
    assert (rule.value_map.name, rule.value_map.entries) == ("Priority (restored)", PRIORITY_ENTRIES)
    assert (rule.policy.name, rule.policy.kind) == ("Newest wins (restored)", "newest")
    assert ValueMap.objects.get(pk=value_map.pk).entries == PRIORITY_ENTRIES[:1]
    restore_draft(mapping, document)  # and the copy is found again, not copied once more
    assert ValueMap.objects.count() == ConflictPolicy.objects.count() == 2


def test_value_maps_and_policies_that_still_say_the_same_are_used(mapping):
    value_map = ValueMap.objects.create(name="Priority", entries=PRIORITY_ENTRIES)
    add(mapping, "priority", "Priority", value_map=value_map)
    restore_draft(mapping, document_of(mapping, LEFT_FIELDS, RIGHT_FIELDS))
    assert mapping.rules.get(left_field="priority").value_map == value_map
    assert mapping.rules.get(left_field="priority").policy is None


def test_rules_switched_off_survive_a_restored_draft(mapping):
    document = document_of(mapping, LEFT_FIELDS, RIGHT_FIELDS)
    add(mapping, "points", "Effort__c", enabled=False)
    restore_draft(mapping, document)
    assert not mapping.rules.get(left_field="points").enabled
    assert mapping.rules.count() == 3


def test_a_connection_that_is_gone_stops_the_restore_with_its_name(mapping):
    document = document_of(mapping, LEFT_FIELDS, RIGHT_FIELDS)
    document["left"]["connection"] = 0
    with pytest.raises(ValueError, match=r"The connection Jira of that version is gone\. Nothing was changed"):
        restore_draft(mapping, document)


# Differences. ------------------------------------------------------------------------------------------------


def told(before, after):
    return [(c.kind, c.where, c.what, c.before, c.after) for c in diff_versions(before, after)]


def test_equal_documents_do_not_differ(mapping):
    document = document_of(mapping, LEFT_FIELDS, RIGHT_FIELDS)
    assert diff_versions(document, document) == []


def test_everything_is_new_against_nothing(mapping):
    document = document_of(mapping, LEFT_FIELDS, RIGHT_FIELDS)
    assert [line[:2] for line in told(None, document)] == [
        ("added", "Summary ↔ Subject"),
        ("added", "Due date ↔ Due date"),
    ]


def test_changes_are_told_field_by_field_in_words(mapping):
    before = document_of(mapping, LEFT_FIELDS, RIGHT_FIELDS)
    policy = ConflictPolicy.objects.create(name="Newest wins", kind="newest")
    mapping.rules.filter(left_field="duedate").update(direction="to_right", policy=policy)
    mapping.rules.filter(left_field="summary").delete()
    add(mapping, "points", "Effort__c")
    mapping.poll_seconds, mapping.left_scope, mapping.create_on_right = 60, {"project": "SUP"}, False
    after = document_of(mapping, LEFT_FIELDS, RIGHT_FIELDS)
    assert told(before, after) == [
        ("changed", "Mapping", "Seconds between polls", "15", "60"),
        ("changed", "Left side", "Scope", "empty", "project: SUP"),
        ("changed", "Right side", "Create records here", "yes", "no"),
        ("removed", "Summary ↔ Subject", "", "Both ways, same, Ask a person", ""),
        ("changed", "Due date ↔ Due date", "Direction", "Both ways", "Left to right"),
        ("changed", "Due date ↔ Due date", "When both sides changed", "Ask a person", "Newest wins"),
        ("added", "Points ↔ Effort", "", "", "Both ways, same, Ask a person"),
    ]


def test_another_scope_lists_its_side_and_other_match_keys_list_both(mapping):
    before = document_of(mapping, LEFT_FIELDS, RIGHT_FIELDS)
    mapping.left_scope = {"project": "SUP"}
    other_scope = document_of(mapping, LEFT_FIELDS, RIGHT_FIELDS)
    mapping.match_keys = [[{"left": "duedate", "right": "Due__c"}]]
    other_keys = document_of(mapping, LEFT_FIELDS, RIGHT_FIELDS)
    assert changes.sides_to_list(before, before) == []
    assert changes.sides_to_list(before, other_scope) == ["left"]
    assert changes.sides_to_list(other_scope, other_keys) == ["left", "right"]


def test_a_field_that_changed_at_the_vendor_is_told(mapping):
    before = document_of(mapping, LEFT_FIELDS, RIGHT_FIELDS)
    fields = [Field("Due__c", "Due date", "datetime", required=True), *RIGHT_FIELDS[:1]]
    assert told(before, document_of(mapping, LEFT_FIELDS, fields)) == [
        ("changed", "Due date ↔ Due date", "Right field: kind", "date", "datetime"),
        ("changed", "Due date ↔ Due date", "Right field: required", "no", "yes"),
    ]


def test_a_new_order_is_one_change(mapping):
    before = document_of(mapping, LEFT_FIELDS, RIGHT_FIELDS)
    mapping.rules.filter(left_field="summary").update(position=9)
    after = document_of(mapping, LEFT_FIELDS, RIGHT_FIELDS)
    assert [line[2] for line in told(before, after)] == ["Order of the rules"]


def test_the_words_of_differences_are_those_of_the_forms():
    assert changes.WORDS["direction"] == dict(FieldMapping.Direction.choices)
    assert changes.WORDS["one_way_target"] == dict(FieldMapping.OneWay.choices)
    assert changes.WORDS["initial"] == dict(Mapping.Initial.choices)
    assert changes.WORDS["on_delete"] == dict(Mapping.OnDelete.choices)
