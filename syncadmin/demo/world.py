"""The little company of the demo: its people and tickets, the same at every start.

Pure: no Django, no clock; randomness only from a fixed seed. 150 tickets are in both systems, not linked yet;
90 only in Jira, 70 only in Salesforce. What real data has, these have: empty fields, several alphabets, long
descriptions with lists, code and mentions, people who left, small disagreements between the two sides.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

SEED = 7
BOTH, ONLY_JIRA, ONLY_SALESFORCE = 150, 90, 70
DAY = 86400
OLDEST_DAYS = 120  # tickets were made over the last four months
PROJECT_KEY, PROJECT_NAME = "SUP", "Support escalations"
QUEUE = "Tier 2 Support"  # owns the cases nobody has taken yet


@dataclass(frozen=True, slots=True)
class Person:
    name: str
    jira: bool = True
    salesforce: bool = True
    active: bool = True

    @property
    def email(self) -> str:
        return f"{self.name.lower().replace(' ', '.').replace('ø', 'o').replace('é', 'e')}@example.com"


PEOPLE = (
    Person("Ana Ruiz"),
    Person("Ben Carter"),
    Person("Chidi Okafor"),
    Person("Dana Weiss"),
    Person("Emre Yilmaz"),
    Person("Freja Sørensen"),
    Person("Grace Liu"),
    Person("Hannah Park"),
    Person("Ivo Novak", salesforce=False),
    Person("Jonas Brandt", jira=False),
    Person("Kim Delacroix", active=False),
    Person("Léa Moreau", active=False),
)
ASSIGNABLE = tuple(person for person in PEOPLE if person.jira and person.salesforce and person.active)
GONE = tuple(person for person in PEOPLE if not person.active)

# Jira's word and Salesforce's word for the same thing; the value maps of the demo say no more and no less.
PRIORITIES = (("Highest", "P1"), ("High", "P2"), ("Medium", "P3"), ("Low", "P4"), ("Lowest", "P4"))
STATUSES = (
    ("To Do", "New"),
    ("In Progress", "Working"),
    ("In Review", "Working"),
    ("Blocked", "Waiting on Customer"),
    ("In Progress", "Escalated"),
    ("Done", "Closed"),
)
SEVERITIES = (("Critical", "Blocker"), ("Major", "Major"), ("Minor", "Minor"), ("Trivial", "Cosmetic"))
AREAS = ("Accounts", "API", "Billing", "Mobile", "Reporting", "Search")
LABELS = (
    "api",
    "billing",
    "customer",
    "data-loss",
    "docs",
    "login",
    "mobile",
    "performance",
    "regression",
    "security",
)


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a description: kind is "text", "bullets", "steps" or "code"; `who` is mentioned at the end."""

    kind: str
    lines: tuple[str, ...]
    who: Person | None = None


@dataclass(slots=True)
class Ticket:
    """One thing, as both systems would say it if they agreed; `jira` and `salesforce` hold where one differs."""

    number: int
    reference: str | None
    summary: str
    description: tuple[Block, ...]
    priority: int  # index into PRIORITIES
    status: int  # index into STATUSES
    labels: tuple[str, ...]
    assignee: Person | None
    due: int | None  # days from the day of seeding
    effort: float | None  # hours
    area: str | None
    severity: int | None  # index into SEVERITIES
    age_days: float
    reporter: Person
    jira: dict[str, Any] = field(default_factory=dict)
    salesforce: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class World:
    both: Sequence[Ticket]
    only_jira: Sequence[Ticket]
    only_salesforce: Sequence[Ticket]


SUBJECTS = (
    "Login fails after password reset for {who}",
    "Invoice {n} shows the wrong VAT rate",
    "Search returns nothing for “{word}”",
    "Export of {n} rows times out",
    "{who} cannot see the quarterly report",
    "Webhook to {host} is sent twice",
    "App crashes when the camera is denied ({host})",
    "Umlaute in Kundennamen werden zu Fragezeichen: {word}",
    "請求書 {n} の合計が一致しません",
    "Не приходит письмо с подтверждением для {who}",
    "Dashboard is slow on Monday mornings – {n} users",
    "API answers 500 for empty `filter` ({host})",
    "Duplicate contact created for {who}",
    "Rôles perdus après la migration de {host}",
    "Time zone of due dates is off by one ({word})",
    "Mobile push arrives {n} minutes late",
    "CSV import drops the last column ({host})",
    "Two-factor codes rejected for {who} 🔐",
)
WHO = ("Acme GmbH", "Northwind", "Contoso", "Fabrikam", "Globex", "Initech", "Umbrella Foods", "Hooli", "Vandelay")
WORDS = ("Müller", "Łódź", "naïve", "Ångström", "東京", "façade", "Ñandú", "O’Neill", "Smith & Sons", "#1 <best>")
HOSTS = ("eu-1", "us-2", "ap-3", "staging", "gateway-7", "edge-12")
OPENINGS = (
    "The customer reports that this happens since the last release.",
    "We could reproduce this on our side with the steps below.",
    "Reported by phone; the caller was polite but in a hurry.",
    "This looks like the problem of last spring, which we thought was fixed.",
    "Der Kunde wartet seit gestern auf eine Antwort und fragt nach einem Termin.",
    "Only some accounts are affected, all of them created before 2024.",
)
DETAILS = (
    "Nothing unusual in the logs apart from a retry storm around 07:40 UTC.",
    "The workaround is to sign out, clear the cache and sign in again.",
    "Three more customers have the same symptom; see the linked records.",
    "It does not happen with a fresh account, nor in a private window.",
    "Support has promised an update by the end of the week.",
    "The amount is right in the PDF and wrong in the e-mail: 1 234,50 € against 1,234.50 €.",
    "We should check whether the nightly job touched these rows.",
)
STEPS = (
    "Open the account page",
    "Choose “Export” and pick all columns",
    "Wait until the spinner stops",
    "Sign in with a second browser",
    "Change the billing address and save",
    "Press back twice",
    "Compare both totals",
)
FINDINGS = (
    "Firefox 128 and Chrome 126 behave the same",
    "the iOS app is not affected",
    "happens on eu-1 only",
    "no entry in the audit log",
    "fails with and without VPN",
    "the feature flag is off for this tenant",
)
CODE = (
    ("GET /v2/invoices?filter= HTTP/1.1", "Host: api.example.com", "", "HTTP/1.1 500 Internal Server Error"),
    ("Traceback (most recent call last):", '  File "export.py", line 88, in run', "TimeoutError: 30 s"),
    ("SELECT id, total", "FROM invoice", "WHERE total <> net + vat;"),
    ('{"error": "invalid_grant", "detail": "code was used"}',),
)


def world() -> World:
    """All tickets. Equal at every call."""
    dice = random.Random(SEED)  # noqa: S311 - sample data, no secret
    used: set[str] = set()
    tickets = [_ticket(dice, number, used) for number in range(BOTH + ONLY_JIRA + ONLY_SALESFORCE)]
    both, only_jira, only_salesforce = (
        tickets[:BOTH],
        tickets[BOTH : BOTH + ONLY_JIRA],
        tickets[BOTH + ONLY_JIRA :],
    )
    for index, ticket in enumerate(both):
        _disagree(dice, index, ticket)
    for ticket in only_jira[:2]:
        ticket.assignee = GONE[0]  # a case cannot be given to somebody who left: the first refusals to look at
    return World(both, only_jira, only_salesforce)


def _ticket(dice: random.Random, number: int, used: set[str]) -> Ticket:
    summary = ""
    while not summary or summary in used:  # a summary is a match key, so no two tickets share one
        summary = dice.choice(SUBJECTS).format(
            who=dice.choice(WHO), word=dice.choice(WORDS), host=dice.choice(HOSTS), n=dice.randint(3, 4000)
        )
    used.add(summary)
    return Ticket(
        number=number,
        reference=f"REF-{20000 + 37 * number}" if dice.random() < 0.9 else None,
        summary=summary,
        description=_description(dice),
        priority=dice.choices(range(5), (1, 3, 6, 3, 1))[0],
        status=dice.choices(range(6), (6, 5, 2, 2, 1, 4))[0],
        labels=tuple(sorted(dice.sample(LABELS, dice.choice((0, 0, 1, 1, 2, 3))))),
        assignee=dice.choice(ASSIGNABLE) if dice.random() < 0.75 else None,
        due=dice.randint(-20, 60) if dice.random() < 0.6 else None,
        effort=dice.choice((0.5, 1, 2, 2.5, 4, 8, 13.25, 40)) if dice.random() < 0.5 else None,
        area=dice.choice(AREAS) if dice.random() < 0.8 else None,
        severity=dice.randrange(4) if dice.random() < 0.7 else None,
        age_days=dice.uniform(0.5, OLDEST_DAYS),
        reporter=dice.choice(ASSIGNABLE),
    )


def _description(dice: random.Random) -> tuple[Block, ...]:
    if dice.random() < 0.12:
        return ()
    blocks = [Block("text", (dice.choice(OPENINGS),))]
    if dice.random() < 0.5:
        blocks.append(Block("steps", tuple(dice.sample(STEPS, dice.randint(2, 4)))))
    if dice.random() < 0.5:
        blocks.append(Block("text", (dice.choice(DETAILS),), dice.choice(ASSIGNABLE) if dice.random() < 0.4 else None))
    if dice.random() < 0.4:
        blocks.append(Block("bullets", tuple(dice.sample(FINDINGS, dice.randint(2, 4)))))
    if dice.random() < 0.35:
        blocks.append(Block("code", dice.choice(CODE)))
    if dice.random() < 0.05:  # somebody pasted a whole conversation
        blocks += [Block("text", (f"[{hour:02}:15] {dice.choice(DETAILS)}",)) for hour in range(24)] * 3
    blocks.append(Block("text", (dice.choice(DETAILS),)))
    return tuple(blocks)


def _disagree(dice: random.Random, index: int, ticket: Ticket) -> None:
    """What two systems say about one thing after months without a link."""
    if index % 4 == 3 or ticket.reference is None:
        # Found by its summary: at least one side never noted the reference.
        ticket.jira["reference"] = None
        if index % 8 == 3:
            ticket.salesforce["reference"] = None
    elif index % 15 == 1:
        ticket.salesforce["summary"] = f"{ticket.summary} (escalated)"
    if index % 10 == 2:
        ticket.salesforce["priority"] = (ticket.priority + 1) % 4
    if index % 12 == 5:
        ticket.salesforce["description"] = (*ticket.description, Block("text", ("Customer called again today.",)))
    if index % 9 == 4:
        ticket.jira["labels"] = tuple(sorted({*ticket.labels, dice.choice(LABELS)}))
    if index % 11 == 6:
        ticket.salesforce["due"] = None
    if index % 13 == 7:
        ticket.jira["effort"] = None
    if index % 14 == 8:
        ticket.salesforce["assignee"] = None
    if index % 25 == 9:
        ticket.jira["assignee"] = ticket.salesforce["assignee"] = GONE[index % 2]


def said(ticket: Ticket, side: str, name: str) -> Any:
    """What one side ("jira" or "salesforce") holds in the field `name` of a ticket."""
    own: dict[str, Any] = getattr(ticket, side)
    return own.get(name, getattr(ticket, name))


def plain(blocks: Sequence[Block]) -> str | None:
    """A description as people type it into a text box."""
    return "\n\n".join(_plain_block(block) for block in blocks) or None


def _plain_block(block: Block) -> str:
    if block.kind == "bullets":
        return "\n".join(f"- {line}" for line in block.lines)
    if block.kind == "steps":
        return "\n".join(f"{number}. {line}" for number, line in enumerate(block.lines, start=1))
    if block.kind == "code":
        return "\n".join(("```text", *block.lines, "```"))
    return "\n".join(block.lines) + (f" @{block.who.name}" if block.who else "")


def document(blocks: Sequence[Block], account_id: dict[str, str]) -> dict[str, Any] | None:
    """A description as a Jira document; `account_id`: {e-mail address: Jira account id} for the mentions."""
    if not blocks:
        return None
    return {"type": "doc", "version": 1, "content": [_node(block, account_id) for block in blocks]}


def _node(block: Block, account_id: dict[str, str]) -> dict[str, Any]:
    if block.kind == "code":
        return {"type": "codeBlock", "attrs": {"language": "text"}, "content": [_text("\n".join(block.lines))]}
    if block.kind in ("bullets", "steps"):
        items = [{"type": "listItem", "content": [_paragraph([_text(line)])]} for line in block.lines]
        return {"type": "bulletList" if block.kind == "bullets" else "orderedList", "content": items}
    content: list[dict[str, Any]] = [_text("\n".join(block.lines))]
    if block.who:
        mention = {"id": account_id[block.who.email], "text": f"@{block.who.name}", "accessLevel": ""}
        content += [_text(" "), {"type": "mention", "attrs": mention}]
    return _paragraph(content)


def _paragraph(content: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "paragraph", "content": content}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
