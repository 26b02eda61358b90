"""The form of a description: every input of every section, there and back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
import yaml

from connections.connectors import rest_definition as d
from connections.connectors import rest_sections as sections
from connections.connectors.rest_definition import Definition, DefinitionError, dump, parse
from connections.connectors.rest_inputs import JOIN, part_of, texts_of
from connections.connectors.rest_library import shipped
from connections.connectors.rest_words import ONLY_WHERE, SWITCHES, WORDS
from connections.sandbox.rest_habits import Habits
from connections.tests.rest_documents import WHOLE, changed, things_document

ONE_OF_EACH = (
    "system", "sign-in", "who", "answers", "bell", "parameter.0", "type.0", "type.0.list", "type.0.read",
    "type.0.write", "type.0.field.0", "type.0.scope.0",
)  # fmt: skip
FOLDER = Path(__file__).parent / "definitions"
DOCUMENTS = [
    WHOLE,
    things_document(Habits()),
    things_document(Habits(sign_in="login", condition="lock", paging="cursor", write="PUT")),
    things_document(Habits(sign_in="client_credentials", paging="next_url")),
    *(dump(each) for each in shipped()),
    *(yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yaml"))),
]


def section(where: str) -> sections.Section:
    found = sections.section_at(where)
    assert found
    return found


def addresses(document: dict[str, Any]) -> Iterator[str]:
    yield from ("system", "sign-in", "who", "answers", "bell")
    yield from (f"parameter.{n}" for n, _ in enumerate(document.get("parameters", [])))
    for n, each in enumerate(document["object_types"]):
        yield from (f"type.{n}", f"type.{n}.list", f"type.{n}.read", f"type.{n}.write")
        yield from (f"type.{n}.field.{m}" for m, _ in enumerate(each.get("fields", [])))
        yield from (f"type.{n}.scope.{m}" for m, _ in enumerate(each.get("scope", [])))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document["name"])
def test_what_a_section_shows_comes_back_as_it_was(document: dict[str, Any]):
    for where in addresses(document):
        one = section(where)
        texts = texts_of(one.group, sections.found_at(document, one))
        part, wrong = part_of(one.group, texts)
        assert not wrong
        assert dump(parse(sections.with_part(document, one, part))) == dump(parse(document)), where


def test_a_description_is_made_from_nothing_by_its_sections_alone():
    for document in DOCUMENTS:
        made: dict[str, Any] = {"name": document["name"]}
        for where in sorted(addresses(document), key=_in_order):
            texts = texts_of(section(where).group, sections.found_at(document, section(where)))
            fresh = sections.found_at(made, section(where)) is None
            at = section(where.rpartition(".")[0] + ".new") if fresh else section(where)
            part, _ = part_of(at.group, texts)
            made = sections.with_part(made, at, part)
        kind = {"kind": document["kind"]} if "kind" in document else {}
        assert dump(parse({**made, **kind})) == dump(parse(document)), document["name"]


def _in_order(where: str) -> tuple[int, int]:
    """Parents before their children: object types and what they are made of."""
    return (where.count("."), 0)


def _classes(one: Any = Definition) -> Iterator[type]:
    yield one
    for hint in get_type_hints(one).values():
        for inner in (hint, *get_args(hint)):
            if get_origin(inner) in (Union, UnionType):
                continue
            if is_dataclass(inner):
                yield from _classes(inner)


def test_every_setting_of_the_format_can_be_entered_and_is_explained():
    entered = set()
    for where in ONE_OF_EACH:
        entered |= {one.path for one in section(where).group.all_inputs if one.path[-1] != "on"}
    by_class = {name for path in entered for name in [path[-1]]}
    for one in set(_classes()):
        for each in fields(one):
            if (one, each.name) in {(Definition, "version"), (Definition, "kind")} or _holds_parts(one, each.name):
                continue
            assert each.name in by_class, (one.__name__, each.name)
            assert each.name in WORDS[one], (one.__name__, each.name)
    ours = set(_classes())
    assert set(WORDS) <= ours and set(ONLY_WHERE) <= ours
    switches = {one.path[-2] for w in ONE_OF_EACH for one in section(w).group.all_inputs if one.path[-1] == "on"}
    assert switches == set(SWITCHES)


def _holds_parts(one: type, name: str) -> bool:
    hint = get_type_hints(one)[name]
    return any(is_dataclass(inner) for inner in (hint, *get_args(hint))) and name != "options"


def test_no_two_inputs_of_a_section_share_a_name():
    for where in ONE_OF_EACH:
        names = [one.name for one in section(where).group.all_inputs]
        assert len(names) == len(set(names))


def test_what_a_choice_rules_out_is_not_kept():
    one = section("sign-in")
    texts = texts_of(one.group, {"authentication": {"method": "header", "name": "X-Key"}})
    part, _ = part_of(one.group, {**texts, f"authentication{JOIN}method": "basic"})
    assert part == {"authentication": {"method": "basic"}}


@pytest.mark.parametrize(
    ("where", "name", "text", "said"),
    [
        ("answers", "limits__per_second", "many", "A number is expected"),
        ("answers", "errors__refused_status", "400, never", "A whole number is expected"),
        ("system", "headers", "X-Key", "a name, = and a value"),
        ("type.0.write", "create__constant", "type = {3", "This is no JSON"),
        ("type.0.field.0", "name", "", "This is needed"),
    ],
)
def test_a_text_that_cannot_be_read_is_told_at_its_input(where: str, name: str, text: str, said: str):
    one = section(where)
    texts = texts_of(one.group, sections.found_at(WHOLE, one))
    _, wrong = sections.entered(WHOLE, one, {**texts, name: text})
    assert said in wrong[name]


@pytest.mark.parametrize(
    ("place", "value", "where", "name"),
    [
        ("authentication.name", "", "sign-in", "authentication__name"),
        ("limits.per_second", 0, "answers", ""),
        ("object_types.0.list.records", "items[", "type.0.list", "list__records"),
        ("object_types.0.list.paging.parameter", "", "type.0.list", "list__paging__parameter"),
        ("object_types.0.place.updated_at", "", "type.0.list", "list__changed__on"),
        ("object_types.0.update.path", "/things", "type.0.write", "update__path"),
        ("object_types.0.condition.value", "{other}", "type.0.write", "condition__value"),
        ("object_types.0.fields.1.separator", ",", "type.0.field.1", "separator"),
        ("object_types.0.scope.0.read", "", "type.0.scope.0", "read"),
        ("object_types.1.parent", "nothing", "type.1", "parent"),
        ("webhook.signed", "x", "bell", "webhook__signed"),
    ],
)
def test_an_error_is_told_at_its_section_and_its_input(place: str, value: Any, where: str, name: str):
    document = changed(WHOLE, place, value)
    with pytest.raises(DefinitionError) as raised:
        parse(document)
    assert sections.where_of(document, raised.value.place) == where
    assert sections.input_of(section(where), raised.value.place) == name


def test_gaps_lead_to_the_section_that_closes_them():
    document = {"name": "A", "object_types": [{"name": "t", "list": {"path": "/t"}}, {"name": "u"}]}
    found = {where: text for text, where in sections.gaps_with_places(document, parse(document))}
    assert {"type.0.list", "type.0.read", "type.1.list", "type.1.read"} <= set(found)
    assert sections.gaps_with_places({"name": "A"}, parse({"name": "A"})) == [
        ("There is no object type yet.", "type.new")
    ]
    assert d.gaps(parse(WHOLE)) == [] == sections.gaps_with_places(WHOLE, parse(WHOLE))


def test_read_and_write_begin_with_what_follows_from_the_list():
    document = {"name": "A", "object_types": [{"name": "t", "list": {"path": "/t"}}]}
    assert sections.texts_at(document, section("type.0.read"))["read__path"] == "/t/{id}"
    written = sections.texts_at(document, section("type.0.write"))
    assert (written["create__path"], written["update__path"], written["delete__on"]) == ("/t", "/t/{id}", False)


def test_parts_are_added_and_taken_out():
    document = sections.with_part(WHOLE, section("type.0.field.new"), {"name": "extra"})
    assert [each["name"] for each in document["object_types"][0]["fields"]] == ["title", "status", "extra"]
    assert sections.without(document, section("type.0.field.2")) == WHOLE
    assert [each["name"] for each in sections.without(WHOLE, section("type.1"))["object_types"]] == ["thing"]


@pytest.mark.parametrize("where", ["", "type", "type.x", "type.0.create", "parameter.-1", "type.0.field", "__class__"])
def test_an_address_that_means_nothing_is_none(where: str):
    assert sections.section_at(where) is None


def test_writes_begin_with_the_paths_of_the_list_and_with_what_lies_around_a_record():
    own: dict[str, Any] = {"name": "thing", "list": {"path": "/things"}}
    write = section("type.0.write")
    for read, around in (
        ({"path": "/things/{id}", "record": "thing"}, {"wrap": "thing", "record": "thing"}),
        ({"path": "/things/{id}", "record": "result.thing"}, {}),
        ({"path": "/things/{id}"}, {}),
    ):
        assert sections.suggested({"name": "Acme", "object_types": [{**own, "read": read}]}, write) == {
            "create": {"path": "/things", **around},
            "update": {"path": "/things/{id}", **{key: around[key] for key in around if key == "wrap"}},
        }
    own["list"]["path"] = "/things.json"
    assert sections.suggested({"name": "Acme", "object_types": [own]}, section("type.0.read")) == {
        "read": {"path": "/things/{id}.json"}
    }
