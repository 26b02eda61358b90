"""The audit log's pages: who may read, what an entry says, filters, the check of the chain and the export."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from sync import audit
from sync.chain import Verdict
from sync.models import AuditEntry, Link
from sync.tests.page_cases import PagesCase
from sync.wording import MOST_OF_A_VALUE

READ = {"admin", "auditor"}
LIST = "/audit/"


class AuditCase(PagesCase):
    def write(self, label: str = "SUP-1 = C1", action: str = "write", code: str = "edited", **more: Any) -> AuditEntry:
        more.setdefault("mapping", self.mapping)
        one = audit.entry(action, code, object_label=label, **more)
        one.save()
        return one

    def labels(self, query: str) -> list[str]:
        return [line.entry.object_label for line in self.client.get(LIST + query).context["lines"]]


class AccessTests(AuditCase):
    def test_who_reads_verifies_and_exports(self) -> None:
        one = self.write()
        self.assert_access(reverse("audit"), READ)
        self.assert_access(reverse("audit-entry", args=[one.pk]), READ)
        self.assert_access(reverse("audit-verify"), READ, "post")
        self.assert_access(reverse("audit-export"), READ, "post")

    def test_looking_neither_verifies_nor_exports(self) -> None:
        for name in ("audit-verify", "audit-export"):
            self.html(reverse(name), 405)

    def test_an_auditor_of_one_mapping_reads_its_entries_alone(self) -> None:
        other = self.make_mapping("Other")
        self.write("MINE")
        theirs = self.write("THEIRS", mapping=other)
        house = self.write("HOUSE", mapping=None)
        self.give_stranger("auditor", self.mapping)
        self.as_("stranger")
        self.assertEqual(self.labels(""), ["MINE"])
        self.assertEqual(self.labels(f"?mapping={other.pk}"), ["MINE"], "a mapping of others is no filter")
        for entry in (theirs, house):
            self.html(reverse("audit-entry", args=[entry.pk]), 404)

    def test_a_reviewer_elsewhere_does_not_read_the_log_there(self) -> None:
        other = self.make_mapping("Other")
        self.write("THEIRS", mapping=other)
        self.give_stranger("auditor", self.mapping)
        self.give_stranger("reviewer", other)
        self.as_("stranger")
        self.assertEqual(self.labels(""), [])

    def test_the_whole_log_is_exported_by_somebody_of_the_whole_house(self) -> None:
        self.give_stranger("auditor", self.mapping)
        self.as_("stranger")
        self.assertNotIn(reverse("audit-export"), self.html(LIST))
        self.assertEqual(self.client.post(reverse("audit-export")).status_code, 403)


class ListTests(AuditCase):
    def test_an_entry_says_who_what_from_to_and_why(self) -> None:
        self.write(field_label="Priority", side="right", before="P3", after="P1", params={"system": "Org"}, run_id=7)
        html = self.html(LIST)
        for part in (
            "SyncAdmin",
            "Run 7",
            "Priority",
            "<del>P3</del> <ins>P1</ins>",
            "It was edited on the other side.",
        ):
            self.assertIn(part, html)

    def test_values_are_escaped(self) -> None:
        self.write("<b>label</b>", before="<script>alert(1)</script>", after="<i>x</i>")
        html = self.html(LIST)
        self.assertIn("&lt;b&gt;label&lt;/b&gt;", html)
        self.assertNotIn("<script>alert", html)
        self.assertNotIn("<b>label</b>", html)

    def test_a_set_shows_what_came_and_went_and_both_sides_have_their_letter(self) -> None:
        self.write(before=["a", "b"], after=["b", "c"])
        self.write(before={"left": "x", "right": "y"}, after={"left": "z", "right": "z"})
        html = self.html(LIST)
        self.assertIn('<ins class="tag">c</ins> <del class="tag">a</del>', html)
        self.assertIn("left side", html)

    def test_a_document_is_shown_in_its_words(self) -> None:
        document = {
            "type": "doc",
            "version": 1,
            "content": [{"type": "paragraph", "content": [{"type": "text", "text": "Log in fails"}]}],
        }
        one = self.write(before=None, after=document)
        for html in (self.html(LIST), self.html(reverse("audit-entry", args=[one.pk]))):
            self.assertIn("Log in fails", html)
            self.assertNotIn("paragraph", html)

    def test_a_whole_record_is_told_field_by_field(self) -> None:
        link = Link.objects.create(mapping=self.mapping, left_id="1", state="creating")
        sent = {"Title": "Printer", "Labels": ["a", "b"], "Notes": None}
        self.write(action="conflict", code="create_refused", side="right", after=sent, link_id=link.pk)
        html = self.html(LIST)
        for part in ("Title:</span> <ins>Printer</ins>", "Labels:</span>", '<ins class="tag">b</ins>'):
            self.assertIn(part, html)
        self.assertNotIn("Notes", html)
        self.assertNotIn("&quot;Title", html)

    def test_the_value_that_a_sentence_names_stands_among_the_values_alone(self) -> None:
        one = self.write(
            action="conflict", code="maybe_written", before="old", after="x" * 500, params={"system": "Org"}
        )
        self.assertIn(f"We may have written “{'x' * MOST_OF_A_VALUE}…”", self.html(LIST))
        AuditEntry.objects.filter(pk=one.pk).update(values=None)
        self.assertIn("We may have written “?”", self.html(LIST))

    def test_a_long_text_shows_what_changed_in_the_list_and_line_by_line_on_its_page(self) -> None:
        before = "\n".join(f"Line {number} of a longer text." for number in range(30))
        one = self.write(before=before, after=before.replace("Line 15", "Row 15"))
        html = self.html(LIST)
        self.assertIn("<del>Line</del><ins>Row</ins> 15 of a longer text", html)
        self.assertNotIn("Line 3 of", html)
        self.assertIn("Row 15 of a longer text.", self.html(reverse("audit-entry", args=[one.pk])))

    def test_every_filter_keeps_what_fits_and_only_that(self) -> None:
        other = self.make_mapping("Other")
        self.write("WANTED", action="publish", actor="ana", actor_kind="person", request_id="r-1", link_id=9)
        self.write("UNWANTED", mapping=other)
        today = timezone.localdate().isoformat()
        for query in (
            f"mapping={self.mapping.pk}",
            "action=publish",
            "who=ana",
            "request=r-1",
            "record=9",
            "q=wante&action=publish",
        ):
            with self.subTest(query):
                self.assertEqual(self.labels("?" + query), ["WANTED"])
        for query in ("time=1h", f"from={today}", f"to={today}", f"from={today}&to={today}"):
            with self.subTest(query):
                self.assertEqual(self.labels("?" + query), ["UNWANTED", "WANTED"])
        self.assertEqual(self.labels("?who=SyncAdmin"), ["UNWANTED"])

    def test_old_entries_are_found_by_their_day(self) -> None:
        old = audit.entry("write", "edited", object_label="OLDER")
        old.at = timezone.now() - timedelta(days=40)
        old.save()
        self.write("OLD")
        self.assertEqual(self.labels("?time=30d"), ["OLD"])
        day = (timezone.localdate() - timedelta(days=39)).isoformat()
        self.assertEqual(self.labels(f"?to={day}"), ["OLDER"])

    def test_what_cannot_be_read_as_a_filter_fits_nothing_and_breaks_nothing(self) -> None:
        self.write()
        for query in ("from=tomorrow", "record=x", "record=" + "9" * 30, "request=%00"):
            with self.subTest(query):
                self.assertEqual(self.client.get(f"{LIST}?{query}", follow=True).status_code, 200)

    def test_an_empty_list_names_the_filter_that_hides(self) -> None:
        self.write("SUP-1", actor="ana", actor_kind="person")
        html = self.html(LIST + "?action=write&who=bob")
        self.assertIn("“Who: bob” hides 1 that fits the others", html)
        self.assertIn('href="/audit/?action=write">Remove “Who: bob”', html)

    def test_entries_of_one_action_are_joined(self) -> None:
        self.write("before")
        for label in ("one", "two", "three"):
            self.write(label, request_id="r-1")
        joined = [line.joined for line in self.client.get(LIST).context["lines"]]
        self.assertEqual(joined, ["first", "more", "last", ""])
        self.assertIn("?request=r-1", self.html(LIST))

    def test_the_page_costs_the_same_with_many_entries(self) -> None:
        for number in range(60):
            self.write(f"SUP-{number}", link_id=number, before="a", after="b")
        for query in ("", "?who=nobody-here&action=publish&time=1h&q=zzz"):
            with CaptureQueriesContext(connection) as queries:
                self.html(LIST + query)
            self.assertLessEqual(len(queries), 15)
            self.assertNotIn("COUNT(", " ".join(q["sql"] for q in queries if "auditentry" in q["sql"]))


class EntryTests(AuditCase):
    def test_an_entry_shows_its_seal_its_neighbour_and_what_the_action_also_left(self) -> None:
        one = self.write("one", request_id="r-1", before={"a": 1}, after={"a": 2})
        self.write("two", request_id="r-1", action="resolve", code="resolved")
        audit.seal()
        one.refresh_from_db()
        html = self.html(reverse("audit-entry", args=[one.pk]))
        for part in (one.seal, "none: the first", "Conflict settled", "Sealed, not checked yet"):
            self.assertIn(part, html)

    def test_erased_values_are_told(self) -> None:
        one = self.write(field_label="Phone", before="1", after="2")
        AuditEntry.objects.filter(pk=one.pk).update(values=None)
        self.assertIn("The values were erased", self.html(reverse("audit-entry", args=[one.pk])))


class ProofTests(AuditCase):
    def test_verifying_seals_checks_and_says_up_to_where(self) -> None:
        for _ in range(3):
            self.write()
        response = self.client.post(reverse("audit-verify"), follow=True)
        self.assertContains(response, "Verified to number 3, without a gap")
        line = AuditEntry.objects.get(action="verify")
        self.assertEqual((line.actor, line.params["number"]), ("admin", 3))

    def test_a_broken_chain_says_what_is_broken_and_what_is_still_proved(self) -> None:
        broken = Verdict(3, 2, "seal", 3, "Entry 3 was changed after it was sealed.")
        with patch("sync.audit.verify", return_value=broken):
            response = self.client.post(reverse("audit-verify"), follow=True)
        self.assertContains(response, "Entry 3 was changed after it was sealed.")
        self.assertContains(response, "Entries up to number 2 are still proved")
        self.assertContains(response, "Keep the database as it is")

    def test_entries_sealed_since_the_check_are_told(self) -> None:
        self.write()
        self.client.post(reverse("audit-verify"))
        self.write()
        audit.seal()
        self.assertIn("2 newer ones wait for the next check", self.html(LIST))

    def test_the_export_verifies_elsewhere_and_is_itself_an_entry(self) -> None:
        self.write(before="a", after="b")
        response = self.client.post(reverse("audit-export"))
        lines = b"".join(response.streaming_content).decode().splitlines()
        self.assertIn(".jsonl", response["Content-Disposition"])
        self.assertEqual(json.loads(lines[0])["object_label"], "SUP-1 = C1")
        self.assertTrue(audit.verify_export(lines).intact)
        self.assertEqual(AuditEntry.objects.get(action="export").actor, "admin")
