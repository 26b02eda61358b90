"""The queue's entry about a field that changed, its page for all roles, and the look that a person asks for."""

from __future__ import annotations

from typing import Any
from unittest import mock

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from connections.connectors.base import Field, Retry
from connections.connectors.memory import MemoryConnector
from sync.lease import take
from sync.models import AuditEntry, Conflict, Link, SchemaLook
from sync.tests.pair_cases import PairCase

EVERYBODY = ("admin", "operator", "reviewer", "auditor")
MOST_QUERIES = 15


class SchemaCase(PairCase):
    """`self.entry`: the field Body is hidden on the right; one pair is linked, one record is new on the left."""

    def setUp(self) -> None:
        super().setUp()
        self.left, self.right, self.link = self.linked(body="b")
        self.entry = self.hidden("body")
        self.as_("admin")

    def hidden(self, path: str) -> Conflict:
        self.pair.right.hidden |= {path}
        SchemaLook.objects.update(looked_at=None, due_at="2020-01-01T00:00:00Z")
        self.pair.quiet()
        return Conflict.objects.get(subject=f"rule:{path}", state="open")

    @property
    def at(self) -> str:
        return reverse("conflict", args=[self.entry.pk])

    @property
    def look_at(self) -> str:
        return reverse("schema-look", args=[self.entry.pk])

    def look(self) -> Any:
        return self.client.post(self.look_at, follow=True)


class Queue(SchemaCase):
    def test_the_row_says_what_happened_and_what_it_means(self) -> None:
        page = self.html(reverse("review-queue"))
        self.assertIn("Body stands still", page)
        self.assertIn("Memory does not show the field Body to our account any more.", page)
        self.assertIn("nothing is emptied", page)
        self.assertIn("The field changed", page)
        self.assertIn(self.at, page)

    def test_two_entries_are_not_taken_for_alike(self) -> None:
        self.hidden("amount")
        self.assertNotIn("alike", self.html(reverse("review-queue")))

    def test_it_is_found_by_kind_and_field(self) -> None:
        self.assertIn("Body stands still", self.html(reverse("review-queue") + "?kind=schema&field=Body"))


class Page(SchemaCase):
    def test_everybody_with_a_role_sees_it_and_strangers_do_not(self) -> None:
        self.assert_access(self.at, EVERYBODY)
        self.elsewhere("admin")
        self.as_("stranger")
        self.html(self.at, 404)

    def test_it_has_three_parts_and_the_ways_on(self) -> None:
        page = self.html(self.at)
        self.assertIn("Memory does not show the field Body to our account any more.", page)
        self.assertIn("Edits on either side wait with what was last agreed", page)
        self.assertIn("Give our account the right to see it in Memory", page)
        for url in (
            reverse("mapping", args=["pair"]),
            reverse("connection", args=[self.pair.mapping.right_connection_id]),
        ):
            self.assertIn(f'href="{url}"', page)

    def test_only_those_who_can_do_it_are_offered_the_look_and_the_ways(self) -> None:
        for role, look, ways in (("operator", True, True), ("auditor", False, True), ("reviewer", False, False)):
            with self.subTest(role=role):
                self.as_(role)
                page = self.html(self.at)
                self.assertEqual(self.look_at in page, look)
                self.assertEqual(reverse("mapping", args=["pair"]) in page, ways)

    def test_no_answer_can_be_given_to_it(self) -> None:
        self.as_("reviewer")
        self.assertEqual(self.client.post(self.at, {f"take-{self.entry.pk}": "left"}).status_code, 200)
        for name in ("conflict-whole", "review-candidates", "review-same"):
            call = self.client.post if name == "conflict-whole" else self.client.get
            response = call(reverse(name, args=[self.entry.pk]), {"act": "leave"})
            self.assertRedirects(response, self.at)
        self.entry.refresh_from_db()
        self.assertEqual(self.entry.state, "open")

    def test_every_kind_of_entry_can_be_shown(self) -> None:
        self.pair.right.hidden = set()
        self.pair.right.fields.append(Field("team", "Team", "text", required=True))
        self.pair.right.change("amount", writable=False)
        self.pair.right.change("labels", kind="text")
        self.pair.right.change("title", max_length=10)
        self.pair.left.change("ref", kind="rich_text")
        self.look()
        found = {one.code: one for one in Conflict.objects.filter(kind="schema", state="open")}
        wanted = {"newly_required", "read_only", "type_changed", "shortened", "match_field_changed"}
        self.assertEqual(set(found), wanted)
        for one in found.values():
            page = self.html(reverse("conflict", args=[one.pk]))
            self.assertNotIn("?", page.split("<main")[1].split("What to do")[0].replace("?next", ""), one.code)

    def test_the_page_and_the_queue_stay_within_their_queries(self) -> None:
        self.hidden("amount")
        self.hidden("labels")
        for url in (self.at, reverse("review-queue")):
            with CaptureQueriesContext(connection) as queries:
                self.html(url)
            self.assertLessEqual(len(queries), MOST_QUERIES)


class Look(SchemaCase):
    def test_admins_and_operators_may_look_again(self) -> None:
        self.assert_access(self.look_at, ("admin", "operator"), method="post")

    def test_it_is_a_post(self) -> None:
        self.assertEqual(self.client.get(self.look_at).status_code, 405)

    def test_put_right_the_entry_closes_at_once_and_the_edits_made_meanwhile_flow(self) -> None:
        self.pair.left.edit(self.left, body="meanwhile")
        self.pair.quiet()
        self.pair.right.hidden = set()
        self.as_("operator")
        self.assertContains(self.look(), "It is put right.")
        self.entry.refresh_from_db()
        self.assertEqual((self.entry.state, self.entry.closed_code), ("closed", "schema_put_right"))
        self.pair.quiet()
        self.assertEqual(self.values(self.link, "body"), ("meanwhile", "meanwhile"))
        self.assertContains(self.client.get(self.at), "The field is again as the mapping knows it")
        line = AuditEntry.objects.get(action="look")
        self.assertEqual((line.actor, line.code), ("operator", "schema_looked"))

    def test_still_so_says_what_to_do(self) -> None:
        page = self.look()
        self.assertContains(page, "It is still so.")
        self.assertContains(page, "Give our account the right to see it")

    def test_a_system_that_does_not_answer_changes_nothing(self) -> None:
        self.pair.right.hidden = set()
        with mock.patch.object(MemoryConnector, "described", side_effect=Retry("The line is cut.")):
            self.assertContains(self.look(), "The fields could not be read: The line is cut.")
        self.entry.refresh_from_db()
        self.assertEqual(self.entry.state, "open")
        self.assertContains(self.look(), "It is put right.")

    def test_while_a_run_is_at_it_the_run_looks(self) -> None:
        lease = take(self.pair.mapping.pk)
        assert lease is not None
        self.assertContains(self.look(), "A run is at it.")
        lease.release()
        self.pair.right.hidden = set()
        self.pair.run()
        self.entry.refresh_from_db()
        self.assertEqual(self.entry.state, "closed")

    def test_one_that_is_no_such_entry_is_only_shown(self) -> None:
        other = self.conflict(2, path="title")
        self.assertRedirects(
            self.client.post(reverse("schema-look", args=[other.pk])), reverse("conflict", args=[other.pk])
        )


class FailuresTests(SchemaCase):
    """Among the failures it says what to do, and to try it again is to read the fields again."""

    def setUp(self) -> None:
        super().setUp()
        SchemaLook.objects.update(due_at="2100-01-01T00:00:00Z")
        self.group = reverse("failure-group", args=[self.entry.fingerprint])

    def retry(self, **which: Any) -> str:
        response = self.client.post(reverse("failures-act"), {"act": "retry", **which}, follow=True)
        return str(response.content.decode())

    def test_the_cause_says_what_its_kind_takes(self) -> None:
        for page in (self.html(reverse("failures")), self.html(self.group)):
            self.assertIn("Body stands still", page)
            self.assertIn("Give our account the right to see it in Memory", page)
            self.assertNotIn("Open one of them to see why", page)
            self.assertIn("Look again", page)
            self.assertIn(f'href="{reverse("mapping", args=["pair"])}"', page)

    def test_one_the_group_and_all_have_the_fields_read_by_the_next_run(self) -> None:
        self.pair.left.edit(self.left, body="meanwhile")
        self.pair.quiet()
        for which in ({"key": f"q{self.entry.pk}"}, {"group": self.entry.fingerprint}, {"mapping": ""}):
            page = self.retry(**which)
            self.assertIn("The next run reads the fields of both systems again.", page)
            self.assertNotIn("tried again", page.split("<main")[1].split("<h1")[0])
            self.pair.run("live")
            self.entry.refresh_from_db()
            self.assertEqual(self.entry.state, "open", "it is still hidden")
            looked = SchemaLook.objects.filter(due_at__year__lt=2100)
            self.assertTrue(looked.exists(), which)
            SchemaLook.objects.update(due_at="2100-01-01T00:00:00Z")
        self.pair.right.hidden = set()
        self.retry(key=f"q{self.entry.pk}")
        self.pair.quiet()
        self.entry.refresh_from_db()
        self.assertEqual((self.entry.state, self.entry.closed_code), ("closed", "schema_put_right"))
        self.assertEqual(self.values(self.link, "body"), ("meanwhile", "meanwhile"))
        self.assertFalse(AuditEntry.objects.filter(code="failure_retried").exists())
        asked = AuditEntry.objects.filter(action="look", code="schema_look_asked")
        self.assertEqual([one.actor for one in asked], ["admin"] * 4)

    def test_a_reviewer_is_not_offered_it_and_cannot(self) -> None:
        self.as_("reviewer")
        self.assertNotIn('value="retry"', self.html(self.group))
        self.assertIn("it takes an operator", self.retry(group=self.entry.fingerprint))
        self.assertFalse(SchemaLook.objects.filter(due_at__year__lt=2100).exists())

    def test_what_waits_beside_it_is_tried_again_too(self) -> None:
        left, _, _ = self.linked(2, status="High")
        self.pair.left.edit(left, status="no such value")
        self.pair.quiet()
        page = self.retry(mapping="")
        self.assertIn("One failure is tried again.", page)
        self.assertIn("The next run reads the fields of both systems again.", page)


class Elsewhere(SchemaCase):
    """The pages of a record and of the mapping name it."""

    def test_the_record_page_says_why_it_is_not_synced(self) -> None:
        page = self.html(reverse("record", args=[self.link.pk]))
        self.assertIn("Body stands still", page)
        self.assertIn("Memory does not show the field Body", page)
        live = self.html(reverse("record-now", args=[self.link.pk]))
        self.assertIn("Stands still", live)
        self.assertIn(self.at, live)
        self.assertNotIn("could not be read now", live)
        self.assertIn("1 field stands still, the others say the same", live)

    def test_a_system_that_refuses_the_whole_read_is_still_shown(self) -> None:
        self.pair.right.refuses_unknown = True
        live = self.html(reverse("record-now", args=[self.link.pk]))
        self.assertIn("Stands still", live)
        self.assertNotIn("could not be read now", live)

    def test_a_twin_that_waits_says_for_what(self) -> None:
        self.pair.right.fields.append(Field("team", "Team", "text", required=True))
        self.look()
        link = Link.objects.create(mapping=self.pair.mapping, left_id="L9", state="creating")
        page = self.html(reverse("record", args=[link.pk]))
        self.assertIn("Its twin in Right is not made yet", page)
        self.assertIn("New records in Memory need the field Team now.", page)

    def test_the_mapping_pages_name_it_with_a_way_to_the_entry(self) -> None:
        for name in ("mapping", "mapping-settings", "mapping-versions"):
            page = self.html(reverse(name, args=["pair"]))
            self.assertIn("Body stands still", page)
            self.assertIn(self.at, page)
