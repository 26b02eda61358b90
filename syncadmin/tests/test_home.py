"""Home: the answer, what needs a person, the figures, and that it costs the same with many rows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from unittest.mock import patch

from django.db import connection
from django.test import SimpleTestCase
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from connections.models import Connection, RoleAssignment
from mappings.models import Mapping, MappingVersion
from sync.models import AuditEntry, ChangedRecord, Conflict, Link, MappingState, Operation, Run, Verification
from syncadmin import charts
from syncadmin.tests.cases import RolesCase


class HomeCase(RolesCase):
    def setUp(self) -> None:
        self.left = Connection.objects.create(name="Jira", kind="jira", address="https://jira.example", state="ok")
        self.right = Connection.objects.create(name="Org", kind="salesforce", address="https://org.example", state="ok")
        self.as_("admin")

    def make_mapping(self, name: str = "Support", **changes: Any) -> Mapping:
        values = {
            "left_connection": self.left,
            "left_object_type": "issue",
            "right_connection": self.right,
            "right_object_type": "Case",
            "state": "active",
        }
        mapping = Mapping.objects.create(name=name, slug=name.lower(), **{**values, **changes})
        MappingVersion.objects.create(mapping=mapping, number=1, document={})
        MappingState.objects.create(mapping=mapping)
        return mapping

    def write(self, mapping: Mapping, number: int = 1, seconds: float = 1.0, **changes: Any) -> None:
        """`number` confirmed operations decided a minute ago, each confirmed after `seconds`."""
        decided = timezone.now() - timedelta(minutes=1)
        for _ in range(number):
            link = Link.objects.create(mapping=mapping)
            values = {
                "side": "right",
                "kind": "update",
                "state": "confirmed",
                "decided_at": decided,
                "finished_at": decided + timedelta(seconds=seconds),
                **changes,
            }
            Operation.objects.create(mapping=mapping, version=mapping.versions.get(), link=link, **values)

    def conflict(self, mapping: Mapping, subject: str, **changes: Any) -> Conflict:
        return Conflict.objects.create(mapping=mapping, subject=subject, kind="field", code="both_changed", **changes)

    def page(self, query: str = "") -> str:
        response = self.client.get("/" + query)
        self.assertEqual(response.status_code, 200)
        return response.content.decode()


class AnswerTests(HomeCase):
    def test_the_first_line_says_that_nothing_needs_you(self) -> None:
        self.make_mapping()
        html = self.page()
        self.assertIn("<h1>Nothing needs you</h1>", html)
        self.assertIn("Support runs.", html)

    def test_what_needs_a_person_is_counted_and_stands_worst_first(self) -> None:
        halted = self.make_mapping("Halted")
        Run.objects.create(mapping=halted, version=halted.versions.get(), kind="poll", state="halted")
        params = {"kind": "clear", "planned": 1204, "side": "right", "already": 0, "limit": 200}
        MappingState.objects.filter(mapping=halted).update(
            halt="brake", halt_reason={"code": "brake", "params": params}, halted_at=timezone.now()
        )
        other = self.make_mapping("Other")
        self.conflict(other, "left:1", opened_at=timezone.now() - timedelta(hours=3, minutes=12))
        self.write(other, state="dead", failing_since=timezone.now())
        self.right.state = "sign_in"
        self.right.save()
        html = self.page()
        self.assertIn("<h1>4 things need you</h1>", html)
        places = [
            html.index(text)
            for text in ("Halted: a run was stopped", "accepts our sign-in", "keeps failing", "3 h 12 min")
        ]
        self.assertEqual(places, sorted(places))
        self.assertIn("1204", html)

    def test_a_first_run_that_waits_for_approval_is_named(self) -> None:
        mapping = self.make_mapping()
        MappingState.objects.filter(mapping=mapping).update(halt="approval", halted_at=timezone.now())
        self.assertIn("Waits for approval", self.page())

    def test_a_lag_comes_with_its_reason(self) -> None:
        mapping = self.make_mapping()
        self.write(mapping, seconds=48)
        Connection.objects.filter(pk=self.right.pk).update(retry_after=timezone.now() + timedelta(minutes=5))
        html = self.page()
        self.assertIn("Degraded", html)
        self.assertIn("Org asked us to slow down until", html)

    def test_a_system_that_does_not_answer_is_told_with_since_why_and_the_next_try(self) -> None:
        mapping = self.make_mapping()
        now = timezone.now()
        Connection.objects.filter(pk=self.right.pk).update(
            state="unreachable", state_reason="Org failed with status 503.", down_since=now, probe_at=now
        )
        ChangedRecord.objects.create(mapping=mapping, side="left", external_id="1")
        html = self.page()
        for text in ("Org does not answer since", "status 503", "1 change waits", "The next try is at"):
            self.assertIn(text, html)

    def test_changes_that_wait_are_told(self) -> None:
        mapping = self.make_mapping()
        for number in range(3):
            ChangedRecord.objects.create(mapping=mapping, side="left", external_id=str(number))
        self.assertIn("3 changes wait.", self.page())


class VisibilityTests(HomeCase):
    def test_a_reviewer_of_one_mapping_sees_and_counts_that_one_alone(self) -> None:
        mine, other = self.make_mapping("Mine"), self.make_mapping("Other")
        self.conflict(other, "left:1")
        self.write(other, number=7)
        mine.assignments.add(RoleAssignment.objects.create(user=self.stranger, role="reviewer", everywhere=False))
        self.as_("stranger")
        html = self.page()
        self.assertIn("Mine", html)
        self.assertNotIn("Other", html)
        self.assertIn("<h1>Nothing needs you</h1>", html)

    def test_the_audit_figure_is_for_those_who_may_read_it(self) -> None:
        self.make_mapping()
        AuditEntry.objects.create(action="login", code="login", salt="x", values_digest="x", number=41)
        self.assertIn("to number 41", self.page())
        self.as_("reviewer")
        self.assertNotIn("to number 41", self.page())


class FigureTests(HomeCase):
    def test_the_figures_are_those_of_the_chosen_time(self) -> None:
        mapping = self.make_mapping()
        self.write(mapping, number=4, seconds=2.0)
        self.write(mapping, number=3, decided_at=timezone.now() - timedelta(days=3), finished_at=timezone.now())
        response = self.client.get("/?range=1h")
        self.assertEqual(response.context["figures"]["carried"], 4)
        self.assertAlmostEqual(response.context["figures"]["p95"], 2.0, places=3)
        self.assertEqual(self.client.get("/?range=7d").context["figures"]["carried"], 7)

    def test_refused_writes_are_not_counted_as_carried(self) -> None:
        mapping = self.make_mapping()
        self.write(mapping)
        self.write(mapping, state="refused")
        figures = self.client.get("/").context["figures"]
        self.assertEqual((figures["carried"], figures["refused"]), (1, 1))

    def test_an_unknown_range_is_the_usual_one(self) -> None:
        self.make_mapping()
        self.assertEqual(self.client.get("/?range=99y").context["range"], "24h")

    def test_beyond_what_was_looked_at_the_number_says_at_least(self) -> None:
        self.write(self.make_mapping(), number=3)
        with patch("syncadmin.overview.MOST_OPERATIONS", 2):
            self.assertIn("at least", self.page())

    def verified(self, mapping: Mapping, drift: int = 0, missing: int = 0, state: str = "done") -> Verification:
        counts = {"pairs": 1200, "drift": drift, "missing": missing}
        return Verification.objects.create(
            mapping=mapping,
            version=mapping.versions.get(),
            kind="sample",
            state=state,
            counts=counts,
            finished_at=timezone.now() - timedelta(hours=3),
        )

    def test_a_tile_tells_what_the_newest_finished_verification_found(self) -> None:
        mapping = self.make_mapping()
        self.assertNotIn("Verified", self.page())
        self.verified(mapping, drift=7)
        done = self.verified(mapping, drift=2, missing=1)
        self.verified(mapping, state="stopped")
        html = self.page()
        self.assertIn("3 of 1,200 differ", html)
        self.assertIn(f'href="/verifications/{done.pk}/"', html)
        self.verified(mapping)
        self.assertIn("no drift in 1,200", self.page())

    def test_the_page_takes_the_same_queries_with_many_mappings_and_rows(self) -> None:
        first = self.make_mapping("First")
        self.write(first, number=2)
        self.verified(first)
        self.page()  # what every page keeps for some seconds is asked for
        with CaptureQueriesContext(connection) as few:
            self.page()
        for name in ("Second", "Third", "Fourth"):
            mapping = self.make_mapping(name)
            self.write(mapping, number=5)
            self.conflict(mapping, f"left:{name}")
            self.verified(mapping, drift=1)
        with self.assertNumQueries(len(few)):
            self.page()


class FirstStepsTests(HomeCase):
    def test_an_empty_installation_shows_four_steps_the_later_ones_closed(self) -> None:
        Connection.objects.all().delete()
        response = self.client.get("/")
        states = [step.state for step in response.context["steps"]]
        self.assertEqual(states, ["now", "closed", "closed", "closed"])
        self.assertContains(response, "Opens after step 3")
        self.assertContains(response, "/connections/add/")

    def test_the_steps_follow_what_is_done(self) -> None:
        self.assertEqual([s.state for s in self.client.get("/").context["steps"]], ["done", "done", "now", "closed"])
        self.make_mapping(state="draft")
        self.assertEqual([s.state for s in self.client.get("/").context["steps"]], ["done", "done", "done", "now"])

    def test_the_steps_end_with_the_first_published_mapping(self) -> None:
        self.make_mapping()
        self.assertEqual(self.client.get("/").context["steps"], [])

    def test_who_may_not_set_up_sees_the_steps_without_a_button(self) -> None:
        Connection.objects.all().delete()
        self.as_("auditor")
        html = self.page()
        self.assertIn("An admin does this.", html)
        self.assertNotIn("/connections/add/", html)


class QueuesPageTests(RolesCase):
    def test_without_redis_the_page_says_what_fails_and_that_nothing_is_lost(self) -> None:
        self.as_("operator")
        html = self.client.get("/queues/").content.decode()
        self.assertIn("3 of 4 parts fail", html)
        self.assertIn("Redis does not answer", html)


class ChartTests(SimpleTestCase):
    def test_tops_are_round_and_hold_the_highest_value(self) -> None:
        for highest, top in ((0.2, 1), (1, 1), (2.5, 3), (4, 5), (7, 10), (19, 20), (282, 300), (1001, 2000)):
            self.assertEqual(charts.nice_top(highest), top)

    def test_every_grid_line_stands_at_a_round_number(self) -> None:
        self.assertEqual([tick.label for tick in charts.ticks(200)], ["0", "50", "100", "150", "200"])
        self.assertEqual([tick.label for tick in charts.ticks(300)], ["0", "100", "200", "300"])
        self.assertEqual([tick.label for tick in charts.ticks(1)], ["0", "0.2", "0.4", "0.6", "0.8", "1"])
        self.assertEqual([tick.label for tick in charts.ticks(2000)], ["0", "500", "1,000", "1,500", "2,000"])

    def test_bars_stack_from_the_axis_and_stay_inside(self) -> None:
        (bar,) = charts.bars([1], [1], ["10:00"], 2.0)
        self.assertEqual(bar.first_y + bar.first_height, charts.BOTTOM)
        self.assertEqual(bar.second_y + bar.second_height, bar.first_y)
        self.assertEqual(bar.second_y, charts.TOP)

    def test_a_line_leaves_out_buckets_without_a_value(self) -> None:
        first, second = charts.lines([("a", [1.0, None, 3.0]), ("b", [None, None, 1.0]), ("c", [1.0])], 3.0)
        self.assertEqual((len(first.points.split()), first.dashed), (2, False))
        self.assertEqual((len(second.points.split()), second.dashed), (1, True))

    def test_percentiles_are_values_that_occur(self) -> None:
        self.assertIsNone(charts.percentile([], 0.95))
        self.assertEqual(charts.percentile([5.0], 0.95), 5.0)
        self.assertEqual(charts.percentile(list(range(1, 101)), 0.95), 95)
        self.assertEqual(charts.percentile([3, 1, 2], 0.5), 2)
