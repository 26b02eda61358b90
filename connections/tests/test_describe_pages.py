"""The pages that describe an API: who reaches them, what they keep, what a try shows, and that secrets stay inside."""

from __future__ import annotations

import html
import json
import re
from typing import Any
from unittest.mock import patch

from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection as database
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from connections.connectors import rest_sections as sections
from connections.connectors.rest_definition import dump, parse
from connections.connectors.rest_inputs import texts_of
from connections.describing import draft_of, seal_of
from connections.kept import Passing
from connections.models import Connection
from connections.sandbox.base import Request, Response, Server, Standin
from connections.sandbox.rest import PASSWORD, USER, RestStandin
from connections.sandbox.rest_habits import Habits
from connections.tests.rest_documents import things_document
from connections.tests.test_rest_openapi import DESK
from mappings.config import stored
from sync.models import AuditEntry
from syncadmin.tests.cases import RolesCase

HABITS = Habits(sign_in="basic")


class Odd(Standin):
    """A system that answers whatever a test sets."""

    api_prefixes = ("/",)
    says: Any = ""

    def _dispatch(self, request: Request) -> Response:
        return self.says(request) if callable(self.says) else Response(200, self.says)


@override_settings(ALLOWED_PRIVATE_ADDRESSES=["127.0.0.1"])
class DescribeCase(RolesCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.app, cls.odd = RestStandin(HABITS), Odd()
        servers = [Server(cls.app, threads=2), Server(cls.odd, threads=2)]
        cls.address, cls.odd_address = (server.__enter__() for server in servers)
        for server in servers:
            cls.addClassCleanup(server.__exit__, None, None, None)

    def setUp(self) -> None:
        for name, value in (("_paused", {}), ("_fields", {}), ("Budget.spend", lambda self: None)):
            patcher = patch(f"connections.open.{name}", value)
            patcher.start()
            self.addCleanup(patcher.stop)
        self.document = things_document(HABITS)
        self.row = self.connection(self.document)
        self.as_("admin")

    def connection(self, document: dict[str, Any], address: str = "", name: str = "Things") -> Connection:
        return Connection.objects.create(
            name=name,
            kind="rest",
            address=address or self.address,
            settings={"draft": document, "user": USER},
            secrets={"password": PASSWORD},
        )

    def url(self, where: str = "", verb: str = "") -> str:
        return f"/connections/{self.row.pk}/api/{where + '/' if where else ''}{verb}"

    def entered(self, where: str, **changes: Any) -> dict[str, Any]:
        """A section as a browser sends it, with changes by the names of its inputs."""
        section = sections.section_at(where)
        assert section
        self.row.refresh_from_db()
        texts = {**texts_of(section.group, sections.found_at(draft_of(self.row), section)), **changes}
        sent = {name: ("on" if value is True else value) for name, value in texts.items() if value is not False}
        own = {"own-name": self.row.name, "own-address": self.row.address} if where == "system" else {}
        return {**own, **sent, "seal": seal_of(self.row), **{n: v for n, v in changes.items() if v is not False}}

    def save(self, where: str, **changes: Any) -> Any:
        answer = self.client.post(self.url(where), self.entered(where, **changes))
        self.row.refresh_from_db()
        return answer

    def attempt(self, where: str, **changes: Any) -> str:
        """What a try shows, as plain text."""
        answer = self.client.post(self.url(where, "try/"), self.entered(where, **changes))
        self.assertEqual(answer.status_code, 200)
        return plain(answer.content)


def plain(content: bytes) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", content.decode())).split())


class AccessTests(DescribeCase):
    def test_only_admins_describe_an_api(self) -> None:
        for url in (
            "/connections/add/rest/", self.url(), self.url(verb="export/"), self.url("system"), self.url("type.0.list"),
            self.url("type.0.field.new"),
        ):  # fmt: skip
            self.assert_access(url, allowed={"admin"})
        for url in (
            self.url("system", "try/"), self.url(verb="use/"), self.url(verb="discard/"), self.url(verb="import/"),
        ):  # fmt: skip
            self.assert_access(url, allowed={"admin"}, method="post")
        self.assert_access(self.url("type.1", "remove/"), allowed={"admin"}, method="post", data={"seal": "old"})

    def test_what_is_not_there_is_not_found(self) -> None:
        for where in ("nothing", "type.9", "type.0.field.99", "type.x"):
            self.assertEqual(self.client.get(self.url(where)).status_code, 404)
        jira = Connection.objects.create(name="J", kind="jira", address="https://j.example")
        self.assertEqual(self.client.get(f"/connections/{jira.pk}/api/").status_code, 404)

    def test_every_section_is_shown_with_few_queries(self) -> None:
        for where in ("system", "sign-in", "who", "answers", "bell", "type.0", "type.0.list", "type.0.read",
                      "type.0.write", "type.0.field.0", "type.0.scope.0", "type.new"):  # fmt: skip
            with CaptureQueriesContext(database) as queries:
                self.assertEqual(self.client.get(self.url(where)).status_code, 200, where)
            self.assertLess(len(queries), 16, where)

    def test_editing_such_a_connection_leads_to_its_description(self) -> None:
        self.assertRedirects(self.client.get(f"/connections/{self.row.pk}/edit/"), self.url())


class KeepTests(DescribeCase):
    def test_it_begins_with_a_name_and_an_address(self) -> None:
        given = {"name": "New", "address": "https://api.example.com/v1/", "source": "form"}
        self.assertEqual(self.client.post("/connections/add/rest/", given).status_code, 302)
        row = Connection.objects.get(name="New")
        self.assertEqual((row.address, row.kind), ("https://api.example.com/v1", "rest"))
        self.assertNotIn("definition", row.settings)
        self.assertIn("There is no object type yet.", plain(self.client.get(f"/connections/{row.pk}/api/").content))

    def test_a_section_is_kept_as_a_draft_and_what_runs_stays(self) -> None:
        self.client.post(self.url(verb="use/"), {"seal": seal_of(self.row)})
        self.row.refresh_from_db()
        running = self.row.settings["definition"]
        self.assertRedirects(self.save("answers", limits__per_second="7"), self.url("type.0"))
        self.assertEqual(draft_of(self.row)["limits"], {"per_second": 7.0})
        self.assertEqual(self.row.settings["definition"], running)
        self.assertEqual(self.row.state, "ok")
        entry = AuditEntry.objects.filter(code="description_saved").get()
        self.assertEqual(entry.params["section"], "Answers")
        self.client.post(self.url(verb="discard/"), {"seal": seal_of(self.row)})
        self.row.refresh_from_db()
        self.assertEqual(draft_of(self.row), running)

    def test_a_description_is_used_and_tested_at_once(self) -> None:
        answer = self.client.post(self.url(verb="use/"), {"seal": seal_of(self.row)}, follow=True)
        self.row.refresh_from_db()
        self.assertEqual((self.row.state, self.row.account_id), ("ok", USER))
        self.assertIn("Things works.", plain(answer.content))
        self.assertEqual(parse(self.row.settings["definition"]), parse(self.document))
        self.assertNotIn("draft", self.row.settings)

    def test_its_pages_say_what_the_description_can_do(self) -> None:
        document = {**self.document, "limits": {"per_second": 7.0}}
        self.row.settings = {"definition": document, "user": USER}
        self.row.save()
        page = plain(self.client.get(f"/connections/{self.row.pk}/").content)
        self.assertIn("We keep to 7 calls a second", page)
        live = f"/connections/{self.row.pk}/live/"
        self.assertIn("REST API calls a webhook of ours", plain(self.client.get(live).content))
        del document["webhook"]
        self.row.settings = {"definition": document, "user": USER}
        self.row.save()
        self.assertIn("found by polls alone", plain(self.client.get(live).content))

    def test_deletions_that_nothing_tells_of_are_looked_for(self) -> None:
        document = json.loads(json.dumps(self.document))
        del document["webhook"], document["object_types"][0]["list"]["deleted"]
        self.row.settings = {"definition": document, "user": USER}
        self.row.save()
        page = plain(self.client.get(f"/connections/{self.row.pk}/").content)
        self.assertIn("looked for in a complete listing every hour", page)

    def test_a_description_with_gaps_is_kept_and_not_used(self) -> None:
        self.save("type.0.list", list__path="")
        page = plain(self.client.get(self.url()).content)
        self.assertIn("The object type “Thing” has no list.", page)
        self.client.post(self.url(verb="use/"), {"seal": seal_of(self.row)})
        self.row.refresh_from_db()
        self.assertNotIn("definition", self.row.settings)

    def test_an_error_stands_at_its_input_and_nothing_is_saved(self) -> None:
        answer = self.save("type.0.list", list__records="items[")
        self.assertEqual(answer.status_code, 422)
        self.assertIn("is no JMESPath expression", answer.context["form"].errors["list__records"][0])
        self.assertEqual(draft_of(self.row), self.document)
        answer = self.save("system", **{"own-address": "http://169.254.169.254/"})
        self.assertIn("own-address", answer.context["form"].errors)

    def test_an_error_about_another_section_names_it(self) -> None:
        answer = self.save("type.0", place__updated_at="")
        self.assertIn("List", answer.context["form"].non_field_errors()[0])

    def test_two_people_do_not_overwrite_each_other(self) -> None:
        mine = self.entered("answers", limits__per_second="7")
        self.save("answers", limits__per_second="9")
        answer = self.client.post(self.url("answers"), mine)
        self.assertEqual(answer.status_code, 422)
        self.assertIn("Somebody else changed the description", plain(answer.content))
        self.row.refresh_from_db()
        self.assertEqual(draft_of(self.row)["limits"]["per_second"], 9.0)

    def test_fields_and_places_seen_in_an_answer_are_taken_over_by_a_tick(self) -> None:
        ticks = {"take": ["extra", "when"], "kind-extra": "number", "label-extra": "Extra", "kind-when": "datetime"}
        ticks |= {"times-when": "iso", "place": ["title=name", "times=epoch_ms", "nonsense=x"]}
        self.save("type.0.list", **ticks)
        own = draft_of(self.row)["object_types"][0]
        extra, when = own["fields"][-2:]
        self.assertEqual(extra, {"name": "extra", "label": "Extra", "kind": "number"})
        self.assertEqual((when["kind"], when["times"]), ("datetime", {}))
        self.assertEqual(own["place"]["title"], "name")
        self.assertEqual(draft_of(self.row)["times"], {"format": "epoch_ms"})

    def test_parts_are_added_and_removed(self) -> None:
        answer = self.client.post(
            self.url("type.0.field.new"), {**self.entered("type.0.field.new"), "name": "more", "kind": "text"}
        )
        self.assertRedirects(answer, self.url("type.0"))
        self.row.refresh_from_db()
        last = len(draft_of(self.row)["object_types"][0]["fields"]) - 1
        self.client.post(self.url(f"type.0.field.{last}", "remove/"), {"seal": seal_of(self.row)})
        self.row.refresh_from_db()
        self.assertEqual(draft_of(self.row), self.document)
        self.client.post(self.url("type.0", "remove/"), {"seal": seal_of(self.row)})
        self.row.refresh_from_db()
        self.assertEqual(draft_of(self.row), self.document)  # its notes still need it


class SecretTests(DescribeCase):
    def test_a_new_secret_is_stored_and_shown_nowhere(self) -> None:
        self.save("sign-in", **{"own-user": "sync", "own-password": "another-long-password"})
        self.assertEqual(dict(self.row.secrets)["password"], "another-long-password")  # type: ignore[arg-type]
        for url in (self.url("sign-in"), self.url(), self.url(verb="export/")):
            self.assertNotIn(b"another-long-password", self.client.get(url).content)
        self.assertNotIn("another-long-password", str(list(AuditEntry.objects.values())))

    def test_a_stored_secret_does_not_follow_to_another_place(self) -> None:
        self.save("system", **{"own-address": "https://elsewhere.example"})
        self.assertEqual(dict(self.row.secrets), {})  # type: ignore[arg-type]

    def test_a_try_does_not_send_a_stored_secret_to_another_place(self) -> None:
        login = {
            "authentication__method": "login", "authentication__token_path": f"{self.odd_address}/token",
            "authentication__body": '{"p": "{password}"}', "own-user": "sync",
        }  # fmt: skip
        bodies: list[bytes] = []
        self.odd.says = lambda request: bodies.append(request.body) or Response(200, {"access_token": "t" * 20})  # type: ignore[func-returns-value]
        self.attempt("sign-in", **login)
        self.assertTrue(bodies)
        self.assertNotIn(PASSWORD.encode(), b"".join(bodies))

    def test_a_secret_in_the_description_is_refused(self) -> None:
        answer = self.save("system", headers=f"X-Key = {PASSWORD}")
        self.assertIn("stands in the description", str(answer.context["form"].errors))

    def test_an_answer_that_repeats_a_secret_is_shown_without_it(self) -> None:
        self.row = self.connection(self.document, self.odd_address, "Odd")
        self.odd.says = {"echo": f"hello {PASSWORD}", "items": []}
        shown = self.attempt("type.0.list")
        self.assertIn("hello •••", shown)
        self.assertNotIn(PASSWORD, shown)

    def test_a_sign_in_s_answer_is_shown_by_its_shape(self) -> None:
        self.odd.says = {"session": {"token": "a-very-secret-token-0123"}, "expires_in": 60}
        self.row = self.connection(things_document(Habits(sign_in="login")), self.odd_address, "Odd")
        shown = self.attempt("sign-in", **{"own-password": PASSWORD, "own-user": "sync"})
        self.assertIn("A token came back", shown)
        self.assertNotIn("a-very-secret-token-0123", shown)


class TryTests(DescribeCase):
    def test_each_section_shows_what_it_found(self) -> None:
        self.app.things.create({"title": "First", "team": "a"}, "7")
        for where, said in (
            ("system", "It answers"),
            ("sign-in", "Signed in"),
            ("who", "We are Sync"),
            ("answers", "The error says"),
            ("type.0.list", "Changes are found"),
            ("type.0.read", "One record is read"),
        ):
            shown = self.attempt(where)
            self.assertIn(said, shown)
            self.assertIn(f"GET {self.address}/", shown)
        self.assertIn("GET", self.attempt("type.0.list"))

    def test_an_unsaved_section_is_tried_and_not_kept(self) -> None:
        self.app.things.create({"title": "First", "team": "a"}, "6")
        shown = self.attempt("type.0.list", list__records="nowhere")
        self.assertIn("something else than a list of records at “nowhere”", shown)
        self.assertIn("Where the records are: items", shown)
        self.row.refresh_from_db()
        self.assertEqual(draft_of(self.row), self.document)
        self.assertNotIn("state", self.row.facts)

    def test_the_newest_change_is_looked_for_on_further_pages_too(self) -> None:
        for number in range(5):
            self.app.things.create({"title": f"T{number}", "team": "a"}, "5")
        shown = self.attempt("type.0.list", list__paging__size="3")
        self.assertIn("Changes are found", shown)
        self.assertNotIn("Changes would be missed", shown)

    def test_a_list_that_leaves_the_moment_out_is_told(self) -> None:
        records = [{"id": 1, "lock": 1, "updated": "2026-11-28T10:00:00Z"}]
        document = json.loads(json.dumps(self.document))
        document["object_types"][0]["list"]["paging"] = {"style": "none"}
        self.odd.says = lambda request: Response(200, {"items": [] if "updated" in request.query else records})
        self.row = self.connection(document, self.odd_address, "Odd")
        self.assertIn("Changes would be missed", self.attempt("type.0.list"))

    def test_a_place_where_nothing_is_and_a_time_of_another_kind_are_told(self) -> None:
        document = json.loads(json.dumps(self.document))
        document["object_types"][0]["list"]["paging"] = {"style": "none"}
        self.row = self.connection(document, self.odd_address, "Odd")
        self.odd.says = {"items": [{"id": 1, "updated": "2026-11-28T10:00:00Z"}]}
        self.assertIn("No version is at “lock”", self.attempt("type.0.list"))
        self.odd.says = {"items": [{"id": 1, "lock": 1}]}
        self.assertIn("No time is at “updated”", self.attempt("type.0.list"))
        self.odd.says = {"items": [{"id": 1, "lock": 1, "updated": 1795879163754}]}
        shown = self.attempt("type.0.list")
        self.assertIn("It looks like milliseconds since 1970.", shown)
        self.assertIn("See Answers", shown)

    def test_fields_of_an_answer_are_proposed(self) -> None:
        self.app.things.create({"title": "First", "team": "a"}, "8")
        document = json.loads(json.dumps(self.document))
        del document["object_types"][0]["fields"], document["object_types"][0]["place"]["title"]
        self.row = self.connection(document, name="Bare")
        answer = self.client.post(self.url("type.0.list", "try/"), self.entered("type.0.list"))
        self.assertContains(answer, 'name="take" value="team"')
        self.assertContains(answer, 'name="place" value="title=title"')

    def test_what_is_ticked_stays_ticked_when_it_is_tried_again(self) -> None:
        self.app.things.create({"title": "First", "team": "a"}, "8")
        document = json.loads(json.dumps(self.document))
        del document["object_types"][0]["fields"], document["object_types"][0]["place"]["title"]
        self.row = self.connection(document, name="Bare")
        ticked = {"take": ["team"], "kind-team": "option", "label-team": "Team", "place": ["title=title"]}
        answer = self.client.post(self.url("type.0.list", "try/"), self.entered("type.0.list", **ticked))
        self.assertContains(answer, 'name="place" value="title=title" form="section" checked')
        self.assertContains(answer, 'name="take" value="team" form="section" checked')
        self.assertContains(answer, "<option selected>option</option>")
        self.assertIn("First", plain(answer.content))

    def test_places_that_an_answer_suggests_are_entered_by_a_button(self) -> None:
        document = things_document(Habits(sign_in="login"))
        document["account"] = {"path": "/me", "id": "number", "name": "nick"}
        document["authentication"]["token"] = "access"
        del document["errors"]
        self.row = self.connection(document, self.odd_address, "Odd")
        rows = [{"id": 1, "updated": "2026-11-28T10:00:00Z"}]
        document["object_types"][0]["read"]["record"] = "@"
        document["object_types"][0]["list"]["paging"] = {"style": "none"}
        me, token = {"me": {"ref": 7, "display": "Sync"}}, {"session": {"token": "a-secret-token-0123", "ttl": 900}}
        problem = Response(404, {"problem": {"text": "Nothing here", "fields": {}}})
        for where, says, fills in (
            ("sign-in", None, ("authentication__token=session.token", "authentication__expires_in=session.ttl")),
            ("who", Response(200, me), ("account__id=me.ref", "account__name=me.display")),
            ("answers", problem, ("errors__message=problem.text", "errors__fields=problem.fields")),
            ("type.0.read", Response(200, {"items": rows, "thing": rows[0]}), ("read__record=thing",)),
            ("type.0.list", Response(200, {"result": {"rows": [{"id": 1}]}}), ("list__records=result.rows",)),
        ):
            self.odd.says = lambda request, says=says: Response(200, token) if request.method == "POST" else says
            answer = self.client.post(self.url(where, "try/"), self.entered(where)).content.decode()
            found = re.findall(r'data-fill="(\w+)" data-value="([^"]+)"', answer)
            self.assertEqual(tuple(f"{name}={value}" for name, value in found), fills)
            document["authentication"]["token"] = "session.token"
            self.row.settings = {**self.row.settings, "draft": document}
            self.row.save()

    def test_a_list_that_seems_to_go_on_is_told(self) -> None:
        document = json.loads(json.dumps(self.document))
        document["object_types"][0]["list"]["paging"] = {"style": "none"}
        self.odd.says = {"items": [{"id": 1, "lock": 1, "updated": "2026-11-28T10:00:00Z"}], "page": {"next": None}}
        self.row = self.connection(document, self.odd_address, "Odd")
        self.assertIn("There may be more “page.next”", self.attempt("type.0.list"))

    def test_a_key_that_is_refused_behind_a_word_is_told(self) -> None:
        document = {**self.document, "authentication": {"method": "header", "name": "X-Key"}}
        self.odd.says = lambda request: Response(401, {})
        self.row = self.connection(document, self.odd_address, "Odd")
        self.assertIn("The key was sent after “Bearer ”", self.attempt("sign-in", **{"own-key": "a-long-key-0123"}))

    def test_writes_ask_first_and_clean_up(self) -> None:
        before = len(self.app.log)
        shown = self.attempt("type.0.write", **{"value-title": "A test"})
        self.assertIn("This writes to Things", shown)
        self.assertIn(f"POST {self.address}/api/things", shown)
        self.assertIn('"title": "A test"', shown)
        self.assertNotIn("POST", {method for method, *_ in self.app.log[before:]})
        shown = self.attempt("type.0.write", **{"value-title": "A test", "step": "do"})
        for said in ("Created", "Changed", "Deleted"):
            self.assertIn(said, shown)
        entry = AuditEntry.objects.filter(code="description_write_tried").get()
        self.assertIn("It is gone", entry.params["steps"])

    def test_a_list_that_goes_on_showing_deleted_records_is_noticed(self) -> None:
        habits = Habits(sign_in="basic", deleted="tombstone", condition="none")
        document = things_document(habits)
        del document["object_types"][0]["place"]["deleted"], document["object_types"][0]["list"]["deleted"]
        with Server(RestStandin(habits), threads=2) as address:
            self.row = self.connection(document, address, "Tombstones")
            shown = self.attempt("type.0.write", **{"value-title": "A test", "step": "do"})
        self.assertIn("The list still shows it", shown)
        self.assertIn("deleted", shown)

    def test_what_a_try_had_to_leave_is_named(self) -> None:
        document = json.loads(json.dumps(self.document))
        del document["object_types"][0]["delete"]
        self.row = self.connection(document, name="No deletion")
        shown = self.attempt("type.0.write", **{"value-title": "A test", "step": "do"})
        self.assertIn("It is still there", shown)
        self.assertRegex(shown, r"The test record \d+ was left\. Delete it by hand\. http")

    def test_a_test_record_is_cleaned_up_where_its_change_fails(self) -> None:
        self.app.fault("status", method="PATCH", status=422, body={"error": {"message": "no"}})
        shown = self.attempt("type.0.write", **{"value-title": "A test", "step": "do"})
        self.assertIn("Cleaned up", shown)
        self.app.faults.clear()

    def test_a_delivery_is_read_without_a_call(self) -> None:
        before = len(self.app.log)
        shown = self.attempt("bell", try_body='{"events": [{"type": "thing", "id": 7, "what": "deleted"}]}')
        self.assertIn("1 record is named", shown)
        self.assertIn("thing 7 was deleted.", shown)
        self.assertEqual(len(self.app.log), before)


class BadInputTests(DescribeCase):
    """What systems do wrong, told in the section that mends it."""

    def odd_one(self, says: Any, **place: Any) -> None:
        document = json.loads(json.dumps(self.document))
        document["object_types"][0]["list"] |= place
        self.odd.says = says
        self.row = self.connection(document, self.odd_address, "Odd")

    def test_wrong_credentials_lead_to_the_sign_in(self) -> None:
        self.row.secrets = {"password": "wrong-password"}  # type: ignore[assignment]
        self.row.save()
        shown = self.attempt("type.0.list")
        self.assertIn("Enter new credentials", shown)
        self.assertIn("See Sign-in", shown)

    def test_a_login_page_leads_to_the_address(self) -> None:
        self.odd_one(lambda request: Response(200, "<html>Log in</html>", {"Content-Type": "text/html"}))
        shown = self.attempt("type.0.list")
        self.assertIn("not of a login page", shown)
        self.assertIn("See System", shown)
        self.assertIn("a page for people", self.attempt("system"))

    def test_an_address_where_nothing_answers_leads_to_the_system(self) -> None:
        self.row = self.connection(self.document, "http://127.0.0.1:9", "Nobody")
        with override_settings(ALLOWED_PRIVATE_ADDRESSES=["127.0.0.1:9"]):
            shown = self.attempt("who")
        self.assertIn("See System", shown)

    def test_a_list_that_goes_in_circles_is_told(self) -> None:
        self.odd_one(
            {"items": [{"id": 1, "updated": "2026-11-28T10:00:00Z"}]}, paging={"style": "page", "parameter": "p"}
        )
        self.assertIn("goes in circles", self.attempt("type.0.list"))
        paging = {"style": "cursor", "parameter": "c", "cursor": "next"}
        self.odd.says = {"items": [{"id": 1, "updated": "2026-11-28T10:00:00Z"}], "next": "again"}
        self.row.delete()
        self.odd_one(self.odd.says, paging=paging)
        self.assertIn("goes in circles", self.attempt("type.0.list"))

    def test_a_list_that_never_ends_stops_the_try_after_some_pages(self) -> None:
        count = iter(range(10_000))
        paging = {"style": "cursor", "parameter": "c", "cursor": "next"}
        self.odd_one(
            lambda request: Response(
                200, {"items": [{"id": next(count), "updated": "2026-11-28T10:00:00Z"}], "next": f"n{next(count)}"}
            ),
            paging=paging,
        )
        shown = self.attempt("type.0.list")
        self.assertIn("There is more", shown)
        self.assertLess(shown.count("GET http"), 6)

    def test_ids_that_change_type_are_told(self) -> None:
        records = [{"id": each, "updated": "2026-11-28T10:00:00Z"} for each in (1, "b")]
        self.odd_one({"items": records}, paging={"style": "none"})
        self.assertIn("The id changes its type", self.attempt("type.0.list"))

    def test_a_broken_record_leaves_the_others(self) -> None:
        self.odd_one({"items": [{"id": 1, "updated": "2026-11-28T10:00:00Z"}, {"x": 1}]}, paging={"style": "none"})
        shown = self.attempt("type.0.list")
        self.assertIn("1 record on 1 page", shown)
        self.assertIn("1 entry is no record", shown)


class TakenElsewhereTests(DescribeCase):
    def test_an_export_is_imported_elsewhere(self) -> None:
        exported = self.client.get(self.url(verb="export/"))
        self.assertIn("attachment", exported["Content-Disposition"])
        given = {"name": "Copy", "address": "https://copy.example", "source": "yaml"}
        file = SimpleUploadedFile("api.yaml", exported.content)
        self.client.post("/connections/add/rest/", {**given, "yaml": file})
        self.assertEqual(draft_of(Connection.objects.get(name="Copy")), dump(parse(self.document)))

    def test_a_draft_is_no_part_of_the_configuration(self) -> None:
        self.assertEqual(stored()["connections"]["Things"]["settings"], {"user": USER})

    def test_an_import_replaces_the_draft_or_says_why_not(self) -> None:
        seal = {"seal": seal_of(self.row)}
        bad = SimpleUploadedFile("a.yaml", b"name: [")
        answer = self.client.post(self.url(verb="import/"), {**seal, "yaml": bad}, follow=True)
        self.assertIn("The file cannot be taken.", plain(answer.content))
        good = SimpleUploadedFile("a.yaml", b"name: Other\n")
        self.client.post(self.url(verb="import/"), {**seal, "yaml": good})
        self.row.refresh_from_db()
        self.assertEqual(draft_of(self.row), {"version": 1, "name": "Other"})

    def test_an_openapi_document_begins_a_connection_from_a_file_or_an_address(self) -> None:
        text = json.dumps(DESK)
        given = {"source": "openapi", "name": "Filed"}
        self.client.post("/connections/add/rest/", {**given, "file": SimpleUploadedFile("a.json", text.encode())})
        row = Connection.objects.get(name="Filed")
        self.assertEqual(row.address, "https://acme.desk.example/api")
        self.assertIn("whole record", plain(self.client.get(f"/connections/{row.pk}/api/").content))
        self.odd.says = lambda request: Response(200, text)
        self.client.post("/connections/add/rest/", {**given, "name": "Read", "url": f"{self.odd_address}/openapi.json"})
        self.assertEqual(draft_of(Connection.objects.get(name="Read")), draft_of(row))

    def test_a_document_behind_a_guarded_address_is_not_read(self) -> None:
        given = {"source": "openapi", "name": "Inside", "url": "http://169.254.169.254/openapi.json"}
        answer = self.client.post("/connections/add/rest/", given)
        self.assertEqual(answer.status_code, 422)
        self.assertIn("url", answer.context["form"].errors)
        self.assertFalse(Connection.objects.filter(name="Inside").exists())


def test_a_try_keeps_nothing() -> None:
    kept = Passing()
    assert kept.current() is None and kept.renew(None, lambda: {"access_token": "x" * 20})
    kept.put("a", 1)
    assert kept.get("a") == 1
