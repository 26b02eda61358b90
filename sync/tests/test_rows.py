"""Rows that are saved and added by the statements of sync/rows.py, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import DataError, connection, transaction

from sync.models import AuditEntry, Link, Operation
from sync.rows import add_rows, add_rows_with_keys, save_rows
from sync.tests.conftest import Pair

MOMENT = datetime(2026, 3, 4, 5, 6, 7, 891000, tzinfo=UTC)
AWKWARD: list[Any] = [
    "",
    "it's %s 100%, \\t \\N \\. \t\n'; --",
    "žluťoučký 🐎",
    None,
    ["a", {"b": None}],
    {},
    12.5,
    True,
]


def links(pair: Pair, number: int) -> list[Link]:
    Link.objects.bulk_create(Link(mapping=pair.mapping, left_id=f"L{n}", right_id=f"R{n}") for n in range(number))
    return list(Link.objects.order_by("pk"))


def test_each_row_gets_its_own_values(pair: Pair) -> None:
    rows = links(pair, 401)
    for number, row in enumerate(rows):
        row.title, row.left_bases = f"Title {number}", {"a": number}
        row.left_read_at = MOMENT if number % 2 else None
        row.deleted_left = bool(number % 3)
    names = ["title", "left_bases", "left_read_at", "deleted_left"]
    save_rows(rows, names)
    assert list(Link.objects.order_by("pk").values(*names)) == [
        {name: getattr(row, name) for name in names} for row in rows
    ]


@pytest.mark.parametrize("value", AWKWARD)
def test_values_are_stored_as_they_are(pair: Pair, value: Any) -> None:
    (link,) = links(pair, 1)
    link.left_bases, link.title = {"a": value}, str(value)
    save_rows([link], ["left_bases", "title"])
    add_rows([AuditEntry(action="write", code="x", actor=str(value), values=value, link_id=None, at=MOMENT)])
    saved, entry = Link.objects.get(), AuditEntry.objects.latest("pk")
    assert (saved.left_bases, saved.title) == ({"a": value}, str(value))
    assert (entry.values, entry.actor, entry.at, entry.link_id) == (value, str(value), MOMENT, None)


def test_nothing_in_a_whole_column_is_stored_as_nothing(pair: Pair) -> None:
    rows = links(pair, 3)
    for row in rows:
        row.left_read_at, row.identity_id = None, None
    save_rows(rows, ["left_read_at", "identity"])
    assert set(Link.objects.values_list("left_read_at", "identity_id")) == {(None, None)}


def test_each_added_row_gets_its_own_key(pair: Pair) -> None:
    (link,) = links(pair, 1)
    version = pair.mapping.published
    rows = [
        Operation(mapping=pair.mapping, version=version, link=link, side="left", kind="update", part=f"p{n}")
        for n in range(50)
    ]
    add_rows_with_keys(rows)
    assert {row.pk: row.part for row in rows} == dict(Operation.objects.values_list("pk", "part"))
    rows[7].attempts = 3
    rows[7].save()
    assert Operation.objects.filter(attempts=3).count() == 1 and Operation.objects.count() == 50


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite keeps texts of any length")
def test_a_text_that_does_not_fit_is_refused_and_not_cut(pair: Pair) -> None:
    (link,) = links(pair, 1)
    link.left_id = "x" * 10_000
    with pytest.raises(DataError), transaction.atomic():
        save_rows([link], ["left_id"])
    with pytest.raises(DataError), transaction.atomic():
        add_rows([AuditEntry(action="x" * 10_000, code="x")])
