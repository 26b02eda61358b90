"""The audit log cannot be quietly changed: the database refuses, and the chain tells."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction

from sync import audit, chain
from sync.audit_guard import put_triggers, remove_triggers
from sync.models import AuditEntry

pytestmark = pytest.mark.django_db


@pytest.fixture
def guarded() -> Iterator[None]:
    put_triggers(connection)
    yield
    remove_triggers(connection)


def some(number: int) -> None:
    for n in range(number):
        audit.write("write", "edited", actor="ana", before=n, after=n + 1, params={"system": "Jira"})


def test_sealing_numbers_entries_without_gaps_and_the_chain_holds() -> None:
    some(3)
    assert audit.seal() == 3
    some(2)
    assert audit.seal() == 2
    assert list(AuditEntry.objects.order_by("pk").values_list("number", flat=True)) == [1, 2, 3, 4, 5]
    verdict = audit.verify()
    assert verdict.intact and verdict.last_number == 5


def change(at: int, /, **values: object) -> None:
    AuditEntry.objects.filter(number=at).update(**values)


@pytest.mark.parametrize(
    "tamper, broken_at, why",
    [
        (lambda: change(2, actor="somebody else"), 2, "changed"),
        (lambda: change(3, values={"before": 0, "after": 9}), 3, "values"),
        (lambda: AuditEntry.objects.filter(number=2).delete(), 2, "missing"),
        (lambda: change(4, params={}), 4, "changed"),
    ],
)
def test_whatever_is_tampered_with_is_named(tamper: object, broken_at: int, why: str) -> None:
    some(5)
    audit.seal()
    tamper()
    verdict = audit.verify()
    assert (verdict.broken_at, verdict.last_number) == (broken_at, broken_at - 1)
    assert why in verdict.why


def test_erased_values_leave_the_chain_verifiable(guarded: None) -> None:
    some(2)
    audit.seal()
    change(1, values=None)
    assert audit.verify().intact


@pytest.mark.parametrize(
    "forbidden",
    [
        lambda: change(1, actor="x"),
        lambda: change(1, code="x"),
        lambda: change(1, params={"x": 1}),
        lambda: change(1, values={"before": 1, "after": 1}),
        lambda: change(1, number=7),
        lambda: change(1, seal="x"),
        lambda: AuditEntry.objects.all().delete(),
    ],
)
def test_the_database_refuses_to_change_or_delete_entries(guarded: None, forbidden: object) -> None:
    some(1)
    audit.seal()
    with pytest.raises(DatabaseError, match="cannot be changed"), transaction.atomic():
        forbidden()
    assert audit.verify().intact


def test_an_export_is_verified_without_the_database(tmp_path: object) -> None:
    some(4)
    audit.seal()
    lines = list(audit.export())
    assert audit.verify_export(lines).intact
    row = json.loads(lines[2])
    row["actor"] = "somebody else"
    lines[2] = json.dumps(row)
    assert audit.verify_export(lines).broken_at == 3


def test_the_command_says_how_far_the_log_is_proved(capsys: pytest.CaptureFixture[str]) -> None:
    some(2)
    call_command("audit", "verify", "--json")
    assert json.loads(capsys.readouterr().out)["verified_to"] == 2
    change(2, actor="x")
    with pytest.raises(SystemExit) as stopped:
        call_command("audit", "verify")
    assert stopped.value.code == 3
    assert "number 1 is still proved" in capsys.readouterr().out


def test_a_file_that_is_no_export_is_an_error(capsys: pytest.CaptureFixture[str], tmp_path: object) -> None:
    path = tmp_path / "log"
    path.write_text("not json\n")
    with pytest.raises(SystemExit) as stopped:
        call_command("audit", "verify", "--file", str(path))
    assert stopped.value.code == 1


def test_the_order_of_keys_does_not_change_a_digest() -> None:
    assert chain.values_digest("s", {"a": 1, "b": 2}) == chain.values_digest("s", {"b": 2, "a": 1})
