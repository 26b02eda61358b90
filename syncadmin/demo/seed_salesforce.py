"""Fill the Salesforce stand-in with the demo's 220 cases, through its own rules, back in time."""

from __future__ import annotations

import datetime
import time
from functools import partial

from connections.sandbox.salesforce import SalesforceStandin
from connections.sandbox.salesforce_org import Org
from syncadmin.demo import world
from syncadmin.demo.credentials import INTEGRATION_EMAIL, INTEGRATION_NAME, Credentials, office_people
from syncadmin.demo.world import DAY, PEOPLE, Ticket, said

ORIGINS = ("Phone", "Email", "Web")


def seed(standin: SalesforceStandin, credentials: Credentials) -> None:
    """Make people, apps and cases, unless they are there. A start that was interrupted begins anew."""
    if standin.store.get("demo", "seeded"):
        return
    org, today = standin.org, time.time()
    with org.transaction():
        users, queue = _people(standin, org, credentials)
        sample = world.world()
        tickets = [*sample.both, *sample.only_salesforce]
        for ticket in sorted(tickets, key=lambda ticket: -ticket.age_days):
            standin.now = partial(float, today - ticket.age_days * DAY)
            _case(org, ticket, users, queue, today)
        standin.now = time.time
        for person in PEOPLE:
            if person.salesforce and not person.active:
                org.deactivate(users[person.email])  # after their cases: they owned them once
        standin.store.put("demo", "seeded", True)


def _people(standin: SalesforceStandin, org: Org, credentials: Credentials) -> tuple[dict[str, str], str]:
    """({e-mail address: user id}, id of the queue)."""
    users = {person.email: org.create_user(person.name, person.email)["Id"] for person in PEOPLE if person.salesforce}
    integration = org.create_user(INTEGRATION_NAME, INTEGRATION_EMAIL)["Id"]
    for person in office_people(PEOPLE, "salesforce"):
        standin.oauth.create_app(users[person.email], *credentials.salesforce_app(person.email))
    standin.oauth.create_app(integration, *credentials.salesforce_app(INTEGRATION_EMAIL))
    return users, org.create_queue(world.QUEUE)["Id"]


def _case(org: Org, ticket: Ticket, users: dict[str, str], queue: str, today: float) -> None:
    assignee, due = said(ticket, "salesforce", "assignee"), said(ticket, "salesforce", "due")
    labels, severity = said(ticket, "salesforce", "labels"), said(ticket, "salesforce", "severity")
    values = {
        "Subject": said(ticket, "salesforce", "summary"),
        "Description": world.plain(said(ticket, "salesforce", "description")),
        "Priority": world.PRIORITIES[said(ticket, "salesforce", "priority")][1],
        "Status": world.STATUSES[said(ticket, "salesforce", "status")][1],
        "Origin": ORIGINS[ticket.number % len(ORIGINS)],
        "Labels__c": ";".join(labels) or None,
        "OwnerId": users.get(assignee.email, queue) if assignee else queue,
        "Due_Date__c": day(today, due),
        "Effort__c": said(ticket, "salesforce", "effort"),
        "Product_Area__c": said(ticket, "salesforce", "area"),
        "Severity_Area__c": None if severity is None else world.SEVERITIES[severity][1],
        "Reference__c": said(ticket, "salesforce", "reference"),
    }
    org.create("Case", values, users[ticket.reporter.email])


def day(today: float, days: int | None) -> str | None:
    """The date `days` from today, "YYYY-MM-DD"."""
    if days is None:
        return None
    return datetime.datetime.fromtimestamp(today + days * DAY, datetime.UTC).date().isoformat()
