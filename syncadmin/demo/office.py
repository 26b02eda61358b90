"""The people of the demo at work: every few seconds one of them edits an issue or a case through the vendor's API.

They know nothing of SyncAdmin: each signs in with an account of their own and edits what they would edit. Now and
then two of them edit the same field of the same thing on both sides, and that is a true conflict.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import requests

from syncadmin.demo import world
from syncadmin.demo.credentials import Credentials, office_people
from syncadmin.demo.seed_jira import CUSTOM_FIELDS
from syncadmin.demo.world import PEOPLE, Person

TIMEOUT = 20.0  # seconds
API_VERSION = "v62.0"
EFFORTS = (0.5, 1, 2, 3, 5, 8, 13, 20)
REMARKS = (
    "Customer confirmed that it still happens.",
    "Tried the workaround, it helps for an hour.",
    "Waiting for the logs of the nightly job.",
    "Reproduced on staging with a fresh account.",
    "Kunde bittet um Rückruf am Nachmittag.",
    "Fix is in review; ships with the next release.",
)


class Jira:
    """Edits issues as a person."""

    def __init__(self, url: str, credentials: Credentials) -> None:
        self.url, self.credentials = url, credentials

    def call(self, who: Person, method: str, path: str, body: Any = None) -> Any:
        answer = requests.request(
            method,
            f"{self.url}/rest/api/3/{path}",
            json=body,
            auth=(who.email, self.credentials.jira_token(who.email)),
            timeout=TIMEOUT,
        )
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def issue(self, who: Person, key: str) -> dict[str, Any]:
        found: dict[str, Any] = self.call(who, "GET", f"issue/{quote(key)}")["fields"]
        return found

    def edit(self, who: Person, key: str, **fields: Any) -> None:
        self.call(who, "PUT", f"issue/{quote(key)}", {"fields": fields})

    def move(self, who: Person, key: str, dice: random.Random) -> None:
        """Take one step along the workflow, but do not close."""
        steps = self.call(who, "GET", f"issue/{quote(key)}/transitions")["transitions"]
        open_steps = [step for step in steps if step["to"]["name"] != "Done"]
        if open_steps:
            step = dice.choice(open_steps)
            self.call(who, "POST", f"issue/{quote(key)}/transitions", {"transition": {"id": step["id"]}})


class Salesforce:
    """Edits cases as a person."""

    def __init__(self, url: str, credentials: Credentials) -> None:
        self.url, self.credentials = url, credentials
        self.tokens: dict[str, str] = {}

    def call(self, who: Person, method: str, path: str, body: Any = None, again: bool = True) -> Any:
        if who.email not in self.tokens:
            self.tokens[who.email] = self._sign_in(who)
        answer = requests.request(
            method,
            f"{self.url}/services/data/{API_VERSION}/{path}",
            json=body,
            headers={"Authorization": f"Bearer {self.tokens[who.email]}"},
            timeout=TIMEOUT,
        )
        if answer.status_code == 401 and again:  # sessions end after two hours
            del self.tokens[who.email]
            return self.call(who, method, path, body, again=False)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def _sign_in(self, who: Person) -> str:
        client_id, client_secret = self.credentials.salesforce_app(who.email)
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
        answer = requests.post(f"{self.url}/services/oauth2/token", data=form, timeout=TIMEOUT)
        answer.raise_for_status()
        return str(answer.json()["access_token"])

    def pairs(self, who: Person) -> list[tuple[str, str]]:
        """(case id, issue key) of open cases that know their issue."""
        query = "SELECT Id, Jira_Key__c FROM Case WHERE Jira_Key__c != null AND IsClosed = false"
        rows = self.call(who, "GET", f"query?q={quote(query)}")["records"]
        return [(row["Id"], row["Jira_Key__c"]) for row in rows]

    def case(self, who: Person, id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.call(who, "GET", f"sobjects/Case/{id}")
        return found

    def edit(self, who: Person, id: str, **fields: Any) -> None:
        self.call(who, "PATCH", f"sobjects/Case/{id}", fields)


@dataclass
class Office:
    jira: Jira
    salesforce: Salesforce
    dice: random.Random

    def pairs(self) -> list[tuple[str, str]]:
        return self.salesforce.pairs(self._somebody("salesforce"))

    def work(self, pairs: list[tuple[str, str]]) -> str:
        """One edit on one side. Returns a line about it."""
        case, key = self.dice.choice(pairs)
        deeds: list[Callable[[str, str], str]] = [
            self._jira_priority,
            self._jira_label,
            self._jira_remark,
            self._jira_due,
            self._jira_step,
            self._case_priority,
            self._case_remark,
            self._case_effort,
            self._case_area,
            self._case_status,
        ]
        return self.dice.choice(deeds)(case, key)

    def choose(self, pairs: list[tuple[str, str]]) -> str:
        """One choice among fixed values on one side. Returns a line about it."""
        case, key = self.dice.choice(pairs)
        deeds: list[Callable[[str, str], str]] = [
            self._jira_priority,
            self._jira_label,
            self._jira_step,
            self._case_priority,
            self._case_area,
            self._case_status,
        ]
        return self.dice.choice(deeds)(case, key)

    def clash(self, pairs: list[tuple[str, str]]) -> str:
        """Two people, one field, two opinions, at the same moment."""
        case, key = self.dice.choice(pairs)
        left, right = self.dice.sample(EFFORTS, 2)
        engineer, agent = self._somebody("jira"), self._somebody("salesforce")
        self.jira.edit(engineer, key, **{CUSTOM_FIELDS["effort"].id: left})
        self.salesforce.edit(agent, case, Effort__c=right)
        return f"{engineer.name} says {key} takes {left} h, {agent.name} says {right} h"

    def _somebody(self, system: str) -> Person:
        return self.dice.choice(office_people(PEOPLE, system))

    def _jira_priority(self, case: str, key: str) -> str:
        who, (name, _) = self._somebody("jira"), self.dice.choice(world.PRIORITIES)
        self.jira.edit(who, key, priority={"name": name})
        return f"{who.name} sets {key} to {name}"

    def _jira_label(self, case: str, key: str) -> str:
        who, label = self._somebody("jira"), self.dice.choice(world.LABELS)
        labels = set(self.jira.issue(who, key)["labels"] or ())
        self.jira.edit(who, key, labels=sorted(labels ^ {label}))
        return f"{who.name} {'removes' if label in labels else 'adds'} the label {label} of {key}"

    def _jira_remark(self, case: str, key: str) -> str:
        who, remark = self._somebody("jira"), self.dice.choice(REMARKS)
        document = self.jira.issue(who, key)["description"] or {"type": "doc", "version": 1, "content": []}
        paragraph = {"type": "paragraph", "content": [{"type": "text", "text": remark}]}
        content = _with_remark(document["content"], paragraph, lambda block: block == paragraph)
        self.jira.edit(who, key, description={**document, "content": content})
        return f"{who.name} writes in {key}: {remark}"

    def _jira_due(self, case: str, key: str) -> str:
        who = self._somebody("jira")
        due = f"2027-{self.dice.randint(1, 12):02}-{self.dice.randint(1, 28):02}"
        self.jira.edit(who, key, duedate=due)
        return f"{who.name} moves {key} to {due}"

    def _jira_step(self, case: str, key: str) -> str:
        who = self._somebody("jira")
        self.jira.move(who, key, self.dice)
        return f"{who.name} works on {key}"

    def _case_priority(self, case: str, key: str) -> str:
        who, (_, name) = self._somebody("salesforce"), self.dice.choice(world.PRIORITIES)
        self.salesforce.edit(who, case, Priority=name)
        return f"{who.name} sets the case of {key} to {name}"

    def _case_remark(self, case: str, key: str) -> str:
        who, remark = self._somebody("salesforce"), self.dice.choice(REMARKS)
        paragraphs = (self.salesforce.case(who, case)["Description"] or "").split("\n\n")
        paragraphs = _with_remark([p for p in paragraphs if p], remark, lambda text: text == remark)
        self.salesforce.edit(who, case, Description="\n\n".join(paragraphs))
        return f"{who.name} writes in the case of {key}: {remark}"

    def _case_effort(self, case: str, key: str) -> str:
        who, effort = self._somebody("salesforce"), self.dice.choice(EFFORTS)
        self.salesforce.edit(who, case, Effort__c=effort)
        return f"{who.name} estimates the case of {key} at {effort} h"

    def _case_area(self, case: str, key: str) -> str:
        who, area = self._somebody("salesforce"), self.dice.choice(world.AREAS)
        self.salesforce.edit(who, case, Product_Area__c=area)
        return f"{who.name} files the case of {key} under {area}"

    def _case_status(self, case: str, key: str) -> str:
        who = self._somebody("salesforce")
        name = self.dice.choice([there for _, there in world.STATUSES if there != "Closed"])
        self.salesforce.edit(who, case, Status=name)
        return f"{who.name} sets the case of {key} to {name}"


def _with_remark(blocks: list[Any], remark: Any, is_remark: Callable[[Any], bool]) -> list[Any]:
    """The remark at the end; one that is there already is taken away, so that no text grows for ever."""
    kept = [block for block in blocks if not is_remark(block)]
    return kept if len(kept) < len(blocks) else [*blocks, remark]
