"""Fill the GitHub stand-in with a repository and a few issues, through its own rules, back in time."""

from __future__ import annotations

import time
from functools import partial

from connections.sandbox.github import GitHubStandin
from syncadmin.demo import world
from syncadmin.demo.credentials import GITHUB_LOGIN, INTEGRATION_NAME, Credentials
from syncadmin.demo.world import DAY, PEOPLE, Person, Ticket, said

REPOSITORY = "example/support"
TYPES, MILESTONES = ("Bug", "Feature", "Task"), ("1.0", "1.1")
ISSUES = 20  # enough to look around in


def seed(standin: GitHubStandin, credentials: Credentials) -> None:
    """Make people, repository and issues, unless they are there; the token holds in any case."""
    standin.sign_in(GITHUB_LOGIN, credentials.github_token())
    if standin.store.get("demo", "seeded"):
        return
    records, today = standin.records, time.time()
    people = [person for person in PEOPLE if person.active]
    with standin.store.transaction():
        records.account(GITHUB_LOGIN, name=INTEGRATION_NAME)
        for person in people:
            records.account(login(person), person.email, person.name)
        records.repository(REPOSITORY, [*map(login, people), GITHUB_LOGIN], TYPES)
        for title in MILESTONES:
            records.milestone(REPOSITORY, title)
        for ticket in sorted(world.world().only_jira[:ISSUES], key=lambda ticket: -ticket.age_days):
            standin.now = partial(float, today - ticket.age_days * DAY)
            _issue(standin, ticket)
        standin.now = time.time
        standin.store.put("demo", "seeded", True)


def login(person: Person) -> str:
    return person.email.partition("@")[0].replace(".", "-")


def _issue(standin: GitHubStandin, ticket: Ticket) -> None:
    assignee = ticket.assignee if ticket.assignee and ticket.assignee.active else None
    by = login(ticket.reporter if ticket.reporter.active else PEOPLE[0])
    issue = standin.records.create(
        REPOSITORY,
        by,
        {
            "title": said(ticket, "jira", "summary"),
            "body": world.plain(ticket.description),
            "labels": list(ticket.labels),
            "assignees": [login(assignee)] if assignee else [],
            "milestone": ticket.number % (len(MILESTONES) + 1) or None,
            "type": TYPES[ticket.number % len(TYPES)],
        },
    )
    if world.STATUSES[ticket.status][0] == "Done":
        standin.records.edit(REPOSITORY, issue["number"], by, {"state": "closed", "state_reason": "completed"})
