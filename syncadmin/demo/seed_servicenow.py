"""Fill the ServiceNow stand-in with people and a few incidents, through its own rules, back in time."""

from __future__ import annotations

import time
from functools import partial

from connections.sandbox.servicenow import ServiceNowStandin
from syncadmin.demo import world
from syncadmin.demo.credentials import INTEGRATION_EMAIL, INTEGRATION_NAME, SERVICENOW_USER, Credentials
from syncadmin.demo.world import DAY, PEOPLE, QUEUE, Ticket, said

INCIDENTS = 20  # enough to look around in
LEVELS = ("1", "1", "2", "3", "3")  # impact and urgency by priority
CATEGORIES = ("inquiry", "software", "hardware", "network")


def seed(standin: ServiceNowStandin, credentials: Credentials) -> None:
    """Make people, a group and incidents, unless they are there; the password holds in any case."""
    standin.oauth.passwords[SERVICENOW_USER] = credentials.servicenow_password()
    if standin.store.get("demo", "seeded"):
        return
    records, today = standin.records, time.time()
    with standin.store.transaction():
        records.user(INTEGRATION_NAME, INTEGRATION_EMAIL, SERVICENOW_USER, web_service_access_only="true")
        users = {person.email: records.user(person.name, person.email) for person in PEOPLE if person.active}
        group = records.group(QUEUE)
        for ticket in sorted(world.world().only_salesforce[:INCIDENTS], key=lambda ticket: -ticket.age_days):
            standin.now = partial(float, today - ticket.age_days * DAY)
            _incident(standin, ticket, users, group)
        standin.now = time.time
        standin.store.put("demo", "seeded", True)


def _incident(standin: ServiceNowStandin, ticket: Ticket, users: dict[str, str], group: str) -> None:
    reporter = ticket.reporter if ticket.reporter.active else PEOPLE[0]
    standin.records.create(
        "incident",
        {
            "short_description": said(ticket, "salesforce", "summary"),
            "description": world.plain(ticket.description) or "",
            "category": CATEGORIES[ticket.number % len(CATEGORIES)],
            "impact": LEVELS[ticket.priority],
            "urgency": LEVELS[ticket.priority],
            "assigned_to": users.get(ticket.assignee.email, "") if ticket.assignee else "",
            "assignment_group": group,
            "caller_id": users[reporter.email],
        },
        reporter.name.lower().replace(" ", "."),
    )
