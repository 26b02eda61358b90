"""The pages of mappings, value maps and policies, seen by every role."""

from __future__ import annotations

import re
from contextlib import contextmanager
from unittest import mock

from django.core.cache import cache
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from connections import open as opening
from connections.connectors.base import NeedsAuthorization, ObjectType
from connections.connectors.memory import MemoryConnector, World
from connections.models import Connection, RoleAssignment
from mappings.models import ConflictPolicy, FieldMapping, Mapping, ValueMap
from mappings.tests.examples import LEFT_FIELDS, PRIORITY_ENTRIES, RIGHT_FIELDS
from sync.models import AuditEntry, Conflict, Link
from syncadmin.tests.cases import RolesCase

woken = []


def wake(mapping_id):
    woken.append(mapping_id)


@override_settings(WAKE="mappings.tests.test_mapping_pages.wake")
class PagesCase(RolesCase):
    def setUp(self):
        super().setUp()
        cache.clear()
        opening._fields.clear()
        woken.clear()
        self.left_world, self.right_world = World("jira", LEFT_FIELDS), World("sf", RIGHT_FIELDS)
        self.left = Connection.objects.create(
            name="Jira", kind="memory", address="https://jira.example.com", settings={"world": "jira"}
        )
        self.right = Connection.objects.create(
            name="Salesforce", kind="memory", address="https://sf.example.com", settings={"world": "sf"}
        )
        self.mapping = Mapping.objects.create(
            name="Support",
            slug="support",
            left_connection=self.left,
            left_object_type="thing",
            right_connection=self.right,
            right_object_type="thing",
            match_keys=[[{"left": "summary", "right": "Subject"}]],
        )
        self.summary = self.rule("summary", "Subject")
        self.due = self.rule("duedate", "Due__c")

    def rule(self, left, right, **values):
        position = self.mapping.rules.count()
        return FieldMapping.objects.create(
            mapping=self.mapping, left_field=left, right_field=right, position=position, **values
        )

    def url(self, name, *args):
        return reverse(name, args=args)

    def post(self, url, **data):
        """Post as the page would, with the draft's revision unless another is given."""
        self.mapping.refresh_from_db()
        return self.client.post(url, {"revision": self.mapping.revision, **data}, follow=True)

    def published(self):
        self.as_("admin")
        self.post(self.url("mapping-publish", "support"), note="Go")
        self.mapping.refresh_from_db()
        return self.mapping.published

    def sample(self):
        left = self.left_world.add(summary="Login loop", priority="High", duedate="2026-10-01")
        right = self.right_world.add(Subject="Login", Priority="P3", Due__c="2026-10-01")
        return Link.objects.create(
            mapping=self.mapping, left_id=left, right_id=right, left_key="SUP-1", right_key="103"
        )

    @contextmanager
    def jira_down(self):
        opening._fields.clear()
        cache.clear()
        original = opening.open_connector

        def opened(row, **options):
            if row.pk == self.left.pk:
                raise NeedsAuthorization("Jira no longer accepts our sign-in.")
            return original(row, **options)

        opening.open_connector = opened
        try:
            yield
        finally:
            opening.open_connector = original


RULE = {
    "left_field": "duedate",
    "right_field": "Due__c",
    "direction": "to_right",
    "transform": "same",
    "one_way_target": "keep",
    "initial": "",
    "enabled": "on",
}


def settings_form(**changes):
    sets = ("match", "create_defaults_left", "create_defaults_right", "close_values_left", "close_values_right")
    management = {f"{name}-{key}": "0" for name in sets for key in ("TOTAL_FORMS", "INITIAL_FORMS")}
    return {
        **management,
        "name": "Support",
        "description": "",
        "create_on_left": "on",
        "create_on_right": "on",
        "on_delete_left": "review",
        "on_delete_right": "review",
        "initial": "fill_empty",
        "poll_seconds": "15",
        "poll_seconds_idle": "120",
        "match-TOTAL_FORMS": "1",
        "match-0-way": "1",
        "match-0-left": "summary",
        "match-0-right": "Subject",
        **changes,
    }


class AccessTest(PagesCase):
    def test_admins_operators_and_auditors_read_mappings(self):
        self.published()
        for name, *args in (
            ("mappings",),
            ("mapping", "support"),
            ("mapping-sample", "support"),
            ("mapping-settings", "support"),
            ("mapping-versions", "support"),
            ("mapping-version", "support", 1),
        ):
            self.assert_access(self.url(name, *args), allowed={"admin", "operator", "auditor"})

    def test_everybody_with_a_role_reads_policies_and_value_maps(self):
        policy = ConflictPolicy.objects.create(name="Newest wins", kind="newest")
        value_map = ValueMap.objects.create(name="Priority", entries=PRIORITY_ENTRIES)
        everybody = {"admin", "operator", "reviewer", "auditor"}
        for url in (
            self.url("policies"),
            self.url("policy", policy.pk),
            self.url("value-maps"),
            self.url("value-map", value_map.pk),
        ):
            self.assert_access(url, allowed=everybody)

    def test_only_admins_change_anything(self):
        self.published()
        policy = ConflictPolicy.objects.create(name="Newest wins", kind="newest")
        value_map = ValueMap.objects.create(name="Priority", entries=PRIORITY_ENTRIES)
        for name, *args in (
            ("mapping-new",),
            ("mapping-rule-new", "support"),
            ("mapping-rule", "support", self.due.pk),
            ("mapping-publish", "support"),
            ("mapping-roll-back", "support", 1),
            ("value-map-new",),
            ("policy-new",),
        ):
            self.assert_access(self.url(name, *args), allowed={"admin"})
            self.assert_access(self.url(name, *args), allowed={"admin"}, method="post")
        for name, *args in (
            ("mapping-settings", "support"),
            ("mapping-suggestions", "support"),
            ("mapping-rule-trial", "support"),
            ("mapping-rule-move", "support", self.due.pk),
            ("mapping-rule-remove", "support", self.due.pk),
            ("mapping-discard", "support"),
            ("policy", policy.pk),
            ("value-map", value_map.pk),
        ):
            self.assert_access(self.url(name, *args), allowed={"admin"}, method="post")
        self.assertEqual(self.mapping.rules.count(), 2)

    def test_operators_pause(self):
        self.published()
        for name, data in (("mapping-pause", {"reason": "closing"}), ("mapping-resume", {}), ("mapping-windows", {})):
            self.assert_access(self.url(name, "support"), allowed={"admin", "operator"}, method="post", data=data)
        self.assert_access(self.url("mapping-pause", "support"), allowed={"admin", "operator", "auditor"})

    def test_an_auditor_sees_no_button_that_writes(self):
        self.published()
        ValueMap.objects.create(name="Priority", entries=PRIORITY_ENTRIES)
        self.as_("auditor")
        for url in (
            self.url("mappings"),
            self.url("mapping", "support"),
            self.url("mapping-versions", "support"),
            self.url("value-maps"),
            self.url("policies"),
        ):
            page = self.client.get(url).content.decode()
            content = page[page.index("<main") : page.index("</main>")]
            self.assertNotIn('method="post"', content, url)
            self.assertNotRegex(content, r"Publish…|New (mapping|policy|value map)", url)

    def test_a_role_for_another_mapping_shows_nothing_of_this_one(self):
        other = RoleAssignment.objects.create(user=self.stranger, role="admin", everywhere=False)
        elsewhere = Mapping.objects.create(
            name="Other",
            slug="other",
            left_connection=self.left,
            left_object_type="thing",
            right_connection=self.right,
            right_object_type="thing",
        )
        elsewhere.assignments.add(other)
        self.as_("stranger")
        self.assertContains(self.client.get(self.url("mappings")), "Other")
        self.assertNotContains(self.client.get(self.url("mappings")), "Support")
        self.assertEqual(self.client.get(self.url("mapping", "support")).status_code, 404)
        self.assertEqual(self.client.post(self.url("mapping-discard", "support")).status_code, 404)
        self.assertEqual(self.client.get(self.url("mapping-new")).status_code, 403)


class ListAndNewTest(PagesCase):
    def test_list_shows_state_version_and_open_conflicts(self):
        self.published()
        Conflict.objects.create(mapping=self.mapping, kind="field", code="x", subject="left:1")
        page = self.client.get(self.url("mappings"))
        for text in ("Support", "Active", "Jira thing"):
            self.assertContains(page, text)
        self.assertContains(page, '<td data-l="Wait for a person" class="tr"><b>1</b></td>')

    def test_list_takes_the_same_number_of_queries_for_many_mappings(self):
        self.as_("admin")
        self.client.get(self.url("mappings"))  # what is read once per process
        with CaptureQueriesContext(connection) as few:
            self.client.get(self.url("mappings"))
        for number in range(5):
            Mapping.objects.create(
                name=f"M{number}",
                slug=f"m{number}",
                left_connection=self.left,
                left_object_type="thing",
                right_connection=self.right,
                right_object_type="thing",
            )
        with self.assertNumQueries(len(few)):
            self.client.get(self.url("mappings"))

    def test_new_mapping_asks_for_connections_then_for_what_of_each(self):
        self.as_("admin")
        data = {"name": "Bugs", "left_connection": self.left.pk, "right_connection": self.right.pk}
        first = self.client.post(self.url("mapping-new"), data)
        self.assertContains(first, '<option value="thing">Thing</option>', count=2)
        self.assertNotContains(first, "This field is required")
        made = self.client.post(
            self.url("mapping-new"), {**data, "left_object_type": "thing", "right_object_type": "thing"}
        )
        self.assertRedirects(made, self.url("mapping-settings", "bugs"))
        mapping = Mapping.objects.get(slug="bugs")
        self.assertEqual((mapping.state, mapping.left_object_type), ("draft", "thing"))
        self.assertEqual(AuditEntry.objects.get().code, "mapping_created")

    def test_what_belongs_to_records_is_not_offered_for_a_mapping(self):
        self.as_("admin")
        data = {"name": "Bugs", "left_connection": self.left.pk, "right_connection": self.right.pk}
        types = [ObjectType("thing", "Thing"), ObjectType("comment", "Comment", parent="thing")]
        with mock.patch.object(MemoryConnector, "object_types", return_value=types):
            page = self.client.post(self.url("mapping-new"), data)
        self.assertContains(page, '<option value="thing">Thing</option>', count=2)
        self.assertNotContains(page, "Comment")

    def test_a_name_that_is_taken_or_reserved_is_refused(self):
        self.as_("admin")
        data = {"left_connection": self.left.pk, "right_connection": self.right.pk}
        for name, reason in (("Support", "There is a mapping with this name"), ("New", "letters or digits")):
            self.assertContains(self.client.post(self.url("mapping-new"), {**data, "name": name}), reason)

    def test_a_connection_that_does_not_answer_is_named(self):
        self.as_("admin")
        Connection.objects.filter(pk=self.left.pk).update(kind="gone")
        data = {"name": "Bugs", "left_connection": self.left.pk, "right_connection": self.right.pk}
        page = self.client.post(self.url("mapping-new"), data)
        self.assertContains(page, "Jira did not tell us its object types")
        self.assertFalse(Mapping.objects.filter(name="Bugs").exists())

    def test_pause_and_resume_are_audited_and_resuming_wakes(self):
        self.published()
        woken.clear()
        self.post(self.url("mapping-pause", "support"), reason="month-end closing")
        self.mapping.refresh_from_db()
        self.assertEqual((self.mapping.state, woken), ("paused", []))
        self.post(self.url("mapping-resume", "support"))
        self.mapping.refresh_from_db()
        self.assertEqual((self.mapping.state, woken), ("active", [self.mapping.pk]))
        self.assertEqual(
            list(AuditEntry.objects.values_list("code", flat=True)[:2]), ["mapping_resumed", "mapping_paused_for"]
        )

    def test_a_draft_that_was_never_published_cannot_be_started(self):
        self.as_("admin")
        self.post(self.url("mapping-resume", "support"))
        self.mapping.refresh_from_db()
        self.assertEqual(self.mapping.state, "draft")


class EditorTest(PagesCase):
    def test_editor_shows_rules_suggestions_unpaired_fields_and_checks(self):
        self.rule("nope", "Effort__c")
        self.as_("admin")
        page = self.client.get(self.url("mapping", "support"))
        self.assertContains(page, "Nothing is published yet; nothing is synced.")
        self.assertContains(page, "Jira has no field nope.", count=2)  # on the rule itself and in the check list
        self.assertContains(page, "Suggested pairs")
        self.assertContains(page, "Same label; both are text")
        self.assertContains(page, "Not paired in Salesforce")
        self.assertContains(page, reverse("mapping-sample", args=["support"]))

    def test_a_required_field_without_a_rule_is_marked_where_it_is(self):
        self.summary.delete()
        self.as_("admin")
        page = self.client.get(self.url("mapping", "support"))
        self.assertContains(page, "Summary is required in Jira and has no source.")
        self.assertContains(page, "Every new record would be refused.")

    def test_sample_shows_what_is_there_and_what_each_side_would_get(self):
        self.rule("priority", "Priority", transform="value_map", value_map=self.priorities(PRIORITY_ENTRIES[:2]))
        self.sample()
        self.as_("auditor")
        page = self.client.get(self.url("mapping-sample", "support"))
        self.assertContains(page, "SUP-1 = 103")
        self.assertContains(page, "Login loop")
        self.assertContains(page, "would get Login loop")
        self.assertContains(page, "would get P2")
        self.assertContains(page, "would get nothing: “P3” has no line in the value map")

    def priorities(self, entries):
        return ValueMap.objects.create(name="Priority", entries=entries)

    def test_without_links_the_first_record_of_each_side_is_the_sample(self):
        self.left_world.add(summary="Only left")
        self.as_("admin")
        page = self.client.get(self.url("mapping-sample", "support"))
        self.assertContains(page, "Only left")
        self.assertContains(page, "no record")

    def test_without_links_a_pair_that_matches_is_the_sample(self):
        self.left_world.add(summary="Nobody knows this one", duedate="2026-01-01")
        self.left_world.add(summary="Login loop", duedate="2026-02-02")
        self.right_world.add(Subject="Other", Due__c="2026-03-03")
        self.right_world.add(Subject="Login loop", Due__c="2026-04-04")
        self.as_("admin")
        page = self.client.get(self.url("mapping-sample", "support"))
        self.assertContains(page, "J00002 = S00002")
        self.assertContains(page, "would get 2026-02-02")

    def test_looking_writes_nothing(self):
        self.sample()
        before = len(self.left_world.log), len(self.right_world.log)
        self.as_("admin")
        self.client.get(self.url("mapping-sample", "support"))
        self.client.post(self.url("mapping-rule-trial", "support"), RULE)
        self.assertEqual((len(self.left_world.log), len(self.right_world.log)), before)
        self.assertEqual(AuditEntry.objects.count(), 0)

    def test_a_system_that_does_not_answer_leaves_the_draft_editable(self):
        self.published()
        with self.jira_down():
            page = self.client.get(self.url("mapping", "support"))
            self.assertContains(page, "Jira did not tell us its fields")
            self.assertContains(page, "Its fields are shown as version 1 knows them")
            self.assertContains(page, "Summary")
            self.assertEqual(self.client.get(self.url("mapping-rule", "support", self.due.pk)).status_code, 200)

    def test_draft_and_published_are_told_apart(self):
        self.published()
        page = self.client.get(self.url("mapping", "support"))
        self.assertContains(page, "Version 1 runs; the draft is the same.")
        self.due.direction = "to_right"
        self.due.save()
        page = self.client.get(self.url("mapping", "support"))
        self.assertContains(page, "Version 1 keeps running; the draft differs in 1 rule.")
        self.assertContains(page, "Direction Both ways → Left to right")

    def test_a_suggestion_is_taken_with_its_transform_and_value_map(self):
        self.as_("admin")
        self.post(self.url("mapping-suggestions", "support"), pair="labels|Tags__c")
        rule = self.mapping.rules.get(left_field="labels")
        self.assertEqual((rule.right_field, rule.transform, rule.position), ("Tags__c", "set", 2))
        self.assertEqual(AuditEntry.objects.get().code, "draft_saved")

    def test_all_sure_suggestions_are_taken_at_once(self):
        self.as_("admin")
        self.post(self.url("mapping-suggestions", "support"), pair="sure")
        self.assertIn(("description", "Description"), set(self.mapping.rules.values_list("left_field", "right_field")))
        self.assertGreater(self.mapping.rules.count(), 3)

    def test_what_was_not_suggested_cannot_be_slipped_in(self):
        self.as_("admin")
        self.post(self.url("mapping-suggestions", "support"), pair="points|CaseNumber")
        self.assertEqual(self.mapping.rules.count(), 2)


class RuleTest(PagesCase):
    def setUp(self):
        super().setUp()
        self.as_("admin")

    def test_a_rule_is_edited_and_audited(self):
        self.post(self.url("mapping-rule", "support", self.due.pk), **RULE)
        self.due.refresh_from_db()
        self.assertEqual(self.due.direction, "to_right")
        entry = AuditEntry.objects.get()
        self.assertEqual((entry.code, entry.actor), ("draft_saved", "admin"))
        self.assertEqual(entry.values["before"]["rules"][1]["direction"], "both")
        self.assertEqual(entry.values["after"]["rules"][1]["direction"], "to_right")

    def test_a_rule_is_added_at_the_end(self):
        form = {**RULE, "left_field": "points", "right_field": "Effort__c", "transform": "number"}
        self.post(self.url("mapping-rule-new", "support"), **form, **{"param-number-places": "2"})
        rule = self.mapping.rules.get(left_field="points")
        self.assertEqual((rule.position, rule.params), (2, {"places": "2"}))

    def test_settings_of_other_transforms_are_not_kept(self):
        self.post(self.url("mapping-rule", "support", self.due.pk), **RULE, **{"param-number-places": "2"})
        self.due.refresh_from_db()
        self.assertEqual((self.due.direction, self.due.params), ("to_right", {}))

    def test_two_fields_have_one_rule_only(self):
        page = self.post(self.url("mapping-rule-new", "support"), **RULE)
        self.assertContains(page, "These two fields already have a rule.")
        self.assertEqual(self.mapping.rules.count(), 2)

    def test_a_new_rule_starts_with_the_fields_and_the_transform_that_fits(self):
        page = self.client.get(self.url("mapping-rule-new", "support") + "?left=labels&right=Tags__c")
        self.assertEqual(page.context["form"].initial["transform"], "set")
        self.assertContains(page, "Fits these fields")

    def test_a_copy_starts_with_everything_but_the_fields(self):
        policy = ConflictPolicy.objects.create(name="Newest wins", kind="newest")
        FieldMapping.objects.filter(pk=self.due.pk).update(policy=policy, direction="to_left")
        page = self.client.get(self.url("mapping-rule-new", "support") + f"?copy={self.due.pk}")
        initial = page.context["form"].initial
        self.assertEqual((initial["policy"], initial["direction"], initial["left_field"]), (policy, "to_left", ""))
        self.assertEqual(self.mapping.rules.count(), 2)

    def test_trying_shows_the_outcome_and_saves_nothing(self):
        self.sample()
        self.right_world.edit("S00001", Due__c="2026-12-24")
        for url in (self.url("mapping-rule", "support", self.due.pk), self.url("mapping-rule-trial", "support")):
            page = self.post(url, **RULE, **{"try": "1", "rule": self.due.pk})
            self.assertContains(page, "would get 2026-10-01")
        self.due.refresh_from_db()
        self.assertEqual(self.due.direction, "both")

    def test_trying_a_rule_names_its_problems(self):
        page = self.post(self.url("mapping-rule-trial", "support"), **{**RULE, "left_field": "points"})
        self.assertContains(page, "does not lead from number to date")

    def test_trying_half_a_form_asks_for_the_rest(self):
        page = self.post(self.url("mapping-rule-trial", "support"), left_field="points")
        self.assertContains(page, "Choose both fields")

    def test_a_second_admins_save_shows_both_versions_and_loses_nothing(self):
        seen = self.mapping.revision
        self.post(self.url("mapping-rule", "support", self.due.pk), **{**RULE, "direction": "to_left"})
        page = self.post(self.url("mapping-rule", "support", self.due.pk), **{**RULE, "revision": seen})
        self.assertContains(page, "Somebody else saved this while you were editing")
        self.assertContains(page, "Right to left")  # theirs, in words
        self.assertContains(page, '<option value="to_right" selected>')  # mine, still in the form
        self.due.refresh_from_db()
        self.assertEqual(self.due.direction, "to_left")
        revision = re.search(r'name="revision" value="(\d+)"', page.content.decode()).group(1)
        self.post(self.url("mapping-rule", "support", self.due.pk), **{**RULE, "revision": revision})
        self.due.refresh_from_db()
        self.assertEqual(self.due.direction, "to_right")  # saved knowingly

    def test_a_rule_somebody_removed_meanwhile_can_be_added_again(self):
        self.due.delete()
        page = self.post(self.url("mapping-rule", "support", self.due.pk or 999), **RULE)
        self.assertContains(page, "Somebody else saved this draft")
        self.assertContains(page, '<option value="to_right" selected>')
        self.assertEqual(self.mapping.rules.count(), 1)

    def test_rules_move_up_and_down(self):
        self.post(self.url("mapping-rule-move", "support", self.due.pk), to="up")
        self.assertEqual(list(self.mapping.rules.values_list("left_field", flat=True)), ["duedate", "summary"])
        self.post(self.url("mapping-rule-move", "support", self.due.pk), to="up")  # there already: nothing
        self.post(self.url("mapping-rule-move", "support", self.due.pk), to="down")
        self.assertEqual(list(self.mapping.rules.values_list("left_field", flat=True)), ["summary", "duedate"])

    def test_a_rule_is_removed_only_from_the_draft_that_was_seen(self):
        self.post(self.url("mapping-rule-remove", "support", self.due.pk), revision=99)
        self.assertEqual(self.mapping.rules.count(), 2)
        self.post(self.url("mapping-rule-remove", "support", self.due.pk))
        self.assertEqual(self.mapping.rules.count(), 1)


class SettingsTest(PagesCase):
    def setUp(self):
        super().setUp()
        self.as_("admin")
        self.address = self.url("mapping-settings", "support")

    def test_settings_are_saved_with_match_keys_and_values_of_their_type(self):
        form = settings_form(poll_seconds="60", on_delete_left="close")
        form |= {
            "match-TOTAL_FORMS": "3",
            "match-1-way": "2",
            "match-1-left": "description",
            "match-1-right": "Description",
            "match-2-way": "2",
            "match-2-left": "duedate",
            "match-2-right": "Due__c",
            "create_defaults_left-TOTAL_FORMS": "2",
            "create_defaults_left-0-field": "points",
            "create_defaults_left-0-value": "3",
            "create_defaults_left-1-field": "labels",
            "create_defaults_left-1-value": "b, a",
            "close_values_right-TOTAL_FORMS": "1",
            "close_values_right-0-field": "Status",
            "close_values_right-0-value": "Closed",
        }
        page = self.post(self.address, **form)
        self.assertRedirects(page, self.address)
        self.mapping.refresh_from_db()
        self.assertEqual(self.mapping.poll_seconds, 60)
        self.assertEqual(
            self.mapping.match_keys,
            [
                [{"left": "summary", "right": "Subject"}],
                [{"left": "description", "right": "Description"}, {"left": "duedate", "right": "Due__c"}],
            ],
        )
        self.assertEqual(self.mapping.create_defaults_left, {"points": 3, "labels": ["a", "b"]})
        self.assertEqual(self.mapping.close_values_right, {"Status": "Closed"})
        self.assertEqual(AuditEntry.objects.get().code, "draft_saved")

    def test_brakes_of_its_own_are_saved_and_an_empty_row_means_the_default(self):
        form = settings_form(brake_update_number="2000", brake_update_share="12.5", brake_delete_number="0")
        page = self.post(self.address, **form | {"brake_delete_share": "0"})
        self.assertRedirects(page, self.address)
        self.mapping.refresh_from_db()
        self.assertEqual(self.mapping.brakes, {"update": [2000, 0.125], "delete": [0, 0]})
        page = self.client.get(self.address)
        for text in ('value="2000"', 'value="12.5"', "Default 100", "Default 20 %"):
            self.assertContains(page, text)
        Mapping.objects.update(brakes={"update": [7, 0.123456]})
        self.mapping.refresh_from_db()
        self.post(self.address, **settings_form(brake_update_number="8", brake_update_share="12.35"))
        self.mapping.refresh_from_db()
        self.assertEqual(self.mapping.brakes, {"update": [8, 0.123456]}, "a share that reads the same is the same")

    def test_a_limit_that_is_none_is_refused_at_its_field(self):
        for changes, why in (
            ({"brake_create_number": "5"}, "Fill in both"),
            ({"brake_create_share": "5"}, "Fill in both"),
            ({"brake_create_number": "-1", "brake_create_share": "5"}, "greater than or equal to 0"),
            ({"brake_create_number": "5", "brake_create_share": "101"}, "less than or equal to 100"),
            ({"brake_create_number": "5000000", "brake_create_share": "1"}, "less than or equal to 1000000"),
        ):
            self.assertContains(self.post(self.address, **settings_form(**changes)), why)
        self.mapping.refresh_from_db()
        self.assertEqual(self.mapping.brakes, {})

    def test_a_schedule_is_saved_shown_with_its_next_runs_and_comes_back_into_the_form(self):
        for changes, stored, texts in (
            (
                {"schedule_kind": "every", "schedule_minutes": "30"},
                {"kind": "every", "minutes": 30},
                ["Every 30 minutes"],
            ),
            (
                {"schedule_kind": "cron", "schedule_expression": " 0 6  * * 1-5 "},
                {"kind": "cron", "expression": "0 6 * * 1-5"},
                ["By the cron expression “0 6 * * 1-5”", ", 06:00", "server time, UTC"],
            ),
            (
                {
                    "schedule_kind": "hours",
                    "schedule_days": ["0", "4"],
                    "schedule_from": "22:00",
                    "schedule_to": "06:00",
                },
                {"kind": "hours", "days": [0, 4], "from": "22:00", "to": "06:00"},
                ["Live Mon, Fri, 22:00 to 06:00", ", 22:00", "server time, UTC"],
            ),
            ({"schedule_kind": "manual"}, {"kind": "manual"}, ["Only by hand", "“Run now” begins a run"]),
            ({"schedule_kind": "live"}, {}, ["as soon as something changes"]),
        ):
            self.assertRedirects(self.post(self.address, **settings_form(**changes)), self.address)
            self.mapping.refresh_from_db()
            self.assertEqual(self.mapping.schedule, stored)
            page = self.client.get(self.address)
            for text in texts:
                self.assertContains(page, text)
            for name, value in changes.items():
                if isinstance(value, str) and name != "schedule_kind":
                    self.assertContains(page, f'value="{" ".join(value.split())}"')

    def test_a_schedule_that_cannot_be_is_refused_at_its_field(self):
        for changes, why in (
            ({"schedule_kind": "every"}, "whole number of minutes"),
            ({"schedule_kind": "every", "schedule_minutes": "0"}, "greater than or equal to 1"),
            ({"schedule_kind": "cron", "schedule_expression": "tomorrow"}, "five parts"),
            ({"schedule_kind": "cron", "schedule_expression": "0 0 30 2 *"}, "its time never comes"),
            ({"schedule_kind": "hours", "schedule_from": "22:00", "schedule_to": "06:00"}, "weekdays"),
            ({"poll_seconds": "60", "poll_seconds_idle": "15"}, "no more often than when people do"),
            ({"poll_seconds_idle": "4000"}, "less than or equal to 3600"),
        ):
            self.assertContains(self.post(self.address, **settings_form(**changes)), why)
        self.mapping.refresh_from_db()
        self.assertEqual((self.mapping.schedule, self.mapping.poll_seconds_idle), ({}, 60))

    def test_a_published_schedule_is_told_on_every_page_of_the_mapping_with_run_now_for_those_who_may(self):
        self.mapping.schedule = {"kind": "manual"}
        self.mapping.save()
        self.published()
        page = self.client.get(self.url("mapping-versions", "support"))
        for text in ("Only by hand", "Run now", "/runs/"):
            self.assertContains(page, text)
        self.as_("auditor")
        page = self.client.get(self.url("mapping-versions", "support"))
        self.assertContains(page, "Only by hand")
        self.assertNotContains(page, "</svg>Run now")

    def test_what_cannot_be_is_refused_at_its_row(self):
        form = settings_form(poll_seconds="0") | {
            "match-0-right": "",
            "create_defaults_left-TOTAL_FORMS": "1",
            "create_defaults_left-0-field": "points",
            "create_defaults_left-0-value": "many",
        }
        page = self.post(self.address, **form)
        for text in ("Choose a field on both sides", "“many” is not a number", "greater than or equal to 1"):
            self.assertContains(page, text)
        self.mapping.refresh_from_db()
        self.assertEqual(self.mapping.poll_seconds, 15)

    def test_a_second_admins_save_shows_both_versions(self):
        seen = self.mapping.revision
        self.post(self.address, **settings_form(poll_seconds="60"))
        page = self.post(self.address, **settings_form(poll_seconds="90", revision=seen))
        self.assertContains(page, "Somebody else saved this while you were editing")
        self.assertContains(page, '<td data-l="Stored now">60</td><td data-l="In your form">90</td>', html=False)
        self.mapping.refresh_from_db()
        self.assertEqual(self.mapping.poll_seconds, 60)

    def test_a_post_without_revision_is_not_saved_over_anything(self):
        page = self.client.post(self.address, settings_form(poll_seconds="60"))
        self.assertContains(page, "Somebody else saved this")
        self.mapping.refresh_from_db()
        self.assertEqual(self.mapping.poll_seconds, 15)

    def test_others_read_the_settings_without_a_save_button(self):
        self.as_("auditor")
        page = self.client.get(self.address)
        self.assertContains(page, "How to find the same thing")
        self.assertNotContains(page, "Save to the draft")


class VersionsTest(PagesCase):
    def test_publish_page_says_what_differs_what_it_touches_and_that_nothing_is_written(self):
        self.published()
        self.sample()
        self.due.direction = "to_right"
        self.due.save()
        self.rule("description", "Description")
        page = self.client.get(self.url("mapping-publish", "support"))
        for text in (
            "2 differences would become the next version",
            "Nothing is written by publishing.",
            "1 linked pair",
            "Description ↔ Description",
            "no pair has agreed on this field",
            "Fill empty fields, ask about the rest",
        ):
            self.assertContains(page, text)

    def test_publish_page_says_which_systems_are_listed_for_another_scope_or_other_match_keys(self):
        self.published()
        self.rule("description", "Description")
        self.assertNotContains(self.client.get(self.url("mapping-publish", "support")), "listed once")
        self.mapping.left_scope = {"project": "SUP"}
        self.mapping.save()
        self.assertContains(self.client.get(self.url("mapping-publish", "support")), "<b>Jira</b> is listed once")
        self.mapping.match_keys = [[{"left": "duedate", "right": "Due__c"}]]
        self.mapping.save()
        page = self.client.get(self.url("mapping-publish", "support"))
        self.assertContains(page, "<b>Jira and Salesforce</b> are listed once")

    def test_publishing_from_the_page_makes_a_version_with_its_note(self):
        version = self.published()
        self.assertEqual((version.number, version.note, version.published_by), (1, "Go", self.admin))
        self.assertEqual(woken, [self.mapping.pk])
        self.assertEqual(self.mapping.state, "active")

    def test_a_draft_with_errors_cannot_be_published(self):
        self.rule("nope", "Effort__c")
        self.as_("admin")
        page = self.client.get(self.url("mapping-publish", "support"))
        self.assertContains(page, "1 error must go before this can be published")
        page = self.post(self.url("mapping-publish", "support"))
        self.assertContains(page, "The version that runs is unchanged.")
        self.assertEqual(self.mapping.versions.count(), 0)

    def test_publishing_a_draft_that_moved_is_refused_with_a_notice(self):
        self.as_("admin")
        page = self.post(self.url("mapping-publish", "support"), revision=99)
        self.assertContains(page, "Somebody else saved this draft")
        self.assertEqual(self.mapping.versions.count(), 0)

    def test_publishing_while_a_system_does_not_answer_changes_nothing(self):
        self.as_("admin")
        with self.jira_down():
            page = self.post(self.url("mapping-publish", "support"))
        self.assertContains(page, "A system did not tell us its fields")
        self.assertEqual(self.mapping.versions.count(), 0)

    def test_versions_are_listed_and_compared(self):
        self.published()
        self.due.direction = "to_right"
        self.due.save()
        self.published()
        page = self.client.get(self.url("mapping-versions", "support"))
        self.assertContains(page, "1 from version 1")
        page = self.client.get(self.url("mapping-version", "support", 2))
        self.assertContains(page, "1 difference from version 1")
        self.assertContains(page, "<del>Both ways</del>")
        page = self.client.get(self.url("mapping-version", "support", 1) + "?against=2")
        self.assertContains(page, "<ins>Both ways</ins>")
        self.assertEqual(self.client.get(self.url("mapping-version", "support", 9)).status_code, 404)

    def test_roll_back_page_says_what_happens_to_records_written_meanwhile(self):
        self.published()
        self.due.direction = "to_right"
        self.due.save()
        self.published()
        page = self.client.get(self.url("mapping-roll-back", "support", 1))
        self.assertContains(page, "It becomes version 3, which repeats version 1")
        self.assertContains(page, "Records written meanwhile stay as they are.")
        self.assertContains(page, "written under a later version")

    def test_rolling_back_from_the_page_makes_version_3_and_restores_the_draft(self):
        self.published()
        self.due.direction = "to_right"
        self.due.save()
        self.published()
        page = self.post(self.url("mapping-roll-back", "support", 1))
        self.assertContains(page, "Version 3 repeats version 1.")
        self.assertContains(page, "repeats version 1")
        self.mapping.refresh_from_db()
        self.assertEqual(self.mapping.published.number, 3)
        self.assertEqual(self.mapping.rules.get(left_field="duedate").direction, "both")

    def test_rolling_back_from_a_stale_page_changes_nothing(self):
        self.published()
        self.published()
        self.post(self.url("mapping-roll-back", "support", 1), revision=0)
        self.mapping.refresh_from_db()
        self.assertEqual(self.mapping.published.number, 2)

    def test_discarding_sets_the_draft_back_and_keeps_what_it_was_in_the_audit_log(self):
        self.published()
        self.due.direction = "to_right"
        self.due.save()
        page = self.post(self.url("mapping-discard", "support"))
        self.assertContains(page, "The draft is version 1 again.")
        self.assertEqual(self.mapping.rules.get(left_field="duedate").direction, "both")
        entry = AuditEntry.objects.first()
        self.assertEqual(entry.code, "draft_saved")
        self.assertEqual(entry.values["before"]["rules"][1]["direction"], "to_right")

    def test_a_draft_without_a_version_is_never_discarded(self):
        self.as_("admin")
        self.post(self.url("mapping-discard", "support"))
        self.assertEqual(self.mapping.rules.count(), 2)


class ValueMapTest(PagesCase):
    def setUp(self):
        super().setUp()
        self.as_("admin")

    def save(self, url, left, right, **data):
        return self.client.post(url, {"name": "Priority", "left": left, "right": right, **data}, follow=True)

    def test_a_map_is_made_with_empty_numbers_and_yes_or_no(self):
        self.save(self.url("value-map-new"), ["High", "", "=true", ""], ["P1", "None", "=5", ""])
        self.assertEqual(
            ValueMap.objects.get().entries,
            [{"left": "High", "right": "P1"}, {"left": None, "right": "None"}, {"left": True, "right": 5}],
        )
        self.assertEqual(AuditEntry.objects.get().code, "value_map_created")

    def test_an_edited_map_keeps_the_types_of_its_values(self):
        value_map = ValueMap.objects.create(name="Flag", entries=[{"left": True, "right": "=odd"}])
        page = self.client.get(self.url("value-map", value_map.pk))
        lines = page.context["lines"]
        self.save(
            self.url("value-map", value_map.pk),
            [line["left"] for line in lines],
            [line["right"] for line in lines],
            seen=page.context["seen"],
        )
        value_map.refresh_from_db()
        self.assertEqual(value_map.entries, [{"left": True, "right": "=odd"}])

    def test_lines_move_vanish_and_grow_without_saving(self):
        url = self.url("value-map-new")
        page = self.save(url, ["a", "b"], ["1", "2"], up="1")
        self.assertEqual([line["left"] for line in page.context["lines"]], ["b", "a"])
        page = self.save(url, ["a", "b"], ["1", "2"], remove="0")
        self.assertEqual([line["left"] for line in page.context["lines"]], ["b"])
        page = self.save(url, ["a"], ["1"], add="1")
        self.assertEqual(len(page.context["lines"]), 2)
        self.assertFalse(ValueMap.objects.exists())

    def test_double_unreadable_and_missing_lines_are_refused(self):
        url = self.url("value-map-new")
        self.assertContains(self.save(url, ["a", "a"], ["1", "1"]), "This line stands there already.")
        self.assertContains(self.save(url, ["=maybe"], ["1"]), "is not understood")
        self.assertContains(self.save(url, [""], [""]), "The map has no line.")
        self.assertFalse(ValueMap.objects.exists())

    def test_a_second_admins_save_is_noticed_and_both_are_shown(self):
        value_map = ValueMap.objects.create(name="Priority", entries=PRIORITY_ENTRIES)
        page = self.save(self.url("value-map", value_map.pk), ["mine"], ["P1"], seen="old")
        self.assertContains(page, "Somebody else saved this map")
        self.assertContains(page, "Highest = P1")
        self.assertContains(page, 'value="mine"')
        value_map.refresh_from_db()
        self.assertEqual(value_map.entries, PRIORITY_ENTRIES)

    def test_a_map_in_use_is_not_removed_and_says_by_whom(self):
        value_map = ValueMap.objects.create(name="Priority", entries=PRIORITY_ENTRIES)
        self.rule("priority", "Priority", transform="value_map", value_map=value_map)
        self.assertContains(self.client.get(self.url("value-maps")), "Support")
        page = self.client.post(self.url("value-map-remove", value_map.pk), follow=True)
        self.assertContains(page, "Nothing was removed.")
        self.assertTrue(ValueMap.objects.exists())
        self.assertFalse(AuditEntry.objects.exists())
        FieldMapping.objects.filter(value_map=value_map).delete()
        self.client.post(self.url("value-map-remove", value_map.pk))
        self.assertFalse(ValueMap.objects.exists())


class PolicyTest(PagesCase):
    def setUp(self):
        super().setUp()
        self.as_("admin")

    def test_a_policy_is_made_edited_and_removed_with_audit(self):
        self.client.post(
            self.url("policy-new"), {"name": "Late", "kind": "newest", "tolerance": "5", "description": ""}
        )
        policy = ConflictPolicy.objects.get()
        self.assertEqual((policy.kind, policy.tolerance), ("newest", 5))
        page = self.client.get(self.url("policy", policy.pk))
        self.client.post(
            self.url("policy", policy.pk),
            {"name": "Late", "kind": "left", "description": "", "seen": page.context["seen"]},
        )
        policy.refresh_from_db()
        self.assertEqual((policy.kind, policy.tolerance), ("left", 5))
        self.client.post(self.url("policy-remove", policy.pk))
        self.assertEqual(
            list(AuditEntry.objects.order_by("pk").values_list("code", flat=True)),
            ["policy_created", "policy_saved", "policy_removed"],
        )

    def test_a_second_admins_save_is_noticed(self):
        policy = ConflictPolicy.objects.create(name="Late", kind="newest")
        page = self.client.post(
            self.url("policy", policy.pk), {"name": "Late", "kind": "left", "description": "", "seen": "old"}
        )
        self.assertContains(page, "Somebody else saved this while you were editing")
        policy.refresh_from_db()
        self.assertEqual(policy.kind, "newest")

    def test_a_policy_in_use_is_not_removed(self):
        policy = ConflictPolicy.objects.create(name="Late", kind="newest")
        self.rule("description", "Description", policy=policy)
        page = self.client.post(self.url("policy-remove", policy.pk), follow=True)
        self.assertContains(page, "Nothing was removed.")
        self.assertTrue(ConflictPolicy.objects.exists())
