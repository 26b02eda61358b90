"""The pages of edits that we overwrote: nothing is lost unseen, and one click brings them back as they were."""

from __future__ import annotations

from typing import Any

from django.core import signing

from sync.models import Conflict, Instruction, Link
from sync.tests.test_review_pages import ReviewCase
from sync.views.review import SALT


class OverwrittenCase(ReviewCase):
    def setUp(self) -> None:
        super().setUp()
        self.as_("reviewer")

    def overwritten(
        self, number: int = 1, path: str = "body", values: tuple[Any, Any, Any] = ("agreed", "ana's", "bob's")
    ) -> Conflict:
        """Both agreed on the first of `values`; Bob edits in the moment before our write of Ana's."""
        agreed, anas, bobs = values
        record = {"title": f"Record {number}", "ref": f"R{number}", path: agreed}
        left, right = self.pair.left.add(**record), self.pair.right.add(**record)
        self.pair.quiet()
        self.pair.left.edit(left, by="ana", **{path: anas})

        def before(verb: str, ids: Any) -> None:
            if verb == "update":
                self.pair.right.before = lambda *_: None
                self.pair.right.edit(right, by="bob", **{path: bobs})

        self.pair.right.before = before
        self.pair.quiet()
        return Conflict.objects.get(link=Link.objects.get(left_id=left), kind="clobber")


class ManyOverwritten(OverwrittenCase):
    def test_edits_that_we_overwrote_are_never_answered_many_at_once(self) -> None:
        first, second = (self.overwritten(number, values=("agreed", "ana's", f"bob's {number}")) for number in (1, 2))
        self.assertNotIn("alike", self.html(self.url("review-queue")))
        at = self.url("review-same", first.pk)
        self.assertRedirects(self.client.get(at), self.url("conflict", first.pk))
        values = [first.left_value, first.right_value]
        shown = signing.dumps({str(one.pk): values for one in (first, second)}, salt=SALT, compress=True)
        self.client.post(at, {"seen": shown, "take": "left", "c": [first.pk, second.pk]})
        self.assertFalse(Instruction.objects.exists())


class OneOverwritten(OverwrittenCase):
    def test_an_edit_that_we_overwrote_is_restored_by_one_click(self) -> None:
        one = self.overwritten()
        page = self.client.get(self.url("conflict", one.pk)).content.decode()
        self.assertIn("Restore what we overwrote in Right", page)
        self.assertIn("our write replaced it", page)
        self.assertIn("bob&#x27;s", page)
        self.assertIn(f'name="take-{one.pk}" value="value" checked', page)
        self.assertNotIn(f'name="take-{one.pk}" value="left"', page)
        self.answer(one, "value", **{f"value-{one.pk}": "bob's"})
        self.pair.quiet()
        self.assertEqual(self.values(one.link, "body"), ("bob's", "bob's"))
        self.assertEqual(Instruction.objects.get().kind, Instruction.Kind.RESTORE)

    def test_a_question_names_every_edit_that_was_overwritten(self) -> None:
        one = self.overwritten()
        one.params["overwritten_before"] = ["carl"]
        one.save()
        self.assertIn("overwritten “carl” in this field. Type it in", self.html(self.url("conflict", one.pk)))
        one.kind, one.code = "field", "both_changed"
        one.save()
        page = self.html(self.url("conflict", one.pk))
        self.assertIn("overwritten “bob&#x27;s”, “carl” in this field. You are asked about it once", page)

    def test_an_edit_that_we_overwrote_may_be_let_go(self) -> None:
        one = self.overwritten()
        self.answer(one, "ignore")
        self.pair.quiet()
        self.assertEqual(self.values(one.link, "body"), ("ana's", "ana's"))
        one.refresh_from_db()
        self.assertEqual((one.state, one.closed_by), ("closed", "reviewer"))
