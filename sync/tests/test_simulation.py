"""A few histories of the simulation: a pair of systems, a chain and a circle of three."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from mappings.models import MappingVersion
from sync.models import AuditEntry
from sync.simulation.campaign import findings_of
from sync.simulation.script import CRASHES, EDITS, FAULTS, LINKS, write_script
from sync.views.audit_lines import line_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("seed", [4, 20, 40])
def test_a_history_loses_doubles_and_invents_nothing(seed: int) -> None:
    script = write_script(seed)
    played, findings, _ = findings_of(script)
    assert not findings
    assert played.mix["pair"] >= LINKS * script.crowd
    assert played.mix["edits inside"] >= EDITS * script.crowd, "in the middle of a run"
    assert played.mix["crashes"] >= CRASHES
    assert played.mix["faults met"] >= FAULTS
    assert played.mix["change"] and played.mix["asked"] >= script.crowd
    versions = MappingVersion.objects.order_by("mapping", "number")
    changed = [one for before, one in pairwise(versions) if one.number > 1 and one.document != before.document]
    assert len(changed) >= played.mix["change"], "none of them changed nothing"
    told = [line_of(entry) for entry in AuditEntry.objects.all()]
    assert told and not [line.why for line in told if "?" in line.why], "every line of the log says what it is about"


def test_a_history_that_met_too_little_counts_as_failed() -> None:
    script = write_script(4)
    _, findings, _ = findings_of(replace(script, steps=script.steps[:1], spare=script.spare[:1]))
    assert [one for one in findings if one.startswith("too little happened: ")]
