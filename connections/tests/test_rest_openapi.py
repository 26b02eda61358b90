"""An OpenAPI document as the beginning of a description, against vendors' documents and small ones of our own."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from connections.connectors.rest_definition import DefinitionError, dump, parse
from connections.connectors.rest_guess import fields_in, kinds_of_id, lists_in, places_in, time_format
from connections.connectors.rest_openapi import Begun, described, read, singular
from connections.tests.evidence import EVIDENCE, needs_evidence

TICKET = {
    "type": "object",
    "required": ["subject"],
    "properties": {
        "id": {"type": "integer", "readOnly": True},
        "subject": {"type": "string", "maxLength": 80},
        "state": {"type": "string", "enum": ["new", "done"]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "due": {"type": "string", "format": "date"},
        "opened": {"type": "string", "format": "date-time", "readOnly": True},
        "urgent": {"type": "boolean"},
        "owner": {"$ref": "#/components/schemas/Owner"},
        "lines": {"type": "array", "items": {"type": "object"}},
        "updated_at": {"type": "string", "format": "date-time"},
    },
}
PAGE = {"type": "object", "properties": {"items": {"type": "array", "items": {"$ref": "#/components/schemas/Ticket"}}}}
PAGE["properties"] |= {"next_cursor": {"type": "string"}}  # type: ignore[operator]


def answer(schema: Any) -> dict[str, Any]:
    return {"200": {"description": "", "content": {"application/json": {"schema": schema}}}}


def query(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": {"type": "string"}, **more}


ONE = {"$ref": "#/components/schemas/Ticket"}
BODY = {"content": {"application/json": {"schema": {"type": "object", "properties": {"ticket": ONE}}}}}
DESK: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "Desk", "version": "1"},
    "servers": [{"url": "https://{site}.desk.example/api", "variables": {"site": {"default": "acme"}}}],
    "security": [{"key": []}],
    "paths": {
        "/{team}/tickets": {
            "parameters": [{"name": "team", "in": "path", "required": True}],
            "get": {
                "parameters": [
                    query("cursor"),
                    query("limit", schema={"type": "integer", "maximum": 50}),
                    query("updated_since"),
                    query("view", required=True, schema={"type": "string", "enum": ["full"]}),
                    query("parent", required=True),
                ],
                "responses": answer(PAGE),
            },
            "post": {"requestBody": BODY, "responses": answer({"type": "object", "properties": {"ticket": ONE}})},
        },
        "/{team}/tickets/{ticket_id}": {
            "get": {"responses": answer({"type": "object", "properties": {"ticket": ONE}})},
            "put": {"requestBody": BODY, "responses": {"204": {"description": ""}}},
            "delete": {"responses": {"204": {"description": ""}}},
        },
        "/{team}/tickets/{ticket_id}/comments": {
            "get": {"responses": answer({"type": "array", "items": {"type": "object", "properties": {"text": {}}}})},
        },
        "/reports": {"get": {"responses": answer({"type": "object"})}},
    },
    "components": {
        "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-Key"}},
        "schemas": {"Ticket": TICKET, "Owner": {"type": "object", "properties": {"email": {"type": "string"}}}},
    },
}
SWAGGER: dict[str, Any] = {
    "swagger": "2.0",
    "info": {"title": "Old"},
    "host": "old.example",
    "basePath": "/v1",
    "securityDefinitions": {"app": {"type": "oauth2", "flow": "application", "tokenUrl": "https://old.example/token"}},
    "paths": {
        "/cases": {
            "get": {
                "parameters": [{"name": "page", "in": "query", "type": "integer"}],
                "responses": {"200": {"schema": {"type": "array", "items": {"$ref": "#/definitions/Case"}}}},
            },
            "post": {
                "parameters": [{"name": "b", "in": "body", "schema": {"$ref": "#/definitions/Case"}}],
                "responses": {"201": {"headers": {}}},
            },
        },
        "/cases/{id}": {"get": {"responses": {"200": {"schema": {"$ref": "#/definitions/Case"}}}}},
    },
    "definitions": {
        "Base": {"type": "object", "properties": {"id": {"type": "string"}, "modified": {"type": "string"}}},
        "Case": {"allOf": [{"$ref": "#/definitions/Base"}, {"properties": {"name": {"type": "string"}}}]},
    },
}


def begun(document: dict[str, Any], base: str = "") -> Begun:
    return described(read(json.dumps(document)), "Given", base)


def test_a_document_fills_the_form_as_far_as_it_goes():
    made = begun(DESK)
    assert made.address == "https://acme.desk.example/api" and made.document["name"] == "Desk"
    assert made.document["authentication"] == {"method": "header", "name": "X-Key", "prefix": ""}
    assert [each["name"] for each in made.document["parameters"]] == ["team", "parent_"]
    ticket, comment = made.document["object_types"]
    assert ticket["list"]["path"] == "/{team}/tickets" and ticket["list"]["records"] == "items"
    assert ticket["list"]["parameters"] == {"view": "full", "parent": "{parent_}"}
    paging = {"style": "cursor", "parameter": "cursor", "cursor": "next_cursor", "size_parameter": "limit", "size": 50}
    assert ticket["list"]["paging"] == paging
    assert ticket["list"]["changed"] == {"parameter": "updated_since", "oldest_first": False}
    assert ticket["read"] == {"path": "/{team}/tickets/{id}", "record": "ticket"}
    assert ticket["create"] == {"path": "/{team}/tickets", "wrap": "ticket", "record": "ticket"}
    assert ticket["update"] == {"path": "/{team}/tickets/{id}", "method": "PUT", "wrap": "ticket"}
    assert ticket["delete"] == {"path": "/{team}/tickets/{id}"}
    assert comment["parent"] == "ticket" and comment["list"]["path"] == "/{team}/tickets/{parent}/comments"
    assert any("whole record" in gap for gap in made.gaps)


def test_schemas_become_fields_with_their_kinds():
    fields = {each["name"]: each for each in begun(DESK).document["object_types"][0]["fields"]}
    assert fields["subject"] == {"name": "subject", "label": "Subject", "max_length": 80, "required": True}
    assert fields["state"]["options"] == [{"value": "new"}, {"value": "done"}] and fields["state"]["kind"] == "option"
    kinds = {name: each.get("kind", "text") for name, each in fields.items()}
    assert kinds == {
        "subject": "text", "state": "option", "tags": "set", "due": "date", "opened": "datetime", "urgent": "boolean",
        "owner.email": "text",
    }  # fmt: skip
    assert fields["opened"]["writable"] is False and fields["opened"]["creatable"] is False


def test_swagger_2_is_read_too():
    made = begun(SWAGGER)
    assert made.address == "https://old.example/v1"
    token = {"method": "client_credentials", "token_path": "https://old.example/token"}
    assert made.document["authentication"] == token
    [case] = made.document["object_types"]
    assert case["place"] == {"updated_at": "modified", "title": "name"}
    assert case["list"] == {"path": "/cases", "paging": {"style": "page", "parameter": "page"}}
    assert [each["name"] for each in case["fields"]] == ["name"]


def test_yaml_and_a_relative_server_are_read():
    document = {**DESK, "servers": [{"url": "/v3"}]}
    made = described(
        read(yaml.safe_dump(json.loads(json.dumps(document)))), "x", "https://api.example/docs/openapi.yaml"
    )
    assert made.address == "https://api.example/v3"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<html>Log in</html>", "a page for people"),
        ("{}", "no OpenAPI document"),
        ('{"openapi": "3.1.0"}', "no OpenAPI document"),
        ('{"openapi": "4.0", "paths": {}}', "no OpenAPI document"),
        ("a: [", "line 1"),
        ("a: &a [1]\nb: *a", "aliases"),
        ('{"a":' * 100_000, "nested"),
        ("x" * 5_000_001, "longer"),
        ("a: " + "x" * 1_000_001, "convert it to JSON"),
    ],
)
def test_what_is_no_document_is_told(text: str, said: str):
    with pytest.raises(DefinitionError, match=said):
        read(text)


def test_references_lead_nowhere_else_and_circles_end():
    document = json.loads(json.dumps(DESK))
    document["components"]["schemas"]["Owner"] = {"$ref": "https://elsewhere.example/owner.json"}
    document["components"]["schemas"]["Ticket"]["properties"]["self"] = {"$ref": "#/components/schemas/Ticket"}
    document["components"]["schemas"]["Loop"] = {"allOf": [{"$ref": "#/components/schemas/Loop"}]}
    document["components"]["schemas"]["Ticket"]["properties"]["loop"] = {"$ref": "#/components/schemas/Loop"}
    made = begun(document)
    assert parse(made.document) and "owner.email" not in json.dumps(made.document)


@pytest.mark.parametrize("odd", [None, 1, "x", [], {"get": []}, {"get": {"parameters": [None], "responses": []}}])
def test_odd_parts_of_a_document_are_passed_over(odd: Any):
    document = {**DESK, "paths": {**DESK["paths"], "/odd": odd, "/odd/{id}": odd}, "security": odd, "servers": odd}
    made = begun(document)
    assert {"ticket", "comment"} <= set(types(made))
    assert "The document does not say the address of the API." in made.gaps


def vendor(name: str) -> Begun:
    return described(read((EVIDENCE / "specs" / f"{name}.json").read_text()), name)


def types(made: Begun) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in made.document["object_types"]}


@needs_evidence
def test_freshdesk_is_described_but_for_what_its_document_leaves_open():
    made = vendor("freshdesk")
    ticket = types(made)["ticket"]
    paging = {"style": "page", "parameter": "page", "size_parameter": "per_page"}
    assert ticket["list"]["paging"] == paging and ticket["list"]["changed"]["parameter"] == "updated_since"
    assert {"read", "create", "update", "delete"} <= set(ticket) and ticket["place"]["updated_at"] == "updated_at"
    assert types(made)["conversation"]["parent"] == "ticket"


@needs_evidence
def test_asana_s_wrapping_and_cursor_are_found():
    task = types(vendor("asana"))["task"]
    assert (task["list"]["records"], task["read"]["record"], task["create"]["wrap"]) == ("data", "data", "data")
    assert task["list"]["paging"]["cursor"] == "next_page.offset" and task["place"]["id"] == "gid"


@needs_evidence
def test_hubspot_s_cursor_is_found():
    contact = types(vendor("hubspot"))["contact"]
    assert contact["list"]["records"] == "results" and contact["list"]["paging"]["cursor"] == "paging.next.after"


@needs_evidence
def test_github_s_issues_are_known_by_their_number():
    made = vendor("github")
    issue = types(made)["issue"]
    assert issue["place"]["id"] == "number" and issue["list"]["changed"]["parameter"] == "since"
    assert issue["list"]["paging"]["style"] == "link_header"
    assert {"owner", "repo"} <= {each["name"] for each in made.document["parameters"]}
    assert any("sign in" in gap for gap in made.gaps)


@needs_evidence
@pytest.mark.parametrize("name", ["zendesk", "servicenow", "freshservice", "azure_devops", "marketo", "netsuite"])
def test_every_document_gives_a_description_that_can_be_read(name: str):
    made = vendor(name)
    assert dump(parse(made.document)) == made.document and made.gaps


# What an answer suggests. ----------------------------------------------------------------------------------------


def test_an_answer_says_where_its_records_and_their_parts_seem_to_be():
    record = {"gid": "1", "modified_at": "2026-11-28T10:00:00Z", "name": "A", "n": {"a": 1, "b-c": True}, "many": [{}]}
    body = {"meta": {"x": [1]}, "result": {"items": [record]}}
    assert lists_in(body) == ["result.items"]
    assert places_in([record]) == {"id": "gid", "updated_at": "modified_at", "title": "name"}
    found = [(each.name, each.kind) for each in fields_in([record], ["gid"])]
    assert found == [("modified_at", "datetime"), ("name", "text"), ("n.a", "number"), ('n."b-c"', "boolean")]
    assert lists_in([record]) == ["@"] and lists_in("x") == []


def test_times_and_ids_are_told_apart():
    found = [time_format(each) for each in ("2026-11-28T10:00:00Z", 1795879163, 1795879163754, 7, "x", True, None)]
    assert found == ["iso", "epoch", "epoch_ms", "", "", "", ""]
    assert kinds_of_id([1, "a"]) == {"number", "text"} and kinds_of_id(["a", "b"]) == {"text"}


@pytest.mark.parametrize(
    ("many", "one"),
    [("tickets", "ticket"), ("companies", "company"), ("statuses", "status"), ("address", "address"), ("boxes", "box")],
)
def test_a_name_in_the_singular(many: str, one: str):
    assert singular(many) == one
