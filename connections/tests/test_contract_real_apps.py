"""The contract on applications that nobody made for us, started here; their definitions are in `definitions/`."""

from __future__ import annotations

import base64
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from connections.connectors.base import NeedsAuthorization, Values
from connections.sandbox.base import Server, Standin
from connections.tests.contract import Person, Sample, WiredVendor
from connections.tests.contract_vendor import Answered
from connections.tests.picked_contract import PickedContract
from connections.tests.real_app import Door, RedmineDoor, redmine
from connections.tests.rest_world import rest

DEFINITIONS = Path(__file__).parent / "definitions"
AGO = 7200.0
PASSWORD = "a-long-password"
PAGE = 8


def basic(user: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()}


class Clock:
    """The application's clock, in our hands."""

    def __init__(self) -> None:
        self.at = float(int(time.time() - AGO))

    def __call__(self) -> float:
        return self.at


class RealVendor(WiredVendor):
    narrow = {"team": "ours"}
    leaving = {"team": "theirs"}
    title = "title"
    secret = PASSWORD
    everything = Answered("", "")
    unused = frozenset({"parse_delivery", "steps_by_hand"})
    seen = 0

    def __init__(self, door: Door, clock: Clock, address: str, name: str, settings: Mapping[str, str]) -> None:
        self.door = door
        self.clock = clock
        document = yaml.safe_load((DEFINITIONS / f"{name}.yaml").read_text())
        document["object_types"][0]["list"]["paging"]["size"] = PAGE
        self.document, self.address = document, address
        self.connector = rest(document, address, dict(settings), {"password": self.secret, "key": self.secret}, name)

    def tick(self, seconds: float) -> None:
        self.clock.at += seconds

    def stamp(self) -> str:
        return datetime.fromtimestamp(self.clock.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def position_of(self, updated_at: str | None) -> str:
        return str(updated_at)

    def disturbed(self) -> Standin:
        return self.door

    def forget(self) -> None:
        self.connector.lookups.forget()

    def requests(self) -> list[str]:
        made = [f"{method} {path}" for method, path, _ in self.door.log[self.seen :]]
        self.seen = len(self.door.log)
        return made


# Kinto -----------------------------------------------------------------------------------------------------------

RECORDS = "/v1/buckets/b/collections/{}/records"
STORED = {"New": "new", "Open": "open"}


class KintoVendor(RealVendor):
    object_type = "record"
    unknown_id = "no-such-record"
    samples = {
        "text": Sample("body", "Words", "Other words"),
        "option": Sample("status", "New", "Open"),
        "set": Sample("labels", ["a", "b"], ["c"], empty=[]),
        "number": Sample("amount", 2.5, 3),
        "boolean": Sample("urgent", True, False),
        "date": Sample("due", "2026-02-03", "2026-12-24"),
        "datetime": Sample("seen", "2026-02-03T04:05:06Z", "2026-12-24T18:00:00Z"),
        "reference": Sample("thing", "T-1", "T-2"),
    }
    ana = Person("id:ana", "ana", "ana")
    inactive_person = "id:gone"
    writing = {
        "update": Answered("PATCH", "/records/"),
        "create": Answered("POST", "/records$"),
        "delete": Answered("DELETE", "/records/"),
    }

    def __init__(self, door: Door, clock: Clock, address: str, collection: str) -> None:
        settings = {"user": "sync", "bucket": "b", "collection": collection}
        super().__init__(door, clock, f"{address}/v1", "kinto", settings)
        self.records = RECORDS.format(collection)

    def _ask(self, method: str, path: str, body: Any = None, **query: str) -> Any:
        return self.door.person(method, path, body, basic("ana"), **query)["data"]

    def _data(self, values: Values) -> dict[str, Any]:
        return {path: STORED.get(value, value) if path == "status" else value for path, value in values.items()}

    def add(self, values: Values | None = None, inside: bool = True) -> str:
        data = {"title": "Thing", "team": "ours" if inside else "theirs", **self._data(values or {})}
        return str(self._ask("POST", self.records, {"data": data})["id"])

    def edit(self, external_id: str, values: Values) -> None:
        self._ask("PATCH", f"{self.records}/{external_id}", {"data": self._data(values)})

    def remove(self, external_id: str) -> None:
        self._ask("DELETE", f"{self.records}/{external_id}")

    def ids(self) -> set[str]:
        return {record["id"] for record in self._ask("GET", self.records, None, _limit="1000")}

    def snapshot(self, external_id: str) -> dict[str, Any]:
        record = self._ask("GET", f"{self.records}/{external_id}")
        return {path: value for path, value in record.items() if path not in ("last_modified", "external")}


class TestKinto(PickedContract):
    # It finds exact texts only: its "like" takes a pattern, and answers 500 to some texts.
    test_case = None  # type: ignore[assignment]

    @pytest.fixture(scope="class")
    def kinto(self) -> Iterator[tuple[Door, Clock, str]]:
        pytest.importorskip("kinto")
        from kinto import main
        from kinto.core import utils

        clock = Clock()
        settings = {f"kinto.{part}_backend": f"kinto.core.{part}.memory" for part in ("storage", "permission", "cache")}
        settings |= {"kinto.userid_hmac_secret": "x", "multiauth.policies": "basicauth", "kinto.paginate_by": "1000"}
        settings["kinto.bucket_create_principals"] = "system.Authenticated"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(utils, "msec_time", lambda: int(clock.at * 1000))
            door = Door(main({}, **settings), now=clock)
            door.person("PUT", "/v1/buckets/b", {"permissions": {"write": ["system.Authenticated"]}}, basic("ana"))
            with Server(door, threads=2) as address:
                yield door, clock, address

    @pytest.fixture
    def vendor(self, kinto: tuple[Door, Clock, str], request: pytest.FixtureRequest) -> KintoVendor:
        door, clock, address = kinto
        collection = f"c{abs(hash(request.node.name))}"
        door.faults.clear()
        door.person("PUT", f"/v1/buckets/b/collections/{collection}", {}, basic("ana"))
        return KintoVendor(door, clock, address, collection)


# Roundup ---------------------------------------------------------------------------------------------------------

ISSUE = 'IssueClass(db, "issue",'
TEXTS = "remark=String(), team=String(), ticket=String(), external=String(),"
OTHERS = "effort=Number(), urgent=Boolean(), due=Date(),"
STATUSES = {"unread": "1", "chatting": "3", "resolved": "8"}


class RoundupVendor(RealVendor):
    object_type = "issue"
    unknown_id = "99999"
    samples = {
        "text": Sample("remark", "Words", "Other words"),
        "option": Sample("status", "chatting", "resolved", clearable=False),
        "person": Sample("assignedto", "ana@example.com", "bob@example.com"),
        "number": Sample("effort", 2.5, 3),
        "boolean": Sample("urgent", True, False),
        "datetime": Sample("due", "2026-02-03T04:05:06Z", "2026-12-24T18:00:00Z"),
        "reference": Sample("ticket", "T-1", "T-2"),
    }
    inactive_person = "gone@example.com"
    writing = {
        "update": Answered("PUT", "/rest/data/issue/"),
        "create": Answered("POST", "/rest/data/issue$"),
        "delete": Answered("DELETE", "/rest/data/issue/"),
    }

    def __init__(self, door: Door, clock: Clock, address: str, tracker: Any, users: Mapping[str, str]) -> None:
        super().__init__(door, clock, address, "roundup", {"user": "sync"})
        self.db = tracker.open("ana")
        self.users = users
        self.ana = Person("ana@example.com", users["ana"], "ana")

    def _as_ana(self, act: Any) -> Any:
        self.db.clearCache()
        found = act(self.db)
        self.db.commit()
        return found

    def clean(self) -> None:
        """Without what an earlier test left."""
        self._as_ana(lambda db: [db.issue.destroy(id) for id in db.issue.getnodeids()])

    def _stored(self, values: Values) -> dict[str, Any]:
        from roundup.date import Date

        found = dict(values)
        if found.get("due"):
            found["due"] = Date(found["due"].replace("T", ".").rstrip("Z"))
        if "status" in found:
            found["status"] = STATUSES[found["status"]]
        if found.get("assignedto"):
            found["assignedto"] = self.users[found["assignedto"].partition("@")[0]]
        return found

    def add(self, values: Values | None = None, inside: bool = True) -> str:
        given = {"title": "Thing", "team": "ours" if inside else "theirs", **self._stored(values or {})}
        return str(self._as_ana(lambda db: db.issue.create(**given)))

    def edit(self, external_id: str, values: Values) -> None:
        self._as_ana(lambda db: db.issue.set(external_id, **self._stored(values)))

    def remove(self, external_id: str) -> None:
        self._as_ana(lambda db: db.issue.retire(external_id))

    def ids(self) -> set[str]:
        return set(self._as_ana(lambda db: db.issue.list()))

    def snapshot(self, external_id: str) -> dict[str, Any]:
        paths = ("title", "remark", "status", "team", "assignedto", "effort", "urgent", "due", "ticket")
        return self._as_ana(lambda db: {path: str(db.issue.get(external_id, path)) for path in paths})


class TestRoundup(PickedContract):
    @pytest.fixture(scope="class")
    def roundup(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Door, Clock, str, Any]]:
        pytest.importorskip("roundup")
        import roundup.date
        import roundup.init
        import roundup.instance
        from roundup.cgi.wsgi_handler import RequestDispatcher
        from roundup.configuration import CoreConfig
        from roundup.password import Password

        clock = Clock()
        home = tmp_path_factory.mktemp("roundup") / "tracker"
        roundup.init.install(str(home), str(Path(sys.prefix) / "share/roundup/templates/classic"))
        schema = home / "schema.py"
        schema.write_text(schema.read_text().replace(ISSUE, f"{ISSUE} {TEXTS} {OTHERS}"))
        door = Door(now=clock)
        with pytest.MonkeyPatch.context() as patch, Server(door, threads=2) as address:
            patch.setattr(roundup.date, "utcnow", lambda: datetime.fromtimestamp(clock.at, UTC))
            config = CoreConfig()
            config.HOME = str(home)
            settings = {"RDBMS_BACKEND": "sqlite", "TRACKER_WEB": f"{address}/", "MAIL_DEBUG": str(home / "mail.log")}
            settings |= {"MAIL_DOMAIN": "example.com", "MAIL_HOST": "localhost", "PASSWORD_PBKDF2_DEFAULT_ROUNDS": 1000}
            for name, value in {**settings, "LOGGING_LEVEL": "CRITICAL"}.items():
                setattr(config, name, value)
            config.save(str(home / "config.ini"))
            tracker = roundup.instance.open(str(home))
            tracker.init(Password(PASSWORD, config=tracker.config))
            door.host = address.removeprefix("http://")
            door.app = RequestDispatcher(str(home))
            yield door, clock, address, tracker
        shutil.rmtree(home)

    @pytest.fixture(scope="class")
    def users(self, roundup: tuple[Door, Clock, str, Any]) -> dict[str, str]:
        from roundup.password import Password

        tracker = roundup[3]
        db = tracker.open("admin")
        secret = Password(PASSWORD, config=tracker.config)
        found = {
            name: db.user.create(username=name, address=f"{name}@example.com", password=secret, roles=roles)
            for name, roles in (("ana", "User"), ("bob", "User"), ("sync", "User,Admin"), ("gone", "Anonymous"))
        }
        db.commit()
        db.close()
        return found

    @pytest.fixture
    def vendor(self, roundup: tuple[Door, Clock, str, Any], users: dict[str, str]) -> Iterator[RoundupVendor]:
        door, clock, address, tracker = roundup
        door.faults.clear()
        made = RoundupVendor(door, clock, address, tracker, users)
        made.clean()
        yield made
        made.db.close()


# Redmine ---------------------------------------------------------------------------------------------------------

REDMINE_STATUSES = {"New": 1, "In Progress": 2, "Closed": 5}
CUSTOM = {"remark": "1", "ticket": "2", "labels": "4"}  # numbers of the custom fields, as redmine_server.rb makes them


class RedmineVendor(RealVendor):
    object_type = "issue"
    unknown_id = "99999"
    scope = {"project": "1"}
    narrow = {"project": "1", "tracker": "1"}
    leaving = {"tracker": "2"}
    title = "subject"
    samples = {
        "text": Sample("remark", "Words", "Other words"),
        "rich_text": Sample("description", "Some *words*", "Others"),
        "option": Sample("status", "In Progress", "Closed", clearable=False),
        "set": Sample("labels", ["a", "b"], ["c"], empty=[]),
        "person": Sample("assignee", "ana@example.com", "bob@example.com"),
        "number": Sample("estimated_hours", 2.5, 3),
        "boolean": Sample("private", True, False, clearable=False),
        "date": Sample("due_date", "2030-02-03", "2030-12-24"),
        "reference": Sample("ticket", "T-1", "T-2"),
    }
    inactive_person = "gone@example.com"
    writing = {
        "update": Answered("PUT", "/issues/"),
        "create": Answered("POST", "/issues.json$"),
        "delete": Answered("DELETE", "/issues/"),
    }

    def __init__(self, door: RedmineDoor, clock: Clock, address: str) -> None:
        self.people = door
        self.secret = door.keys["sync"]
        super().__init__(door, clock, address, "redmine", {})
        self.ana = Person("ana@example.com", str(door.ids["ana"]), "ana")
        door.tell("clean")
        door.tell(str(clock.at))

    def tick(self, seconds: float) -> None:
        super().tick(seconds)
        self.people.tell(str(self.clock.at))

    def _ask(self, method: str, path: str, issue: Any = None, **query: str) -> Any:
        body = {"issue": issue} if issue else None
        return self.door.person(method, path, body, {"x-redmine-api-key": self.people.keys["ana"]}, **query)

    def _stored(self, values: Values) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for path, value in values.items():
            if path in CUSTOM:
                found.setdefault("custom_field_values", {})[CUSTOM[path]] = value
            elif path == "status":
                found["status_id"] = REDMINE_STATUSES[value]
            elif path == "assignee":
                found["assigned_to_id"] = self.people.ids[value.partition("@")[0]]
            else:
                found[{"private": "is_private", "tracker": "tracker_id"}.get(path, path)] = value
        return found

    def add(self, values: Values | None = None, inside: bool = True) -> str:
        given = {"project_id": 1, "tracker_id": 1 if inside else 2, "subject": "Thing", **self._stored(values or {})}
        return str(self._ask("POST", "/issues.json", given)["issue"]["id"])

    def edit(self, external_id: str, values: Values) -> None:
        self._ask("PUT", f"/issues/{external_id}.json", self._stored(values))

    def remove(self, external_id: str) -> None:
        self._ask("DELETE", f"/issues/{external_id}.json")

    def ids(self) -> set[str]:
        return {
            str(each["id"]) for each in self._ask("GET", "/issues.json", None, status_id="*", limit="100")["issues"]
        }

    def snapshot(self, external_id: str) -> dict[str, Any]:
        issue = self._ask("GET", f"/issues/{external_id}.json")["issue"]
        own = {each["name"].lower(): each["value"] for each in issue["custom_fields"]}
        found = {path: issue[path] for path in ("subject", "description", "estimated_hours", "due_date", "project")}
        named = {"status": issue["status"], "assignee": issue.get("assigned_to"), "private": issue["is_private"]}
        return {**own, **found, **named, "tracker": issue["tracker"]}


class TestRedmine(PickedContract):
    @pytest.fixture(scope="class")
    def running(self) -> Iterator[tuple[RedmineDoor, Clock, str]]:
        clock = Clock()
        with redmine(now=clock) as door, Server(door, threads=2) as address:
            yield door, clock, address

    @pytest.fixture
    def vendor(self, running: tuple[RedmineDoor, Clock, str]) -> RedmineVendor:
        door, clock, address = running
        door.faults.clear()
        return RedmineVendor(door, clock, address)

    def test_a_status_its_workflow_does_not_allow_at_first_is_on_the_way_and_then_written(self, vendor: RedmineVendor):
        values = {"subject": "New", "status": "In Progress"}
        made = vendor.connector.create("issue", values, "key-1", {"project": "1", "tracker": "2"})
        assert made.record.values["status"] == "New"
        assert dict(made.on_the_way) == {"status": "New"}
        written = vendor.update(made.record.external_id, {"status": "In Progress"})
        assert written.record.values["status"] == "In Progress"

    def test_a_key_that_is_taken_back_is_found_by_the_account_where_reads_go_on_as_nobody(self, vendor: RedmineVendor):
        id = vendor.add()
        vendor.connector = rest(vendor.document, vendor.address, {}, {"key": "no-longer-valid"}, "redmine")
        assert vendor.read(id, ["subject"]).values["subject"] == "Thing"
        with pytest.raises(NeedsAuthorization):
            vendor.connector.check()
        with pytest.raises(NeedsAuthorization):
            vendor.update(id, {"subject": "Written"})
