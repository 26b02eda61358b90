"""What the docs say of connectors is what the code has."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from pathlib import Path

import pytest

from connections.connectors import all_connectors, connector_class
from connections.connectors.base import Capabilities, Connector
from connections.connectors.jira_site import PROPERTY
from connections.connectors.salesforce_org import KEY_FIELD

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
TEXT = (DOCS / "connectors.md").read_text()


def test_the_table_says_what_the_connectors_declare_and_what_each_capability_means():
    spec = importlib.util.spec_from_file_location("connector_table", ROOT / "scripts" / "connector_table.py")
    assert spec is not None and spec.loader is not None
    writer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(writer)
    assert writer.renewed(TEXT) == TEXT, "run scripts/connector_table.py"
    told = writer.meanings_of(TEXT)
    assert list(told) == [field.name for field in dataclasses.fields(Capabilities)]
    assert all(told.values())


@pytest.mark.parametrize("connector", all_connectors(), ids=lambda connector: connector.kind)
def test_each_connector_has_a_chapter_that_names_its_key_and_its_limits(connector):
    chapter = re.split(r"^## ", TEXT, flags=re.MULTILINE)
    [own] = [part for part in chapter if part.startswith(connector.label + "\n")]
    for topic in ("**The account.**", "**The correlation key**", "**Scope**", "**Known limits**"):
        assert topic in own


def test_names_that_people_have_to_enter_are_those_the_connectors_use():
    jira, salesforce = connector_class("jira"), connector_class("salesforce")
    assert f"property named `{PROPERTY}`" in TEXT
    assert f"API name `{KEY_FIELD}`" in TEXT
    assert {field.label for field in jira.scope_form} == {"Project key", "Issue types", "Only issues where"}
    assert [field.name for field in salesforce.scope_form] == ["where"]


def test_the_guide_to_writing_one_names_every_method_and_its_example_compiles():
    guide = (DOCS / "writing-a-connector.md").read_text()
    methods = {name for name in vars(Connector) if not name.startswith("_") and callable(getattr(Connector, name))}
    told = set(re.findall(r"`(\w+)\(", guide))
    assert methods <= told
    examples = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        compile(example, "example", "exec")
