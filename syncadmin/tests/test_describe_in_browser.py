"""APIs nobody has seen before are set up in a real browser, through the form alone: Kinto and Redmine, started here."""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextlib import ExitStack
from unittest.mock import patch

import pytest
from django.contrib.auth.models import User
from django.contrib.staticfiles.testing import StaticLiveServerTestCase
from django.test import override_settings
from playwright.sync_api import Page

from connections.models import Connection, RoleAssignment
from connections.sandbox.base import Server
from connections.tests.real_app import Door, RedmineDoor, redmine
from syncadmin.tests.browsing import browsing

pytestmark = pytest.mark.same_everywhere
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


def by(door: RedmineDoor) -> dict[str, str]:
    return {"x-redmine-api-key": door.keys["ana"]}


@override_settings(ALLOWED_PRIVATE_ADDRESSES=["127.0.0.1"])
class DescribeInBrowserTests(StaticLiveServerTestCase):
    def test_kinto_is_set_up_through_the_form_and_tried_section_by_section(self) -> None:
        kinds = self._set_up("Kinto", kinto(), "/v1", self._describe_kinto)
        self.assertEqual(kinds["urgent"], "boolean")

    def test_redmine_is_set_up_through_the_form_and_tried_section_by_section(self) -> None:
        with redmine() as door:
            door.person("POST", "/issues.json", {"issue": {"project_id": 1, "subject": "Printer is on fire"}}, by(door))
            kinds = self._set_up("Redmine", door, "", lambda page: self._describe_redmine(page, door.keys["sync"]))
        self.assertEqual(kinds["estimated_hours"], "text")
        self.assertEqual(kinds["done_ratio"], "number")

    def _set_up(self, name: str, door: Door, base: str, describe: Callable[[Page], None]) -> dict[str, str]:
        """Begin a connection to `door`, describe it and use it. The kinds of its fields."""
        person = User.objects.create_user("admin", password="right-password")
        RoleAssignment.objects.create(user=person, role="admin")
        with ExitStack() as stack:
            stack.enter_context(patch("connections.open.Budget.spend", lambda self: None))
            address = stack.enter_context(Server(door, threads=2))
            context, complaints = stack.enter_context(browsing(person, self.live_server_url, WIDE, "light"))
            page = context.new_page()
            page.set_default_timeout(20_000)
            page.goto(f"{self.live_server_url}/connections/add/rest/")
            page.fill("[name=name]", name)
            page.fill("[name=address]", address + base)
            self._go(page, "text=Begin")
            self._go(page)
            describe(page)
            self._go(page)
            self._go(page)
            self._go(page, "text=Use it and test")
            works = page.inner_text("main")
        self.assertIn(f"{name} works.", works)
        self.assertEqual(complaints, [])
        row = Connection.objects.get(name=name)
        self.assertEqual(row.state, "ok")
        fields = row.settings["definition"]["object_types"][0]["fields"]
        return {each["name"]: each.get("kind", "text") for each in fields}

    def _describe_kinto(self, page: Page) -> None:
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
        self._enter(page, "2 records on 1 page")
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

    def _describe_redmine(self, page: Page, key: str) -> None:
        page.select_option("[name=authentication__method]", "header")
        page.fill("[name=authentication__name]", "X-Redmine-API-Key")
        page.fill("[name=authentication__prefix]", "")
        page.fill("[name=own-key]", key)
        page.fill("[name=try_path]", "/users/current.json")
        self._attempt(page, "Signed in")
        self._go(page)
        page.check("[name=account__on]")
        page.fill("[name=account__path]", "/users/current.json")
        self._attempt(page, "Where its id is: user.id")
        self._enter(page, "We are sync")
        self._go(page)
        page.fill("[name=errors__message]", "errors")
        self._go(page)
        page.fill("[name=name]", "issue")
        self._go(page)
        page.fill("[name=list__path]", "/issues.json")
        page.fill("[name=list__parameters]", "status_id = *")
        self._attempt(page, "Where the records are: issues")
        self._enter(page, "1 record on 1 page")
        page.check("[data-check-all=place]")
        for name in ("subject", "description", "due_date", "estimated_hours", "done_ratio"):
            page.check(f"[name=take][value={name}]")
        page.select_option("[name=list__paging__style]", "offset")
        page.fill("[name=list__paging__parameter]", "offset")
        page.fill("[name=list__paging__size_parameter]", "limit")
        page.check("[name=list__changed__on]")
        page.fill("[name=list__changed__parameter]", "updated_on")
        page.fill("[name=list__changed__parameters]", "sort = updated_on:asc")
        page.eval_on_selector_all("#section details", "all => all.forEach(one => { one.open = true; })")
        page.fill("[name=list__paging__total]", "total_count")
        page.fill("[name=list__changed__value]", ">={since}")
        self._attempt(page, "Changes are found")
        self._go(page)
        self._attempt(page, "Where the record is: issue")
        self._enter(page, "One record is read")
        self._go(page)
        page.eval_on_selector_all("#section details", "all => all.forEach(one => { one.open = true; })")
        page.fill("[name=create__constant]", "project_id = 1")
        page.select_option("[name=update__method]", "PUT")
        page.check("[name=delete__on]")
        page.fill("[name=delete__path]", "/issues/{id}.json")
        self._attempt(page, "This writes to Redmine")
        page.click("text=Yes, send it")
        page.wait_for_selector("#trial >> text=nothing of the try is left")

    def _enter(self, page: Page, said: str) -> None:
        """Take over what the answer suggests; trying again shows this."""
        page.click("[data-fills]")
        page.wait_for_selector(f"#trial >> text={said}")

    def _go(self, page: Page, button: str = "#section button.pri") -> None:
        with page.expect_navigation():
            page.click(button)

    def _attempt(self, page: Page, said: str) -> None:
        """Try the section; it shows this."""
        page.click("button:has-text('Try it')")
        page.wait_for_selector(f"#trial >> text={said}")
