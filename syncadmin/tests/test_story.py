"""The whole story in a browser, on the demo as a newcomer gets it: real processes, two live workers, one mapping.

It runs on the kind of database the suite runs on.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from playwright.sync_api import Browser, BrowserContext, Page, Response, expect, sync_playwright

from syncadmin.demo.child import Demo, running_demo, words_of
from syncadmin.demo.world import PROJECT_KEY

CHROMIUM = "/usr/bin/chromium"
PAGE_MILLISECONDS = 30_000.0  # for one click or page; the machine may be busy
FIRST_RUN_SECONDS = 240.0  # 460 records at 50 ms a call, on two cores that others use too
RELOAD_SECONDS = 0.5  # a page that is loaded again and again keeps others from working
# Forms an auditor may send: they change nothing but the auditor's own session and the log about the log.
HARMLESS = ("/logout/", "/audit/verify/", "/audit/export/")


@dataclass
class Story:
    """The demo, and one browser for everybody: each person has a context, with cookies of their own."""

    demo: Demo
    browser: Browser
    complaints: list[str] = field(default_factory=list)

    def context(self) -> BrowserContext:
        context = self.browser.new_context(viewport={"width": 1440, "height": 900})
        context.set_default_timeout(PAGE_MILLISECONDS)
        context.on("console", lambda m: self.complain(m.page, m.text) if m.type in ("error", "warning") else None)
        context.on("weberror", lambda error: self.complain(error.page, str(error.error)))
        context.on("response", self.check)
        return context

    def complain(self, page: Page | None, text: str) -> None:
        self.complaints.append(f"{page.url if page else ''}: {text}")

    def check(self, response: Response) -> None:
        if response.status >= 400:
            self.complaints.append(f"{response.status} {response.request.method} {response.url}")

    def log_in(self, username: str) -> Page:
        page = self.context().new_page()
        page.goto(self.demo.url)
        page.get_by_label("User name").fill(username)
        page.get_by_label("Password").fill(self.demo.password(username))
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("button", name="Log out")).to_be_visible()
        return page

    def until(self, page: Page, url: str, look: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
        """Load the page at `url` again and again until `look` is content."""

        def loaded() -> bool:
            page.goto(url)
            return look()

        self.demo.wait(loaded, what, seconds, every=RELOAD_SECONDS)

    # The vendors' own pages ------------------------------------------------------------------------------------

    def issue(self, key: str) -> str:
        return f"{self.demo.notes['jira']['url']}/browse/{key}"

    def case(self, id: str) -> str:
        return f"{self.demo.notes['salesforce']['url']}/lightning/r/Case/{id}"

    # What only the vendors know --------------------------------------------------------------------------------

    def issues(self) -> list[dict[str, Any]]:
        jira, person = self.demo.jira, self.demo.person("jira")
        found: list[dict[str, Any]] = []
        body: dict[str, Any] = {"jql": f"project = {PROJECT_KEY} ORDER BY key", "maxResults": 100, "fields": ["*all"]}
        while True:
            answer = jira.call(person, "POST", "search/jql", body)
            found += answer["issues"]
            if answer.get("isLast", True):
                return found
            body["nextPageToken"] = answer["nextPageToken"]

    def cases(self, where: str = "") -> list[dict[str, Any]]:
        query = f"SELECT Id, CaseNumber, Subject, Jira_Key__c, LastModifiedById FROM Case {where}"
        person = self.demo.person("salesforce")
        answer = self.demo.salesforce.call(person, "GET", f"query?q={quote(query)}")
        found: list[dict[str, Any]] = answer["records"]
        while not answer["done"]:
            answer = self.demo.salesforce.call(person, "GET", answer["nextRecordsUrl"].split("/", 4)[-1])
            found += answer["records"]
        return found

    def summary(self, key: str) -> str:
        return str(self.demo.jira.issue(self.demo.person("jira"), key)["summary"])

    def subject(self, id: str) -> str:
        return str(self.demo.salesforce.case(self.demo.person("salesforce"), id)["Subject"])

    def at_the_same_moment(self, *deeds: Callable[[], None]) -> None:
        """All of them within the same milliseconds: each waits for the others before it calls."""
        together = threading.Barrier(len(deeds))
        failures: list[BaseException] = []

        def do(deed: Callable[[], None]) -> None:
            try:
                together.wait(10)
                deed()
            except BaseException as failure:
                failures.append(failure)

        threads = [threading.Thread(target=do, args=(deed,)) for deed in deeds]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not failures, failures

    def clash(self, key: str, case: str, left: str, right: str) -> None:
        """Two people write another summary on each side at the same moment."""
        engineer, agent = self.demo.person("jira"), self.demo.person("salesforce", 1)
        self.summary(key), self.subject(case)  # both are signed in
        self.at_the_same_moment(
            lambda: self.demo.jira.edit(engineer, key, summary=left),
            lambda: self.demo.salesforce.edit(agent, case, Subject=right),
        )

    def quiet_pair(self) -> tuple[str, str]:
        """(issue key, case id) of a pair in agreement, whose issue holds a list and mentions somebody."""
        disputed = {one["record"]["left_key"] for one in self.conflicts()}
        jira, person = self.demo.jira, self.demo.person("jira")
        for case, key in self.demo.salesforce.pairs(self.demo.person("salesforce")):
            if key not in disputed:
                document = json.dumps(jira.issue(person, key)["description"])
                if '"mention"' in document and 'List"' in document:
                    return key, case
        raise AssertionError("no pair of the demo has a list and a mention")

    def conflicts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.demo.command("conflicts", "--json").stdout)
        return found


@contextmanager
def story() -> Iterator[Story]:
    with running_demo(os.environ.get("DATABASE_URL", "")) as demo, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield Story(demo, browser)
        finally:
            browser.close()


def test_from_the_first_log_in_to_a_rolled_back_version() -> None:
    with story() as one:
        workers = {name: one.demo.pid_of(name) for name in ("live-1", "live-2")}
        assert all(workers.values())

        admin = one.log_in("admin")
        the_first_run_waits_and_is_approved(one, admin)
        key, case = one.quiet_pair()
        vendor = one.context().new_page()
        an_edit_in_jira_reaches_the_case(one, vendor, key, case)
        an_edit_in_salesforce_reaches_the_issue(one, vendor, key, case)
        words = a_clash_is_settled_by_a_person(one, vendor, key, case)
        the_auditor_reads_it_and_can_change_nothing(one, key, words)
        a_version_is_published_and_rolled_back(one, admin, key, case)

        assert one.complaints == []
        assert {name: one.demo.pid_of(name) for name in workers} == workers, "a worker ended on the way"
        assert "Traceback" not in (one.demo.folder / "output.log").read_text()


def the_first_run_waits_and_is_approved(one: Story, admin: Page) -> None:
    one.until(admin, one.demo.url, lambda: admin.get_by_text("Waits for approval").count() > 0, "the first run waits")
    admin.get_by_role("link", name="Look and approve").first.click()
    plan = admin.get_by_role("region", name="What the first run found")
    expect(plan).to_contain_text("Nothing was written")
    numbers = {" ".join(text.split()) for text in plan.locator("li").all_inner_texts()}
    assert {"240 in Jira Cloud", "220 in Salesforce", "150 matched pairs"} <= numbers
    assert {"70 to create in Jira Cloud", "90 to create in Salesforce"} <= numbers
    assert len(one.issues()) == 240
    assert len(one.cases()) == 220
    assert one.cases("WHERE Jira_Key__c != null") == [], "something was written before the approval"
    assert not [issue["key"] for issue in one.issues() if issue["fields"].get("customfield_10054")]

    admin.get_by_role("button", name=re.compile("Approve")).click()
    expect(admin.get_by_text("You approved the first run")).to_be_visible()
    runs = f"{one.demo.url}/runs/"
    writing = admin.get_by_role("row").filter(has_text="created").get_by_role("link", name=re.compile("^Run "))
    one.until(admin, runs, lambda: writing.count() > 0, "a run writes")
    writing.first.click()
    admin.wait_for_url("**/runs/*/")
    # Where a vendor's quota is used up the run ends, the page says until when it waits, and another run goes on.
    done = admin.locator(".ph .acts").get_by_text("Done", exact=True)
    one.until(admin, admin.url, lambda: done.count() > 0, "the page shows that the run is done", FIRST_RUN_SECONDS)
    known = "WHERE Jira_Key__c != null"
    one.demo.wait(lambda: len(one.cases(known)) >= 150 + 90 + 70, "all is created", FIRST_RUN_SECONDS, every=1)
    assert len(one.issues()) == 150 + 90 + 70
    assert len(one.cases(known)) == len(one.cases()) == 150 + 90 + 70


def an_edit_in_jira_reaches_the_case(one: Story, vendor: Page, key: str, case: str) -> None:
    summary = f"Printed on the wrong paper, says {key}"
    vendor.goto(one.issue(key) + "/edit")
    vendor.locator("#summary").fill(summary)
    text = vendor.locator("#description")
    text.fill(text.input_value() + "\n\nThe customer sent a photograph.")
    vendor.get_by_role("button", name="Save").click()
    expect(vendor.get_by_role("heading", name=summary)).to_be_visible()

    def followed() -> bool:
        description = vendor.locator("#f-Description").inner_text()
        heading = vendor.get_by_role("heading", level=1).inner_text()
        return heading == summary and "The customer sent a photograph." in description

    one.until(vendor, one.case(case) + "/view", followed, "the case follows the issue")


def an_edit_in_salesforce_reaches_the_issue(one: Story, vendor: Page, key: str, case: str) -> None:
    before = one.demo.jira.issue(one.demo.person("jira"), key)["description"]
    vendor.goto(one.case(case) + "/edit")
    text = vendor.get_by_label("Description")
    text.fill(text.input_value().replace("a photograph.", "two photographs."))
    vendor.get_by_label("Effort").fill("7.5")
    vendor.get_by_role("button", name="Save").click()
    expect(vendor.locator("#f-Description")).to_contain_text("two photographs.")

    def followed() -> bool:
        shown = vendor.locator("main").inner_text()
        return "The customer sent two photographs." in shown and "7.5" in shown

    one.until(vendor, one.issue(key), followed, "the issue follows the case")
    after = one.demo.jira.issue(one.demo.person("jira"), key)["description"]
    assert after["content"][:-1] == before["content"][:-1], "more than the edited paragraph was written"
    assert words_of(after["content"][-1]) == ["The customer sent two photographs."]


def a_clash_is_settled_by_a_person(one: Story, vendor: Page, key: str, case: str) -> dict[str, str]:
    # No word twice, so that the pages show each value as a whole and not as a difference of words.
    words = {"left": "Paper gets stuck", "right": "Toner spills over", "merged": "Both happen at once"}
    one.clash(key, case, words["left"], words["right"])
    reviewer = one.log_in("reviewer")
    reviewer.get_by_role("link", name="Review queue").click()
    reviewer.wait_for_url("**/review/")
    queue = reviewer.url
    row = reviewer.locator(".qr", has_text=words["left"])
    one.until(reviewer, queue, lambda: row.count() > 0, "the clash is in the review queue")
    assert (one.summary(key), one.subject(case)) == (words["left"], words["right"]), "a value was overwritten"
    row.get_by_role("link").first.click()
    question = reviewer.get_by_role("region", name="Summary")
    expect(question).to_contain_text(words["left"])
    expect(question).to_contain_text(words["right"])
    question.locator("input[type=radio][value=value]").check()
    question.get_by_label(re.compile("^Summary as ")).fill(words["merged"])
    reviewer.locator("button[name=save]").click()
    expect(reviewer.get_by_role("status").filter(has_text="written to")).to_be_visible()
    for url in (one.issue(key), one.case(case) + "/view"):
        heading = vendor.get_by_role("heading", level=1)
        one.until(vendor, url, lambda h=heading: h.inner_text() == words["merged"], f"{url} has the merged value")
    one.until(reviewer, queue, lambda: row.count() == 0, "the queue lets it go")
    return words


def the_auditor_reads_it_and_can_change_nothing(one: Story, key: str, words: dict[str, str]) -> None:
    auditor = one.log_in("auditor")
    auditor.get_by_role("link", name="Audit log").first.click()
    auditor.get_by_label(re.compile("^Record is called")).fill(key)
    auditor.get_by_role("button", name="Filter").click()
    auditor.wait_for_url(f"**/audit/?*{key}*")
    log = auditor.url
    about = auditor.get_by_role("row").filter(has_text=key).filter(has_text=words["merged"])
    one.until(auditor, log, lambda: about.count() >= 2, "both writes of the answer are in the log")
    settled = about.filter(has_text="reviewer settled it").first
    followed = about.filter(has_text="It was edited on the other side").first
    for row, seen in (
        (settled, ("reviewer", "Jira", "Summary", words["left"], words["merged"])),
        (followed, ("Salesforce", "Subject", words["right"], words["merged"])),
    ):
        for text in seen:
            expect(row).to_contain_text(text)
    settled.get_by_role("link").first.click()
    change = auditor.get_by_role("region", name="Before and after")
    expect(change.locator("del")).to_have_text(words["left"])
    expect(change.locator("ins")).to_have_text(words["merged"])
    expect(auditor.locator("main")).to_contain_text("reviewer settled it")

    nav = auditor.get_by_role("navigation", name="Main").get_by_role("link")
    places = [nav.nth(number).get_attribute("href") or "" for number in range(nav.count())]
    slug = one.demo.notes["mapping"]
    places += [f"/mappings/{slug}/", f"/mappings/{slug}/settings/", f"/mappings/{slug}/versions/"]
    places += [first_link(one, auditor, place) for place in ("/runs/", "/review/", "/records/", "/connections/")]
    for place in places:
        auditor.goto(one.demo.url + place)
        forms = auditor.locator("form[method=post]:has(button:enabled)")
        actions = [forms.nth(number).get_attribute("action") or place for number in range(forms.count())]
        assert [action for action in actions if not action.startswith(HARMLESS)] == [], place


def first_link(one: Story, page: Page, place: str) -> str:
    """The address of the first thing that is listed at `place`."""
    page.goto(one.demo.url + place)
    wanted = re.compile(rf"^{place}\d+/$")
    links = page.locator("main a[href]")
    found = [links.nth(number).get_attribute("href") or "" for number in range(links.count())]
    return next(href for href in found if wanted.match(href))


def a_version_is_published_and_rolled_back(one: Story, admin: Page, key: str, case: str) -> None:
    mapping = f"{one.demo.url}/mappings/{one.demo.notes['mapping']}/"
    admin.goto(mapping)
    rule = admin.locator(".mp", has_text="Subject").first
    rule.get_by_role("link", name=re.compile("^Edit")).click()
    admin.get_by_label("When both sides changed").select_option(label="Jira decides")
    admin.get_by_role("button", name="Save to the draft").click()
    admin.get_by_role("link", name="Publish…").click()
    expect(admin.get_by_text("What differs from version 1")).to_be_visible()
    admin.get_by_label(re.compile("What is this version for")).fill("Jira names things")
    admin.get_by_role("button", name="Publish", exact=True).click()
    expect(admin.get_by_text("Version 2 is published")).to_be_visible()

    one.clash(key, case, f"Jira alone names {key}", f"Nobody asks Salesforce about {key}")
    one.demo.wait(lambda: one.subject(case) == f"Jira alone names {key}", "version 2 lets Jira decide")
    assert one.summary(key) == f"Jira alone names {key}"

    admin.get_by_role("navigation", name="Parts of the mapping").get_by_role("link", name="Versions").click()
    admin.get_by_role("link", name=re.compile("Roll back to it… version 1")).click()
    expect(admin.get_by_text("Records written meanwhile stay as they are.")).to_be_visible()
    admin.get_by_role("button", name="Roll back to version 1").click()
    expect(admin.get_by_text("Version 3")).not_to_have_count(0)
    admin.goto(f"{mapping}versions/")
    expect(admin.get_by_role("row").filter(has_text="Version 3")).to_contain_text("repeats version 1")
    assert one.summary(key) == one.subject(case) == f"Jira alone names {key}", "rolling back wrote to a record"

    one.clash(key, case, f"Jira about {key} again", f"Salesforce about {key} again")
    admin.get_by_role("link", name="Review queue").click()
    admin.wait_for_url("**/review/")
    row = admin.locator(".qr", has_text=f"Jira about {key} again")
    one.until(admin, admin.url, lambda: row.count() > 0, "version 3 asks a person again")
    assert one.subject(case) == f"Salesforce about {key} again"
