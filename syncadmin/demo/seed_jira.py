"""Fill the Jira stand-in with the demo's 240 issues, through its own rules, back in time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial

from connections.sandbox.jira import JiraStandin
from syncadmin.demo import world
from syncadmin.demo.credentials import INTEGRATION_EMAIL, INTEGRATION_NAME, Credentials, office_people
from syncadmin.demo.seed_salesforce import day
from syncadmin.demo.world import DAY, PEOPLE, PROJECT_KEY, PROJECT_NAME, Ticket, said

MINUTE = 60.0
# The way along the stand-in's workflow from where an issue starts.
WAYS = {
    "To Do": (),
    "In Progress": ("In Progress",),
    "In Review": ("In Progress", "In Review"),
    "Blocked": ("Blocked",),
    "Done": ("In Progress", "In Review", "Done"),
}


@dataclass(frozen=True, slots=True)
class CustomField:
    id: str
    label: str
    kind: str
    options: tuple[str, ...] = ()


CUSTOM_FIELDS = {
    "reference": CustomField("customfield_10050", "Customer reference", "line"),
    "effort": CustomField("customfield_10051", "Effort (hours)", "number"),
    "area": CustomField("customfield_10052", "Product area", "option", world.AREAS),
    "severity": CustomField("customfield_10053", "Severity", "option", tuple(here for here, _ in world.SEVERITIES)),
    "case": CustomField("customfield_10054", "Salesforce case", "line"),
}


def seed(standin: JiraStandin, credentials: Credentials) -> None:
    """Make people, fields and issues, unless they are there. A start that was interrupted begins anew."""
    if standin.store.get("demo", "seeded"):
        return
    today = time.time()
    with standin.site.transaction():
        accounts = _people(standin, credentials)
        standin.create_project(PROJECT_KEY, PROJECT_NAME, lead=PEOPLE[0].email)
        for field in CUSTOM_FIELDS.values():
            standin.add_field(field.label, field.kind, field.options, field_id=field.id)
        sample = world.world()
        for ticket in sorted([*sample.both, *sample.only_jira], key=lambda ticket: -ticket.age_days):
            _issue(standin, ticket, accounts, today)
        standin.now = time.time
        for person in PEOPLE:
            if person.jira and not person.active:
                standin.update_user(person.email, active=False)  # after their issues: they worked on them once
        standin.store.put("demo", "seeded", True)


def _people(standin: JiraStandin, credentials: Credentials) -> dict[str, str]:
    """{e-mail address: account id}"""
    working = {person.email for person in office_people(PEOPLE, "jira")}
    accounts = {
        person.email: standin.create_user(
            person.name, person.email, credentials.jira_token(person.email) if person.email in working else ""
        )
        for person in PEOPLE
        if person.jira
    }
    standin.create_user(INTEGRATION_NAME, INTEGRATION_EMAIL, credentials.jira_token(INTEGRATION_EMAIL))
    return accounts


def _issue(standin: JiraStandin, ticket: Ticket, accounts: dict[str, str], today: float) -> None:
    made = today - ticket.age_days * DAY
    standin.now = partial(float, made)
    assignee, severity = said(ticket, "jira", "assignee"), said(ticket, "jira", "severity")
    fields = {
        "project": PROJECT_KEY,
        "summary": said(ticket, "jira", "summary"),
        "description": world.document(said(ticket, "jira", "description"), accounts),
        "priority": world.PRIORITIES[said(ticket, "jira", "priority")][0],
        "labels": list(said(ticket, "jira", "labels")),
        "assignee": assignee.email if assignee and assignee.email in accounts else None,
        "duedate": day(today, said(ticket, "jira", "due")),
        CUSTOM_FIELDS["reference"].id: said(ticket, "jira", "reference"),
        CUSTOM_FIELDS["effort"].id: said(ticket, "jira", "effort"),
        CUSTOM_FIELDS["area"].id: said(ticket, "jira", "area"),
        CUSTOM_FIELDS["severity"].id: None if severity is None else world.SEVERITIES[severity][0],
    }
    key = standin.create(ticket.reporter.email, {name: value for name, value in fields.items() if value is not None})
    for step, status in enumerate(WAYS[world.STATUSES[said(ticket, "jira", "status")][0]], start=1):
        standin.now = partial(float, made + step * MINUTE)
        standin.transition(key, ticket.reporter.email, status)
