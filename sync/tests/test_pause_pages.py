"""Pause, resume and windows on the pages: who may, with what reason, and where it is told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from connections.models import Connection
from mappings.models import Mapping
from sync.models import AuditEntry, Run
from sync.simulation.setting import rule, side
from sync.tests.page_cases import PagesCase

WEEKLY = {
    "add": "weekly",
    "weekly-days": ["0", "4"],
    "weekly-begins": "22:00",
    "weekly-ends": "02:00",
    "weekly-zone": "Europe/Berlin",
    "weekly-note": "their backup",
}


def local(when: timedelta) -> str:
    return f"{timezone.localtime(timezone.now() + when):%Y-%m-%dT%H:%M}"


class PausePages(PagesCase):
    def setUp(self) -> None:
        super().setUp()
        rules = [rule("prio", "priority", "option")]
        sides = {"left": side(self.jira), "right": side(self.org)}
        self.mapping.published.document = {
            **sides,
            "match_keys": [],
            "initial": "fill_empty",
            "poll_seconds": 15,
            "brakes": {},
        }
        self.mapping.published.document["rules"] = rules
        self.mapping.published.save()

    def page(self, what: str = "pause", of: str = "mapping") -> str:
        return reverse(f"{of}-{what}", args=[self.mapping.slug if of == "mapping" else self.org.pk])

    def post(self, what: str, of: str = "mapping", **data: Any) -> str:
        return self.client.post(self.page(what, of), data, follow=True).content.decode()

    def test_who_may_look_and_who_may_change(self) -> None:
        for of in ("mapping", "connection"):
            self.assert_access(self.page("pause", of), allowed={"admin", "operator", "auditor"})
            for what, data in (("pause", {"reason": "closing"}), ("resume", {}), ("windows", WEEKLY)):
                self.assert_access(self.page(what, of), allowed={"admin", "operator"}, method="post", data=data)

    def test_an_operator_of_another_mapping_pauses_neither_this_one_nor_a_connection(self) -> None:
        self.give_stranger("operator", self.make_mapping("Other"))
        self.as_("stranger")
        self.assertEqual(self.client.post(self.page(), {"reason": "x"}).status_code, 404)
        self.assertEqual(self.client.post(self.page(of="connection"), {"reason": "x"}).status_code, 403)
        self.assertEqual(self.client.post(self.page("windows", "connection"), WEEKLY).status_code, 403)

    def test_an_auditor_sees_the_windows_and_no_button_that_writes(self) -> None:
        self.post("windows", **WEEKLY)
        self.as_("auditor")
        html = self.html(self.page())
        self.assertIn("Mon, Fri, 22:00 to 02:00 (Europe/Berlin)", html)
        for form in ("Remove", "Add a window", "Pause it now"):
            self.assertNotIn(form, html)

    def test_a_pause_needs_a_reason_and_an_end_that_is_to_come(self) -> None:
        for of, model in (("mapping", Mapping), ("connection", Connection)):
            self.assertIn("This field is required", self.post("pause", of))
            self.assertIn("This time is over", self.post("pause", of, reason="x", until=local(-timedelta(hours=1))))
            self.assertFalse(model.objects.filter(state="paused").exists())

    def test_a_pause_is_told_with_its_reason_wherever_somebody_wonders(self) -> None:
        run = self.make_run()
        link = self.make_operation(run).link
        self.post("pause", reason="month-end closing", until=local(timedelta(minutes=90)))
        self.mapping.refresh_from_db()
        ends = f"{timezone.localtime(self.mapping.paused_until):%H:%M}"
        for url in ("/", self.page(), reverse("mappings")):
            html = self.html(url)
            self.assertIn("month-end closing", html, url)
            self.assertIn(ends, html, url)
        html = self.html(reverse("record", args=[link.pk]))
        self.assertIn("Nothing moves: Support is paused until", html)
        self.assertIn("admin: month-end closing.", html)
        self.assertEqual(AuditEntry.objects.get(code="mapping_paused_until").params["reason"], "month-end closing")

    def test_a_paused_connection_is_told_on_the_pages_of_its_mappings(self) -> None:
        link = self.make_operation(self.make_run()).link
        self.post("pause", "connection", reason="their upgrade")
        for url in ("/", self.page(), reverse("connection", args=[self.org.pk])):
            self.assertIn("their upgrade", self.html(url), url)
        html = self.html(reverse("record", args=[link.pk]))
        self.assertIn("Nothing moves: Org is paused until somebody resumes it", html)
        self.assertIn(reverse("connection", args=[self.org.pk]), html)
        self.post("resume", "connection")
        self.assertNotIn("their upgrade", self.html("/"))

    def test_windows_are_added_shown_and_removed_with_an_audit_line_each(self) -> None:
        for of, row in (("mapping", self.mapping), ("connection", self.org)):
            self.assertIn("22:00 to 02:00", self.post("windows", of, **WEEKLY))
            row.refresh_from_db()
            self.assertEqual(row.windows[0]["days"], [0, 4])
            self.post("windows", of, remove=row.windows[0]["id"])
            row.refresh_from_db()
            self.assertEqual(row.windows, [])
            self.assertIn("not there any more", self.post("windows", of, remove="gone"))
        codes = list(AuditEntry.objects.filter(code__startswith="window").order_by("pk").values_list("code", flat=True))
        self.assertEqual(codes, ["window_added", "window_removed"] * 2)

    def test_a_single_window_that_is_open_stops_the_mapping_and_says_until_when(self) -> None:
        single = {"add": "single", "single-start": local(-timedelta(hours=1)), "single-note": "data centre move"}
        self.post("windows", "connection", **single, **{"single-end": local(timedelta(hours=1))})
        html = self.html("/")
        self.assertIn("Org is in a maintenance window until", html)
        self.assertIn("data centre move", html)
        self.assertIn("Open now", self.html(self.page(of="connection")))
        self.assertIn("does not run: Org is in a maintenance window", self.post_start())

    def post_start(self) -> str:
        return self.client.post(reverse("run-start", args=[self.mapping.slug]), follow=True).content.decode()

    def test_windows_that_make_no_sense_are_refused_at_the_field(self) -> None:
        bad = [
            ({**WEEKLY, "weekly-days": []}, "This field is required"),
            ({**WEEKLY, "weekly-zone": "Europe/Nowhere"}, "Select a valid choice"),
            (
                {**WEEKLY, "weekly-days": list("0123456"), "weekly-begins": "00:00", "weekly-ends": "00:00"},
                "no time in between",
            ),
            (
                {"add": "single", "single-start": local(timedelta(hours=2)), "single-end": local(timedelta(hours=1))},
                "ends before it begins",
            ),
            (
                {"add": "single", "single-start": local(-timedelta(hours=2)), "single-end": local(-timedelta(hours=1))},
                "This time is over",
            ),
        ]
        for data, why in bad:
            self.assertIn(why, self.post("windows", **data))
        self.mapping.refresh_from_db()
        self.assertEqual(self.mapping.windows, [])

    def test_the_pages_take_as_many_queries_with_many_windows_and_mappings_as_with_few(self) -> None:
        def queries() -> list[int]:
            counts = []
            for url in (self.page(), self.page(of="connection"), "/", reverse("mappings")):
                self.client.get(url)
                with CaptureQueriesContext(connection) as taken:
                    self.client.get(url)
                counts.append(len(taken))
            return counts

        self.post("windows", **WEEKLY)
        few = queries()
        for number in range(5):
            self.post("windows", **WEEKLY)
            self.post("windows", "connection", **WEEKLY)
            self.make_mapping(f"More {number}".replace(" ", "-"), windows=self.mapping.windows)
        self.assertEqual(queries(), few)

    def test_the_run_says_that_it_compared_everything_after_a_long_silence(self) -> None:
        run = self.make_run()
        params = {"system": "Salesforce", "hours": "80 h", "kept": "72 h"}
        Run.objects.filter(pk=run.pk).update(notice={"code": "feed_not_read", "params": params})
        html = self.html(reverse("run", args=[run.pk]))
        self.assertIn("Salesforce was not read for 80 h, longer than it keeps its changes (72 h)", html)
