"""Runs: who may look and decide, what the pages say, and that they cost the same with many rows."""

from __future__ import annotations

from datetime import timedelta
from unittest.mock import patch

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from mappings.models import Mapping
from sync.models import Allowance, AuditEntry, ChangedRecord, Link, MappingState, Operation, Run
from sync.tests.page_cases import PagesCase

READ = {"admin", "operator", "auditor"}
OPERATE = {"admin", "operator"}
PREVIEW = {
    "matched": 1200,
    "ambiguous": 3,
    "create": {"left": 5, "right": 40},
    "listed": {"left": 1240, "right": 1205},
    "differences": [
        {"rule": "prio", "label": "Priority", "equal": 1100, "write_left": 7, "write_right": 81, "review": 12}
    ],
    "samples": {"cannot_create": ["SUP-9"]},
}


class AccessTests(PagesCase):
    def test_who_sees_the_list_and_a_run(self) -> None:
        run = self.make_run()
        for url in (reverse("runs"), reverse("run", args=[run.pk])):
            self.assert_access(url, READ)

    def test_who_sees_the_live_part(self) -> None:
        run = self.make_run(state="running", finished_at=None)
        self.assert_access(reverse("run-progress", args=[run.pk]), READ)

    def test_who_starts_approves_releases_and_holds(self) -> None:
        run = self.make_run()
        self.assert_access(reverse("run-start", args=[self.mapping.slug]), OPERATE, "post")
        for name in ("run-approve", "run-release", "run-hold", "run-list-again"):
            self.assert_access(reverse(name, args=[run.pk]), OPERATE, "post")

    def test_a_reader_gets_no_button_that_writes(self) -> None:
        run = self.braked_run()
        self.as_("auditor")
        html = self.html(reverse("runs")) + self.html(reverse("run", args=[run.pk]))
        for url in (reverse("run-start", args=[self.mapping.slug]), reverse("run-hold", args=[run.pk])):
            self.assertNotIn(url, html)
        self.assertIn("An admin or an operator decides", html)

    def test_a_role_on_one_mapping_reaches_that_one_alone(self) -> None:
        other = self.make_mapping("Other")
        mine, theirs = self.make_run(), self.make_run(other)
        self.give_stranger("operator", self.mapping)
        self.as_("stranger")
        html = self.html(reverse("runs"))
        self.assertIn(reverse("run", args=[mine.pk]), html)
        self.assertNotIn(reverse("run", args=[theirs.pk]), html)
        self.assertNotIn("Other", html)
        self.html(reverse("run", args=[theirs.pk]), 404)
        self.assertEqual(self.client.post(reverse("run-start", args=["other"])).status_code, 404)

    def test_a_reviewer_elsewhere_does_not_read_runs_there(self) -> None:
        other = self.make_mapping("Other")
        theirs = self.make_run(other)
        self.give_stranger("operator", self.mapping)
        self.give_stranger("reviewer", other)
        self.as_("stranger")
        self.assertNotIn("Other", self.html(reverse("runs")))
        self.html(reverse("run", args=[theirs.pk]), 403)

    def test_deeds_are_not_done_by_looking(self) -> None:
        run = self.make_run()
        urls = [reverse("run-start", args=["support"])]
        urls += [reverse(name, args=[run.pk]) for name in ("run-approve", "run-release", "run-hold", "run-list-again")]
        for url in urls:
            self.html(url, 405)


class ListTests(PagesCase):
    def test_filters_stand_in_the_address_and_can_be_taken_off(self) -> None:
        failed = self.make_run(state="failed")
        done = self.make_run(kind="poll")
        html = self.html(reverse("runs") + "?state=failed")
        self.assertIn(reverse("run", args=[failed.pk]), html)
        self.assertNotIn(reverse("run", args=[done.pk]), html)
        self.assertIn("Remove State: Failed", html)

    def test_an_empty_list_names_the_filters_that_hide_everything(self) -> None:
        self.make_run()
        html = self.html(reverse("runs") + "?state=lost&kind=poll")
        self.assertIn("Remove “State: Taken over”", html)
        self.assertIn("Remove “Kind: Poll”", html)

    def test_an_address_with_empty_parts_is_made_short(self) -> None:
        response = self.client.get(reverse("runs") + "?mapping=&kind=&state=failed")
        self.assertRedirects(response, "/runs/?state=failed", fetch_redirect_response=False)

    def test_what_halts_a_mapping_stands_on_top_with_the_way_on(self) -> None:
        run = self.braked_run()
        html = self.html(reverse("runs"))
        self.assertIn("1 mapping waits for a person", html)
        self.assertIn("would make 30 writes that delete records or empty fields on the right", html)
        self.assertIn(f'href="{reverse("run", args=[run.pk])}">Look and decide', html)

    def test_a_failing_connection_is_named_with_its_page(self) -> None:
        self.jira.state = "sign_in"
        self.jira.save()
        reason = {"code": "connection_unusable", "params": {"connection": "Jira", "reason": "401."}}
        MappingState.objects.update(halt="connection", halt_reason=reason)
        html = self.html(reverse("runs"))
        self.assertIn("Support: Jira cannot be used: 401", html)
        self.assertIn(reverse("connection", args=[self.jira.pk]), html)

    def test_the_page_costs_the_same_with_many_runs(self) -> None:
        for _ in range(60):
            self.make_run(counts={"updated": 2})
        with CaptureQueriesContext(
            connection,
        ) as queries:
            html = self.html(reverse("runs"))
        self.assertLessEqual(len(queries), 15)
        self.assertIn("?after=", html)
        self.assertNotIn(
            "COUNT(", " ".join(q["sql"] for q in queries if "sync_run" in q["sql"] and "running" not in q["sql"])
        )

    def test_writes_that_gave_up_are_listed_whatever_their_run(self) -> None:
        run = self.make_run()
        gave_up = {"state": "dead", "result": {"code": "gave_up", "params": {"system": "Org", "message": "503"}}}
        self.make_operation(run, "SUP-7", failing_since=timezone.now(), **gave_up)
        self.make_operation(run, "SUP-8", **gave_up)
        html = self.html(reverse("runs"))
        self.assertIn("SUP-7 = C1", html)
        self.assertIn("Org kept failing: 503. It is listed", html)
        self.assertNotIn("SUP-8", html, "a later write of it arrived")


class StartTests(PagesCase):
    def test_run_now_makes_the_lists_due_rings_and_leaves_a_line(self) -> None:
        with patch("sync.jobs.enqueue") as rung, self.captureOnCommitCallbacks(execute=True):
            self.client.post(reverse("run-start", args=["support"]))
        rung.assert_called_once_with("bulk", "sync.jobs.run_mapping", self.mapping.pk, "bulk")
        self.assertIsNone(MappingState.objects.get().next_poll_at)
        line = AuditEntry.objects.get(action="start")
        self.assertEqual((line.actor, line.mapping_id), ("admin", self.mapping.pk))

    def test_a_paused_or_halted_mapping_is_not_started(self) -> None:
        self.braked_run()
        for change in ({"state": "paused"}, {"state": "active"}):
            with self.subTest(change), patch("sync.jobs.enqueue") as rung:
                type(self.mapping).objects.update(**change)
                with self.captureOnCommitCallbacks(execute=True):
                    response = self.client.post(reverse("run-start", args=["support"]), follow=True)
                rung.assert_not_called()
                self.assertContains(response, "Nothing was read or written")


class RunTests(PagesCase):
    def test_a_running_run_is_asked_for_again_and_a_finished_one_stops_that(self) -> None:
        run = self.make_run(state="running", finished_at=None, phase="write", total=100, done=40)
        url = reverse("run-progress", args=[run.pk])
        self.assertIn(f'hx-get="{url}"', self.html(reverse("run", args=[run.pk])))
        self.assertIn("40 of 100", self.html(url))
        Run.objects.update(state="done", finished_at=timezone.now())
        response = self.client.get(url)
        self.assertEqual(response.status_code, 286)
        self.assertEqual(response["HX-Refresh"], "true")
        self.assertNotIn("hx-get", response.content.decode())
        self.assertNotIn("hx-get", self.html(reverse("run", args=[run.pk])).split("</header>")[-1])

    def test_waiting_is_told_with_its_end_and_is_no_trouble(self) -> None:
        until = timezone.now() + timedelta(minutes=5)
        run = self.make_run(waiting_until=until, waiting_for="Org")
        html = self.html(reverse("run", args=[run.pk]))
        self.assertIn(f"Waiting for Org until {timezone.localtime(until):%H:%M:%S}", html)
        Run.objects.update(state="running", finished_at=None, started_at=timezone.now() - timedelta(minutes=1), done=9)
        self.assertNotIn("a second", self.html(reverse("run", args=[run.pk])), "a pace before a wait foretells nothing")
        Run.objects.update(waiting_until=timezone.now() - timedelta(seconds=1))
        self.assertNotIn("Waiting for Org", self.html(reverse("run", args=[run.pk])))

    def test_calls_and_counts_are_told_per_side(self) -> None:
        run = self.make_run(calls={"left": {"read": 12}, "right": {"write": 3}}, counts={"updated": 3, "linked": 0})
        html = self.html(reverse("run", args=[run.pk]))
        self.assertIn("12 read", html)
        self.assertIn("3 write", html)
        self.assertIn("<b>3</b>written", html)
        self.assertNotIn("linked", html.split("This run")[0].split("counts")[1])

    def test_what_gave_up_or_was_refused_stands_first_with_its_reason(self) -> None:
        run = self.make_run()
        params = {"system": "Org", "message": "too long"}
        refused = self.make_operation(run, "SUP-1", state="refused", result={"code": "refused", "params": params})
        self.make_operation(run, "SUP-2")
        html = self.html(reverse("run", args=[run.pk]))
        self.assertLess(html.index("SUP-1 = C1"), html.index("SUP-2 = C1"))
        self.assertIn("Org refused the value: too long", html)
        self.assertIn("Case priority", html)
        self.assertIn("<del>P3</del> <ins>P1</ins>", html)
        only = self.html(reverse("run", args=[run.pk]) + "?outcome=refused")
        self.assertIn(str(refused.link), only)
        self.assertNotIn("SUP-2", only)

    def test_a_write_in_any_state_has_its_badge_and_can_be_chosen(self) -> None:
        run = self.make_run()
        for number, (state, _) in enumerate(Operation.State.choices):
            with self.subTest(state):
                one = self.make_operation(run, f"ANY-{number}", state=state)
                html = self.html(reverse("run", args=[run.pk]) + f"?outcome={state}")
                self.assertIn(str(one.link), html)

    def test_an_outcome_that_hides_every_write_is_named(self) -> None:
        run = self.make_run()
        self.make_operation(run)
        self.assertIn("Remove “Outcome: Gave up”", self.html(reverse("run", args=[run.pk]) + "?outcome=dead"))

    def test_a_failure_is_told_in_three_parts(self) -> None:
        run = self.make_run(state="failed", error={"code": "failed", "params": {"message": "Org: 503."}})
        html = self.html(reverse("run", args=[run.pk]))
        for part in ("The run stopped: Org: 503", "Nothing was lost", "tried again by itself"):
            self.assertIn(part, html)

    def test_the_page_costs_the_same_with_many_writes(self) -> None:
        run = self.make_run()
        for number in range(60):
            self.make_operation(run, f"SUP-{number}", state="dead" if number % 3 == 0 else "confirmed")
        with CaptureQueriesContext(connection) as queries:
            self.html(reverse("run", args=[run.pk]))
        self.assertLessEqual(len(queries), 15)


class ApprovalTests(PagesCase):
    def setUp(self) -> None:
        super().setUp()
        MappingState.objects.update(approved_at=None)
        self.first = self.make_run(kind="first", state="approval", preview=PREVIEW)
        self.halt(self.first, "approval")

    def test_the_preview_says_what_would_happen_and_that_nothing_was_written(self) -> None:
        html = self.html(reverse("run", args=[self.first.pk]))
        for part in ("Nothing was written", "<b>1,200</b>matched pairs", "<b>40</b>to create in Org", "SUP-9", "1,100"):
            self.assertIn(part, html)

    def test_approving_lets_the_writing_begin_and_leaves_a_line(self) -> None:
        with patch("sync.jobs.enqueue"):
            response = self.client.post(reverse("run-approve", args=[self.first.pk]), follow=True)
        self.assertContains(response, "You approved the first run of Support.")
        state = MappingState.objects.get()
        self.assertEqual((state.halt, state.approved_by), ("", "admin"))
        self.assertEqual(AuditEntry.objects.get(action="approve").run_id, self.first.pk)

    def test_an_approval_during_a_pause_does_not_say_that_writing_begins_now(self) -> None:
        Mapping.objects.update(state="paused")
        response = self.client.post(reverse("run-approve", args=[self.first.pk]), follow=True)
        self.assertContains(response, "Writing begins, but not yet: Support is paused")

    def test_approving_twice_says_that_nothing_waits(self) -> None:
        url = reverse("run-approve", args=[self.first.pk])
        self.client.post(url)
        self.assertContains(self.client.post(url, follow=True), "Nothing was done")
        self.assertEqual(AuditEntry.objects.filter(action="approve").count(), 1)

    def test_an_older_run_cannot_be_approved_in_place_of_the_one_that_waits(self) -> None:
        older = self.make_run(kind="first", state="lost", preview=PREVIEW)
        self.assertContains(
            self.client.post(reverse("run-approve", args=[older.pk]), follow=True), "does not wait for approval"
        )
        self.assertIsNone(MappingState.objects.get().approved_at)


class BrakeTests(PagesCase):
    def test_the_page_says_what_was_stopped_with_numbers_sample_and_cause(self) -> None:
        run = self.braked_run()
        waits = self.make_operation(run).link
        ChangedRecord.objects.create(mapping=self.mapping, side="left", external_id=waits.left_id)
        html = self.html(reverse("run", args=[run.pk]))
        for part in ("delete or empty 30 records in Org", "SUP-2 = C2", "<b>30</b>", ">20<", "Likely cause:"):
            self.assertIn(part, html)
        self.assertLess(
            html.index("Hold the records"), html.index("Release that many"), "the safest choice stands first"
        )

    def test_a_version_published_just_before_is_named_as_a_likely_cause(self) -> None:
        self.mapping.versions.update(published_at=timezone.now() - timedelta(minutes=3))
        self.assertIn("version 1 of the mapping was published", self.html(reverse("run", args=[self.braked_run().pk])))

    def test_releasing_takes_a_number_and_a_reason(self) -> None:
        run = self.braked_run()
        url = reverse("run-release", args=[run.pk])
        for data in (
            {"number": "30"},
            {"reason": "checked"},
            {"number": "42", "reason": "more than wait"},
            {"number": "-1", "reason": "x"},
        ):
            with self.subTest(data):
                self.assertContains(self.client.post(url, data, follow=True), "Nothing was released")
                self.assertEqual(MappingState.objects.get().halt, "brake")
        self.assertFalse(Allowance.objects.exists())

    def test_a_release_allows_that_many_and_leaves_a_line(self) -> None:
        run = self.braked_run()
        with patch("sync.jobs.enqueue"):
            self.client.post(reverse("run-release", args=[run.pk]), {"number": "30", "reason": "we cleaned up"})
        allowance = Allowance.objects.get()
        self.assertEqual((allowance.number, allowance.kind, allowance.side), (30, "delete", "right"))
        self.assertEqual(AuditEntry.objects.get(action="release").params["reason"], "we cleaned up")
        self.assertEqual(MappingState.objects.get().halt, "")

    def test_holding_takes_the_waiting_records_out_with_a_reason(self) -> None:
        run = self.braked_run()
        link = self.make_operation(run).link
        ChangedRecord.objects.create(mapping=self.mapping, side="left", external_id=link.left_id)
        url = reverse("run-hold", args=[run.pk])
        with patch("sync.jobs.enqueue"):
            self.assertContains(self.client.post(url, {"reason": " "}, follow=True), "Holding takes a reason")
            self.assertEqual((Link.objects.get().state, MappingState.objects.get().halt), ("active", "brake"))
            response = self.client.post(url, {"reason": "not meant"}, follow=True)
        self.assertContains(response, "1 record is held")
        self.assertEqual(Link.objects.get().state, "held")
        self.assertEqual(
            set(AuditEntry.objects.filter(action="hold").values_list("params__reason", flat=True)), {"not meant"}
        )

    def test_a_decision_about_a_run_that_no_longer_waits_does_nothing(self) -> None:
        run = self.braked_run()
        newer = self.make_run(state="halted")
        self.halt(newer, "brake", side="left", kind="update", planned=9, already=0, limit=5, waiting=9)
        for name in ("run-hold", "run-release"):
            data = {"number": "9", "reason": "late"}
            response = self.client.post(reverse(name, args=[run.pk]), data, follow=True)
            self.assertContains(response, "Nothing was done")
        self.assertEqual(MappingState.objects.get().halt, "brake")
        self.assertNotIn("Hold the records</button>", self.html(reverse("run", args=[run.pk])))
