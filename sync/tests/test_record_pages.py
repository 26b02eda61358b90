"""Records: the list, the search and the page of one pair, seen by every role."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from unittest import mock

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from connections.connectors.base import Retry
from connections.models import Connection
from sync import instructions
from sync.models import (
    AuditEntry,
    ChangedRecord,
    Conflict,
    Cursor,
    Instruction,
    Link,
    MappingState,
    MatchKey,
    Operation,
)
from sync.tests.pair_cases import RULES, PairCase
from sync.tests.verify_cases import SAMPLE, document, verified
from sync.views import records

EVERYBODY = {"admin", "operator", "reviewer", "auditor"}
SETTLERS = {"admin", "reviewer"}
MOST_QUERIES = 15


class RecordCase(PairCase):
    def setUp(self) -> None:
        super().setUp()
        self.left, self.right, self.link = self.linked(body="b")
        self.as_("reviewer")
        self.at = reverse("record", args=[self.link.pk])

    def act(self, name: str) -> Any:
        return self.client.post(reverse("record-act", args=[self.link.pk]), {"act": name}, follow=True)

    def answer(self) -> str:
        """The first words of the page."""
        return self.html(self.at).split('class="a1">')[1].split("</p>")[0]


class Access(RecordCase):
    def test_every_role_reads_and_settlers_act(self) -> None:
        for name, arguments in (("records", []), ("record", [self.link.pk]), ("record-now", [self.link.pk])):
            self.assert_access(reverse(name, args=arguments), EVERYBODY)
        self.assert_access(reverse("records-search") + "?q=Record", EVERYBODY)
        self.assert_access(reverse("record-act", args=[self.link.pk]), SETTLERS, "post", {"act": "sync"})

    def test_a_pair_of_a_mapping_one_may_not_see_does_not_exist(self) -> None:
        self.elsewhere("admin")
        self.as_("stranger")
        self.assertNotIn("Record 1", self.html(reverse("records")))
        self.assertIn("We do not know", self.html(reverse("records-search") + "?q=L00001"))
        for name in ("record", "record-now"):
            self.assertEqual(self.client.get(reverse(name, args=[self.link.pk])).status_code, 404)
        self.assertEqual(self.client.post(reverse("record-act", args=[self.link.pk])).status_code, 404)

    def test_who_may_not_repair_gets_no_button(self) -> None:
        for name in ("operator", "auditor"):
            self.as_(name)
            self.assertNotIn(reverse("record-act", args=[self.link.pk]), self.html(self.at))


class Listing(RecordCase):
    def test_the_newest_change_comes_first_and_pages_go_on(self) -> None:
        now = timezone.now()
        for number in range(records.PAGE_SIZE + 5):
            Link.objects.create(
                mapping=self.pair.mapping,
                left_id=f"X{number}",
                right_id=f"Y{number}",
                title=f"Number {number:03}",
                changed_at=now - timedelta(days=1, minutes=number // 2),
            )
        with CaptureQueriesContext(connection) as queries:
            first = self.client.get(reverse("records"))
        self.assertLessEqual(len(queries), MOST_QUERIES)
        self.assertFalse([query for query in queries if 'COUNT(*) AS "__count" FROM "sync_link"' in query["sql"]])
        shown = [row["link"].title for row in first.context["rows"]]
        self.assertEqual((len(shown), shown[0]), (records.PAGE_SIZE, "Record 1"))
        older = self.client.get(reverse("records"), {"after": first.context["pager"].older})
        rest = [row["link"].title for row in older.context["rows"]]
        self.assertEqual(len(set(shown) | set(rest)), records.PAGE_SIZE + 6)
        self.assertFalse(set(shown) & set(rest))
        newer = self.client.get(reverse("records"), {"before": older.context["pager"].newer})
        self.assertEqual([row["link"].title for row in newer.context["rows"]], shown)

    def test_filters_find_by_mapping_state_and_version(self) -> None:
        self.assertIn("Record 1", self.html(reverse("records") + "?mapping=pair&state=active"))
        for state in ("held", "unlinked", "deleted", "creating", "differs"):
            self.assertIn("No pair fits", self.html(reverse("records") + f"?state={state}"))
        self.assertIn("No pair fits", self.html(reverse("records") + "?version=1"))
        self.pair.left.edit(self.left, body="new")
        self.pair.quiet()
        self.assertIn("Record 1", self.html(reverse("records") + "?mapping=pair&version=1"))
        self.assertIn("No pair fits", self.html(reverse("records") + "?mapping=pair&version=2"))

    def test_a_pair_that_waits_or_may_differ_is_found_as_differing(self) -> None:
        one = self.conflict(2)
        self.assertIn("Waits for a decision", self.html(reverse("records") + "?state=differs"))
        instructions.resolve(one, {"take": "ignore"}, self.admin)
        self.pair.quiet()
        self.assertIn("May differ", self.html(reverse("records") + "?state=differs"))


class Search(RecordCase):
    def find(self, text: str) -> Any:
        return self.client.get(reverse("records-search"), {"q": text})

    def test_an_id_a_key_and_an_address_open_the_page(self) -> None:
        Link.objects.filter(pk=self.link.pk).update(left_key="SUP-7")
        assert self.link.identity is not None
        addresses = (
            "https://jira.example.com/browse/SUP-7?x=1",
            "https://org.example.com/lightning/r/Case/R00001/view",
        )
        for text in (self.left, self.right, "SUP-7", "sup-7", self.link.identity.key, *addresses):
            with self.subTest(text=text):
                self.assertRedirects(self.find(text), self.at)

    def test_a_title_is_found_by_a_part_of_it(self) -> None:
        self.assertContains(self.find("record"), "Record 1")

    def test_what_is_known_of_an_unlinked_record_is_told(self) -> None:
        for title in ("A", "B"):
            self.pair.right.add(title=title, ref="R9")
        lonely = self.pair.left.add(title="C", ref="R9")
        self.pair.quiet()
        self.assertContains(self.find(lonely), "A question is open: Which one?")
        ChangedRecord.objects.create(mapping=self.pair.mapping, side="left", external_id="L77", error="Too odd.")
        self.assertContains(self.find("L77"), "The last look failed: Too odd.")

    def waiting(self, **more: Any) -> ChangedRecord:
        known = {"mapping": self.pair.mapping, "side": "left", "external_id": "L77"}
        return ChangedRecord.objects.create(**known, **more)

    def assert_waits(self, reason: str) -> None:
        self.assertContains(self.find("L77"), f"A change of it waits in Pair. {reason}")

    def test_why_a_change_of_an_unlinked_record_waits(self) -> None:
        self.waiting()
        self.assert_waits("It was noticed and is looked at next.")
        self.pair.publish(schedule={"kind": "manual"})
        self.assert_waits("It waits for a run: Pair runs only by hand.")
        Connection.objects.filter(name="Right").update(state="sign_in")
        self.assert_waits("Nothing moves: Right needs a person (sign in again).")
        MappingState.objects.update(halt="brake", halt_reason={"code": "brake", "params": {"limit": 20}})
        self.assert_waits("A brake halted the mapping.")
        self.pair.mapping.state = "paused"
        self.pair.mapping.save()
        self.assert_waits("Nothing moves: Pair is paused until somebody resumes it.")

    def test_a_new_record_waits_while_a_version_has_its_side_listed(self) -> None:
        self.waiting()
        Cursor.objects.update_or_create(mapping=self.pair.mapping, side="right", defaults={"to_note": True})
        self.assert_waits("The records of Pair are listed once for its newest version.")

    def test_a_failing_look_at_an_unlinked_record_says_when_it_is_tried_next_and_leads_to_the_cause(self) -> None:
        self.waiting(attempts=3, error="Too odd.", fingerprint="abc", failing_since=timezone.now())
        self.assert_waits("The last look failed: Too odd.")
        page = self.find("L77")
        self.assertContains(page, "Tried 3 times, the next try is at")
        self.assertContains(page, reverse("failure-group", args=["abc"]))

    def test_a_field_that_changed_keeps_what_is_new_waiting(self) -> None:
        self.waiting()
        one = Conflict.objects.create(
            mapping=self.pair.mapping,
            kind="schema",
            subject="create:right",
            code="newly_required",
            params={"stops": "creates", "system": "Right", "side": "right", "field": "Body"},
        )
        self.assert_waits("New records in Right wait.")
        self.assertContains(self.find("L77"), reverse("conflict", args=[one.pk]))

    def test_a_record_that_is_known_before_the_first_run_waits_for_its_approval(self) -> None:
        key = {"side": "left", "external_id": "L77", "alternative": 0, "digest": "d", "label": "SUP-77"}
        MatchKey.objects.create(mapping=self.pair.mapping, **key)
        self.assertContains(self.find("L77"), "SUP-77 is known and not linked: nothing fits it")
        MappingState.objects.update(halt="approval", approved_at=None)
        self.assertContains(
            self.find("L77"), "SUP-77 is known in Pair and not linked yet. The first run waits for approval."
        )

    def test_nothing_known_says_where_it_was_looked_for(self) -> None:
        response = self.find("SUP-9999")
        self.assertContains(response, "We do not know “SUP-9999”")
        self.assertContains(response, "Looked at: Pair")

    def test_an_empty_search_is_the_list(self) -> None:
        self.assertRedirects(self.find("  "), reverse("records"))


class Answer(RecordCase):
    """The first line says whether both sides agree, else the first reason why not."""

    def test_both_sides_agree(self) -> None:
        self.assertEqual(self.answer(), f"Both sides agree on all {len(RULES)} fields")

    def test_a_conflict_waits_for_a_person(self) -> None:
        one = self.conflict(2)
        page = self.html(reverse("record", args=[one.link_id]))
        self.assertIn("Body waits for a decision", page)
        self.assertIn(reverse("conflict", args=[one.pk]), page)

    def test_a_refused_value_names_the_refusal(self) -> None:
        Conflict.objects.create(
            mapping=self.pair.mapping,
            link=self.link,
            rule_id="title",
            kind="refused",
            code="refused",
            field_label="Title",
            params={"system": "Right", "message": "too long"},
        )
        self.assertIn("Right refused the value: too long", self.html(self.at))

    def test_agreed_differences_are_counted(self) -> None:
        Link.objects.update(agreed_differences={"body": True})
        self.assertEqual(self.answer(), f"1 field may differ by agreement, the other {len(RULES) - 1} agree")

    def test_states_of_the_pair(self) -> None:
        cases = {
            "held": "This pair is held",
            "unlinked": "This pair is unlinked on purpose",
            "deleted": "Deleted in one system",
            "creating": "Its twin in Right is being created",
        }
        for state, words in cases.items():
            with self.subTest(state=state):
                Link.objects.update(state=state)
                self.assertIn(words, self.answer())

    def test_a_deletion_names_the_systems_in_which_it_happened(self) -> None:
        Link.objects.update(state="deleted", deleted_left=True)
        self.assertEqual(self.answer(), "Deleted in Left")
        Link.objects.update(deleted_left=False, deleted_right=True)
        self.assertEqual(self.answer(), "Deleted in Right")
        Link.objects.update(deleted_left=True)
        self.assertEqual(self.answer(), "Deleted in Left and Right")
        Link.objects.update(deleted_right=False, parked={"": {"code": "returned_as_another", "params": {}}})
        self.assertEqual(self.answer(), "Deleted in Left; its id is back with other match keys")
        Link.objects.update(parked={"": {"code": "returned_untold", "params": {}}})
        self.assertEqual(
            self.answer(), "Deleted in Left; its id is back, and nothing tells whether it is the same thing"
        )

    def test_what_was_only_not_found_is_not_said_to_be_deleted(self) -> None:
        Link.objects.update(state="deleted", deleted_left=True, may_return=True)
        self.assertEqual(self.answer(), "Counted as deleted in Left, where it was not found twice")
        self.assertIn("synced again within an hour of being shown", self.html(self.at))
        Link.objects.update(state="unlinked")
        self.assertEqual(
            self.answer(), "Counted as deleted in Left, where it was not found twice; the pair is unlinked"
        )

    def test_a_twin_that_lives_on_is_not_said_to_be_deleted(self) -> None:
        cases = {
            "ignore": "Deleted in Right",
            "unlink": "Deleted in Right; the pair is unlinked",
            "delete": "Deleted in Left and Right",
        }
        for number, (policy, words) in enumerate(cases.items(), 2):
            with self.subTest(policy=policy):
                _, right, link = self.linked(number)
                self.pair.publish(right={**document(self.pair)["right"], "on_delete": policy})
                self.pair.right.remove(right)
                self.pair.quiet()
                self.at = reverse("record", args=[link.pk])
                self.assertEqual(self.answer(), words)

    def test_a_paused_mapping_a_brake_and_a_missing_approval(self) -> None:
        MappingState.objects.update(halt="brake", halt_reason={"code": "brake", "params": {"limit": 20}})
        self.assertEqual(self.answer(), "A brake halted the mapping")
        MappingState.objects.update(halt="approval", halt_reason={})
        self.assertEqual(self.answer(), "The first run waits for approval")
        self.pair.mapping.state = "paused"
        self.pair.mapping.save()
        self.assertEqual(self.answer(), "Nothing moves: Pair is paused until somebody resumes it")

    def test_trouble_with_a_connection_says_what_it_means(self) -> None:
        Connection.objects.filter(name="Right").update(state="sign_in", state_reason="The password expired.")
        self.assertIn("Nothing moves: Right needs a person (sign in again)", self.answer())
        self.assertIn("The password expired. Changes wait; nothing is lost.", self.html(self.at))
        later = timezone.now() + timedelta(minutes=5)
        Connection.objects.filter(name="Right").update(state="ok", retry_after=later)
        self.assertIn("Right asked us to wait, until", self.answer())

    def test_a_record_out_of_scope_says_how_it_returns(self) -> None:
        Link.objects.update(out_of_scope="left")
        self.assertIn("the scope of the mapping leaves it out in Left", self.answer())

    def test_a_row_that_a_database_shows_no_longer_says_that_it_may_be_deleted(self) -> None:
        Link.objects.update(out_of_scope="left")
        Connection.objects.filter(name="Left").update(kind="postgresql")
        self.assertIn("or a view or the row security of the database, leaves it out in PostgreSQL", self.answer())
        self.assertIn("One that is not shown may have been deleted", self.html(self.at))

    def test_a_failed_look_names_the_next_try(self) -> None:
        ChangedRecord.objects.create(
            mapping=self.pair.mapping, side="left", external_id=self.left, attempts=3, error="No route."
        )
        page = self.html(self.at)
        self.assertIn("The last look failed: No route", page)
        self.assertIn("Tried 3 times, the next try is at", page)

    def test_a_waiting_change_is_on_its_way(self) -> None:
        ChangedRecord.objects.create(mapping=self.pair.mapping, side="left", external_id=self.left)
        self.assertEqual(self.answer(), "A change is on its way")

    def test_a_field_that_the_last_read_did_not_show_is_named_while_its_edit_waits(self) -> None:
        Link.objects.update(pending_edits={"right": {"body": {"unread_since": 1.0}}})
        waits = ChangedRecord.objects.create(
            mapping=self.pair.mapping,
            side="left",
            external_id=self.left,
            not_before=timezone.now() + timedelta(minutes=15),
        )
        self.assertEqual(self.answer(), "Body cannot be read in Right at the moment")
        self.assertIn("What was edited waits and nothing is emptied", self.html(self.at))
        Link.objects.update(pending_edits={"right": {rule: {"unread_since": 1.0} for rule in ("title", "body")}})
        self.assertEqual(self.answer(), "2 fields cannot be read in Right at the moment")
        ChangedRecord.objects.filter(pk=waits.pk).update(not_before=timezone.now())
        self.assertEqual(self.answer(), "A change is on its way", "it is looked at now")
        ChangedRecord.objects.all().delete()
        self.assertNotIn("cannot be read", self.html(self.at))

    def test_a_write_that_gave_up_or_was_not_answered_is_told(self) -> None:
        values = {"mapping": self.pair.mapping, "version": self.pair.mapping.published, "link": self.link}
        one = Operation.objects.create(
            **values,
            side="right",
            kind="update",
            state="dead",
            finished_at=timezone.now(),
            failing_since=timezone.now(),
            result={"code": "gave_up", "params": {"system": "Right", "message": "busy"}},
        )
        self.assertEqual(self.answer(), "The last write gave up")
        Operation.objects.filter(pk=one.pk).update(state="uncertain", finished_at=None)
        self.assertEqual(self.answer(), "The last write was not answered")


class TwinBeingMade(RecordCase):
    """A pair whose twin is not there yet: its page names what keeps it, and "being created" only where nothing does."""

    def setUp(self) -> None:
        super().setUp()
        Link.objects.filter(pk=self.link.pk).update(state="creating", right_id=None, right_bases={})

    def create(self, **more: Any) -> Operation:
        values = {"mapping": self.pair.mapping, "version": self.pair.mapping.published, "link": self.link}
        return Operation.objects.create(**values, side="right", kind="create", **more)

    def test_nothing_keeps_it(self) -> None:
        self.create(state="sending")
        self.assertEqual(self.answer(), "Its twin in Right is being created")

    def test_a_pause_a_brake_and_trouble_with_a_connection_come_first(self) -> None:
        Connection.objects.filter(name="Right").update(state="sign_in")
        self.assertIn("Nothing moves: Right needs a person", self.answer())
        MappingState.objects.update(halt="brake", halt_reason={"code": "brake", "params": {"limit": 20}})
        self.assertEqual(self.answer(), "A brake halted the mapping")
        self.pair.mapping.state = "paused"
        self.pair.mapping.save()
        self.assertEqual(self.answer(), "Nothing moves: Pair is paused until somebody resumes it")

    def test_a_record_that_left_the_scope_gets_no_twin(self) -> None:
        Link.objects.update(out_of_scope="left")
        page = self.html(self.at)
        self.assertIn("the scope of the mapping leaves it out in Left", page)
        self.assertIn("Its twin is not made.", page)

    def test_a_create_that_failed_says_what_the_system_said_and_when_it_is_tried_next(self) -> None:
        told = {"code": "retry", "params": {"system": "Right", "message": "No room."}}
        one = self.create(state="superseded", finished_at=timezone.now(), result=told)
        hint = {"mapping": self.pair.mapping, "side": "left", "external_id": self.left}
        ChangedRecord.objects.create(**hint, attempts=1, error="No room.")
        self.assertEqual(self.answer(), "The last create failed")
        now = timezone.now()
        Operation.objects.filter(pk=one.pk).update(
            state="dead", failing_since=now, result={**told, "code": "gave_up"}, fingerprint="abc"
        )
        ChangedRecord.objects.update(attempts=11)
        page = self.html(self.at)
        for words in ("The last create gave up", "Right kept failing: No room.", "Tried 11 times, the next try is at"):
            self.assertIn(words, page)
        self.assertIn(reverse("failure-group", args=["abc"]), page)

    def test_a_create_that_was_not_answered_is_looked_up(self) -> None:
        self.create(state="uncertain")
        self.assertEqual(self.answer(), "The last write was not answered")

    def test_a_field_that_waits_keeps_no_twin(self) -> None:
        Conflict.objects.create(
            mapping=self.pair.mapping, link=self.link, rule_id="title", kind="refused", code="refused"
        )
        self.assertEqual(self.answer(), "Its twin in Right is being created")

    def test_between_two_runs_it_waits_for_the_next_one(self) -> None:
        self.pair.publish(schedule={"kind": "manual"})
        self.assertEqual(self.answer(), "Its twin in Right is not made yet: Pair runs only by hand")


class CreateThatFails(RecordCase):
    def test_the_page_of_a_twin_that_cannot_be_made_says_what_the_system_said(self) -> None:
        def full(verb: str, ids: object) -> None:
            if verb == "create":
                raise Retry("No room.", after=0)

        self.pair.right.before = full
        left = self.pair.left.add(title="Lonely", ref="R77")
        for tries, words in ((1, "failed"), (2, "failed"), (3, "keeps failing"), (11, "gave up")):
            with self.subTest(tries=tries):
                while Operation.objects.filter(kind="create").count() < tries:
                    ChangedRecord.objects.update(not_before=timezone.now())
                    self.pair.run()
                self.at = reverse("record", args=[Link.objects.get(left_id=left).pk])
                self.assertEqual(self.answer(), f"The last create {words}")
                page = self.html(self.at)
                self.assertIn("No room.", page)
                self.assertIn("the next try is at", page)


class Schedules(RecordCase):
    """Between the runs of a mapping that does not run live, what was noticed waits for the next one."""

    def waiting(self, plan: dict[str, Any], **more: Any) -> None:
        self.pair.publish(schedule=plan)
        ChangedRecord.objects.create(mapping=self.pair.mapping, side="left", external_id=self.left, **more)

    def test_a_mapping_run_by_hand_says_so(self) -> None:
        self.waiting({"kind": "manual"})
        self.assertEqual(self.answer(), "A change waits: Pair runs only by hand")
        MappingState.objects.update(turn_at=timezone.now())
        self.assertEqual(self.answer(), "A change is on its way")

    def test_a_schedule_says_when_it_runs_next(self) -> None:
        self.waiting({"kind": "every", "minutes": 30})
        soon = timezone.now() + timedelta(days=1)
        MappingState.objects.update(next_turn_at=soon)
        when = f"{timezone.localtime(soon):%a %-d %b, %H:%M}"
        self.assertEqual(self.answer(), f"A change waits: Pair runs every 30 minutes, next {when}")

    def test_a_failed_look_is_tried_with_the_next_run(self) -> None:
        self.waiting({"kind": "manual"}, attempts=2, error="No route.")
        page = self.html(self.at)
        self.assertIn("The last look failed: No route", page)
        self.assertIn("Tried 2 times, the next try comes with the next run: Pair runs only by hand.", page)

    def test_what_agrees_waits_for_nothing(self) -> None:
        self.pair.publish(schedule={"kind": "manual"})
        self.assertEqual(self.answer(), f"Both sides agree on all {len(RULES)} fields")
        ran = MappingState.objects.get().last_run_at
        said = f"This was so at the last run, {timezone.localtime(ran):%H:%M}: Pair runs only by hand."
        self.assertIn(said, self.html(self.at))


class Drift(RecordCase):
    """After a change of a value map two values may differ that nobody edited: the page and the list know it."""

    def other_map(self) -> None:
        entries = [{"left": "High", "right": "P2"}, {"left": "Low", "right": "P1"}]
        self.pair.publish(rules=[{**one, "entries": entries} if one["id"] == "prio" else one for one in RULES])
        self.pair.quiet()

    def listed(self) -> bool:
        return "Differed when last compared" in self.html(reverse("records") + "?state=differs")

    def test_what_a_changed_value_map_leaves_behind_is_told_as_a_verification_tells_it(self) -> None:
        self.other_map()
        self.pair.left.calls.clear()
        self.assertEqual(self.answer(), "Status differs, although nobody edited it since both sides agreed")
        self.assertEqual(self.pair.left.calls, [])
        self.assertIn("Differs", self.html(reverse("record-now", args=[self.link.pk])))
        self.assertEqual(verified(self.pair).counts["drift"], 1)
        Link.objects.update(agreed_differences={"prio": True})
        self.assertIn("1 field may differ by agreement", self.answer())

    def test_several_fields_are_counted(self) -> None:
        self.link.right_bases |= {"body": "other", "title": "other"}
        self.link.save()
        self.assertEqual(self.answer(), "2 fields differ, although nobody edited them since both sides agreed")

    def test_a_change_on_its_way_comes_first(self) -> None:
        self.other_map()
        ChangedRecord.objects.create(mapping=self.pair.mapping, side="left", external_id=self.left)
        self.assertEqual(self.answer(), "A change is on its way")

    def test_a_field_without_a_base_was_never_agreed_on(self) -> None:
        del self.link.right_bases["body"]
        self.link.save()
        self.assertEqual(self.answer(), "Body was never agreed on")

    def test_a_value_that_cannot_be_compared_breaks_no_page(self) -> None:
        with (
            mock.patch("sync.views._why.compare_bases", side_effect=TypeError),
            self.assertLogs("sync.views._why", "ERROR"),
        ):
            self.html(self.at)

    def test_the_list_finds_what_the_last_verification_found_until_it_is_written_or_compared_again(self) -> None:
        self.other_map()
        self.assertFalse(self.listed())
        verified(self.pair)
        self.assertTrue(self.listed())
        verified(self.pair, SAMPLE)
        self.assertTrue(self.listed())
        self.pair.left.edit(self.left, body="written")
        self.pair.quiet()
        self.assertFalse(self.listed())
        verified(self.pair)
        self.assertTrue(self.listed())
        self.pair.publish(rules=RULES)
        self.pair.quiet()
        verified(self.pair)
        self.assertFalse(self.listed())


class Page(RecordCase):
    def test_the_page_stays_within_its_queries_and_reads_no_system(self) -> None:
        for number in range(6):
            self.pair.left.edit(self.left, body=f"text {number}")
            self.pair.quiet()
        self.html(self.at)  # what every page keeps for some seconds is asked for
        self.pair.left.calls.clear()
        with CaptureQueriesContext(connection) as queries:
            self.html(self.at)
        self.assertLessEqual(len(queries), MOST_QUERIES)
        self.assertEqual(self.pair.left.calls, [])

    def test_both_sides_are_read_live_beside_the_last_agreed_value(self) -> None:
        self.pair.left.edit(self.left, body="fresh", by="ana")
        page = self.html(reverse("record-now", args=[self.link.pk]))
        for told in (
            "fresh",
            "On its way",
            "1 field differs at this moment",
            "by Ana",
            "https://left.example.com/L00001",
        ):
            self.assertIn(told, page)

    def test_a_side_that_does_not_answer_says_so_and_the_agreed_values_stay(self) -> None:
        def down(verb: str, ids: object) -> None:
            raise Retry("No route to host.")

        self.pair.right.before = down
        page = self.html(reverse("record-now", args=[self.link.pk]))
        self.assertIn("Right could not be read now", page)
        self.assertIn("No route to host", page)
        self.assertIn("Last agreed", page)

    def test_the_timeline_tells_what_was_written_and_offers_to_undo_the_newest(self) -> None:
        for text in ("first", "second"):
            self.pair.left.edit(self.left, body=text)
            self.pair.quiet()
        page = self.html(self.at)
        self.assertIn("<ins>second</ins>", page)
        self.assertIn("It was edited on the other side.", page)
        newest, older = Operation.objects.order_by("-pk")[:2]
        self.assertIn(reverse("write-undo", args=[newest.pk]), page)
        self.assertNotIn(reverse("write-undo", args=[older.pk]), page)


class Acts(RecordCase):
    def test_sync_now_looks_at_both_records_even_while_a_failed_look_waits(self) -> None:
        later = timezone.now() + timedelta(hours=1)
        ChangedRecord.objects.create(
            mapping=self.pair.mapping, side="left", external_id=self.left, attempts=4, not_before=later
        )
        self.assertContains(self.act("sync"), "Both records are looked at now")
        due = ChangedRecord.objects.filter(not_before__lte=timezone.now()).values_list("side", flat=True)
        self.assertEqual(set(due), {"left", "right"})

    def test_unlink_and_link_again_are_carried_out_and_audited(self) -> None:
        self.act("unlink")
        self.pair.quiet()
        self.link.refresh_from_db()
        self.assertEqual(self.link.state, "unlinked")
        self.assertEqual(AuditEntry.objects.get(action="unlink").actor, "reviewer")
        self.act("relink")
        self.pair.quiet()
        self.link.refresh_from_db()
        self.assertEqual(self.link.state, "active")
        self.assertEqual(AuditEntry.objects.get(action="relink").code, "relinked")

    def test_a_pair_that_is_back_from_a_deletion_is_linked_again(self) -> None:
        Link.objects.update(state="deleted", deleted_left=True)
        self.assertContains(self.act("relink"), "not in that state any more")
        Link.objects.update(parked={"": {"code": "returned_as_another", "params": {}}})
        self.assertContains(self.client.get(reverse("record", args=[self.link.pk])), "Link again")
        self.act("relink")
        self.pair.quiet()
        self.link.refresh_from_db()
        self.assertEqual((self.link.state, self.link.deleted_left), ("active", False))
        self.assertEqual(AuditEntry.objects.get(action="relink").code, "relinked")

    def test_a_held_pair_is_synced_again(self) -> None:
        Link.objects.update(state="held")
        self.assertContains(self.act("include"), "It is synced again")
        self.link.refresh_from_db()
        self.assertEqual(self.link.state, "active")

    def test_a_record_left_alone_is_matched_again(self) -> None:
        lone = Link.objects.create(mapping=self.pair.mapping, left_id="L9", state="unlinked")
        response = self.client.post(reverse("record-act", args=[lone.pk]), {"act": "match"})
        self.assertRedirects(response, reverse("records"))
        self.assertTrue(ChangedRecord.objects.filter(side="left", external_id="L9").exists())

    def test_what_does_not_fit_the_state_is_not_done(self) -> None:
        for name in ("include", "relink", "match", "nonsense", ""):
            with self.subTest(act=name):
                self.assertContains(self.act(name), "not in that state any more")
        self.assertFalse(Instruction.objects.exists())
