"""The format of a described API: what is read, what is written back, and what is said about mistakes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from connections.connectors.rest_definition import DefinitionError, dump, gaps, parse
from connections.connectors.rest_form import destinations, inputs
from connections.connectors.rest_library import from_yaml
from connections.tests.rest_documents import WHOLE, changed


def test_a_definition_is_written_back_as_it_was_read():
    definition = parse(WHOLE)
    assert parse(dump(definition)) == definition
    assert dump(definition) == WHOLE  # which holds no default


def test_a_name_alone_is_a_definition_that_says_what_it_lacks():
    definition = parse({"name": "Acme"})
    assert dump(definition) == {"version": 1, "name": "Acme"}
    assert gaps(definition) == ["There is no object type yet."]
    assert gaps(parse(WHOLE)) == []
    missing = gaps(parse({"name": "Acme", "object_types": [{"name": "thing", "label": "Thing"}]}))
    assert [sentence.split("”")[0] for sentence in missing] == ["The object type “Thing"] * 3


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("name", None, "name: a text is expected, not nothing"),
        ("colour", "red", "The definition: “colour” is not known here"),
        ("version", 9, "version: the format is newer"),
        ("authentication.method", "magic", "authentication, method: one of none, basic"),
        ("authentication", {"method": "header"}, "authentication, name: the name of the header"),
        ("authentication", {"method": "login"}, "authentication, token path: the address"),
        (
            "authentication",
            {"method": "login", "token_path": "https://{place}/token"},
            "token path: the host that gets the secret has to be written out",
        ),
        ("headers.Host", "x", "headers: “Host” cannot be set here"),
        ("headers.Authorization", "x", "headers: “Authorization” cannot be set here; a secret belongs into"),
        ("headers.X-Odd Name", "x", "headers: “X-Odd Name” is no name"),
        ("limits.per_second", 0, "limits: at least one call"),
        ("limits.per_second", True, "limits, per second: a number is expected, not yes or no"),
        ("parameters", [{"name": "id"}], "parameters, “id”: a name of letters"),
        ("object_types.0.parent", "nothing", "object types, “thing”, parent: the name of an object type"),
        ("object_types.0.place.id", "a..b", "place, id: “a..b” is no JMESPath expression, from character 3 on"),
        ("object_types.0.read.path", "/x/{id.__class__}", "read, path: “{id.__class__}” is no placeholder"),
        ("object_types.0.read.path", "/x/{id!r}", "read, path: “{id}” is no placeholder"),
        ("object_types.0.read.path", "/x/{id", "read, path: “/x/{id” has a brace too many or too few"),
        ("object_types.0.read.path", "/x/{word}", "read, path: {word} means nothing here; placeholders are {id}"),
        ("object_types.0.read.path", "/x", "read, path: {id} is needed"),
        ("object_types.0.update.path", "/x", "update, path: {id} is needed, or every record would be meant"),
        ("object_types.0.read.path", "https://evil.example/{id}", "read, path: a path below the connection's address"),
        ("object_types.0.read.path", "/a/../{id}", "is no path"),
        ("object_types.0.list.paging", {"style": "page"}, "list, paging, parameter: the name"),
        ("object_types.0.list.paging", {"style": "cursor", "parameter": "c"}, "paging, cursor: where the answer"),
        ("object_types.0.list.changed", {}, "list, changed: a parameter, or {since}"),
        ("object_types.0.place.updated_at", "", "list, changed: where a record has the time"),
        ("object_types.0.condition", {"value": "x"}, "condition, value: {version} or {etag} is expected"),
        ("object_types.0.key", {"read": "k"}, "key: where the key is sent and where a record has it belong together"),
        ("object_types.0.fields.0.format", "html", "fields, “title”, format: only a rich text has one"),
        ("object_types.0.fields.0.options", [{"value": 1}], "fields, “title”, options: only an option or a set"),
        ("object_types.0.scope.0.read", "", "scope, “team”, read: where a record has it is needed"),
        ("object_types.0.scope", {}, "scope: a list is expected, not a group of settings"),
        ("webhook.signed", "{timestamp}", "webhook, signed: {body} is needed, or anybody could change it"),
    ],
)
def test_a_mistake_is_named_at_its_place(place: str, value: Any, said: str):
    with pytest.raises(DefinitionError) as caught:
        parse(changed(WHOLE, place, value))
    assert said in str(caught.value)


@pytest.mark.parametrize("garbage", [None, [], "x", 3, {}, {"name": "x" * 10_000}, {"name": "a\x00b"}])
def test_what_is_no_definition_is_refused(garbage: Any):
    with pytest.raises(DefinitionError):
        parse(garbage)


@pytest.mark.parametrize(
    ("how", "names"),
    [
        ({}, []),
        ({"method": "basic"}, ["user", "password"]),
        ({"method": "basic", "key_as": "user", "other": "X"}, ["key"]),
        ({"method": "bearer"}, ["key"]),
        ({"method": "query", "name": "api_key"}, ["key"]),
        ({"method": "client_credentials", "token_path": "/token"}, ["client_id", "client_secret"]),
        ({"method": "login", "token_path": "/login", "body": {"u": "{user}", "p": "{password}"}}, ["user", "password"]),
    ],
)
def test_the_form_of_a_connection_follows_from_the_sign_in(how: dict[str, Any], names: list[str]):
    found = inputs(parse({"name": "Acme", "authentication": how, "parameters": [{"name": "bucket"}]}))
    assert [each.name for each in found] == ["bucket", *names]
    assert {each.name for each in found if each.secret} <= {"password", "key", "client_secret"}


def test_where_secrets_go_beside_the_address_is_known():
    def with_token(path: str) -> Any:
        how = {"method": "client_credentials", "token_path": path}
        return parse({"name": "Acme", "authentication": how})

    assert destinations(with_token("/oauth/token")) == frozenset()
    assert destinations(with_token("https://login.example.com/token")) == {"https://login.example.com"}


def test_the_example_of_the_docs_is_a_complete_definition():
    text = (Path(__file__).resolve().parents[2] / "docs" / "connectors.md").read_text()
    [example] = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert gaps(from_yaml(example)) == []
