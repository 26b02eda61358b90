"""Judges a history from the systems' own logs and the audit log alone; it knows nothing of links, bases or hints."""

from __future__ import annotations

from sync.simulation import oracle_log, oracle_values
from sync.simulation.evidence import Case, Evidence
from sync.simulation.verdict import Verdict

CHECKS = (*oracle_values.CHECKS, *oracle_log.CHECKS)


def judge(evidence: Evidence) -> Verdict:
    verdict = Verdict()
    case = Case(evidence)
    for check in CHECKS:
        check(case, verdict)
    return verdict
