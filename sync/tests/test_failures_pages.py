"""The pages of failures: who sees what, what each button does, and what the other pages say of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from connections.connectors.base import Refused, Retry
from sync import failures
from sync.failures import groups, standing
from sync.models import AuditEntry, ChangedRecord, Conflict, Instruction, Link, Operation
from sync.tests.pair_cases import PairCase
from syncadmin.tests.cases import ROLE_NAMES


class FailuresCase(PairCase):
    def setUp(self) -> None:
        super().setUp()
        self.as_("admin")

    def refused(self, number: int = 1, body: str = "too long") -> tuple[str, str, Link]:
        """A pair whose new body the right refuses."""
        left, right, link = self.linked(number, body="b")
        self.pair.right.before = self.refuse
        self.pair.left.edit(left, by="ana", body=body)
        self.pair.quiet()
        return left, right, link

    def refuse(self, verb: str, ids: Any) -> None:
        if verb == "update":
            raise Refused("Not this.", {"body": "longer than 5 characters"})

    def well(self) -> None:
        self.pair.right.before = lambda *_: None

    def failing(self, number: int = 1) -> tuple[str, str, Link]:
        """A pair whose write keeps failing."""
        left, right, link = self.linked(number, body="b")

        def busy(verb: str, ids: Any) -> None:
            if verb == "update":
                raise Retry("503 Service Unavailable", after=0)

        self.pair.right.before = busy
        self.pair.left.edit(left, by="ana", body="new")
        for _ in range(3):
            ChangedRecord.objects.update(not_before=timezone.now())
            self.pair.run()
        # However long a page takes here, the next try by itself is later.
        ChangedRecord.objects.filter(attempts__gt=0).update(not_before=timezone.now() + timedelta(hours=1))
        return left, right, link

    def poison(self, link: Link | None = None) -> ChangedRecord:
        hint = ChangedRecord.objects.create(
            mapping=self.pair.mapping, side="left", external_id=link.left_id if link and link.left_id else "L9"
        )
        from sync import hints

        hints.fail(hint, "This record could not be planned: ValueError: no")
        return hint

    def group_url(self) -> str:
        return reverse("failure-group", args=[groups(standing())[0].fingerprint])

    def do(self, act: str, **data: Any) -> str:
        response = self.client.post(reverse("failures-act"), {"act": act, **data}, follow=True)
        self.assertEqual(response.status_code, 200)
        return response.content.decode()


class AccessTests(FailuresCase):
    def test_who_may_read_retry_edit_and_ignore(self) -> None:
        self.refused()
        group = groups(standing())[0]
        key = failures.key_of(group.sample)
        self.assert_access(reverse("failures"), ROLE_NAMES)
        self.assert_access(self.group_url(), ROLE_NAMES)
        answer = {"admin", "operator", "reviewer"}
        self.assert_access(reverse("failure-edit", args=[group.fingerprint, key]), answer)
        self.assert_access(reverse("failures-act"), answer, "post", {"act": "retry", "key": "q0"})
        operate = {"admin", "operator"}
        for act in ("ignore", "heed"):
            self.assert_access(reverse("failures-act"), operate, "post", {"act": act, "key": "q0", "reason": "x"})

    def test_each_role_sees_the_buttons_it_may_press(self) -> None:
        self.refused()
        self.failing(2)
        question, write = sorted(groups(standing()), key=lambda group: group.source)
        pages = [reverse("failure-group", args=[group.fingerprint]) for group in (question, write)]
        seen = {}
        for name in ROLE_NAMES:
            self.as_(name)
            html = [self.html(page) for page in pages]
            seen[name] = [('value="retry"' in one, "Edit…" in one, 'value="ignore"' in one) for one in html]
        everything = [(True, True, True)] * 2
        self.assertEqual(seen["admin"], everything)
        self.assertEqual(seen["operator"], everything)
        self.assertEqual(seen["reviewer"], [(True, True, False), (False, False, False)])
        self.assertEqual(seen["auditor"], [(False, False, False)] * 2)

    def test_a_reviewer_tries_again_what_waits_in_the_queue_and_nothing_else(self) -> None:
        self.refused()
        self.failing(2)
        self.as_("reviewer")
        self.do("retry")
        self.assertEqual(Conflict.objects.get(state="resolving").kind, "refused")
        self.assertFalse(ChangedRecord.objects.filter(not_before__lte=timezone.now(), attempts__gt=0).exists())

    def test_a_role_for_another_mapping_shows_and_does_nothing_here(self) -> None:
        self.refused()
        url = self.group_url()
        self.elsewhere("operator")
        self.as_("stranger")
        self.assertIn("<h1>Nothing fails</h1>", self.html(reverse("failures")))
        self.assertIn("Nothing fails for this cause any more", self.html(url))
        self.do("retry", key=failures.key_of(Conflict.objects.get()))
        self.do("ignore", key=failures.key_of(Conflict.objects.get()), reason="x")
        one = Conflict.objects.get()
        self.assertEqual((one.state, one.ignored), ("open", None))


class ListTests(FailuresCase):
    def test_nothing_fails(self) -> None:
        html = self.html(reverse("failures"))
        self.assertIn("<h1>Nothing fails</h1>", html)
        self.assertNotIn("Retry all", html)

    def test_each_cause_is_named_with_its_fix_and_its_number(self) -> None:
        self.refused(1, "a text")
        self.refused(2, "another text")
        self.well()
        self.failing(3)
        self.poison()
        html = self.html(reverse("failures"))
        self.assertIn("4 failures stand, in 3 causes", html)
        self.assertIn("has less room for Body than we send", html)
        self.assertIn("Shorten Body in Left", html)
        self.assertIn("has trouble of its own", html)
        self.assertIn("Something in this record breaks our plan", html)
        self.assertLess(html.index("less room"), html.index("breaks our plan"), "most entries first")

    def test_the_filters_narrow_it_and_say_when_they_hide_all(self) -> None:
        self.refused()
        self.elsewhere("operator")
        self.assertIn("Nothing fails in this mapping", self.html(reverse("failures") + "?mapping=other"))
        self.assertIn("less room", self.html(reverse("failures") + "?mapping=pair"))

    def test_the_page_takes_the_same_queries_for_few_and_many(self) -> None:
        taken = []
        for number in (1, 1000):
            one = Conflict.objects.create(
                mapping=self.pair.mapping, subject=f"left:{number}-x", kind="unmapped", code="not_a_date"
            )
            rest = [
                Conflict(
                    mapping=self.pair.mapping,
                    subject=f"left:{number}-{n}",
                    kind="unmapped",
                    code="not_a_date",
                    fingerprint=one.fingerprint,
                )
                for n in range(number)
            ]
            Conflict.objects.bulk_create(rest)
            for url in (reverse("failures"), self.group_url()):
                self.html(url)  # what the frame remembers for a moment
                with CaptureQueriesContext(connection) as queries:
                    self.html(url)
                taken.append(len(queries))
        self.assertEqual(taken[:2], taken[2:])
        self.assertLess(max(taken), 30)

    def test_entries_are_paged_by_key(self) -> None:
        for number in range(60):
            Conflict.objects.create(
                mapping=self.pair.mapping, subject=f"left:{number}", kind="unmapped", code="not_a_date"
            )
        html = self.html(self.group_url())
        self.assertIn("60 entries", html)
        self.assertIn("?after=", html)
        last = Conflict.objects.order_by("pk")[10].pk
        self.assertEqual(self.html(f"{self.group_url()}?after={last}").count("Question<span"), 10)

    def test_rows_lead_to_the_record_and_to_the_question(self) -> None:
        _, _, link = self.refused()
        html = self.html(self.group_url())
        self.assertIn(reverse("record", args=[link.pk]), html)
        self.assertIn(reverse("conflict", args=[Conflict.objects.get().pk]), html)

    def test_rows_of_writes_and_records_lead_to_the_record_and_say_when_it_is_tried(self) -> None:
        _, _, link = self.failing()
        html = self.html(self.group_url())
        self.assertIn(reverse("record", args=[link.pk]), html)
        self.assertIn("3 tries", html)
        Operation.objects.update(failing_since=None)
        ChangedRecord.objects.all().delete()
        self.poison(link)
        html = self.html(self.group_url())
        self.assertIn(reverse("record", args=[link.pk]), html)
        self.assertIn("could not be planned", html)


class ActTests(FailuresCase):
    def test_one_is_tried_again(self) -> None:
        _, _, link = self.refused(1)
        self.refused(2)
        self.well()
        one = Conflict.objects.get(link=link)
        html = self.do("retry", key=failures.key_of(one), group=one.fingerprint)
        self.assertIn("One failure is tried again.", html)
        self.pair.quiet()
        self.assertEqual(self.values(link, "body"), ("too long", "too long"))
        self.assertEqual(standing().count(), 1)

    def test_a_group_is_tried_again_and_its_page_says_when_nothing_is_left(self) -> None:
        self.refused(1)
        self.refused(2)
        self.well()
        url, group = self.group_url(), groups(standing())[0]
        self.assertIn("2 failures are tried again.", self.do("retry", group=group.fingerprint))
        self.assertIn("Being tried", self.html(url))
        self.pair.quiet()
        self.assertIn("Nothing fails for this cause any more", self.html(url))

    def test_all_are_tried_again(self) -> None:
        self.refused(1)
        self.well()
        self.failing(2)
        self.well()
        self.assertIn("2 failures are tried again.", self.do("retry"))
        self.pair.quiet()
        self.assertEqual(standing().count(), 0)

    def test_a_create_that_may_have_happened_is_not_offered_again(self) -> None:
        link = Link.objects.create(mapping=self.pair.mapping, left_id="L1", state="creating")
        Conflict.objects.create(
            mapping=self.pair.mapping, link=link, kind="uncertain_create", code="created_or_not", title="One"
        )
        self.assertNotIn('value="retry"', self.html(self.group_url()))
        html = self.do("retry", key=failures.key_of(Conflict.objects.get()))
        self.assertIn("it could make a second record", html)
        self.assertEqual(Conflict.objects.get().state, "open")

    def test_ignoring_takes_a_reason_and_lists_it_apart(self) -> None:
        self.refused()
        group = groups(standing())[0]
        self.assertIn("A reason is missing.", self.do("ignore", group=group.fingerprint, reason="  "))
        self.do("ignore", group=group.fingerprint, reason="The vendor knows")
        html = self.html(reverse("failures"))
        self.assertIn("<h1>Nothing fails</h1>", html)
        self.assertIn("1 more is ignored", html)
        ignored = self.html(self.group_url() + "?show=ignored")
        self.assertIn("Ignored by admin", ignored)
        self.assertIn("The vendor knows", ignored)
        self.assertTrue(AuditEntry.objects.filter(code="failure_ignored", actor="admin").exists())
        self.do("heed", group=group.fingerprint)
        self.assertIn("1 failure stands", self.html(reverse("failures")))

    def test_what_is_ignored_stays_in_the_review_queue(self) -> None:
        self.refused()
        self.do("ignore", group=groups(standing())[0].fingerprint, reason="Known")
        self.assertIn("Record 1", self.html(reverse("review-queue")))

    def test_nothing_chosen_does_nothing(self) -> None:
        self.assertIn("Nothing was chosen.", self.do("explode"))
        self.assertIn("Nothing of it stands any more", self.do("retry", key="q999"))


class EditTests(FailuresCase):
    def edit_url(self) -> str:
        group = groups(standing())[0]
        return reverse("failure-edit", args=[group.fingerprint, failures.key_of(group.sample)])

    def seen(self, html: str) -> str:
        return html.split('name="seen" value="')[1].split('"')[0]

    def test_what_is_sent_is_edited_and_sent_to_the_refused_side_alone(self) -> None:
        _, _, link = self.refused()
        self.well()
        html = self.html(self.edit_url())
        self.assertIn("too long", html)
        self.assertIn("Left keeps its value", html)
        response = self.client.post(self.edit_url(), {"seen": self.seen(html), "value": "short"})
        asked = self.newest()
        self.assertRedirects(response, f"{reverse('record', args=[link.pk])}?asked={asked.pk}")
        self.assertEqual((asked.kind, asked.by_name), (Instruction.Kind.RETRY, "admin"))
        self.pair.quiet()
        self.assertEqual(self.values(link, "body"), ("too long", "short"))

    def test_the_value_of_a_write_that_keeps_failing_is_edited_too(self) -> None:
        _, _, link = self.failing()
        self.well()
        html = self.html(self.edit_url())
        self.client.post(self.edit_url(), {"seen": self.seen(html), "value": "other"})
        self.pair.quiet()
        self.assertEqual(self.values(link, "body"), ("new", "other"))
        self.assertEqual(standing().count(), 0)

    def two_failing(self) -> Link:
        """A pair whose write of two fields keeps failing."""
        left, _, link = self.failing()
        self.pair.left.edit(left, by="ana", body="newer", amount=7)
        for _ in range(3):
            ChangedRecord.objects.update(not_before=timezone.now())
            self.pair.run()
        self.assertEqual(set(standing().writes.get().fields), {"body", "amount"})
        return link

    def test_of_a_write_of_several_fields_one_is_chosen_and_edited(self) -> None:
        link = self.two_failing()
        self.well()
        url = self.edit_url()
        self.assertIn("?field=amount", self.html(url))
        html = self.html(f"{url}?field=amount")
        self.assertIn("The other fields of the write are sent as they are.", html)
        self.client.post(f"{url}?field=amount", {"seen": self.seen(html), "value": "8"})
        self.pair.quiet()
        self.assertEqual(self.values(link, "amount"), (7, 8))
        self.assertEqual(self.values(link, "body"), ("newer", "newer"))
        self.assertEqual(standing().count(), 0)

    def test_values_shown_for_one_field_send_nothing_to_another(self) -> None:
        link = self.two_failing()
        self.well()
        url = self.edit_url()
        html = self.html(f"{url}?field=body")
        self.client.post(f"{url}?field=amount", {"seen": self.seen(html), "value": "8"})
        self.pair.quiet()
        self.assertEqual(self.values(link, "amount"), (7, 7))

    def test_a_field_that_the_write_has_not_cannot_be_chosen(self) -> None:
        self.two_failing()
        response = self.client.get(f"{self.edit_url()}?field=title", follow=True)
        self.assertContains(response, "This value cannot be edited any more.")

    def test_it_is_not_sent_where_the_field_moved(self) -> None:
        left, _, link = self.refused()
        html = self.html(self.edit_url())
        url = self.edit_url()
        self.well()
        self.pair.left.edit(left, by="ana", body="moved")
        self.client.post(url, {"seen": self.seen(html), "value": "short"})
        self.pair.quiet()
        self.assertEqual(self.newest().state, "stale")
        self.assertEqual(self.values(link, "body"), ("moved", "moved"))

    def test_what_cannot_be_read_is_said_beside_it(self) -> None:
        _, _, link = self.linked(1, amount=1)
        self.pair.right.before = lambda verb, ids: self.refuse_amount(verb)
        self.pair.left.edit(link.left_id or "", by="ana", amount=7)
        self.pair.quiet()
        html = self.html(self.edit_url())
        response = self.client.post(self.edit_url(), {"seen": self.seen(html), "value": "seven"})
        self.assertContains(response, "is not a number")
        self.assertFalse(Instruction.objects.exists())

    def refuse_amount(self, verb: str) -> None:
        if verb == "update":
            raise Refused("No.", {"amount": "no"})

    def test_a_forged_or_old_page_writes_nothing(self) -> None:
        self.refused()
        response = self.client.post(self.edit_url(), {"seen": "forged", "value": "short"})
        self.assertContains(response, "open for too long")
        self.assertFalse(Instruction.objects.exists())

    def refused_create(self) -> Link:
        """A record whose twin is refused."""

        def refuse(verb: str, ids: Any) -> None:
            if verb == "create":
                raise Refused("Not this.", {"title": "longer than 5 characters"})

        self.pair.right.before = refuse
        self.pair.left.add(title="too long", body="b")
        self.pair.quiet()
        return Link.objects.get()

    def test_a_value_of_a_refused_create_is_edited_and_goes_with_the_record(self) -> None:
        link = self.refused_create()
        self.well()
        self.assertIn(self.edit_url(), self.html(self.group_url()))
        html = self.html(f"{self.edit_url()}?field=body")
        for words in ("The record in Left is read once more", "The other fields of the write", "?field=title"):
            self.assertIn(words, html)
        self.assertIn("no record yet", html)
        self.assertNotIn("Settle it for both sides instead", html)
        self.client.post(f"{self.edit_url()}?field=body", {"seen": self.seen(html), "value": "other"})
        self.pair.quiet()
        link.refresh_from_db()
        self.assertEqual((link.state, self.values(link, "body")), ("active", ("b", "other")))
        self.assertEqual(standing().count(), 0)

    def test_a_create_that_keeps_failing_is_edited_too(self) -> None:
        def busy(verb: str, ids: Any) -> None:
            if verb == "create":
                raise Retry("503 Service Unavailable", after=0)

        self.pair.right.before = busy
        self.pair.left.add(title="x", body="b")
        for _ in range(3):
            ChangedRecord.objects.update(not_before=timezone.now())
            self.pair.run()
        self.well()
        html = self.html(f"{self.edit_url()}?field=body")
        self.client.post(f"{self.edit_url()}?field=body", {"seen": self.seen(html), "value": "other"})
        self.pair.quiet()
        self.assertEqual(self.values(Link.objects.get(), "body"), ("b", "other"))
        self.assertEqual(standing().count(), 0)

    def test_what_cannot_be_edited_says_so(self) -> None:
        self.poison()
        response = self.client.get(self.edit_url(), follow=True)
        self.assertContains(response, "This value cannot be edited any more.")


class OtherPagesTests(FailuresCase):
    def test_home_counts_what_keeps_failing_and_leads_there(self) -> None:
        self.refused(1)
        self.well()
        self.failing(2)
        html = self.html("/")
        self.assertIn("Pair: 1 keeps failing", html)
        self.assertIn(f'href="{reverse("failures")}"', html)
        self.do("ignore", reason="known")
        self.assertNotIn("keeps failing", self.html("/"))

    def test_the_sidebar_counts_all_that_stands(self) -> None:
        self.refused(1)
        self.well()
        self.failing(2)
        entry = self.html(reverse("records")).split(f'href="{reverse("failures")}"')[1].split("</a>")[0]
        self.assertIn("2</span>", entry)

    def test_the_conflict_and_the_record_lead_to_the_cause(self) -> None:
        _, _, link = self.refused()
        group = self.group_url()
        self.assertIn(group, self.html(reverse("conflict", args=[Conflict.objects.get().pk])))
        self.well()
        _, _, link = self.failing(2)
        write = next(one for one in groups(standing()) if one.source == "write")
        self.assertIn(reverse("failure-group", args=[write.fingerprint]), self.html(reverse("record", args=[link.pk])))

    def test_a_record_that_cannot_be_planned_leads_to_the_cause(self) -> None:
        _, _, link = self.linked()
        self.poison(link)
        self.assertIn(self.group_url(), self.html(reverse("record", args=[link.pk])))

    def test_what_was_given_up_long_ago_and_crossed_since_needs_nobody(self) -> None:
        self.failing()
        Operation.objects.update(state="dead", finished_at=timezone.now() - timedelta(days=1))
        self.well()
        ChangedRecord.objects.update(not_before=timezone.now())
        self.pair.quiet()
        self.assertNotIn("keeps failing", self.html("/"))
        self.assertNotIn("Writes that gave up", self.html(reverse("runs")))
