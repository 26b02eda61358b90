"""An API nobody has seen before is set up in a real browser, through the form alone: Kinto, started here."""

from __future__ import annotations

import base64
from contextlib import ExitStack
from unittest.mock import patch

import pytest
from django.contrib.auth.models import User
from django.contrib.staticfiles.testing import StaticLiveServerTestCase
from django.test import override_settings
from playwright.sync_api import Page

from connections.models import Connection, RoleAssignment
from connections.sandbox.base import Server
from connections.tests.real_app import Door
from syncadmin.tests.browsing import browsing

WIDE = (1440, 900)
ANA = {"authorization": "Basic " + base64.b64encode(b"ana:ana-password").decode()}
RECORDS = "/buckets/desk/collections/tickets/records"


def kinto() -> Door:
    pytest.importorskip("kinto")
    from kinto import main

    settings = {f"kinto.{part}_backend": f"kinto.core.{part}.memory" for part in ("storage", "permission", "cache")}
    settings |= {"kinto.userid_hmac_secret": "x", "multiauth.policies": "basicauth", "kinto.paginate_by": "1000"}
    settings["kinto.bucket_create_principals"] = "system.Authenticated"
    door = Door(main({}, **settings))
    door.person("PUT", "/v1/buckets/desk", {"permissions": {"write": ["system.Authenticated"]}}, ANA)
    door.person("PUT", "/v1/buckets/desk/collections/tickets", {}, ANA)
    for title in ("Printer is on fire", "Paper is out"):
        door.person("POST", f"/v1{RECORDS}", {"data": {"title": title, "urgent": True}}, ANA)
    return door


@override_settings(ALLOWED_PRIVATE_ADDRESSES=["127.0.0.1"])
class DescribeInBrowserTests(StaticLiveServerTestCase):
    def test_kinto_is_set_up_through_the_form_and_tried_section_by_section(self) -> None:
        person = User.objects.create_user("admin", password="right-password")
        RoleAssignment.objects.create(user=person, role="admin")
        door = kinto()
        with ExitStack() as stack:
            stack.enter_context(patch("connections.open.Budget.spend", lambda self: None))
            address = stack.enter_context(Server(door, threads=2))
            context, complaints = stack.enter_context(browsing(person, self.live_server_url, WIDE, "light"))
            page = context.new_page()
            page.set_default_timeout(20_000)
            self._describe(page, f"{address}/v1")
            works = page.inner_text("main")
        self.assertIn("Kinto works.", works)
        self.assertEqual(complaints, [])
        row = Connection.objects.get(name="Kinto")
        self.assertEqual(row.state, "ok")
        kinds = {
            each["name"]: each.get("kind", "text") for each in row.settings["definition"]["object_types"][0]["fields"]
        }
        self.assertEqual(kinds["urgent"], "boolean")

    def _describe(self, page: Page, address: str) -> None:
        page.goto(f"{self.live_server_url}/connections/add/rest/")
        page.fill("[name=name]", "Kinto")
        page.fill("[name=address]", address)
        self._go(page, "text=Begin")
        self._go(page)
        page.select_option("[name=authentication__method]", "basic")
        page.fill("[name=own-user]", "sync")
        page.fill("[name=own-password]", "sync-password")
        self._attempt(page, "Signed in")
        self._go(page)
        self._go(page)  # who we are: named after the sign-in
        self._go(page)  # answers: as they usually are
        page.fill("[name=name]", "ticket")
        self._go(page)
        page.fill("[name=list__path]", RECORDS)
        self._attempt(page, "Where the records are: data")
        page.click("[data-fills]")
        page.wait_for_selector("#trial >> text=2 records on 1 page")
        page.check("[data-check-all=place]")
        page.check("[data-check-all=take]")
        self._attempt(page, "2 records on 1 page")  # once more: what is ticked stays so
        self._go(page)
        page.fill("[name=read__record]", "data")
        self._attempt(page, "One record is read")
        self._go(page)
        for name in ("create__wrap", "create__record", "update__wrap", "update__record"):
            page.fill(f"[name={name}]", "data")
        page.check("[name=delete__on]")
        page.fill("[name=delete__path]", f"{RECORDS}/{{id}}")
        self._attempt(page, "This writes to Kinto")
        page.click("text=Yes, send it")
        page.wait_for_selector("#trial >> text=nothing of the try is left")
        self._go(page)
        self._go(page)
        self._go(page, "text=Use it and test")

    def _go(self, page: Page, button: str = "#section button.pri") -> None:
        with page.expect_navigation():
            page.click(button)

    def _attempt(self, page: Page, said: str) -> None:
        """Try the section; it shows this."""
        page.click("button:has-text('Try it')")
        page.wait_for_selector(f"#trial >> text={said}")
