"""`python -m syncadmin.chaos --minutes 10 --database sqlite --seed 7`: exit code 0 if nothing was lost or invented."""

from __future__ import annotations

import argparse
import random
import signal
import sys
from pathlib import Path

from syncadmin.chaos import campaign
from syncadmin.chaos.report import report


def main() -> int:
    usual = campaign.Options()
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=usual.minutes)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default=usual.database)
    parser.add_argument("--seed", type=int, default=None, help="default: a new one each time")
    parser.add_argument("--records", type=int, default=usual.records, help="pairs of the company")
    parser.add_argument("--people", type=int, default=usual.people)
    parser.add_argument("--edits", type=float, default=usual.per_second, help="a second, all people together")
    parser.add_argument(
        "--pause",
        type=float,
        default=usual.pause,
        help="seconds between faults, on average; default: 8, less in a short run",
    )
    parser.add_argument("--unanswered", type=float, default=usual.unanswered, help="share of our writes, at all times")
    parser.add_argument("--output", type=Path, help="keep the output of all processes in this file")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # the processes of the run end with us
    seed = random.randrange(10**6) if given.seed is None else given.seed  # noqa: S311 - no secret
    options = campaign.Options(
        given.minutes,
        given.database,
        seed,
        given.records,
        given.people,
        given.edits,
        given.pause,
        given.unanswered,
    )
    outcome = campaign.run(options, lambda line: print(line, flush=True))
    if given.output:
        given.output.write_text(outcome.output)
    print(f"\n{report(outcome)}")
    return 0 if outcome.good else 1


if __name__ == "__main__":
    sys.exit(main())
