"""Questions about a record that we may have made ourselves: a person says whose twin it is."""

from __future__ import annotations

from dataclasses import replace

from sync.models import AuditEntry, ChangedRecord, Conflict, Identity, Link, Operation
from sync.tests.engine_cases import live
from sync.tests.test_asked import unclear_create
from sync.tests.test_review_pages import ReviewCase


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
