"""What the page says of an answer to several fields at once: which of them it settled, and which not."""

from __future__ import annotations

from connections.connectors.base import Refused
from sync.models import Conflict
from sync.tests.conftest import DEFAULT_RULES
from sync.tests.test_engine_setbacks import fails
from sync.tests.test_review_pages import ReviewCase

ASK = {"name": "Ask", "kind": "review", "tolerance": 1.0}


class SeveralFields(ReviewCase):
    def setUp(self) -> None:
        super().setUp()
        self.pair.publish(rules=[{**one, "policy": ASK} for one in DEFAULT_RULES])
        self.left = self.pair.left.add(title="Record 1", ref="R1", body="b", status="s")
        self.right = self.pair.right.add(title="Record 1", ref="R1", body="b", status="s")
        self.pair.quiet()
        self.pair.left.edit(self.left, body="L", status="SL")
        self.pair.right.edit(self.right, body="R", status="SR")
        self.pair.quiet()
        self.body, self.status = (Conflict.objects.get(rule_id=name) for name in ("body", "status"))
        self.as_("reviewer")

    def told(self, body: str = "left", status: str = "left") -> str:
        """What the page says of these two answers, of which the status moved meanwhile."""
        url = self.url("conflict", self.body.pk)
        seen = self.seen(url)
        self.pair.right.edit(self.right, by="bob", status="SR2")
        self.client.post(url, {"seen": seen, f"take-{self.body.pk}": body, f"take-{self.status.pk}": status})
        self.pair.quiet()
        self.assertEqual(self.values(self.body.link, "status"), ("SL", "SR2"))
        return self.html(self.url("review-progress", self.newest().pk), status=286)

    def test_an_answer_of_which_a_part_was_written_names_what_was_not(self) -> None:
        page = self.told()
        self.assertEqual(self.values(self.body.link, "body"), ("L", "L"))
        for told in ("Saved in part and written to Right", "Body R → L", 'class="note warn" role="alert"'):
            self.assertIn(told, page)
        self.assertIn("Status moved while you were deciding; nothing was written there.", page)

    def test_an_answer_of_which_a_part_took_no_write_names_what_was_not(self) -> None:
        page = self.told(body="ignore")
        for told in ("Saved in part", "Status moved while you were deciding; nothing was written there."):
            self.assertIn(told, page)

    def test_a_field_that_cannot_be_written_any_more_is_named_with_its_reason(self) -> None:
        url = self.url("conflict", self.body.pk)
        data = {"seen": self.seen(url), f"take-{self.body.pk}": "left", f"take-{self.status.pk}": "left"}
        self.client.post(url, data)
        self.pair.publish(rules=[{**one, "policy": ASK} for one in DEFAULT_RULES if one["id"] != "status"])
        self.pair.quiet()
        page = self.html(self.url("review-progress", self.newest().pk), status=286)
        self.assertIn("Saved in part and written to Right", page)
        self.assertIn("A field: this could not be done; nothing was written there.", page)

    def test_a_field_that_its_system_refused_is_named_with_what_that_said(self) -> None:
        url = self.url("conflict", self.body.pk)
        data = {"seen": self.seen(url), f"take-{self.body.pk}": "left", f"take-{self.status.pk}": "left"}
        self.client.post(url, data)
        fails(self.pair.right, "update", lambda: Refused("No.", {"status": "The workflow forbids it."}))
        self.pair.quiet()
        page = self.html(self.url("review-progress", self.newest().pk), status=286)
        for told in ("Saved in part and written to Right", "Status: ", "The workflow forbids it."):
            self.assertIn(told, page)
