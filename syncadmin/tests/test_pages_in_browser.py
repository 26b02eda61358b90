"""Our pages in a real browser: no message about the content policy, no accessibility finding, nothing overflows."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import AbstractContextManager

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from django.contrib.staticfiles.testing import StaticLiveServerTestCase
from django.test import override_settings
from playwright.sync_api import BrowserContext, Page

from connections.models import Connection, Delivery, RoleAssignment
from connections.tests.rest_documents import WHOLE
from mappings.models import Mapping, MappingVersion
from sync.models import Conflict, Link, MappingState, Verification, VerifiedDifference
from sync.verify_pairs import no_counts
from syncadmin.tests.browsing import browsing

pytestmark = pytest.mark.same_everywhere
NARROW, WIDE = (360, 740), (1440, 900)
SERIOUS = {"serious", "critical"}


class PagesInBrowserTests(StaticLiveServerTestCase):
    def setUp(self) -> None:
        self.person = User.objects.create_user("admin", password="right-password", first_name="Mira")
        RoleAssignment.objects.create(user=self.person, role="admin")
        self.jira = self.connection("Jira", "jira", bell_seen_at=None)
        self.shop = self.database()
        self.api = self.connection("An API", "rest", settings={"draft": WHOLE})
        self.org = self.connection("Org with a rather long name, production", "salesforce", state="sign_in")
        refused = "The signature does not match our secret."
        Delivery.objects.create(connection=self.jira, outcome="refused", reason=refused, sender="203.0.113.7", size=640)
        mapping = Mapping.objects.create(
            name="Support escalations",
            slug="support",
            state="active",
            left_connection=self.jira,
            left_object_type="issue",
            right_connection=self.org,
            right_object_type="Case",
        )
        version = MappingVersion.objects.create(mapping=mapping, number=1, document={"rules": []})
        MappingState.objects.create(mapping=mapping, halt="approval")
        Conflict.objects.create(mapping=mapping, subject="left:1", kind="field", code="both_changed")
        fields = {"body": {"label": "Description", "drift": 1, "agreed": 0, "waiting": 2}}
        counts = {**no_counts(), "pairs": 3, "drift": 1, "waiting": 2, "waits": {"hint": 2}, "fields": fields}
        self.verification = Verification.objects.create(
            mapping=mapping, version=version, kind="sample", state="done", total=3, done=3, counts=counts
        )
        VerifiedDifference.objects.create(
            verification=self.verification,
            link=Link.objects.create(mapping=mapping, left_id="1", left_key="SUP-4812", right_key="00103952"),
            kind="drift",
            rule_id="body",
            field_label="Description",
            left_value="A value that is rather long and has no place where a line could break: " + "x" * 80,
            right_value="",
        )
        self.failed = Conflict.objects.create(
            mapping=mapping, subject="left:2", kind="unmapped", code="value_not_in_map", params={"value": "Won't do"}
        )

    def connection(self, name: str, kind: str, **changes: object) -> Connection:
        return Connection.objects.create(
            name=name,
            kind=kind,
            address=f"https://{kind}.brightwater-international.example",
            secrets={"token": "0123456789abcdef"},
            check_result={"account_name": "Sync", "missing": ["Browse projects"], "notes": ["Creates are safe."]},
            **changes,
        )

    def database(self) -> Connection:
        """An SQLite file with a table that can be watched and one that cannot."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        allowed = override_settings(SQLITE_FOLDER=folder.name)
        allowed.enable()
        self.addCleanup(allowed.disable)
        shop = sqlite3.connect(f"{folder.name}/shop.db")
        shop.executescript(
            "CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, note TEXT); CREATE TABLE keyless (note TEXT)"
        )
        shop.close()
        return Connection.objects.create(name="Shop", kind="sqlite", address="sqlite:///shop.db")

    def browser(self, size: tuple[int, int], scheme: str) -> AbstractContextManager[tuple[BrowserContext, list[str]]]:
        return browsing(self.person, self.live_server_url, size, scheme)

    def pages(self) -> list[str]:
        jira = f"/connections/{self.jira.pk}/"
        return [
            "/",
            "/failures/",
            f"/failures/{self.failed.fingerprint}/",
            "/connections/",
            "/connections/add/",
            "/connections/add/salesforce/",
            "/connections/add/rest/",
            *(f"/connections/{self.api.pk}/api/{where}" for where in ("", "sign-in/", "type.0/", "type.0.write/")),
            jira,
            f"{jira}edit/",
            f"{jira}delete/",
            f"{jira}pause/",
            f"{jira}live/",
            f"{jira}deliveries/",
            "/connections/add/postgresql/",
            f"/connections/{self.shop.pk}/",
            f"/connections/{self.shop.pk}/triggers/",
            "/mappings/support/pause/",
            f"/connections/{self.org.pk}/",
            "/users/",
            "/users/add/",
            f"/users/{self.person.pk}/",
            "/queues/",
            "/password/",
            "/mappings/support/verify/",
            f"/verifications/{self.verification.pk}/",
        ]

    def overflow(self, page: Page) -> int:
        width: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return width

    def test_every_page_is_quiet_accessible_and_fits(self) -> None:
        for size, scheme in ((WIDE, "light"), (NARROW, "dark")):
            findings: list[str] = []
            with self.browser(size, scheme) as (context, complaints):
                page = context.new_page()
                for url in self.pages():
                    page.goto(self.live_server_url + url)
                    if self.overflow(page) > 0:
                        findings.append(f"{url} is {self.overflow(page)} px too wide")
                    found = Axe().run(page).response["violations"]
                    findings += [
                        f"{url}: {one['id']} {one['nodes'][0]['html']}" for one in found if one["impact"] in SERIOUS
                    ]
                findings += complaints
            self.assertEqual(findings, [], f"{size} {scheme}")

    def test_the_frame_works_by_keyboard_and_on_a_phone(self) -> None:
        with self.browser(NARROW, "light") as (context, complaints):
            page = context.new_page()
            page.goto(self.live_server_url)
            closed = not page.is_visible("#nav")
            page.focus("[data-nav-open]")
            page.keyboard.press("Enter")
            opened = page.is_visible("#nav")
            page.click("[data-theme-switch]")
            dark = page.evaluate("getComputedStyle(document.documentElement).colorScheme")
            page.keyboard.press("Escape")
            closed_again = not page.is_visible("#nav")
            page.goto(self.live_server_url + "/connections/add/salesforce/")
            hidden = not page.is_visible("#id_private_key")
            page.select_option("#id_sign_in", label="JWT bearer (certificate)")
            shown = page.is_visible("#id_private_key")
            still_dark = page.evaluate("getComputedStyle(document.documentElement).colorScheme")
        self.assertEqual((closed, opened, closed_again), (True, True, True))
        self.assertEqual((dark, still_dark), ("dark", "dark"))
        self.assertEqual((hidden, shown), (True, True))
        self.assertEqual(complaints, [])
