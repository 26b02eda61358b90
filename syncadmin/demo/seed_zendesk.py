"""Fill the Zendesk stand-in with agents and a few tickets, through its own rules, back in time."""

from __future__ import annotations

import time
from functools import partial

from connections.sandbox.zendesk import ZendeskStandin
from syncadmin.demo import world
from syncadmin.demo.credentials import INTEGRATION_EMAIL, INTEGRATION_NAME, Credentials
from syncadmin.demo.world import DAY, PEOPLE, QUEUE, Ticket, said

TICKETS = 20  # enough to look around in
PRIORITIES = ("urgent", "high", "normal", "low", "low")


def seed(standin: ZendeskStandin, credentials: Credentials) -> None:
    """Make agents, a group and tickets, unless they are there; the token holds in any case."""
    standin.tokens[credentials.zendesk_token()] = INTEGRATION_EMAIL
    if standin.store.get("demo", "seeded"):
        return
    records, today = standin.records, time.time()
    with standin.store.transaction():
        records.user(INTEGRATION_NAME, INTEGRATION_EMAIL, "admin")
        agents = {person.email: records.user(person.name, person.email) for person in PEOPLE if person.active}
        group = records.group(QUEUE)
        for ticket in sorted(world.world().only_salesforce[:TICKETS], key=lambda ticket: -ticket.age_days):
            standin.now = partial(float, today - ticket.age_days * DAY)
            _ticket(standin, ticket, agents, group)
        standin.now = time.time
        standin.store.put("demo", "seeded", True)


def _ticket(standin: ZendeskStandin, ticket: Ticket, agents: dict[str, int], group: int) -> None:
    reporter = ticket.reporter if ticket.reporter.active else PEOPLE[0]
    given = {
        "subject": said(ticket, "salesforce", "summary"),
        "description": world.plain(ticket.description) or said(ticket, "salesforce", "summary"),
        "priority": PRIORITIES[ticket.priority],
        "group_id": group,
        "assignee_id": agents.get(ticket.assignee.email) if ticket.assignee else None,
        "tags": list(ticket.labels),
    }
    standin.records.create(given, agents[reporter.email])
