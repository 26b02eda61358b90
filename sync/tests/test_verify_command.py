"""`manage.py verify`: the exit codes and the JSON that docs/commands.md promises."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from django.utils import timezone

from connections.connectors.base import NeedsAuthorization, RateLimited
from connections.overwrites import BLIND, REPLACED
from mappings.models import Mapping
from sync import verify
from sync.models import AuditEntry, Verification
from sync.tests.conftest import Pair
from sync.tests.test_commands import asked, command
from sync.tests.test_pauses import OPEN, window
from sync.tests.verify_cases import before_call, drift, pairs, raising, reads

pytestmark = pytest.mark.django_db


def test_pairs_that_agree_end_with_0_and_every_number(pair: Pair) -> None:
    pairs(pair, 3)
    code, answer = asked("verify", "Pair")
    assert code == 0
    assert list(answer) == [
        "mapping",
        "verification",
        "kind",
        "state",
        "reason",
        "pairs",
        "equal",
        "waiting",
        "agreed",
        "drift",
        "missing",
        "waits",
        "lacking",
        "fields",
        "apart",
        "overwrites",
        "calls",
        "seconds",
    ]
    assert (answer["mapping"], answer["kind"], answer["state"], answer["reason"]) == ("pair", "complete", "done", "")
    assert (answer["pairs"], answer["equal"], answer["drift"]) == (3, 3, 0)
    assert {side: told["what"] for side, told in answer["overwrites"].items()} == dict.fromkeys(
        ("left", "right"), BLIND
    )


def test_drift_ends_with_3_and_names_field_and_values(pair: Pair) -> None:
    (link,) = pairs(pair, 1, body="b")
    drift(pair, link)
    code, answer = asked("verify", "pair")
    assert (code, answer["drift"]) == (3, 1)
    assert answer["fields"] == {"body": {"label": "Body", "drift": 1, "agreed": 0, "waiting": 0}}
    code, out, _ = command("verify", "pair")
    assert code == 3
    assert f"  {link}: Body: 'b' | 'drifted'" in out.splitlines()
    assert f"overwritten edits on the left: {BLIND} {REPLACED}" in out.splitlines()


def test_a_record_that_is_not_there_ends_with_3(pair: Pair) -> None:
    (link,) = pairs(pair, 1)
    del pair.left.records[link.left_id or ""]
    code, out, _ = command("verify", "pair")
    assert code == 3
    assert f"  {link}: not there on the left" in out.splitlines()


def test_a_sample_reads_so_many_pairs(pair: Pair) -> None:
    pairs(pair, 30)
    code, answer = asked("verify", "pair", "--sample", "10")
    assert (code, answer["kind"], answer["pairs"]) == (0, "sample", 10)
    assert [len(ids) for ids in reads(pair.left)] == [10]


def test_what_cannot_begin_ends_with_1(pair: Pair) -> None:
    code, answer = asked("verify", "nothing")
    assert code == 1 and "There is no mapping" in answer["error"]
    Mapping.objects.update(windows=[window(*OPEN)])
    code, answer = asked("verify", "pair")
    assert code == 1 and "Pair is in a maintenance window until" in answer["error"]
    Mapping.objects.update(published=None)
    code, answer = asked("verify", "pair")
    assert code == 1 and "never published" in answer["error"]


def test_a_system_that_refuses_ends_with_1_and_says_why(pair: Pair) -> None:
    pairs(pair, 1)
    pair.left.before = lambda verb, ids: raising(NeedsAuthorization("sign in again"))()
    code, answer = asked("verify", "pair")
    assert (code, answer["state"]) == (1, "failed")
    assert answer["reason"].startswith("Left: sign in again.")


def test_one_that_goes_on_already_ends_with_4(pair: Pair) -> None:
    verify.begin(pair.mapping, "complete")
    code, answer = asked("verify", "pair")
    assert code == 4 and "going on already" in answer["error"]


def test_one_that_a_person_stops_ends_with_5(pair: Pair) -> None:
    pairs(pair, 1)
    before_call(pair.right, 1, lambda: verify.stop(Verification.objects.get(), "olga"))
    drift(pair, pairs(pair, 1)[0])
    code, answer = asked("verify", "pair")
    assert (code, answer["state"], answer["reason"][:4]) == (5, "stopped", "olga")


def test_control_c_stops_it(pair: Pair) -> None:
    pairs(pair, 1)
    before_call(pair.left, 1, raising(KeyboardInterrupt()))
    code, answer = asked("verify", "pair")
    assert (code, answer["state"]) == (5, "stopped")
    assert AuditEntry.objects.filter(code="verification_stopped").exists()


def test_it_waits_for_a_system_that_asks_to(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def sleep(seconds: float) -> None:
        assert 0 < seconds <= 1.0
        Verification.objects.update(not_before=timezone.now() - timedelta(seconds=1))

    monkeypatch.setattr(time, "sleep", sleep)
    pairs(pair, 1)
    before_call(pair.left, 1, raising(RateLimited("slow down", after=300)))
    code, answer = asked("verify", "pair")
    assert (code, answer["state"]) == (0, "done")
