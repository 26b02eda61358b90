"""`manage.py restored`: shows before it does, exit codes that programs rely on."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from sync.approval import NotWaiting, approve
from sync.models import AuditEntry, MappingState, Run
from sync.tests.conftest import Pair

pytestmark = pytest.mark.django_db


def restored(*arguments: str) -> tuple[int, Any]:
    out = StringIO()
    code = 0
    try:
        call_command("restored", *arguments, stdout=out)
    except SystemExit as ended:
        code = int(ended.code or 0)
    text = out.getvalue()
    return code, json.loads(text) if "--json" in arguments else text


def test_without_yes_it_only_shows_what_it_would_do(pair: Pair) -> None:
    code, text = restored()
    assert code == 2 and "This would halt pair" in text and "Nothing was done" in text
    code, answer = restored("--json")
    assert (code, answer["done"], answer["mappings"], answer["waiting"]) == (2, False, ["pair"], [])
    assert MappingState.objects.get().halt == "" and not AuditEntry.objects.exists()


def test_with_yes_every_mapping_that_writes_is_halted_and_the_log_names_who(pair: Pair) -> None:
    code, answer = restored("--yes", "--json")
    assert (code, answer["done"], answer["waiting"]) == (0, True, ["pair"])
    assert MappingState.objects.get().halt == "restored"
    entry = AuditEntry.objects.get(code="restored_declared")
    assert entry.actor.endswith("(command line)") and entry.actor_kind == "person" and entry.number
    code, answer = restored("--json")
    assert (code, answer["waiting"]) == (2, ["pair"]), "asked again, it tells what waits"


def test_a_first_run_that_nobody_approved_yet_is_made_again(pair: Pair) -> None:
    MappingState.objects.all().delete()
    pair.left.add(title="one", ref="1")
    assert pair.run().state == "approval"
    code, text = restored()
    assert code == 2 and "The first run of pair would be made again" in text and "would halt" not in text
    code, answer = restored("--yes", "--json")
    assert (code, answer["done"], answer["mappings"], answer["first_runs"]) == (0, True, [], ["pair"])
    assert AuditEntry.objects.get(code="restored_declared").params["mappings"] == []
    with pytest.raises(NotWaiting):  # its lists are as old as the backup
        approve(pair.mapping, "ana")
    assert pair.run().state == "approval" and Run.objects.filter(state="approval").count() == 1


def test_where_nothing_ever_ran_there_is_nothing_to_do(pair: Pair) -> None:
    MappingState.objects.all().delete()
    code, text = restored("--yes")
    assert code == 1 and "Nothing was done" in text


def test_accepting_a_place_without_yes_only_shows(pair: Pair) -> None:
    code, text = restored("--moved")
    assert code == 2 and "Nothing was done" in text and not AuditEntry.objects.exists()
    code, text = restored("--moved", "--yes")
    assert code == 0 and AuditEntry.objects.get().code == "place_accepted"
