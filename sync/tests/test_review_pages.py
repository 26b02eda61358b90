"""The review queue and the conflict page, seen by every role."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from unittest import mock

from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from connections.connectors.base import Capabilities, Retry, Uncertain
from sync import instructions
from sync.models import AuditEntry, Conflict, Instruction, Link, Operation
from sync.tests.conftest import rule
from sync.tests.pair_cases import RULES, PairCase

EVERYBODY = {"admin", "operator", "reviewer", "auditor"}
SETTLERS = {"admin", "reviewer"}
MOST_QUERIES = 15


class ReviewCase(PairCase):
    def url(self, name: str, *args: Any) -> str:
        return reverse(name, args=args)

    def seen(self, url: str) -> str:
        """The signed values of the page, as its form would send them."""
        found = re.search(r'name="seen" value="([^"]+)"', self.html(url))
        assert found, "the page has no form"
        return found[1]

    def answer(self, conflict: Conflict, take: str, **more: str) -> Any:
        url = self.url("conflict", conflict.pk)
        data = {"seen": self.seen(url), f"take-{conflict.pk}": take, **more}
        return self.client.post(url, data)


class Access(ReviewCase):
    def test_every_role_reads_and_settlers_answer(self) -> None:
        one = self.conflict()
        self.assert_access(self.url("review-queue"), EVERYBODY)
        self.assert_access(self.url("review-answers"), EVERYBODY)
        self.assert_access(self.url("conflict", one.pk), EVERYBODY)
        self.assert_access(self.url("conflict", one.pk), SETTLERS, "post")
        self.assert_access(self.url("review-same", one.pk), SETTLERS)
        self.assert_access(self.url("review-same", one.pk), SETTLERS, "post")
        self.assert_access(self.url("conflict-whole", one.pk), SETTLERS, "post")
        asked = instructions.resolve(one, {"take": "left"}, self.admin)
        self.assert_access(self.url("review-progress", asked.pk), EVERYBODY)
        self.pair.quiet()
        write = Operation.objects.get(instruction=asked)
        self.assert_access(self.url("write-undo", write.pk), SETTLERS, "post")

    def test_a_conflict_of_a_mapping_one_may_not_see_does_not_exist(self) -> None:
        one = self.conflict()
        asked = instructions.resolve(one, {"take": "left"}, self.admin)
        self.pair.quiet()
        write = Operation.objects.get(instruction=asked)
        self.elsewhere("admin")
        self.as_("stranger")
        self.assertNotIn("Record 1", self.html(self.url("review-queue")))
        for name, pk in (("conflict", one.pk), ("review-same", one.pk), ("review-progress", asked.pk)):
            self.assertEqual(self.client.get(self.url(name, pk)).status_code, 404, name)
        for name, pk in (("conflict", one.pk), ("conflict-whole", one.pk), ("write-undo", write.pk)):
            self.assertEqual(self.client.post(self.url(name, pk)).status_code, 404, name)

    def test_who_may_not_settle_sees_the_values_and_no_way_to_write(self) -> None:
        one = self.conflict()
        for name in ("auditor", "operator"):
            self.as_(name)
            page = self.html(self.url("conflict", one.pk))
            self.assertIn("Ana", page)
            self.assertNotIn('type="radio"', page)
            self.assertNotIn("data-save", page)


class Queue(ReviewCase):
    def test_a_row_tells_the_values_the_editors_and_the_keys(self) -> None:
        self.conflict(path="status", left="Low", right="P3")
        self.as_("reviewer")
        page = self.html(self.url("review-queue"))
        for told in ("One thing waits", "Record 1", "L00001 = R00001", "Low", "P3", "Ana", "Bob", "Status"):
            self.assertIn(told, page)

    def test_filters_live_in_the_address_and_name_what_they_hide(self) -> None:
        self.conflict()
        self.as_("reviewer")
        self.assertIn("Record 1", self.html(self.url("review-queue") + "?mapping=pair&kind=field&field=Body"))
        page = self.html(self.url("review-queue") + "?kind=refused")
        self.assertIn("Your filters hide what waits", page)
        self.assertIn("Remove “Kind: Refused”", page)

    def test_an_empty_queue_says_so(self) -> None:
        self.as_("reviewer")
        self.assertIn("Nothing waits for you", self.html(self.url("review-queue")))

    def test_pages_go_on_where_the_last_one_ended(self) -> None:
        first, second = self.conflict(1), self.conflict(2)
        self.as_("reviewer")
        page = self.html(self.url("review-queue") + f"?after={first.pk}")
        self.assertIn("Record 2", page)
        self.assertNotIn("Record 1", page)
        page = self.html(self.url("review-queue") + f"?before={second.pk}")
        self.assertIn("Record 1", page)
        self.assertNotIn("Record 2", page)

    def test_many_rows_cost_no_more_queries_than_few(self) -> None:
        self.conflict(1)
        self.as_("reviewer")
        with CaptureQueriesContext(connection) as few:
            self.html(self.url("review-queue"))
        for number in range(2, 6):
            self.conflict(number)
        with CaptureQueriesContext(connection) as many:
            self.html(self.url("review-queue"))
        # What the frame keeps for a few seconds may run out in between: one query, not one a row.
        self.assertLessEqual(len(many), len(few) + 1)
        self.assertLessEqual(len(many), MOST_QUERIES)


class Alike(ReviewCase):
    def setUp(self) -> None:
        super().setUp()
        self.same = [self.conflict(n, "status", "Low", "P3") for n in (1, 2, 3)]
        self.other = self.conflict(4, "status", "Medium", "P4")
        self.as_("reviewer")
        self.at = self.url("review-same", self.same[0].pk)

    def test_the_same_change_is_grouped_and_another_one_is_not(self) -> None:
        page = self.html(self.url("review-queue"))
        self.assertIn("<b>3 alike</b>", page)
        self.assertIn("Answer 3 at once", page)

    def test_the_effect_is_named_before(self) -> None:
        page = self.html(self.at)
        self.assertIn("3 conflicts about Status", page)
        self.assertIn("in each of the 3 records of Right it writes P3 → P4", page)

    def test_one_answer_settles_all_that_are_ticked_and_names_those_that_moved(self) -> None:
        seen = self.seen(self.at)
        moved = self.same[1]
        assert moved.link is not None
        self.pair.right.edit(moved.link.right_id or "", status="P0")
        self.pair.quiet()
        ticked = [one.pk for one in self.same]
        response = self.client.post(self.at, {"seen": seen, "take": "left", "c": ticked}, follow=True)
        self.assertContains(response, "It moved since you looked")
        self.pair.quiet()
        self.assertEqual(self.values(self.same[0].link, "status"), ("Low", "P4"))
        self.assertEqual(self.values(self.same[2].link, "status"), ("Low", "P4"))
        self.assertEqual(self.values(self.other.link, "status"), ("Medium", "P4"))
        page = self.html(response.request["PATH_INFO"] + "?" + response.request["QUERY_STRING"])
        self.assertIn("2 of 2 written", page)

    def test_one_answer_to_many_is_asked_whole_or_not_at_all(self) -> None:
        data = {"seen": self.seen(self.at), "take": "left", "c": [one.pk for one in self.same]}
        with mock.patch("sync.instructions.jobs.wake", side_effect=[None, OperationalError("gone away")]):
            self.client.post(self.at, data)
        self.assertEqual(Instruction.objects.count(), len(self.same))
        self.assertEqual(len({one.request_id for one in Instruction.objects.all()}), 1)

    def test_one_that_is_not_ticked_is_left_alone(self) -> None:
        data = {"seen": self.seen(self.at), "take": "right", "c": [self.same[0].pk]}
        self.client.post(self.at, data)
        self.assertEqual(Instruction.objects.count(), 1)

    def test_forged_values_are_not_taken(self) -> None:
        response = self.client.post(self.at, {"seen": "{}", "take": "left", "c": [self.same[0].pk]}, follow=True)
        self.assertContains(response, "Nothing was chosen")
        self.assertFalse(Instruction.objects.exists())


class Settling(ReviewCase):
    def test_the_page_tells_the_cause_three_values_and_what_each_choice_writes(self) -> None:
        one = self.conflict(path="status", left="Low", right="P3")
        self.as_("reviewer")
        page = self.html(self.url("conflict", one.pk))
        for told in ("Ana", "Bob", "<del>High</del>", "<ins>Low</ins>", "<ins>P3</ins>", "writes P3 → P4", "no write"):
            self.assertIn(told, page)
        self.assertIn("What each policy would decide", page)

    def test_every_choice_does_what_it_says(self) -> None:
        self.as_("reviewer")
        cases = {"left": ("L", "L"), "right": ("R", "R"), "base": ("b", "b"), "ignore": ("L", "R")}
        for number, (take, both) in enumerate(cases.items()):
            with self.subTest(take=take):
                one = self.conflict(number)
                response = self.answer(one, take)
                self.assertRedirects(response, f"{self.url('conflict', one.pk)}?asked={self.newest().pk}")
                self.pair.quiet()
                one.refresh_from_db()
                self.assertEqual(
                    (self.values(one.link, "body"), one.state, one.closed_by), (both, "closed", "reviewer")
                )

    def test_a_typed_value_reaches_both_sides(self) -> None:
        one = self.conflict()
        self.as_("reviewer")
        self.answer(one, "value", **{f"value-{one.pk}": "both of us"})
        self.pair.quiet()
        self.assertEqual(self.values(one.link, "body"), ("both of us", "both of us"))

    def test_what_cannot_be_read_is_told_and_nothing_is_asked(self) -> None:
        one = self.conflict(path="amount", left=1, right=2)
        self.as_("reviewer")
        page = self.answer(one, "value", **{f"value-{one.pk}": "many"}).content.decode()
        self.assertIn("“many” is not a number", page)
        self.assertIn('value="many"', page, "what was typed is still there")
        self.assertFalse(Instruction.objects.exists())

    def test_a_value_that_cannot_be_read_costs_no_other_choice(self) -> None:
        """Unless its values moved meanwhile: the choice was about others."""
        amount = self.conflict(path="amount", left=1, right=2)
        assert amount.link is not None
        self.pair.left.edit(amount.link.left_id or "", body="L")
        self.pair.right.edit(amount.link.right_id or "", body="R")
        self.pair.quiet()
        body = Conflict.objects.get(rule_id="body")
        self.as_("reviewer")
        seen = self.seen(self.url("conflict", amount.pk))
        answers = {f"take-{amount.pk}": "value", f"value-{amount.pk}": "many", f"take-{body.pk}": "left"}
        for chosen in (True, False):
            page = self.client.post(self.url("conflict", amount.pk), {"seen": seen, **answers}).content.decode()
            self.assertEqual(f'name="take-{body.pk}" value="left" checked' in page, chosen)
            self.assertIn(f'name="take-{amount.pk}" value="value" checked', page)
            Conflict.objects.filter(pk=body.pk).update(left_value="L2")

    def test_two_fields_of_one_record_are_saved_together(self) -> None:
        left, right, link = self.linked(body="b")
        self.pair.left.edit(left, body="L", status="Low")
        self.pair.right.edit(right, body="R", status="P3")
        self.pair.quiet()
        body, prio = (Conflict.objects.get(rule_id=name) for name in ("body", "prio"))
        self.as_("reviewer")
        self.answer(body, "left", **{f"take-{prio.pk}": "right"})
        self.assertEqual(set(Instruction.objects.get().choices), {"body", "prio"})
        self.pair.quiet()
        self.assertEqual((self.values(link, "body"), self.values(link, "status")), (("L", "L"), ("Medium", "P3")))

    def test_the_page_follows_the_answer_until_it_is_written(self) -> None:
        one = self.conflict()
        self.as_("reviewer")
        self.answer(one, "left")
        at = self.url("review-progress", self.newest().pk) + "?here=1"
        self.assertEqual(self.client.get(at).status_code, 200)
        self.pair.quiet()
        response = self.client.get(at)
        self.assertEqual((response.status_code, response["HX-Refresh"]), (286, "true"))
        page = self.html(f"{self.url('conflict', one.pk)}?asked={self.newest().pk}")
        self.assertIn("Saved and written to Right", page)
        self.assertIn("Undo", page)
        self.assertNotIn("every 1s", page)

    def test_a_field_that_moved_meanwhile_is_shown_with_its_new_values(self) -> None:
        one = self.conflict()
        assert one.link is not None
        self.as_("reviewer")
        seen = self.seen(self.url("conflict", one.pk))
        self.pair.right.edit(one.link.right_id or "", body="R2")
        self.client.post(self.url("conflict", one.pk), {"seen": seen, f"take-{one.pk}": "left"})
        self.pair.quiet()
        page = self.html(f"{self.url('conflict', one.pk)}?asked={self.newest().pk}")
        self.assertIn("Right moved while you were deciding", page)
        self.assertIn("Nothing of yours was written", page)
        self.assertIn("<ins>R2</ins>", page)

    def test_a_page_that_was_tampered_with_writes_nothing(self) -> None:
        one = self.conflict()
        self.as_("reviewer")
        response = self.client.post(self.url("conflict", one.pk), {"seen": "x", f"take-{one.pk}": "left"}, follow=True)
        self.assertContains(response, "open for too long")
        self.assertFalse(Instruction.objects.exists())

    def test_saving_without_a_choice_says_so(self) -> None:
        one = self.conflict()
        self.as_("reviewer")
        url = self.url("conflict", one.pk)
        self.assertContains(self.client.post(url, {"seen": self.seen(url)}, follow=True), "Nothing was chosen")

    def test_the_second_of_two_people_is_told_that_it_is_settled(self) -> None:
        one = self.conflict()
        self.as_("reviewer")
        seen = self.seen(self.url("conflict", one.pk))
        instructions.resolve(one, {"take": "right"}, self.admin)
        data = {"seen": seen, f"take-{one.pk}": "left"}
        self.assertContains(
            self.client.post(self.url("conflict", one.pk), data, follow=True), "Somebody else was first"
        )
        self.assertEqual(Instruction.objects.count(), 1)

    def test_save_and_next_goes_on_with_the_next_pair_and_tells_of_the_last(self) -> None:
        first, second = self.conflict(1), self.conflict(2)
        self.as_("reviewer")
        response = self.answer(first, "left", next="1")
        self.assertRedirects(response, f"{self.url('conflict', second.pk)}?asked={self.newest().pk}")
        self.assertContains(self.client.get(response["Location"]), "L00001 = R00001")

    def test_undo_puts_the_value_back_where_we_wrote(self) -> None:
        one = self.conflict()
        self.as_("reviewer")
        self.answer(one, "left")
        self.pair.quiet()
        write = Operation.objects.get(state="confirmed", side="right")
        response = self.client.post(self.url("write-undo", write.pk))
        self.assertRedirects(response, f"{self.url('record', one.link_id)}?asked={self.newest().pk}")
        self.pair.quiet()
        self.assertEqual(self.values(one.link, "body"), ("L", "R"))
        self.assertContains(self.client.get(response["Location"]), "Undone and written to Right")

    def test_a_write_that_cannot_be_undone_is_not(self) -> None:
        one = self.conflict()
        self.as_("reviewer")
        self.answer(one, "left")
        self.pair.quiet()
        Link.objects.update(state="unlinked")
        write = Operation.objects.get(state="confirmed", side="right")
        response = self.client.post(self.url("write-undo", write.pk), follow=True)
        self.assertContains(response, "This cannot be undone")
        self.assertEqual(Instruction.objects.count(), 1)

    def test_a_paused_mapping_says_that_the_answer_waits(self) -> None:
        one = self.conflict()
        self.as_("reviewer")
        self.answer(one, "left")
        self.pair.mapping.state = "paused"
        self.pair.mapping.save()
        page = self.html(f"{self.url('conflict', one.pk)}?asked={self.newest().pk}")
        self.assertIn("Saved, but the mapping is paused", page)

    def test_the_page_stays_within_its_queries(self) -> None:
        one = self.conflict()
        self.as_("reviewer")
        with CaptureQueriesContext(connection) as queries:
            self.html(self.url("conflict", one.pk))
        self.assertLessEqual(len(queries), MOST_QUERIES)


class RichText(ReviewCase):
    def setUp(self) -> None:
        super().setUp()
        both = {"left": {"kind": "rich_text", "format": "adf"}, "right": {"kind": "text"}}
        body = rule("body", "body", transform="rich_text")
        body["left"] |= both["left"]
        self.pair.publish(rules=[body if one["id"] == "body" else one for one in RULES])

    def doc(self, *texts: str) -> dict[str, Any]:
        paragraphs = [{"type": "paragraph", "content": [{"type": "text", "text": text}]} for text in texts]
        code = {"type": "codeBlock", "attrs": {}, "content": [{"type": "text", "text": "x = 1"}]}
        return {"type": "doc", "version": 1, "content": [*paragraphs, code]}

    def test_both_edits_are_offered_merged_and_typed_as_plain_text(self) -> None:
        left = self.pair.left.add(title="T", ref="R", status="High", body=self.doc("one", "two"))
        right = self.pair.right.add(title="T", ref="R", status="P1", body="one\n\ntwo\n\n```\nx = 1\n```")
        self.pair.quiet()
        self.assertFalse(Conflict.objects.exists())
        self.pair.left.edit(left, body=self.doc("one left", "two"))
        self.pair.right.edit(right, body="one\n\ntwo right\n\n```\nx = 1\n```")
        self.pair.quiet()
        one = Conflict.objects.get()
        self.as_("reviewer")
        page = self.html(self.url("conflict", one.pk))
        self.assertIn("Both edits, merged", page)
        found = re.search(r"<textarea[^>]*>(.*?)</textarea>", page, re.S)
        assert found
        self.assertEqual(found[1], "one left\n\ntwo right\n\n```\nx = 1\n```")
        self.answer(one, "value", **{f"value-{one.pk}": found[1].replace("\n", "\r\n")})
        self.assertEqual(self.newest().choices["body"]["in"], "right")
        self.pair.quiet()
        self.assertEqual(self.values(one.link, "body"), (self.doc("one left", "two right"), found[1]))

    def test_a_script_in_a_value_is_shown_as_text(self) -> None:
        one = self.conflict(path="body", left=self.doc("<script>alert(1)</script>"), right="<img src=x onerror=y>")
        self.as_("reviewer")
        for url in (self.url("conflict", one.pk), self.url("review-queue"), self.url("record", one.link_id)):
            page = self.html(url)
            self.assertIn("&lt;img src=x", page)
            self.assertNotIn("<script>alert", page)
            self.assertNotIn("<img src=x", page)


class OtherKinds(ReviewCase):
    def test_a_refused_value_is_shortened_and_written(self) -> None:
        left, right, link = self.linked(title="old")
        self.pair.right.fields = [
            replace(field, max_length=5) if field.path == "title" else field for field in self.pair.right.fields
        ]
        self.pair.left.edit(left, title="much too long")
        self.pair.quiet()
        one = Conflict.objects.get(kind="refused")
        self.as_("reviewer")
        self.assertIn("longer than 5 characters", self.html(self.url("conflict", one.pk)))
        self.answer(one, "value", **{f"value-{one.pk}": "short"})
        self.assertEqual(self.newest().choices["title"]["in"], "right")
        self.pair.quiet()
        self.assertEqual(self.values(link, "title"), ("short", "short"))

    def test_a_value_without_counterpart_is_chosen_from_those_there_are(self) -> None:
        left, _, link = self.linked()
        self.pair.left.edit(left, status="Won't do")
        self.pair.quiet()
        one = Conflict.objects.get(kind="unmapped")
        self.as_("reviewer")
        page = self.html(self.url("conflict", one.pk))
        self.assertIn('<option value="P4"', page)
        self.assertIn("Cannot be taken", page)
        self.answer(one, "value", **{f"value-{one.pk}": "P4"})
        self.pair.quiet()
        self.assertEqual(self.values(link, "status"), ("Low", "P4"))

    def test_a_record_that_was_only_not_found_may_be_hidden_and_the_question_says_so(self) -> None:
        _, _, link = self.linked()
        Link.objects.filter(pk=link.pk).update(may_return=True)
        one = Conflict.objects.create(
            mapping=self.pair.mapping, link=link, kind="delete_update", code="deleted_ask", params={"side": "left"}
        )
        self.as_("reviewer")
        page = self.html(self.url("conflict", one.pk))
        self.assertIn("It was not found in Left twice, an hour apart, and counts as deleted there", page)
        self.assertIn("this question ends by itself once it is shown again", page)
        self.assertIn("It was only not found in Left: look there first.", page)
        self.assertNotIn("was deleted in Left", page)

    def test_a_deleted_record_takes_its_twin_along_or_leaves_it(self) -> None:
        for number, (act, state) in enumerate((("delete_twin", "deleted"), ("unlink", "unlinked"))):
            with self.subTest(act=act):
                left, right, link = self.linked(number)
                self.pair.left.remove(left)
                self.pair.quiet()
                one = Conflict.objects.get(link=link)
                self.as_("reviewer")
                self.assertIn("deleted in Left", self.html(self.url("conflict", one.pk)))
                answer = {"act": act, "seen": self.seen(self.url("conflict", one.pk))}
                response = self.client.post(self.url("conflict-whole", one.pk), answer)
                self.pair.quiet()
                link.refresh_from_db()
                one.refresh_from_db()
                self.assertEqual((link.state, one.closed_by), (state, "reviewer"))
                self.assertEqual(right in self.pair.right.alive(), act == "unlink")
                self.assertEqual(self.client.get(response["Location"]).status_code, 200)

    def test_a_twin_is_deleted_only_as_the_page_showed_it(self) -> None:
        left, right, link = self.linked(body="b")
        self.pair.left.remove(left)
        self.pair.right.edit(right, by="bob", body="bob's work")
        self.pair.quiet()
        one = Conflict.objects.get(link=link)
        self.as_("reviewer")
        page = self.html(self.url("conflict", one.pk))
        self.assertIn("bob&#x27;s work", page)
        seen = self.seen(self.url("conflict", one.pk))
        self.pair.right.edit(right, by="bob", body="bob's later work")
        self.pair.quiet()
        url = self.url("conflict-whole", one.pk)
        response = self.client.post(url, {"act": "delete_twin", "seen": "of another page"}, follow=True)
        self.assertContains(response, "This page was open for too long")
        response = self.client.post(url, {"act": "delete_twin", "seen": seen})
        self.pair.quiet()
        self.assertIn(right, self.pair.right.alive())
        self.assertContains(self.client.get(response["Location"]), "changed while you were deciding")

    def which(self) -> Conflict:
        self.pair.right.add(title="A", ref="R9")
        self.pair.right.add(title="B", ref="R9")
        left = self.pair.left.add(title="C", ref="R9")
        self.pair.quiet()
        return Conflict.objects.get(subject=f"left:{left}")

    def test_one_of_several_candidates_is_linked(self) -> None:
        one = self.which()
        self.as_("reviewer")
        page = self.html(self.url("conflict", one.pk))
        self.assertEqual(page.count("Link with it"), 2)
        response = self.client.post(self.url("conflict-whole", one.pk), {"act": "link", "id": "R00002"})
        link = Link.objects.get()
        self.assertRedirects(response, self.url("record", link.pk))
        self.assertEqual(link.right_id, "R00002")

    def test_candidates_are_read_live_beside_the_record_in_question(self) -> None:
        one = self.which()
        self.as_("reviewer")
        url = self.url("review-candidates", one.pk)
        page = self.html(url)
        for told in ("A", "B", "C", "https://right.example.com/R00001", "R00002"):
            self.assertIn(told, page)
        self.assertEqual(page.count("Link with it"), 2)
        self.assert_access(url, EVERYBODY)

        def down(verb: str, ids: object) -> None:
            raise Retry("No route to host.")

        self.pair.right.before = down
        self.as_("auditor")
        page = self.html(url)
        self.assertIn("No route to host", page)
        self.assertIn("R00002", page)
        self.assertNotIn("Link with it", page)

    def test_a_record_that_is_no_candidate_is_not_linked(self) -> None:
        one = self.which()
        self.as_("reviewer")
        response = self.client.post(self.url("conflict-whole", one.pk), {"act": "link", "id": "R09999"}, follow=True)
        self.assertContains(response, "does not fit any more")
        self.assertFalse(Link.objects.exists())

    def test_an_ambiguous_record_is_left_alone(self) -> None:
        one = self.which()
        self.as_("reviewer")
        self.client.post(self.url("conflict-whole", one.pk), {"act": "leave"})
        self.assertEqual(Link.objects.get().state, "unlinked")
        response = self.client.post(self.url("conflict-whole", one.pk), {"act": "leave"}, follow=True)
        self.assertContains(response, "Somebody else was first")

    def test_a_required_field_without_value_is_looked_at_again(self) -> None:
        rules = [{**one, "right": {**one["right"], "required": True}} if one["id"] == "prio" else one for one in RULES]
        self.pair.publish(rules=rules)
        left = self.pair.left.add(title="New", status="Unknown")
        self.pair.quiet()
        one = Conflict.objects.get()
        self.assertEqual((one.kind, one.link), ("unmapped", None))
        self.pair.left.edit(left, status="Low")
        self.as_("reviewer")
        self.client.post(self.url("conflict-whole", one.pk), {"act": "look"})
        self.pair.quiet()
        one.refresh_from_db()
        self.assertEqual((one.state, len(self.pair.right.alive())), ("closed", 1))

    def unclear(self) -> Conflict:
        world = self.pair.right
        world.capabilities = Capabilities(bulk_read=100, settle_seconds=0, update_timeout=0)

        def lose(verb: str, ids: object) -> None:
            if verb == "create":
                world.after = lambda *_: None
                made = max(world.records)
                world.records[made] = replace(world.records[made], correlation_key=None)
                raise Uncertain("no answer")

        world.after = lose
        self.pair.left.add(title="Alone")
        self.pair.run()
        self.pair.run()
        return Conflict.objects.get(kind="uncertain_create")

    def test_it_exists_asks_the_system_before_it_links(self) -> None:
        one = self.unclear()
        self.as_("reviewer")
        url = self.url("conflict-whole", one.pk)
        self.assertContains(self.client.post(url, {"act": "exists", "id": "nope"}, follow=True), "knows no record")
        self.assertContains(self.client.post(url, {"act": "exists", "id": " "}, follow=True), "No record is named")
        self.client.post(url, {"act": "exists", "id": "https://right.example.com/things/R00001/view"})
        self.pair.quiet()
        self.assertEqual(Link.objects.get().right_id, "R00001")

    def test_it_does_not_exist_creates_it_again(self) -> None:
        one = self.unclear()
        self.pair.right.records.clear()
        self.as_("reviewer")
        self.client.post(self.url("conflict-whole", one.pk), {"act": "recreate"})
        self.pair.quiet()
        one.refresh_from_db()
        self.assertEqual((one.state, one.closed_by, Link.objects.get().state), ("closed", "reviewer", "active"))

    def test_an_answer_that_does_not_belong_to_the_question_is_not_taken(self) -> None:
        one = self.unclear()
        self.as_("reviewer")
        response = self.client.post(self.url("conflict-whole", one.pk), {"act": "delete_twin"}, follow=True)
        self.assertContains(response, "Nothing was chosen")
        self.assertFalse(AuditEntry.objects.filter(action="ask").exists())

    def test_a_rule_that_is_off_says_why_nothing_can_be_chosen(self) -> None:
        one = self.conflict()
        self.pair.publish(rules=[other for other in RULES if other["id"] != "body"])
        self.as_("reviewer")
        page = self.html(self.url("conflict", one.pk))
        self.assertIn("not part of the version that runs", page)
        self.assertNotIn("data-save", page)
