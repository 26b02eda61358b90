"""The comparison after a restore on the pages: what it found, who approves, where it is told."""

from __future__ import annotations

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from connections.models import Connection
from sync import restored
from sync.models import AuditEntry, Link, MappingState, Run
from sync.tests.pair_cases import PairCase


class RestoredPages(PairCase):
    def compared(self) -> Run:
        """Two pairs, one of which differs, and a new record; compared after a declared restore."""
        left, _, self.link = self.linked(1, body="b")
        self.linked(2)
        self.pair.left.edit(left, body="edited <here>")
        self.pair.left.add(title="brand new", ref="R9", status="High")
        restored.halt_all("restored_declared", {"by": "ana"}, by="ana")
        self.assertEqual(self.pair.run().state, "approval")
        return Run.objects.get(kind="restored")

    def approve(self, run: Run, reason: str = "checked both") -> str:
        url = reverse("run-approve", args=[run.pk])
        return self.client.post(url, {"reason": reason}, follow=True).content.decode()

    def test_numbers_and_samples_are_shown_before_anything_is_written(self) -> None:
        run = self.compared()
        self.as_("operator")
        html = self.html(reverse("run", args=[run.pk]))
        for text in (
            "comparison after a restore",
            "ana said that the database was restored",
            "<b>1</b>to create in Right",
            "<b>1</b>field to write",
            "<ins>edited &lt;here&gt;</ins>",
            "Approve, go on writing",
        ):
            self.assertIn(text, html)
        self.assertNotIn("edited <here>", html)

    def test_who_sees_it_and_who_approves(self) -> None:
        run = self.compared()
        self.assert_access(reverse("run", args=[run.pk]), allowed={"admin", "operator", "auditor"})
        url = reverse("run-approve", args=[run.pk])
        self.assert_access(url, allowed={"admin", "operator"}, method="post", data={})
        self.as_("auditor")
        html = self.html(reverse("run", args=[run.pk]))
        self.assertNotIn("go on writing", html)
        self.assertIn("An admin or an operator approves it", html)
        self.elsewhere("operator")
        self.as_("stranger")
        self.assertEqual(self.client.post(url, {"reason": "x"}).status_code, 404)
        self.assertEqual(MappingState.objects.get().halt, "restored")

    def test_a_connection_that_keeps_it_from_being_compared_is_named_with_its_page(self) -> None:
        self.linked(1, body="b")
        restored.halt_all("restored_declared", {"by": "ana"}, by="ana")
        Connection.objects.filter(name="Right").update(state="sign_in", state_reason="The password expired.")
        self.assertEqual(self.pair.run().state, "halted")
        self.as_("operator")
        at = reverse("connection", args=[Connection.objects.get(name="Right").pk])
        for page in (reverse("runs"), reverse("record", args=[Link.objects.get().pk])):
            html = self.html(page)
            self.assertIn("ana said that the database was restored", html)
            self.assertIn(at, html)
        self.assertIn("First set Right right", self.html(reverse("runs")))

    def test_an_approval_takes_a_reason_and_is_given_once(self) -> None:
        run = self.compared()
        self.as_("operator")
        self.assertIn("takes a reason", self.approve(run, reason=" "))
        self.assertEqual(MappingState.objects.get().halt, "restored")
        self.assertIn("writes again", self.approve(run))
        entry = AuditEntry.objects.get(code="restore_approved")
        self.assertEqual((entry.actor, entry.params["reason"]), ("operator", "checked both"))
        self.assertIn("Nothing was done", self.approve(run))
        self.pair.quiet()
        self.assertEqual(self.values(self.link, "body"), ("edited <here>", "edited <here>"))
        html = self.html(reverse("run", args=[run.pk]))
        self.assertIn("What it found before approval", html)
        self.assertNotIn("go on writing", html)

    def test_a_comparison_that_another_one_replaced_cannot_be_approved(self) -> None:
        run = self.compared()
        restored.halt_all("restored_declared", {"by": "ana"}, by="ana")
        self.pair.run()
        self.as_("admin")
        self.assertIn("Nothing was done", self.approve(run))
        self.assertEqual(MappingState.objects.get().halt, "restored")
        self.approve(Run.objects.filter(kind="restored").latest("pk"))
        self.assertEqual(MappingState.objects.get().halt, "")

    def test_home_the_record_and_the_runs_say_that_nothing_is_written(self) -> None:
        self.linked(1)
        link = self.linked(2)[2]
        restored.halt_all("restored_from_backup", {})
        self.as_("admin")
        self.assertIn("Pair: writes nothing", self.html("/"))
        self.pair.run()
        self.assertIn("the comparison waits for approval", self.html("/"))
        self.assertIn("compared after a restore", self.html(reverse("record", args=[link.pk])))
        html = self.html(reverse("runs"))
        self.assertIn("Compared after a restore", html)
        self.assertIn("Look and approve", html)
        self.assertNotIn("Run now", html)

    def test_a_side_that_lists_nothing_is_named(self) -> None:
        left, _, _ = self.linked(1)
        restored.halt_all("restored_from_backup", {})
        self.pair.left.remove(left)
        self.pair.run()
        self.as_("admin")
        html = self.html(reverse("run", args=[Run.objects.get(kind="restored").pk]))
        self.assertIn("lists no records at all", html)

    def test_the_page_takes_as_many_queries_for_many_differences_as_for_few(self) -> None:
        run = self.compared()
        self.as_("admin")
        counts = []
        for _ in range(2):
            self.client.get(reverse("run", args=[run.pk]))
            with CaptureQueriesContext(connection) as taken:
                self.client.get(reverse("run", args=[run.pk]))
            counts.append(len(taken))
            preview = run.preview
            preview["differences"] = preview["differences"] * 5
            Run.objects.filter(pk=run.pk).update(preview=preview)
        self.assertLessEqual(counts[1], counts[0] + 1)
