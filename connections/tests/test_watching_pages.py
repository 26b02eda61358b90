"""The page of triggers: who reaches it, what it shows, and that a click installs and removes them."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path

from django.test import override_settings

from connections.models import Connection
from sync.models import AuditEntry
from syncadmin.tests.cases import RolesCase


class WatchingPageTests(RolesCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        settings = override_settings(SQLITE_FOLDER=folder.name)
        settings.enable()
        self.addCleanup(settings.disable)
        self.file = Path(folder.name) / "shop.db"
        shop = sqlite3.connect(self.file)
        shop.executescript(
            "CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, note TEXT);"
            "CREATE TABLE keyless (note TEXT);"
            "CREATE VIEW big AS SELECT id FROM orders"
        )
        shop.close()
        self.connection = Connection.objects.create(name="Shop", kind="sqlite", address="sqlite:///shop.db")

    def url(self, verb: str = "triggers/") -> str:
        return f"/connections/{self.connection.pk}/{verb}"

    def triggers(self) -> int:
        shop = sqlite3.connect(self.file)
        try:
            return int(shop.execute("SELECT COUNT(*) FROM sqlite_master WHERE type = 'trigger'").fetchone()[0])
        finally:
            shop.close()

    def test_only_admins_reach_it(self) -> None:
        self.assert_access(self.url(), allowed={"admin"})
        given = {"act": "install", "object_type": "orders"}
        self.assert_access(self.url(), allowed={"admin"}, method="post", data=given)

    def test_it_shows_each_table_and_says_of_others_why_not(self) -> None:
        self.as_("admin")
        page = self.client.get(self.url()).content.decode()
        self.assertIn("not installed", page)
        self.assertIn("CREATE TRIGGER", page)
        self.assertIn("has no primary key", page)

    def test_a_click_installs_and_another_removes_and_both_are_audited(self) -> None:
        self.as_("admin")
        given = {"object_type": "orders", "act": "install"}
        self.assertContains(self.client.post(self.url(), given, follow=True), "is written down from now on")
        self.assertEqual(self.triggers(), 3)
        self.assertContains(self.client.get(self.url()), "Remove")
        self.client.post(self.url(), {**given, "act": "remove"})
        self.assertEqual(self.triggers(), 0)
        codes = list(AuditEntry.objects.order_by("pk").values_list("code", flat=True))
        self.assertEqual(codes, ["watch_installed", "watch_removed"])

    def test_what_cannot_be_done_is_said_and_not_audited(self) -> None:
        self.as_("admin")
        answer = self.client.post(self.url(), {"object_type": "keyless", "act": "install"}, follow=True)
        self.assertContains(answer, "Nothing was changed")
        self.file.unlink()
        self.assertContains(self.client.get(self.url()), "It could not be read.")
        self.assertFalse(AuditEntry.objects.exists())

    def test_systems_that_need_no_triggers_have_no_such_page(self) -> None:
        self.as_("admin")
        jira = Connection.objects.create(name="Jira", kind="jira", address="https://acme.atlassian.net")
        self.assertEqual(self.client.get(f"/connections/{jira.pk}/triggers/").status_code, 404)
        self.assertNotContains(self.client.get(f"/connections/{jira.pk}/"), "Triggers")
        shown = self.client.get(self.url(""))
        self.assertContains(shown, "Triggers")
        self.assertNotContains(shown, 'href="sqlite')

    def test_the_form_takes_a_database_address_and_refuses_others(self) -> None:
        self.as_("admin")
        given = {"name": "Other", "mode": "read_write", "changes": "triggers", "zone": "UTC"}
        for address, status in (("https://example.com", 422), ("sqlite:///shop.db", 302)):
            answer = self.client.post("/connections/add/sqlite/", {**given, "address": address})
            self.assertEqual(answer.status_code, status, answer.content.decode()[:2000])
