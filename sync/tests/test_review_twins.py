"""Questions about a record that we may have made ourselves: a person says whose twin it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.utils import timezone

from connections.connectors.base import Refused
from connections.connectors.memory import US
from sync.models import AuditEntry, ChangedRecord, Conflict, Identity, Instruction, Link, Operation
from sync.tests.engine_cases import live, no_answer, once
from sync.tests.test_asked import unclear_create
from sync.tests.test_engine_matching import timed_out
from sync.tests.test_review_pages import ReviewCase
from sync.views._candidates import SEARCHED_FOR


class Twins(ReviewCase):
    def named(self, conflict: Conflict, text: str) -> str:
        """The page after `text` was typed as the twin."""
        self.as_("reviewer")
        response = self.client.post(self.url("conflict-whole", conflict.pk), {"act": "twin", "id": text}, follow=True)
        self.pair.quiet()
        return str(response.content.decode())

    def forgotten(self) -> Conflict:
        """A twin that we made, in a database that was restored from before it."""
        self.pair.left.add(title="One", body="b")
        self.pair.quiet()
        right = Link.objects.get().right_id or ""
        for rows in (Operation, Conflict, Link, Identity, ChangedRecord):
            rows._default_manager.all().delete()
        record = self.pair.right.records[right]
        self.pair.right.records[right] = replace(record, correlation_key="of another database")
        self.pair.ring("right", right)
        live(self.pair, 1)  # no list shows what it was made from
        return Conflict.objects.get(code="made_by_us")

    def test_the_twin_of_a_record_that_a_restore_forgot_is_named(self) -> None:
        one = self.forgotten()
        left = next(iter(self.pair.left.alive()))
        self.as_("reviewer")
        page = self.html(self.url("conflict", one.pk))
        self.assertIn("Say whose twin it is", page)
        self.assertIn("Id, key or address of its twin in Left", page)
        self.named(one, f"https://left.example.com/things/{left}/view")
        one.refresh_from_db()
        link = Link.objects.get()
        self.assertEqual((link.state, f"right:{link.right_id}", link.left_id), ("active", one.subject, left))
        self.assertEqual((one.state, one.closed_by), ("closed", "reviewer"))
        self.assertEqual(AuditEntry.objects.get(action="link", code="linked_by_hand").actor, "reviewer")

    def test_no_twin_that_is_not_there_or_linked_already(self) -> None:
        one = self.forgotten()
        left, _, _ = self.linked(2)
        self.assertIn("knows no record", self.named(one, "nope"))
        self.assertIn("No record is named", self.named(one, " "))
        self.assertIn("One of these records is linked already", self.named(one, left))
        one.refresh_from_db()
        self.assertEqual(one.state, "open")
        self.assertFalse(Link.objects.filter(right_id=one.subject.removeprefix("right:")).exists())

    def test_the_twin_of_a_record_whose_create_was_not_answered_and_that_was_left_unlinked(self) -> None:
        link = unclear_create(self.pair)
        asked = Conflict.objects.get()
        self.as_("reviewer")
        self.client.post(self.url("conflict-whole", asked.pk), {"act": "unlink"})
        self.pair.quiet()
        one = Conflict.objects.get(code="may_be_made_by_us", state="open")
        self.assertIn("nobody said what became of it", self.html(self.url("conflict", one.pk)))
        self.named(one, link.left_id or "")
        link.refresh_from_db()
        one.refresh_from_db()
        self.assertEqual((link.state, f"right:{link.right_id}", one.state), ("active", one.subject, "closed"))


class Chosen(ReviewCase):
    """Records that may be the twin are read live, and one of them is chosen."""

    def chosen(self, conflict: Conflict, external_id: str) -> str:
        """The page after the record was chosen."""
        self.as_("reviewer")
        data = {"act": "link", "id": external_id}
        response = self.client.post(self.url("conflict-whole", conflict.pk), data, follow=True)
        return str(response.content.decode())

    def twice(self) -> Conflict:
        """Our key is on the record that we made and on a clone of it."""
        self.pair.left.add(title="Alone")
        once(self.pair.right, "create", no_answer, when="after")
        self.pair.run()
        self.pair.right.add(correlation_key=Identity.objects.get().key, title="A clone")
        timed_out(self.pair)
        self.pair.run("live")
        return Conflict.objects.get(code="key_twice")

    def test_of_the_records_that_carry_our_key_one_is_chosen(self) -> None:
        one = self.twice()
        self.as_("reviewer")
        self.assertIn(self.url("review-candidates", one.pk), self.html(self.url("conflict", one.pk)))
        page = self.html(self.url("review-candidates", one.pk))
        for told in ("Which one is the twin of L00001?", "A clone", "https://right.example.com/R00001", "R00002"):
            self.assertIn(told, page)
        self.assertEqual(page.count("Link with it"), 2)
        self.as_("auditor")
        self.assertNotIn("Link with it", self.html(self.url("review-candidates", one.pk)))
        self.chosen(one, "R00002")
        self.pair.quiet()
        self.assertEqual(Link.objects.get(left_id="L00001").right_id, "R00002")

    def test_one_that_waits_for_its_twin_can_be_chosen(self) -> None:
        def refuse(verb: str, ids: Any) -> None:
            if verb == "create":
                raise Refused("No creates today.")

        self.pair.right.before = refuse
        for title in ("One", "Two"):
            self.pair.left.add(title=title, ref="R1")
        self.pair.quiet()
        right = self.pair.right.add(title="Made by hand", ref="R1")
        self.pair.ring("right", right)
        live(self.pair)
        one = Conflict.objects.get(code="several_fit", link=None)
        self.chosen(one, "L00002")
        live(self.pair)
        link = Link.objects.get(right_id=right)
        self.assertEqual((link.left_id, link.state), ("L00002", "active"))
        one.refresh_from_db()
        self.assertEqual(one.state, "closed")

    def test_one_that_has_a_twin_is_shown_and_cannot_be_chosen(self) -> None:
        one = self.twice()
        Link.objects.create(mapping=self.pair.mapping, left_id="L9", right_id="R00002", state="active")
        self.as_("reviewer")
        page = self.html(self.url("review-candidates", one.pk))
        self.assertEqual((page.count("Link with it"), page.count("linked already")), (1, 1))
        self.chosen(one, "R00002")
        self.pair.run("live")
        progress = self.html(self.url("review-progress", Instruction.objects.get().pk), 286)
        self.assertIn("That record is linked already", progress)
        self.assertIsNone(Link.objects.get(left_id="L00001").right_id)

    def test_where_nobody_knows_what_our_account_made_since_is_offered(self) -> None:
        unclear_create(self.pair)
        one = Conflict.objects.get()
        self.pair.right.add(by=US, title="of another record")
        self.as_("reviewer")
        page = self.html(self.url("review-candidates", one.pk))
        self.assertIn("Is it one of these?", page)
        self.assertEqual(page.count("Link with it"), 1)
        self.assertNotIn("of another record", page)
        self.pair.right.records.clear()
        self.assertIn("our account made nothing since then", self.html(self.url("review-candidates", one.pk)))
        self.assertIn("Look for it", self.html(self.url("conflict", one.pk)))
        Conflict.objects.update(opened_at=timezone.now() - SEARCHED_FOR)  # too much to read by now
        self.assertNotIn("Look for it", self.html(self.url("conflict", one.pk)))

    def test_a_question_without_a_choice_takes_none(self) -> None:
        left, right, link = self.linked(body="b")
        self.pair.left.remove(left)
        self.pair.right.edit(right, body="newer")
        self.pair.quiet()
        self.assertIn("Nothing was chosen", self.chosen(Conflict.objects.get(link=link), right))
        self.assertFalse(Instruction.objects.exists())
