"""What a chaos run says in the end."""

from __future__ import annotations

from collections import Counter

from syncadmin.chaos.campaign import REMOTE_TIMEOUT, UPDATE_TIMEOUT, Outcome
from syncadmin.chaos.oracle import KINDS

SHOWN = 10  # findings told in full


def report(outcome: Outcome) -> str:
    options = outcome.options
    deeds, faults = outcome.deeds, outcome.faults
    lines = [
        f"{options.minutes:g} minutes on {options.database}, {options.records} pairs, seed {options.seed}",
        f"Shortened for this run: we wait {REMOTE_TIMEOUT:g} s for an answer (20 s in earnest) and look after an "
        f"unanswered write {UPDATE_TIMEOUT:g} s later (one to two minutes in earnest). Brakes are off.",
        f"edits by people           {sum(outcome.edits.values())} ({_listed(outcome.edits)})",
        f"fields written by us      {outcome.ours}",
        f"kills                     {deeds['kills']}",
        f"stops                     {deeds['stops'] + deeds['zombies']} ({deeds['zombies']} longer than a lease)",
        f"flushes                   {deeds['flushes']}",
        f"restarts                  {deeds['restarts']}",
        f"other deeds               {_listed(Counter({k: v for k, v in deeds.items() if k not in COUNTED}))}",
        f"deeds never played        {', '.join(outcome.never_played) or 'none'}",
        f"writes without an answer  {outcome.unanswered}",
        f"faults met                {_listed(faults)}",
        f"settled by a reviewer     {_listed(outcome.reviewed)}",
        f"questions in the end      {outcome.asked}",
        f"all agreed after          {outcome.quiet_after:.0f} s",
        "",
    ]
    found = Counter(finding.kind for finding in outcome.findings)
    lines += [f"{kind:<13} {found[kind]}" for kind in KINDS]
    for finding in outcome.findings[:SHOWN]:
        lines += ["", f"{finding.kind.upper()} {finding.what}", *(f"    {line}" for line in finding.evidence)]
    lines += ["", *outcome.problems] if outcome.problems else []
    if not outcome.good:
        lines += ["", f"Again: make chaos MINUTES={options.minutes:g} DATABASE={options.database} SEED={options.seed}"]
    return "\n".join(lines)


COUNTED = frozenset({"kills", "stops", "zombies", "flushes", "restarts"})


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counts.items()) if number) or "none"
