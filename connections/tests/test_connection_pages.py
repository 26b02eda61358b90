"""The pages of connections: who reaches them, what they save, and that secrets never come out again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar
from unittest.mock import patch

from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from connections.calls import Calls
from connections.connectors.base import (
    Capabilities,
    CheckResult,
    Connector,
    Field,
    FormField,
    Hint,
    NeedsAuthorization,
    NotAllowed,
    ObjectType,
    Page,
    Record,
    Retry,
    Step,
    Values,
)
from connections.connectors.quota import Quota
from connections.describing import snapshot
from connections.models import Connection, Delivery, RoleAssignment
from connections.overwrites import BLIND, REPLACED
from mappings.models import Mapping as SyncMapping
from sync.models import AuditEntry
from syncadmin.seen import state_digest
from syncadmin.tests.cases import RolesCase

WOKEN: list[int] = []
SUBSCRIBED: list[tuple[Sequence[str], Values, str]] = []
SECRET = "s3cret-value-0123456789"


RUNG: list[Hint] = []


def record_ring(connection_id: int, hints: Sequence[Hint]) -> None:
    RUNG.extend(hints)


def record_wake(mapping_id: int) -> None:
    WOKEN.append(mapping_id)


class Pretend(Connector):
    """A system that answers at once; what `check` says is set by the test."""

    kind = "pretend"
    label = "Pretend"
    address_help = "Like https://pretend.example."
    form: ClassVar = (
        FormField("method", "Sign in with", choices=(("token", "Token"), ("key", "Key")), default="token"),
        FormField("email", "E-mail", show_if=("method", "token")),
        FormField("token", "API token", secret=True, show_if=("method", "token")),
        FormField("key", "Private key", secret=True, multiline=True, required=True, show_if=("method", "key")),
        FormField("login", "Login address", required=False),
    )
    capabilities = Capabilities(bell="webhook", subscribes=True)
    answer: ClassVar[CheckResult | Exception] = CheckResult("a-1", "Sync User")

    def check(self) -> CheckResult:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def object_types(self) -> Sequence[ObjectType]:
        return [ObjectType("issue", "Issue"), ObjectType("comment", "Comment", parent="issue")]

    def fields(self, object_type: str, scope: Values) -> Sequence[Field]:
        return [Field("title", "Title", "text", required=True), Field("secret_note", "Note", "text", writable=False)]

    def changed_since(
        self, object_type: str, watermark: str | None, fields: Sequence[str], scope: Values
    ) -> Iterator[Page]:
        yield Page([Record("1", "1", {})], None, last=True)

    def get_many(self, object_type: str, ids: Sequence[str], fields: Sequence[str]) -> Mapping[str, Record]:
        values = {"title": "<script>alert(1)</script>"}
        return {"1": Record("1", "1", values, key="P-1", unreadable=frozenset({"secret_note"}))}

    def subscribe(self, object_types: Sequence[str], scope: Values, callback_url: str) -> None:
        if isinstance(self.answer, Exception):
            raise self.answer
        SUBSCRIBED.append((object_types, scope, callback_url))

    def unsubscribe(self) -> None:
        SUBSCRIBED.clear()

    def steps_by_hand(self, object_types: Sequence[str], scope: Values, callback_url: str) -> Sequence[Step]:
        return [Step("Open the settings and paste this:", f"hook <{callback_url}>")]


KINDS = {"pretend": Pretend}


@override_settings(WAKE="connections.tests.test_connection_pages.record_wake", ALLOWED_PRIVATE_ADDRESSES=[])
class ConnectionPagesCase(RolesCase):
    def setUp(self) -> None:
        WOKEN.clear()
        SUBSCRIBED.clear()
        Pretend.answer = CheckResult("a-1", "Sync User", tenant="site-1", clock_offset=1.25, rate_limit="100 a minute.")
        for module in ("views.kinds", "views.live", "views.overview", "views.setup", "open"):
            self.replace(f"connections.{module}.connector_class", KINDS.__getitem__)
        self.replace("connections.views.setup.all_connectors", lambda: [Pretend])
        self.connection = Connection.objects.create(
            name="Left",
            kind="pretend",
            address="https://left.example",
            settings={"method": "token", "email": "sync@left.example", "login": "", "webhook_senders": ""},
            secrets={"token": SECRET},
        )

    def replace(self, name: str, with_: Any) -> None:
        patcher = patch(name, with_)
        patcher.start()
        self.addCleanup(patcher.stop)

    def url(self, verb: str = "") -> str:
        return f"/connections/{self.connection.pk}/{verb}"

    def given(self, **changes: str) -> dict[str, str]:
        """The form as a browser sends it: secrets empty."""
        values = {"name": "Left", "address": "https://left.example", "method": "token", "email": "sync@left.example"}
        values["webhook_senders"] = ""
        self.connection.refresh_from_db()
        values["seen"] = state_digest(snapshot(self.connection))
        return {**values, "token": "", "key": "", "login": "", **changes}

    def deliver(self, *ids: str, **columns: Any) -> Delivery:
        hints = [{"object_type": "issue", "external_id": id, "deleted": False} for id in ids or ("10042",)]
        values = {"event": "issue_updated", "verified": True, "outcome": "accepted", "hints": hints, **columns}
        return Delivery.objects.create(connection=self.connection, **values)

    def make_mapping(self, name: str = "Support") -> SyncMapping:
        other, _ = Connection.objects.get_or_create(
            name="Right", defaults={"kind": "pretend", "address": "https://right.example"}
        )
        return SyncMapping.objects.create(
            name=name,
            slug=name.lower(),
            left_connection=self.connection,
            left_object_type="issue",
            left_scope={"project": "SUP"},
            right_connection=other,
            right_object_type="case",
        )


class AccessTests(ConnectionPagesCase):
    def test_reading_is_open_to_those_who_set_up_or_inspect(self) -> None:
        for url in ("/connections/", self.url(), self.url("live/"), self.url("live/first/"), self.url("deliveries/")):
            self.assert_access(url, allowed={"admin", "operator", "auditor"})

    def test_only_admins_change_connections(self) -> None:
        for url in ("/connections/add/", "/connections/add/pretend/", self.url("edit/"), self.url("delete/")):
            self.assert_access(url, allowed={"admin"})
        for verb in ("accept/", "webhook/", "webhook/end/", "webhook/address/"):
            self.assert_access(self.url(verb), allowed={"admin"}, method="post")

    def test_operators_test_browse_pause_and_resume(self) -> None:
        self.assert_access(self.url("browse/"), allowed={"admin", "operator"})
        for verb in ("test/", "probe/", "pause/", "resume/"):
            self.assert_access(self.url(verb), allowed={"admin", "operator"}, method="post")

    def test_acts_are_not_done_by_following_a_link(self) -> None:
        self.as_("admin")
        acts = ("test/", "probe/", "windows/", "resume/", "accept/", "webhook/", "webhook/end/", "webhook/address/")
        for verb in acts:
            self.assertEqual(self.client.get(self.url(verb)).status_code, 405)

    def test_an_auditor_sees_no_button_that_writes(self) -> None:
        self.as_("auditor")
        self.deliver()
        for url in ("/connections/", self.url(), self.url("live/"), self.url("deliveries/")):
            html = self.client.get(url).content.decode()
            content = html[html.index('id="content"') :]
            self.assertNotIn('method="post"', content)
            self.assertNotIn("/edit/", content)

    def test_the_webhook_address_is_shown_to_admins_alone(self) -> None:
        for name, seen in (("admin", True), ("operator", False), ("auditor", False)):
            self.as_(name)
            for url in (self.url(), self.url("live/")):
                html = self.client.get(url).content.decode()
                self.assertEqual(self.connection.webhook_token in html, seen, name)

    def test_a_role_for_chosen_mappings_shows_their_connections_alone(self) -> None:
        mapping = self.make_mapping()
        hidden = Connection.objects.create(name="Hidden", kind="pretend", address="https://hidden.example")
        assignment = RoleAssignment.objects.create(user=self.stranger, role="operator", everywhere=False)
        mapping.assignments.add(assignment)
        self.as_("stranger")
        html = self.client.get("/connections/").content.decode()
        self.assertIn("https://left.example".removeprefix("https://"), html)
        self.assertNotIn("hidden.example", html)
        self.assertEqual(self.client.get(f"/connections/{hidden.pk}/").status_code, 404)
        self.assertEqual(self.client.post(f"/connections/{hidden.pk}/test/").status_code, 404)
        self.assertEqual(self.client.post(self.url("pause/"), {"reason": "their upgrade"}).status_code, 403)


class FormTests(ConnectionPagesCase):
    def setUp(self) -> None:
        super().setUp()
        self.as_("admin")

    def test_a_connection_is_created_from_the_connector_s_declaration(self) -> None:
        page = self.client.get("/connections/add/pretend/").content.decode()
        self.assertIn("Like https://pretend.example.", page)
        self.assertIn('data-show-if="method=key"', page)
        data = self.given(name="New", address="https://new.example/", email="a@b.example", token=SECRET)
        response = self.client.post("/connections/add/pretend/", data)
        made = Connection.objects.get(name="New")
        self.assertRedirects(response, f"/connections/{made.pk}/", fetch_redirect_response=False)
        self.assertEqual(made.address, "https://new.example")
        self.assertEqual(made.secrets["token"], SECRET)
        self.assertEqual(made.settings, {"method": "token", "email": "a@b.example", "login": "", "webhook_senders": ""})
        entry = AuditEntry.objects.get(code="connection_created")
        self.assertEqual(entry.actor, "admin")
        self.assertEqual(entry.values["after"]["secrets"], ["token"])
        self.assertNotIn(SECRET, str(entry.values) + str(entry.params))

    def test_what_a_choice_hides_is_neither_needed_nor_kept(self) -> None:
        data = self.given(name="New", method="key", email="left over", key="-----BEGIN KEY-----\nx")
        self.client.post("/connections/add/pretend/", data)
        made = Connection.objects.get(name="New")
        self.assertEqual(made.settings["email"], "")
        self.assertEqual(made.secrets["key"], "-----BEGIN KEY-----\nx")

    def test_a_needed_field_that_is_empty_is_named(self) -> None:
        response = self.client.post("/connections/add/pretend/", self.given(name="New"))
        self.assertContains(response, "This is needed.", status_code=422)
        self.assertFalse(Connection.objects.filter(name="New").exists())

    def test_stored_secrets_are_hinted_at_and_never_drawn(self) -> None:
        for url in (self.url("edit/"), self.url()):
            html = self.client.get(url).content.decode()
            self.assertNotIn(SECRET, html)
            self.assertIn("•••• 6789", html)

    def test_a_rejected_form_does_not_send_the_typed_secret_back(self) -> None:
        data = self.given(name="New", method="key", key="typed-private-key", token="typed-token", address="nonsense")
        response = self.client.post("/connections/add/pretend/", data)
        self.assertContains(response, 'value="New"', status_code=422)
        self.assertNotContains(response, "typed-private-key", status_code=422)
        self.assertNotContains(response, "typed-token", status_code=422)

    def test_an_empty_secret_keeps_the_stored_one(self) -> None:
        self.client.post(self.url("edit/"), self.given(name="Renamed"))
        self.connection.refresh_from_db()
        self.assertEqual((self.connection.name, self.connection.secrets["token"]), ("Renamed", SECRET))

    def test_a_form_that_is_older_than_another_save_says_so_and_writes_nothing_over_it(self) -> None:
        mine = self.given(email="mine@left.example", token="typed-secret")
        self.client.post(self.url("edit/"), self.given(email="theirs@left.example"))
        page = self.client.post(self.url("edit/"), mine)
        self.assertContains(page, "Somebody else saved this while you were editing", status_code=409)
        self.assertContains(page, '<td data-l="Stored now">theirs@left.example</td>', status_code=409)
        self.assertContains(page, "Enter it again, then save", status_code=409)
        self.assertNotContains(page, "typed-secret", status_code=409)
        self.connection.refresh_from_db()
        self.assertEqual(self.connection.settings["email"], "theirs@left.example")
        seen = str(page.content).split('name="seen" value="')[1][:16]
        self.assertEqual(self.client.post(self.url("edit/"), {**mine, "seen": seen}).status_code, 302)
        self.connection.refresh_from_db()
        self.assertEqual(self.connection.settings["email"], "mine@left.example")

    def test_a_changed_address_asks_for_the_secret_again(self) -> None:
        response = self.client.post(self.url("edit/"), self.given(address="https://elsewhere.example"))
        self.assertContains(response, "Enter it again", status_code=422)
        self.connection.refresh_from_db()
        self.assertEqual(self.connection.address, "https://left.example")
        data = self.given(address="https://elsewhere.example", token="another-secret")
        self.assertEqual(self.client.post(self.url("edit/"), data).status_code, 302)
        self.connection.refresh_from_db()
        self.assertEqual(self.connection.secrets["token"], "another-secret")

    def test_a_changed_login_address_asks_for_the_secret_again_too(self) -> None:
        response = self.client.post(self.url("edit/"), self.given(login="https://evil.example"))
        self.assertContains(response, "Enter it again", status_code=422)

    def test_a_stored_secret_that_the_form_hides_does_not_follow_to_another_address(self) -> None:
        data = self.given(address="https://elsewhere.example", method="key", email="", key="new-private-key")
        self.assertEqual(self.client.post(self.url("edit/"), data).status_code, 302)
        self.connection.refresh_from_db()
        self.assertEqual(dict(self.connection.secrets), {"key": "new-private-key"})

    def test_replacing_a_secret_drops_the_tokens_and_asks_for_a_test(self) -> None:
        Connection.objects.filter(pk=self.connection.pk).update(tokens={"access": "x"}, state="ok")
        self.client.post(self.url("edit/"), self.given(token="another-secret"))
        self.connection.refresh_from_db()
        self.assertEqual((dict(self.connection.tokens), self.connection.state), ({}, "untested"))
        entry = AuditEntry.objects.get(code="connection_changed")
        self.assertEqual(entry.params["replaced"], ["API token"])
        self.assertNotIn("another-secret", str(entry.values) + str(entry.params))

    def test_saving_a_setting_does_not_end_the_halt_for_another_account(self) -> None:
        columns = {"account_id": "a-1", "state": "account_changed", "state_reason": "Somebody Else answers."}
        Connection.objects.filter(pk=self.connection.pk).update(**columns)
        self.client.post(self.url("edit/"), self.given(login="https://login.example", token="another-secret"))
        self.connection.refresh_from_db()
        self.assertEqual((self.connection.state, self.connection.usable), ("account_changed", False))
        self.assertContains(self.client.get(self.url()), "Its settings were changed since then")
        Pretend.answer = CheckResult("a-1", "Sync User")
        self.client.post(self.url("test/"))
        self.connection.refresh_from_db()
        self.assertEqual((self.connection.state, self.connection.test_due), ("ok", False))

    def test_renaming_alone_leaves_the_state(self) -> None:
        Connection.objects.filter(pk=self.connection.pk).update(state="ok")
        self.client.post(self.url("edit/"), self.given(name="Renamed"))
        self.connection.refresh_from_db()
        self.assertEqual(self.connection.state, "ok")

    def test_addresses_the_guard_refuses_are_not_saved(self) -> None:
        for address in (
            "http://169.254.169.254/latest",
            "http://127.0.0.1:6379",
            "ftp://left.example",
            "https://a:b@x.example",
        ):
            with self.subTest(address=address):
                response = self.client.post(self.url("edit/"), self.given(address=address, token=SECRET))
                self.assertContains(response, "Nothing was sent.", status_code=422)

    def test_names_are_unique_without_regard_to_case(self) -> None:
        response = self.client.post("/connections/add/pretend/", self.given(name="left", token=SECRET))
        self.assertContains(response, "of this name already", status_code=422)

    def test_saving_leaves_what_workers_keep_in_the_row(self) -> None:
        def meanwhile(*args: Any) -> None:
            Connection.objects.filter(pk=self.connection.pk).update(facts={"state": {"replay": "41"}})

        with patch("connections.forms.check_address", side_effect=meanwhile):
            self.client.post(self.url("edit/"), self.given(name="Renamed"))
        self.connection.refresh_from_db()
        self.assertEqual(self.connection.facts, {"state": {"replay": "41"}})


class DeleteTests(ConnectionPagesCase):
    def test_a_connection_in_use_is_not_deleted_and_its_mappings_are_named(self) -> None:
        self.make_mapping("Support")
        self.as_("admin")
        self.assertContains(self.client.post(self.url("delete/")), "Support", status_code=409)
        self.assertTrue(Connection.objects.filter(pk=self.connection.pk).exists())

    def test_an_unused_connection_goes_and_the_audit_log_keeps_it(self) -> None:
        self.as_("admin")
        self.client.post(self.url("delete/"))
        self.assertFalse(Connection.objects.filter(name="Left").exists())
        self.assertEqual(
            AuditEntry.objects.get(code="connection_deleted").values["before"]["address"], "https://left.example"
        )


class BehaviourTests(ConnectionPagesCase):
    def test_a_system_without_condition_and_history_says_that_an_overwritten_edit_cannot_be_detected(self) -> None:
        self.as_("operator")
        self.assertContains(self.client.get(self.url()), f"{BLIND} {REPLACED}")

    def test_a_bell_that_tells_of_deletions_does_not_spare_the_listing(self) -> None:
        self.as_("operator")
        page = self.client.get(self.url())
        self.assertContains(page, "told by its webhook, and looked for in a complete listing every hour")


class TestTests(ConnectionPagesCase):
    def test_a_good_test_shows_account_clock_limit_and_what_is_missing(self) -> None:
        Pretend.answer = CheckResult(
            "a-1",
            "Sync User",
            missing=["Browse projects (Project settings, Permissions)"],
            clock_offset=7.5,
            rate_limit="100 a minute.",
            notes=["Creates are safe to repeat."],
            personal_account=True,
            tenant="site-1",
        )
        self.as_("operator")
        self.client.post(self.url("test/"))
        page = self.client.get(self.url())
        for text in (
            "Sync User",
            "Browse projects",
            "7.5 s",
            "100 a minute.",
            "Creates are safe",
            "A person seems to use",
        ):
            self.assertContains(page, text)
        self.assertEqual(AuditEntry.objects.get(code="connection_tested").actor, "operator")

    def test_an_account_shared_with_another_connection_is_warned_about(self) -> None:
        Connection.objects.create(
            name="Twin", kind="pretend", address="https://x.example", account_id="a-1", tenant="site-1"
        )
        self.as_("admin")
        self.client.post(self.url("test/"))
        self.assertContains(self.client.get(self.url()), "The connection Twin uses the same account.")

    def test_a_failed_sign_in_says_so_and_nothing_is_lost(self) -> None:
        Pretend.answer = NeedsAuthorization("The token was revoked.")
        self.as_("admin")
        page = self.client.post(self.url("test/"), follow=True)
        self.assertContains(page, "The token was revoked.")
        self.assertContains(page, "Sign in again")
        self.assertEqual(
            AuditEntry.objects.get(code="connection_test_failed").params["message"], "The token was revoked."
        )

    def test_another_account_halts_until_a_person_accepts_it(self) -> None:
        mapping = self.make_mapping()
        self.as_("admin")
        self.client.post(self.url("test/"))
        WOKEN.clear()
        Pretend.answer = CheckResult("a-2", "Somebody Else", tenant="site-1")
        self.assertContains(self.client.post(self.url("test/"), follow=True), "Another account or site answers")
        self.assertEqual(WOKEN, [])
        self.client.post(self.url("accept/"), {"account_id": "a-2", "tenant": "site-1"})
        self.connection.refresh_from_db()
        self.assertEqual((self.connection.state, self.connection.account_name), ("ok", "Somebody Else"))
        self.assertEqual(WOKEN, [mapping.pk])
        self.assertEqual(
            AuditEntry.objects.get(code="connection_account_accepted").values["before"]["account"], "Sync User"
        )

    def test_only_the_account_that_was_shown_is_accepted(self) -> None:
        self.as_("admin")
        for account in ("a-1", "a-2"):
            Pretend.answer = CheckResult(account, account, tenant="site-1")
            self.client.post(self.url("test/"))
        page = self.client.get(self.url())
        shown = {"account_id": "a-2", "tenant": "site-1"}
        for name, value in shown.items():
            self.assertContains(page, f'name="{name}" value="{value}"')
        Pretend.answer = CheckResult("a-3", "a-3", tenant="site-1")
        self.client.post(self.url("test/"))  # by somebody else, while the page is open
        refused = self.client.post(self.url("accept/"), shown, follow=True)
        self.assertContains(refused, "Nothing was accepted")
        self.assertContains(refused, "it was a-1")
        self.connection.refresh_from_db()
        self.assertEqual((self.connection.state, self.connection.account_id), ("account_changed", "a-1"))

    def test_a_pause_is_ended_by_a_person_alone_and_wakes_what_waited(self) -> None:
        mapping = self.make_mapping()
        self.as_("operator")
        self.client.post(self.url("pause/"), {"reason": "their upgrade"})
        self.client.post(self.url("test/"))
        self.connection.refresh_from_db()
        self.assertEqual(self.connection.state, "paused")
        self.client.post(self.url("resume/"))
        self.connection.refresh_from_db()
        self.assertEqual((self.connection.state, WOKEN), ("untested", [mapping.pk]))
        codes = set(AuditEntry.objects.values_list("code", flat=True))
        self.assertLessEqual({"connection_paused_for", "connection_resumed"}, codes)

    def test_settings_that_are_saved_end_no_pause_that_began_while_the_form_was_checked(self) -> None:
        self.as_("admin")
        for changed in ({"email": "other@left.example"}, {"token": "another-secret"}):
            Connection.objects.update(state="ok", state_reason="")

            def meanwhile(address: str) -> None:
                Connection.objects.update(state="paused", state_reason="mira paused it.")

            with patch("connections.forms.check_address", meanwhile):
                self.client.post(self.url("edit/"), self.given(**changed))
            self.connection.refresh_from_db()
            self.assertEqual((self.connection.state, self.connection.state_reason), ("paused", "mira paused it."))
        self.assertEqual(self.connection.settings["email"], "sync@left.example")
        self.assertEqual(self.connection.secrets["token"], "another-secret")

    def test_pausing_does_not_hide_that_another_account_answers(self) -> None:
        self.as_("admin")
        self.client.post(self.url("test/"))
        Pretend.answer = CheckResult("a-2", "Somebody Else", tenant="site-1")
        self.client.post(self.url("test/"))
        self.client.post(self.url("pause/"), {"reason": "their upgrade"})
        self.client.post(self.url("resume/"))
        self.connection.refresh_from_db()
        self.assertEqual(self.connection.state, "account_changed")


class DeliveryLogTests(ConnectionPagesCase):
    def setUp(self) -> None:
        super().setUp()
        RUNG.clear()
        setting = override_settings(BELL="connections.tests.test_connection_pages.record_ring")
        setting.enable()
        self.addCleanup(setting.disable)

    def test_each_outcome_is_said_in_words(self) -> None:
        for outcome in Delivery.Outcome:
            self.deliver(outcome=outcome, reason="It was like this.", unlisted=1200)
        self.as_("auditor")
        page = self.client.get(self.url("deliveries/"))
        for outcome in Delivery.Outcome:
            self.assertContains(page, outcome.label)
        for text in ("It was like this.", "no mapping here syncs", "Nothing proves who sent it", "1,200 more like it"):
            self.assertContains(page, text)

    def test_filters_narrow_the_list_and_say_so_when_nothing_fits(self) -> None:
        self.deliver("10042", sender="203.0.113.7")
        self.deliver("10043", event="comment_created", outcome="duplicate")
        self.as_("auditor")
        for query, seen in (
            ("outcome=duplicate", "10043"),
            ("event=COMMENT", "10043"),
            ("record=10042", "10042"),
            ("from=203.0.113.7", "10042"),
        ):
            page = self.client.get(self.url(f"deliveries/?{query}")).content.decode()
            other = {"10042": "10043", "10043": "10042"}[seen]
            self.assertIn(f'dim">{seen}<', page, query)
            self.assertNotIn(f'dim">{other}<', page, query)
        self.assertContains(self.client.get(self.url("deliveries/?until=2020-01-01")), "No webhook fits this filter")

    def test_a_long_log_is_read_page_by_page_with_a_fixed_number_of_queries(self) -> None:
        self.as_("auditor")
        self.deliver()
        with CaptureQueriesContext(connection) as with_one:
            self.client.get(self.url("deliveries/"))
        for number in range(60):
            self.deliver(str(number))
        with CaptureQueriesContext(connection) as with_many:
            page = self.client.get(self.url("deliveries/"))
        self.assertLessEqual(len(with_many), len(with_one) + 1)
        self.assertContains(page, "after=")

    def test_looking_again_is_for_those_who_run_things(self) -> None:
        one = self.deliver()
        for verb in ("deliveries/replay/", f"deliveries/{one.pk}/replay/"):
            self.assert_access(self.url(verb), allowed={"admin", "operator"}, method="post")
            self.as_("operator")
            self.assertEqual(self.client.get(self.url(verb)).status_code, 405)

    def test_one_delivery_s_records_are_looked_at_again_and_prove_nothing(self) -> None:
        one = self.deliver("10042", "10043")
        self.as_("operator")
        self.client.post(self.url(f"deliveries/{one.pk}/replay/"))
        self.assertEqual([(hint.external_id, hint.own_account) for hint in RUNG], [("10042", False), ("10043", False)])
        entry = AuditEntry.objects.get(code="deliveries_replayed")
        self.assertEqual((entry.actor, entry.params["records"], entry.params["number"]), ("operator", 2, 1))

    def test_a_span_is_looked_at_again_each_record_once_and_what_was_refused_never(self) -> None:
        now = timezone.now()
        kinds: tuple[tuple[int, dict[str, Any]], ...] = ((1, {}), (2, {}), (3, {"outcome": "refused"}), (30, {}))
        for hours, columns in kinds:
            self.deliver(str(hours), "same", received_at=now - timedelta(hours=hours), **columns)
        self.as_("admin")
        span = {"since": f"{now - timedelta(hours=5):%Y-%m-%dT%H:%M}", "until": f"{now:%Y-%m-%dT%H:%M}"}
        self.client.post(self.url("deliveries/replay/"), span)
        self.assertEqual(sorted(hint.external_id for hint in RUNG), ["1", "2", "same"])

    def test_a_span_without_an_end_or_with_too_many_records_marks_nothing(self) -> None:
        self.deliver(*(str(number) for number in range(5)))
        self.as_("admin")
        spans: tuple[dict[str, str], ...] = (
            {},
            {"since": "2026-01-02T00:00", "until": "2026-01-01T00:00"},
            {"since": "x", "until": "2026-13-45T00:00"},
        )
        for span in spans:
            page = self.client.post(self.url("deliveries/replay/"), span, follow=True)
            self.assertContains(page, "Nothing was looked at again")
        with patch("connections.views.deliveries.MOST_RECORDS", 4):
            span = {"since": "2020-01-01T00:00", "until": "2100-01-01T00:00"}
            page = self.client.post(self.url("deliveries/replay/"), span, follow=True)
        self.assertContains(page, "Choose a shorter span")
        self.assertEqual(RUNG, [])

    def test_a_role_for_chosen_mappings_does_not_look_again_for_all(self) -> None:
        mapping = self.make_mapping()
        mapping.assignments.add(RoleAssignment.objects.create(user=self.stranger, role="operator", everywhere=False))
        self.as_("stranger")
        self.assertEqual(self.client.get(self.url("deliveries/")).status_code, 200)
        self.assertEqual(self.client.post(self.url("deliveries/replay/")).status_code, 403)

    def test_a_subscription_that_seems_dead_is_named_with_what_to_do(self) -> None:
        self.make_mapping()
        self.as_("operator")
        with patch("connections.views.health.carried_since", return_value=4):
            for verb in ("", "live/", "deliveries/"):
                page = self.client.get(self.url(verb))
                self.assertContains(page, "No webhook came from Left, while polls found 4 changes.")
                self.assertContains(page, "Set it up (again) at Left")


class BrowseAndWebhookTests(ConnectionPagesCase):
    def test_browse_escapes_what_the_system_holds_and_names_what_is_hidden(self) -> None:
        self.as_("operator")
        page = self.client.get(self.url("browse/"))
        self.assertContains(page, "&lt;script&gt;alert(1)&lt;/script&gt;")
        self.assertNotContains(page, "<script>alert(1)")
        self.assertContains(page, "hidden from our account")
        self.assertContains(page, "P-1")

    def test_browse_says_what_the_system_answered_when_it_fails(self) -> None:
        self.as_("operator")
        with patch.object(Pretend, "object_types", side_effect=NeedsAuthorization("The token was revoked.")):
            self.assertContains(self.client.get(self.url("browse/")), "The token was revoked.")

    def test_the_webhook_is_set_up_for_what_the_mappings_need(self) -> None:
        self.make_mapping()
        self.as_("admin")
        for _ in range(2):  # what was set up before is replaced
            self.client.post(self.url("webhook/"))
        self.assertEqual([(list(types), scope) for types, scope, _ in SUBSCRIBED], [(["issue"], {"project": "SUP"})])
        self.assertTrue(SUBSCRIBED[0][2].endswith(f"/hooks/{self.connection.webhook_token}/"))

    def test_refused_deliveries_are_shown_with_their_reason_and_unread(self) -> None:
        refused = "The signature does not match."
        Delivery.objects.create(connection=self.connection, outcome="refused", reason=refused, size=640)
        self.deliver()
        self.as_("auditor")
        page = self.client.get(self.url())
        for text in ("The signature does not match.", "not read", "1 refused", "10042"):
            self.assertContains(page, text)

    def test_only_what_was_set_up_is_audited_as_set_up(self) -> None:
        self.as_("admin")
        self.client.post(self.url("webhook/"))  # no mapping says what for
        self.make_mapping()
        Pretend.answer = NotAllowed("Our account may not.")
        self.assertContains(self.client.post(self.url("webhook/"), follow=True), "Our account may not.")
        with patch.object(Pretend, "capabilities", Capabilities(bell="webhook")):
            self.assertContains(self.client.post(self.url("webhook/"), follow=True), "Follow the steps below.")
        self.connection.refresh_from_db()
        self.assertIsNone(self.connection.webhook_set_up_at)
        self.assertFalse(AuditEntry.objects.filter(code="webhook_set_up").exists())
        Pretend.answer = CheckResult("a-1", "Sync User")
        self.client.post(self.url("webhook/"))
        self.connection.refresh_from_db()
        self.assertIsNotNone(self.connection.webhook_set_up_at)
        self.assertEqual(AuditEntry.objects.get(code="webhook_set_up").actor, "admin")

    def test_ending_it_is_asked_of_the_system_and_audited(self) -> None:
        self.make_mapping()
        self.as_("admin")
        self.client.post(self.url("webhook/"))
        self.client.post(self.url("webhook/end/"))
        self.connection.refresh_from_db()
        self.assertEqual((SUBSCRIBED, self.connection.webhook_set_up_at), ([], None))
        self.assertTrue(AuditEntry.objects.filter(code="webhook_ended").exists())

    def test_a_replaced_address_is_registered_at_once_where_we_registered_the_old_one(self) -> None:
        self.make_mapping()
        self.as_("admin")
        old, space = self.connection.webhook_token, self.connection.key_space
        self.client.post(self.url("webhook/address/"))
        self.assertEqual(SUBSCRIBED, [])
        self.client.post(self.url("webhook/"))
        Connection.objects.filter(pk=self.connection.pk).update(bell_first_at=timezone.now())
        self.client.post(self.url("webhook/address/"))
        self.connection.refresh_from_db()
        self.assertNotEqual(self.connection.webhook_token, old)
        self.assertTrue(SUBSCRIBED[0][2].endswith(f"/hooks/{self.connection.webhook_token}/"))
        self.assertIsNone(self.connection.bell_first_at)  # the new one has to prove itself
        self.assertEqual(self.connection.key_space, space)  # the keys in the systems stay what they are
        self.assertEqual(AuditEntry.objects.filter(code="webhook_address_replaced").count(), 2)

    def test_the_steps_by_hand_are_shown_to_be_copied_and_nothing_in_them_is_markup(self) -> None:
        self.make_mapping()
        self.as_("admin")
        page = self.client.get(self.url("live/"))
        self.assertContains(page, f"hook &lt;http://127.0.0.1:8000/hooks/{self.connection.webhook_token}/&gt;</pre>")
        self.assertContains(page, 'data-copy="#step-1"')
        self.assertNotContains(page, "<script>")

    def test_the_page_waits_for_the_first_event_and_then_says_when_it_came(self) -> None:
        self.as_("operator")
        waiting = self.client.get(self.url("live/first/"))
        self.assertContains(waiting, "Waiting for the first event")
        self.assertContains(waiting, 'hx-trigger="every 2s"')
        Connection.objects.filter(pk=self.connection.pk).update(bell_first_at=timezone.now())
        came = self.client.get(self.url("live/first/"))
        self.assertContains(came, "First event received")
        self.assertNotContains(came, "hx-get")

    def test_a_list_of_senders_is_saved_checked_and_asks_for_no_new_test(self) -> None:
        Connection.objects.filter(pk=self.connection.pk).update(state="ok")
        self.as_("admin")
        wrong = self.client.post(self.url("edit/"), self.given(webhook_senders="acme.example"))
        self.assertContains(wrong, "is no address and no network", status_code=422)
        self.client.post(self.url("edit/"), self.given(webhook_senders="203.0.113.7, 198.51.100.0/24"))
        self.connection.refresh_from_db()
        self.assertEqual(self.connection.settings["webhook_senders"], "203.0.113.7/32\n198.51.100.0/24")
        self.assertEqual(self.connection.state, "ok")

    def test_a_wait_that_the_system_asked_for_is_shown_as_waiting(self) -> None:
        Connection.objects.filter(pk=self.connection.pk).update(retry_after=timezone.now() + timedelta(minutes=5))
        self.as_("operator")
        self.assertContains(self.client.get(self.url()), "asked us to slow down")

    def stop_answering(self) -> None:
        now = timezone.now()
        Connection.objects.filter(pk=self.connection.pk).update(
            state="unreachable",
            state_reason="Left did not answer within 20 s.",
            failures=5,
            down_since=now - timedelta(minutes=7),
            probe_at=now + timedelta(seconds=20),
        )

    def test_calls_are_shown_by_lane_with_what_becomes_of_them(self) -> None:
        spent = Calls(
            Counter(live=1200, backfill=900),
            Counter(live=9000, backfill=4000, verify=77),
            quota=Quota(15_000, 1_000, window=86_400.0),
        )
        self.as_("auditor")
        with patch("connections.calls.counted", lambda pk: spent):
            page = self.client.get(self.url())
        for text in (
            "Live edits, and people",
            "Verifications",
            "2,100",
            "13,077",
            "50 % of it",
            "1,000 of 15,000 calls are left in 24 h",
            "they run out in 29 min",
            "live edits go on until the last call",
        ):
            self.assertContains(page, text)
        with patch("connections.calls.counted", lambda pk: Calls(since=timezone.now())):
            page = self.client.get(self.url())
        for text in ("does not tell how many calls are left", "36,000 an hour", "0 % of it", "Counted since"):
            self.assertContains(page, text)
        with patch("connections.calls.counted", lambda pk: Calls(known=False)):
            self.assertContains(self.client.get(self.url()), "Nothing depends on them")

    def test_a_system_that_does_not_answer_is_told_with_since_why_and_the_next_try(self) -> None:
        self.stop_answering()
        self.as_("auditor")
        page = self.client.get(self.url())
        for text in ("does not answer, since", "did not answer within 20 s", "Nothing was lost", "the next one at"):
            self.assertContains(page, text)
        self.assertNotContains(page, "Try now")

    def test_try_now_probes_at_once_and_says_what_came_of_it(self) -> None:
        self.make_mapping()
        self.as_("operator")
        self.assertContains(self.client.post(self.url("probe/"), follow=True), "called as usual")
        self.stop_answering()
        self.assertContains(self.client.get(self.url()), "Try now")
        Pretend.answer = Retry("Left did not answer.")
        self.assertContains(self.client.post(self.url("probe/"), follow=True), "still does not answer")
        Connection.objects.update(probing_until=timezone.now() + timedelta(seconds=60))
        self.assertContains(self.client.post(self.url("probe/"), follow=True), "is being tried just now")
        Connection.objects.update(probing_until=None)
        Pretend.answer = CheckResult("a-1", "Sync User", tenant="site-1")
        WOKEN.clear()
        page = self.client.post(self.url("probe/"), follow=True)
        self.assertContains(page, "answers again")
        self.assertNotContains(page, 'id="breaker"')
        self.connection.refresh_from_db()
        self.assertEqual((self.connection.state, self.connection.down_since), ("ok", None))
        self.assertTrue(WOKEN)

    def test_a_paused_system_is_not_said_to_be_tried_nor_to_go_on(self) -> None:
        self.stop_answering()
        self.as_("operator")

        def pause(connector: Pretend) -> CheckResult:
            Connection.objects.update(state="paused", state_reason="mira paused it.")
            return Pretend.answer

        with patch.object(Pretend, "check", pause):
            page = self.client.post(self.url("probe/"), follow=True)
        self.assertContains(page, "No run calls it before the pause ends")
        self.assertNotContains(page, "What waited goes out now")
        self.stop_answering()
        Connection.objects.update(state="paused", state_reason="mira paused it.", paused_by="mira")
        page = self.client.get(self.url())
        self.assertContains(page, "Left is paused until somebody resumes it")
        self.assertNotContains(page, 'id="breaker"')
        self.assertContains(self.client.post(self.url("probe/"), follow=True), "No run calls it before the pause ends")

    def test_what_answers_again_but_refuses_our_sign_in_is_not_said_to_go_on(self) -> None:
        self.stop_answering()
        self.as_("operator")
        Pretend.answer = NeedsAuthorization("The token was revoked.")
        page = self.client.post(self.url("probe/"), follow=True)
        self.assertContains(page, "answers again, but needs a person")
        self.assertNotContains(page, "What waited goes out now")

    def test_a_test_during_a_pause_says_that_another_account_answers(self) -> None:
        self.as_("operator")
        self.client.post(self.url("test/"))
        self.client.post(self.url("pause/"), {"reason": "their upgrade"})
        Pretend.answer = CheckResult("a-2", "Somebody Else", tenant="site-1")
        self.assertContains(self.client.post(self.url("test/"), follow=True), "answers, but as somebody else")

    def test_a_good_test_ends_the_outage_too(self) -> None:
        self.stop_answering()
        self.as_("operator")
        self.client.post(self.url("test/"))
        self.connection.refresh_from_db()
        self.assertEqual((self.connection.down_since, self.connection.failures), (None, 0))

    def test_the_list_of_many_connections_takes_a_fixed_number_of_queries(self) -> None:
        self.as_("auditor")
        with CaptureQueriesContext(connection) as with_one:
            self.client.get("/connections/")
        for number in range(5):
            Connection.objects.create(name=f"More {number}", kind="pretend", address="https://more.example")
        with CaptureQueriesContext(connection) as with_six:
            self.client.get("/connections/")
        # What the frame keeps for a few seconds may run out in between: one query, not one a connection.
        self.assertLessEqual(len(with_six), len(with_one) + 1)
