"""Redmine's habits, as seen in a running one (5.0.4), scripted here for machines that have no Redmine to start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from connections.connectors.base import Context, NeedsAuthorization, Refused
from connections.connectors.rest import Rest
from connections.tests.salesforce_world import State, Tokens
from connections.tests.scripted_http import Asked, Said, Scripted

DOCUMENT = yaml.safe_load((Path(__file__).parent / "definitions" / "redmine.yaml").read_text())
STATUSES = {"issue_statuses": [{"id": 1, "name": "New"}, {"id": 5, "name": "Closed"}]}
SCOPE = {"project": "1"}


class Redmine:
    """Some issues behind a script: 100 a page whatever is asked, writes answered by 204."""

    def __init__(self, count: int = 3) -> None:
        self.issues = [
            {
                "id": number,
                "project": {"id": 1},
                "status": {"id": 1, "name": "New"},
                "subject": f"Issue {number}",
                "author": {"id": 3},
                "updated_on": f"2026-01-01T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}Z",
                "created_on": "2026-01-01T00:00:00Z",
            }
            for number in range(1, count + 1)
        ]
        self.http = Scripted(
            "https://redmine.example.com",
            ("GET", "/users/current.json", Said({"user": {"id": 3, "login": "sync"}})),
            ("GET", "/issue_statuses.json", Said(STATUSES)),
            ("GET", "/issues.json", self._list),
            ("GET", r"/issues/\d+.json", lambda a: Said({"issue": self._one(a)})),
            ("PUT", r"/issues/\d+.json", self._write),
            name="Redmine",
        )
        context = Context(
            "redmine", self.http.address, {"definition": DOCUMENT}, {"key": "a-long-key"}, self.http, Tokens(), State()
        )
        self.connector = Rest(context)
        self.connector.lookups.forget()

    def _one(self, asked: Asked) -> dict[str, Any]:
        number = int(asked.path.rsplit("/", 1)[1].removesuffix(".json"))
        return next(issue for issue in self.issues if issue["id"] == number)

    def _list(self, asked: Asked) -> Said:
        query = dict(asked.query)
        since = query.get("updated_on", ">=").removeprefix(">=")
        found = sorted((i for i in self.issues if i["updated_on"] >= since), key=lambda i: i["updated_on"])
        start = int(query["offset"])
        part = found[start : start + min(int(query["limit"]), 100)]
        return Said({"issues": part, "total_count": len(found), "offset": start, "limit": 100})

    def _write(self, asked: Asked) -> Said:
        sent = asked.body["issue"]
        if len(sent.get("subject", "x")) > 255 or not sent.get("subject", "x"):
            return Said({"errors": ["Subject is too long (maximum is 255 characters)"]}, 422)
        issue = self._one(asked)
        issue["subject"] = sent.get("subject", issue["subject"])
        return Said(None, 204)  # a status that it does not know, or not allow, is left out without a word


def test_a_limit_that_is_cut_to_a_hundred_silently_loses_no_issue():
    redmine = Redmine(250)
    pages = list(redmine.connector.changed_since("issue", None, [], SCOPE))
    assert len({record.external_id for page in pages for record in page.records}) == 250
    asked = [dict(asked.query) for asked in redmine.http.asked if asked.path == "/issues.json"]
    assert {query["status_id"] for query in asked} == {"*"}, "closed issues are asked for too"
    assert "updated_on" not in asked[0] and asked[1]["updated_on"] == ">=2026-01-01T00:01:40Z"


def test_a_write_without_a_body_is_read_back():
    redmine = Redmine()
    record = redmine.connector.update("issue", "1", {"subject": "New"}, None, ["subject"]).record
    assert record.values["subject"] == "New"


def test_a_status_it_leaves_out_with_204_is_a_refusal_that_names_the_field():
    redmine = Redmine()
    with pytest.raises(Refused) as caught:
        redmine.connector.update("issue", "1", {"status": "Closed", "subject": "Taken"}, None, [])
    assert set(caught.value.fields) == {"status"}
    assert redmine.issues[0]["subject"] == "Taken"


def test_a_status_that_does_not_exist_is_refused_before_anything_is_sent():
    redmine = Redmine()
    with pytest.raises(Refused, match="there are New, Closed"):
        redmine.connector.update("issue", "1", {"status": "Unheard of"}, None, [])
    assert not [asked for asked in redmine.http.asked if asked.method == "PUT"]


def test_what_it_says_of_a_refusal_is_quoted():
    redmine = Redmine()
    redmine.http.script.insert(0, ("PUT", "", Said({"errors": ["Subject can't be blank"]}, 422)))
    with pytest.raises(Refused, match="Subject can't be blank"):
        redmine.connector.update("issue", "1", {"subject": "x"}, None, [])


def test_a_wrong_key_on_a_public_project_is_found_by_the_account():
    redmine = Redmine()
    redmine.http.script.insert(0, ("GET", "/users/current.json", Said(None, 401)))
    redmine.connector.get_many("issue", ["1"], [])  # reads go on as nobody
    with pytest.raises(NeedsAuthorization):
        redmine.connector.check()
