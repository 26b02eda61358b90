#!/usr/bin/env python3
"""Plays seeded histories against the real engine: `simulate.py N SEED`, or `make simulate N=2000 SEED=1`.

N histories or a few more are played, in worlds that have a seed each; some hold several histories side by side. Each
process has a database of its own: SQLite in memory, or a scratch one on the server of DATABASE_URL. Prints what was in
them; a failure with its seed and the smallest trace that still shows it. Exit code 1 if one failed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sync.simulation.campaign import Result

ROOT = Path(__file__).resolve().parent.parent
TRACE_SHOWN = 60  # last lines of a failing trace


def set_up() -> None:
    """Django, as the tests have it: for the histories, and for reading what the processes send back."""
    sys.path.insert(0, str(ROOT))
    os.environ["DJANGO_SETTINGS_MODULE"] = "syncadmin.settings_test"
    os.environ.setdefault("ENV_FILE", os.devnull)
    import django

    django.setup()


def worlds_of(histories: int, seed: int) -> list[int]:
    """The seeds, from `seed` on, of the worlds that hold so many histories."""
    from sync.simulation.script import write_script

    seeds: list[int] = []
    while histories > 0:
        seeds.append(seed + len(seeds))
        histories -= write_script(seeds[-1]).crowd
    return seeds


def play(seeds: Sequence[int], number: int) -> Result:
    """In a process of its own: a fresh database, then these worlds."""
    set_up()
    from django.db import connection

    from sync.audit_guard import remove_triggers
    from sync.simulation import campaign

    settings = connection.settings_dict
    settings["TEST"]["NAME"] = f"simulation_{os.getpid()}_{number}" if connection.vendor == "postgresql" else None
    kept = settings["NAME"]
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    remove_triggers(connection)
    try:
        return campaign.run(seeds)
    finally:
        connection.creation.destroy_test_db(kept, verbosity=0)


def main() -> int:
    histories, seed = (int(sys.argv[1]) if len(sys.argv) > 1 else 200), (int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    set_up()
    seeds = worlds_of(histories, seed)
    processes = min(os.cpu_count() or 1, len(seeds))
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        # Every process takes each n-th seed, so that none has all the long ones.
        parts = [seeds[number::processes] for number in range(processes)]
        results = list(pool.map(play, parts, range(processes)))
    total = results[0]
    for other in results[1:]:
        total.add(other)
    report(total, seed, processes)
    return 1 if total.failures else 0


def report(total: Result, seed: int, processes: int) -> None:
    rate = total.histories / max(total.seconds, 0.001)
    print(f"{total.histories} histories in {total.worlds} worlds from seed {seed} in {total.seconds:.0f} s:", end=" ")
    print(f"{rate:.1f} a second in {processes} processes. Trace hash {total.hash()}.")
    mix = ", ".join(f"{number / total.histories:.1f} {kind}" for kind, number in sorted(total.mix.items()))
    print(f"On average: {mix}.")
    least = ", ".join(f"{number} {kind}" for kind, number in total.least.items())
    print(f"Each met at least: {least} (crashes, faults and changes happen to all that share a world).")
    print(f"Overwritten where neither a version nor a history could tell: {total.undetectable}.")
    for failure in total.failures:
        print(f"\nFAILED: seed {failure.seed}")
        for finding in failure.findings:
            print(f"  {finding}")
        print(f"  {failure.script.systems}\n  {failure.script.policies} {failure.script.initial}")
        print("\n".join(f"    {line}" for line in failure.trace[-TRACE_SHOWN:]))
    print("\nNothing was lost, doubled or invented." if not total.failures else f"\n{len(total.failures)} failed.")


if __name__ == "__main__":
    sys.exit(main())
