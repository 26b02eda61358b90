"""Numbers in the contract's form: what is stored comes back as the same value, from both databases."""

from __future__ import annotations

import json
from typing import Any

import pytest

from connections.connectors import jira_values, rest_values, sql_values, zendesk_fields
from connections.connectors.numbers import all_plain, plain
from connections.models import Connection

LARGE = 602000000000000000000000


@pytest.mark.parametrize(
    ("number", "expected"),
    [(1e16, 10**16), (-0.0, 0), (6.02e23, LARGE), (2.0, 2), (2.5, 2.5), (-1e300, -(10**300)), (7, 7), (1e-7, 1e-7)],
)
def test_a_whole_number_is_an_int_of_the_digits_that_name_it(number: float, expected: int | float) -> None:
    assert plain(number) == expected and type(plain(number)) is type(expected)
    assert float(plain(number)) == number, "the system is sent the number that it told"


def test_numbers_inside_of_documents_are_told_alike() -> None:
    told = all_plain({"a": [1e16, {"b": (-0.0, True, "1e16")}], "c": None})
    assert json.dumps(told) == '{"a": [10000000000000000, {"b": [0, true, "1e16"]}], "c": null}'


@pytest.mark.parametrize(
    "read",
    [jira_values.number, rest_values._number, sql_values.number, zendesk_fields._number],
    ids=lambda one: one.__module__,
)
def test_connectors_tell_large_numbers_so(read: Any) -> None:
    assert read(6.02e23) == LARGE and isinstance(read(6.02e23), int)


@pytest.mark.django_db
def test_a_database_gives_back_what_was_stored() -> None:
    told = [plain(one) for one in (1e16, -0.0, 6.02e23, 1e300, 0.1, 1e-7, 5e-324)]
    row = Connection.objects.create(name="A", kind="memory", facts={"told": told})
    row.refresh_from_db()
    assert json.dumps(row.facts["told"]) == json.dumps(told)
