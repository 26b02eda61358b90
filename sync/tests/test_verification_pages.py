"""The pages of verifications, seen by every role: begin, follow, stop, read, repair, take along."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from typing import Any
from unittest import mock

from django.db import connection
from django.test import SimpleTestCase
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from connections.connectors.base import Capabilities
from connections.connectors.memory import MemoryConnector
from connections.models import Connection
from connections.overwrites import BLIND
from sync import repair, verify
from sync.models import AuditEntry, Instruction, Link, Verification, VerifiedDifference
from sync.tests.pair_cases import PairCase
from sync.tests.test_pauses import OPEN, window
from sync.tests.verify_cases import drift, pairs
from syncadmin.spreadsheet import cell, lines

EVERYBODY = {"admin", "operator", "reviewer", "auditor"}
MOST_QUERIES = 18


class VerifyCase(PairCase):
    """`self.found`: the one difference of `self.one`; the left says b, the right says drifted."""

    def setUp(self) -> None:
        super().setUp()
        (self.link,) = pairs(self.pair, 1, body="b")
        Link.objects.update(title="Printer on fire", left_key="SUP-1", right_key="C-1")
        self.link.refresh_from_db()
        drift(self.pair, self.link)
        self.one = self.verified()
        self.found = VerifiedDifference.objects.get()
        self.as_("reviewer")
        self.at = reverse("verification", args=[self.one.pk])
        self.repair_at = reverse("verification-repair", args=[self.one.pk])
        self.list_at = reverse("verifications", args=["pair"])

    def verified(self, kind: str = "complete") -> Verification:
        one = verify.begin(self.pair.mapping, kind)
        verify.work(one.pk)
        one.refresh_from_db()
        return one

    def post(self, url: str, **data: Any) -> str:
        return self.client.post(url, data, follow=True).content.decode()

    def text(self, url: str) -> str:
        return " ".join(self.html(url).split())


class Access(VerifyCase):
    def test_every_role_reads(self) -> None:
        for url in (self.list_at, self.at, reverse("verification-export", args=[self.one.pk])):
            self.assert_access(url, EVERYBODY)
        going = verify.begin(self.pair.mapping, "sample")
        self.assert_access(reverse("verification-progress", args=[going.pk]), EVERYBODY)

    def test_operators_begin_and_stop_and_settlers_repair(self) -> None:
        self.assert_access(reverse("verification-start", args=["pair"]), {"admin", "operator"}, "post")
        self.assert_access(reverse("verification-stop", args=[self.one.pk]), {"admin", "operator"}, "post")
        self.assert_access(self.repair_at, {"admin", "reviewer"}, "post", {"d": self.found.pk, "take": "left"})

    def test_one_of_a_mapping_one_may_not_see_does_not_exist(self) -> None:
        self.elsewhere("admin")
        self.as_("stranger")
        for name in ("verification", "verification-progress", "verification-export"):
            self.assertEqual(self.client.get(reverse(name, args=[self.one.pk])).status_code, 404)
        self.assertEqual(self.client.get(self.list_at).status_code, 404)
        for url in (self.repair_at, reverse("verification-stop", args=[self.one.pk])):
            self.assertEqual(self.client.post(url, {"d": self.found.pk, "take": "left", "confirm": 1}).status_code, 404)
        self.assertEqual(self.client.post(reverse("verification-start", args=["pair"])).status_code, 404)
        self.assertFalse(Instruction.objects.exists())

    def test_a_difference_of_another_verification_cannot_be_repaired_through_one_s_own(self) -> None:
        other = self.verified()
        self.post(reverse("verification-repair", args=[other.pk]), d=self.found.pk, take="left", confirm="1")
        self.assertFalse(Instruction.objects.exists())
        self.post(self.repair_at, d=self.found.pk, take="left", confirm="1")
        self.assertTrue(Instruction.objects.exists())

    def test_buttons_are_absent_for_those_who_may_not(self) -> None:
        for name, may_start, may_repair in (
            ("operator", True, False),
            ("reviewer", False, True),
            ("auditor", False, False),
        ):
            self.as_(name)
            self.assertEqual(reverse("verification-start", args=["pair"]) in self.html(self.list_at), may_start, name)
            self.assertEqual('name="take"' in self.html(self.at), may_repair, name)

    def test_a_mapping_s_pages_lead_to_it(self) -> None:
        self.as_("operator")
        with mock.patch("mappings.views.versions.state_of"):
            self.assertIn(self.list_at, self.html(reverse("mapping-versions", args=["pair"])))


class Listing(VerifyCase):
    def test_the_history_tells_each_one_s_numbers(self) -> None:
        self.verified("sample")
        text = self.text(self.list_at)
        self.assertIn("Complete", text)
        self.assertIn("Sample", text)
        self.assertIn("by the clock", text)

    def test_it_is_empty_before_the_first_one(self) -> None:
        Verification.objects.all().delete()
        self.assertIn("Nothing was verified yet", self.text(self.list_at))

    def test_starting_one_leads_to_its_page_and_a_second_one_is_refused(self) -> None:
        self.as_("operator")
        text = self.post(reverse("verification-start", args=["pair"]), kind="complete")
        newest = Verification.objects.order_by("-pk")[0]
        self.assertEqual((newest.kind, newest.state, newest.started_by), ("complete", "waiting", "operator"))
        self.assertIn("comparing 1 pair", text)
        self.assertIn("going on already", self.post(reverse("verification-start", args=["pair"]), kind="sample"))
        self.assertEqual(AuditEntry.objects.get(code="verification_started").actor, "operator")

    def test_in_a_window_none_begins_and_the_page_says_until_when(self) -> None:
        Connection.objects.filter(name="Right").update(windows=[window(*OPEN)])
        self.as_("operator")
        text = self.post(reverse("verification-start", args=["pair"]), kind="sample")
        self.assertRegex(text, r"Right is in a maintenance window until [^<]*\d\d:\d\d\. upgrade\.")
        self.assertIn("no verification was begun", text)
        self.assertEqual(Verification.objects.count(), 1)

    def test_the_clock_is_not_offered_while_one_goes_on(self) -> None:
        verify.begin(self.pair.mapping, "sample")
        self.as_("operator")
        self.assertNotIn(reverse("verification-start", args=["pair"]), self.html(self.list_at))


class Following(VerifyCase):
    def setUp(self) -> None:
        super().setUp()
        self.going = verify.begin(self.pair.mapping, "complete")
        self.progress_at = reverse("verification-progress", args=[self.going.pk])

    def test_the_page_counts_along_and_is_new_at_the_end(self) -> None:
        self.assertIn("0 of 1", self.text(self.progress_at))
        verify.work(self.going.pk)
        response = self.client.get(self.progress_at)
        self.assertEqual((response.status_code, response["HX-Refresh"]), (286, "true"))

    def test_a_person_stops_it(self) -> None:
        self.as_("operator")
        text = self.post(reverse("verification-stop", args=[self.going.pk]))
        self.assertIn("operator stopped it", text)
        self.going.refresh_from_db()
        self.assertEqual(self.going.state, "stopped")
        self.assertIn("had ended already", self.post(reverse("verification-stop", args=[self.going.pk])))

    def test_while_it_waits_for_quota_the_page_says_for_whom_and_until_when(self) -> None:
        until = timezone.now() + timedelta(minutes=5)
        reason = {"code": "verification_waits", "params": {"system": "Org"}}
        Verification.objects.filter(pk=self.going.pk).update(not_before=until, reason=reason)
        self.assertIn("Waiting for Org until", self.text(reverse("verification", args=[self.going.pk])))

    def test_while_a_window_is_open_the_page_says_where_and_until_when(self) -> None:
        Connection.objects.filter(name="Right").update(windows=[window(*OPEN)])
        self.assertEqual(verify.work(self.going.pk), "waiting")
        for url in (self.progress_at, reverse("verification", args=[self.going.pk])):
            text = self.text(url)
            self.assertRegex(text, r"Right is in a maintenance window until [^<]*\d\d:\d\d</p>")
            self.assertIn("stands still", text)
            self.assertNotIn("goes on in", text)

    def test_what_failed_says_why_and_what_it_means(self) -> None:
        reason = {"code": "verification_failed", "params": {"message": "Org: no right"}}
        Verification.objects.filter(pk=self.going.pk).update(state="failed", reason=reason, finished_at=timezone.now())
        text = self.text(reverse("verification", args=[self.going.pk]))
        self.assertIn("Org: no right.", text)
        self.assertIn("Nothing was written.", text)


class Showing(VerifyCase):
    def test_it_says_for_each_side_whether_an_edit_that_a_write_replaces_is_noticed(self) -> None:
        self.assertEqual(self.text(self.at).count(BLIND), 2)
        able = Capabilities(field_history=True, complete_history=True)
        with mock.patch.object(MemoryConnector, "capabilities", able):
            text = self.text(self.at)
        self.assertNotIn(BLIND, text)
        self.assertEqual(text.count("history tells of an edit that our write replaced"), 2)
        types = {self.pair.mapping.object_type("right"): "records"}
        with mock.patch.multiple(MemoryConnector, capabilities=able, blind_in=types):
            self.assertEqual(self.text(self.at).count(BLIND), 2)

    def test_the_first_line_is_the_answer(self) -> None:
        self.assertIn("<h1>Pair: 1 pair drifted</h1>", self.html(self.at))
        del self.pair.right.records[self.link.right_id or ""]
        self.assertIn("1 pair lacks a record", self.html(reverse("verification", args=[self.verified().pk])))
        Link.objects.update(state="held")
        text = self.html(reverse("verification", args=[self.verified().pk]))
        self.assertIn("no pair drifted", text)
        self.assertIn("no drift in 1 pair", self.html(reverse("verification", args=[self.verified("sample").pk])))
        self.assertIn("held by a person", text)
        Link.objects.update(state="unlinked")
        text = self.text(reverse("verification", args=[self.verified().pk]))
        self.assertIn("nothing was compared", text)
        self.assertIn("1 unlinked", text)

    def test_a_difference_shows_both_values_and_leads_to_its_record(self) -> None:
        text = self.text(self.at)
        for shown in ("SUP-1 = C-1", "Printer on fire", "Body", "drifted", reverse("record", args=[self.link.pk])):
            self.assertIn(shown, text)

    def test_filters_stand_in_the_address(self) -> None:
        self.assertIn("drifted", self.text(f"{self.at}?kind=drift&field=body"))
        self.assertIn("No difference fits", self.text(f"{self.at}?kind=missing"))

    def test_a_cut_list_says_so(self) -> None:
        counts = {**self.one.counts, "kept": 1, "found": 7}
        Verification.objects.filter(pk=self.one.pk).update(counts=counts)
        self.assertIn("the first 1 of 7 are listed", self.text(self.at))

    def test_the_page_costs_the_same_with_many_lines_and_pages_go_on(self) -> None:
        with CaptureQueriesContext(connection) as few:
            self.client.get(self.at)
        for link in pairs(self.pair, 60, body="b"):
            drift(self.pair, link)
        one = self.verified()
        with CaptureQueriesContext(connection) as many:
            response = self.client.get(reverse("verification", args=[one.pk]))
        self.assertLessEqual(len(many), len(few))
        self.assertLessEqual(len(many), MOST_QUERIES)
        self.assertEqual(len(response.context["rows"]), 50)
        rest = self.client.get(reverse("verification", args=[one.pk]), {"after": response.context["pager"].older})
        self.assertEqual(len(rest.context["rows"]), 11)


class Repairing(VerifyCase):
    def test_the_preview_says_what_would_be_written_where_and_writes_nothing(self) -> None:
        text = self.post(self.repair_at, d=self.found.pk, take="left")
        self.assertIn("Write 1 value to Right?", text)
        self.assertIn("<del>drifted</del>", text)
        self.assertIn("<ins>b</ins>", text)
        self.assertFalse(Instruction.objects.exists())

    def test_a_confirmed_repair_is_written_by_the_run_and_shows_on_the_page(self) -> None:
        text = self.post(self.repair_at, d=self.found.pk, take="right", confirm="1")
        self.assertIn("1 repair was asked for.", text)
        self.assertIn("Asked for", text)
        self.assertIn('hx-trigger="every 3s"', text)
        self.pair.quiet()
        self.assertEqual(self.values(self.link, "body"), ("drifted", "drifted"))
        text = self.text(self.at)
        self.assertIn("Repaired", text)
        self.assertNotIn('hx-trigger="every 3s"', text)
        instruction = self.newest()
        self.assertEqual((instruction.kind, instruction.by_name), ("repair", "reviewer"))

    def test_what_moved_since_is_said(self) -> None:
        self.post(self.repair_at, d=self.found.pk, take="right", confirm="1")
        self.pair.right.edit(self.link.right_id or "", body="newer")
        self.pair.quiet()
        self.assertIn("Moved meanwhile", self.text(self.at))

    def test_what_cannot_be_done_is_left_out_with_its_reason(self) -> None:
        VerifiedDifference.objects.update(rule_id="prio", left_value="Odd", right_value="P1")
        text = self.post(self.repair_at, d=self.found.pk, take="left")
        self.assertIn("Nothing of it can be repaired", text)
        self.assertIn("“Odd” has no counterpart in the value map.", text)
        self.assertIn("None of them", self.post(self.repair_at, d=self.found.pk, take="left", confirm="1"))
        self.assertFalse(Instruction.objects.exists())

    def test_every_value_that_is_written_can_be_seen_before(self) -> None:
        links = pairs(self.pair, 70, body="b")
        for link in links:
            drift(self.pair, link)
        url = reverse("verification-repair", args=[self.verified().pk])
        text = self.post(url, all="1", take="left")
        self.assertIn("Write 71 values to Right?", text)
        written = text.split('aria-label="What would be written"')[1].split("</table>")[0]
        self.assertEqual(written.count("<ins>b</ins>"), 71)
        for link in links:
            self.assertIn(reverse("record", args=[link.pk]), written)

    def test_all_that_fit_are_taken_at_once_up_to_a_limit(self) -> None:
        for link in pairs(self.pair, 4, body="b"):
            drift(self.pair, link)
        one = self.verified()
        url = reverse("verification-repair", args=[one.pk])
        self.assertIn("Write 5 values to Left?", self.post(url, all="1", take="right", kind="drift", field="body"))
        self.assertIn("Nothing was chosen", self.post(url, all="1", take="right", kind="missing"))
        with mock.patch.object(repair, "MOST_AT_ONCE", 3):
            text = self.post(url, all="1", take="right")
        self.assertIn("Write 3 values to Left?", text)
        self.assertIn("more fit", text)

    def test_without_a_choice_nothing_happens(self) -> None:
        self.assertIn("Nothing was chosen", self.post(self.repair_at, take="left"))
        self.assertIn("Nothing was chosen", self.post(self.repair_at, d=self.found.pk))
        self.assertIn("Nothing was chosen", self.post(self.repair_at, d="1; drop table", take="left"))


class Exporting(VerifyCase):
    def rows(self, query: str = "") -> list[list[str]]:
        url = reverse("verification-export", args=[self.one.pk]) + query
        response = self.client.get(url)
        text = b"".join(response.streaming_content).decode()  # type: ignore[attr-defined]
        self.assertEqual(response["Content-Type"], "text/csv; charset=utf-8")
        return list(csv.reader(io.StringIO(text.removeprefix("\ufeff"))))

    def test_the_list_is_taken_along_as_csv(self) -> None:
        header, row = self.rows()
        self.assertEqual(header[0], "Left")
        self.assertEqual(row[:2] + row[4:9], ["SUP-1", "C-1", "Printer on fire", "Drift", "Body", "b", "drifted"])
        self.assertEqual(len(self.rows("?kind=missing")), 1)

    def test_no_cell_is_a_formula(self) -> None:
        VerifiedDifference.objects.update(left_value="=HYPERLINK(1)", right_value=["+a", "b"])
        Link.objects.update(title="@SUM(A1)")
        row = self.rows()[1]
        self.assertEqual((row[4], row[7], row[8]), ("'@SUM(A1)", "'=HYPERLINK(1)", "'+a, b"))


class Cells(SimpleTestCase):
    def test_texts_that_programs_would_run_are_kept_texts(self) -> None:
        for text in ("=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "＝1"):
            self.assertEqual(cell(text), f"'{text}")

    def test_other_values_stay_what_they_are(self) -> None:
        self.assertEqual([cell(one) for one in (-5, 2.5, True, None, "a=b", ["x"])], [-5, 2.5, "yes", "", "a=b", "x"])

    def test_quotes_commas_and_line_ends_stay_within_their_cell(self) -> None:
        text = "".join(lines(["A"], [['say "x", then\nend']]))
        self.assertEqual(list(csv.reader(io.StringIO(text.removeprefix("\ufeff"))))[1], ['say "x", then\nend'])
