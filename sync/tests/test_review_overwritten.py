"""The pages of edits that we overwrote: nothing is lost unseen, and one click brings them back as they were."""

from __future__ import annotations

from typing import Any

from django.core import signing

from sync import clobbers
from sync.models import Conflict, Instruction, Link
from sync.tests.conftest import rule
from sync.tests.pair_cases import RULES
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
        values = {"left": first.left_value, "right": first.right_value}
        seen = {str(one.pk): {**values, **clobbers.named(one)} for one in (first, second)}
        shown = signing.dumps(seen, salt=SALT, compress=True)
        self.client.post(at, {"seen": shown, "take": "left", "c": [first.pk, second.pk]})
        self.assertFalse(Instruction.objects.exists())


LONG = "Bob wrote all of this, and none of it may be cut off where it is read or restored. " * 5


class OneOverwritten(OverwrittenCase):
    def restored(self, one: Conflict, take: str = "restore-0") -> tuple[Any, Any]:
        """What both sides say of the field after this answer."""
        assert one.link is not None
        path = {"prio": "status"}.get(one.rule_id, one.rule_id)
        self.answer(one, take)
        self.pair.quiet()
        return self.values(one.link, path)

    def test_an_edit_that_we_overwrote_is_restored_by_one_click(self) -> None:
        one = self.overwritten()
        page = self.client.get(self.url("conflict", one.pk)).content.decode()
        self.assertIn("Restore what we overwrote in Right", page)
        self.assertIn("our write replaced it", page)
        self.assertIn("bob&#x27;s", page)
        self.assertRegex(page, f'name="take-{one.pk}" value="restore-0"[^>]* checked')
        self.assertNotIn(f'name="take-{one.pk}" value="left"', page)
        self.assertEqual(self.restored(one), ("bob's", "bob's"))
        self.assertEqual(Instruction.objects.get().kind, Instruction.Kind.RESTORE)
        one.refresh_from_db()
        self.assertEqual((one.state, one.closed_by), ("closed", "reviewer"))

    def test_rich_text_comes_back_with_its_links_and_its_form(self) -> None:
        form = {"format": "html"}
        self.pair.publish(rules=[RULES[0], rule("body", "body", "rich_text", left=form, right=form)])
        bobs = '<p>Read <a href="https://x.example/a">the <b>manual</b></a></p><ul><li>one</li></ul>'
        one = self.overwritten(values=("<p>agreed</p>", "<p>ana</p>", bobs))
        self.assertEqual(self.restored(one), (bobs, bobs))

    def test_an_option_that_is_newer_than_the_version_comes_back(self) -> None:
        options = {"options": ["Open", "Closed"]}
        self.pair.publish(rules=[RULES[0], rule("status", "status", "option", left=options, right=options)])
        one = self.overwritten(path="status", values=("Open", "Closed", "Brand new"))
        self.assertEqual(self.restored(one), ("Brand new", "Brand new"))

    def test_every_edit_that_was_overwritten_is_shown_whole_and_may_be_restored(self) -> None:
        one = self.overwritten()
        one.params |= clobbers.with_one_more(one, "left", LONG)
        one.params |= clobbers.with_one_more(one, "right", "carl's")
        one.save()
        for role in ("auditor", "reviewer"):
            self.as_(role)
            page = self.html(self.url("conflict", one.pk))
            for told in ("carl&#x27;s", LONG.strip(), "bob&#x27;s"):
                self.assertIn(told, page)
        self.assertIn("Restore what we overwrote in Left", page)
        self.assertEqual(self.restored(one, "restore-1"), (LONG, LONG))
        choice = self.newest().choices["body"]
        self.assertEqual((choice["in"], choice["value"]), ("left", LONG))

    def test_what_is_restored_is_what_the_page_showed(self) -> None:
        one = self.overwritten()
        seen = self.seen(self.url("conflict", one.pk))
        one.params |= clobbers.with_one_more(one, "right", "carl's")
        one.save()
        self.client.post(self.url("conflict", one.pk), {"seen": seen, f"take-{one.pk}": "restore-0"})
        self.pair.quiet()
        self.assertEqual(self.values(one.link, "body"), ("bob's", "bob's"))
        one.refresh_from_db()
        self.assertEqual((one.state, one.params["overwritten"]), ("open", "carl's"), "nobody was shown this one")

    def test_a_value_of_ones_own_may_be_typed_instead(self) -> None:
        one = self.overwritten()
        self.answer(one, "value", **{f"value-{one.pk}": "ana's and bob's"})
        self.pair.quiet()
        self.assertEqual(self.values(one.link, "body"), ("ana's and bob's", "ana's and bob's"))
        one.refresh_from_db()
        self.assertEqual((one.state, one.closed_by), ("closed", "reviewer"))

    def test_where_the_rule_does_not_write_there_any_more_it_is_shown_and_cannot_be_restored(self) -> None:
        one = self.overwritten()
        self.pair.publish(rules=[{**other, "direction": "to_left"} for other in RULES])
        page = self.html(self.url("conflict", one.pk))
        self.assertIn("bob&#x27;s", page)
        self.assertIn("Cannot be restored: The rule does not write to that side.", page)
        self.assertNotIn("restore-0", page)

    def test_another_question_about_the_field_names_what_is_asked_about_later(self) -> None:
        one = self.overwritten()
        one.params["overwritten_before"] = ["carl"]
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
