"""One minute of `make chaos`: real processes, people who edit all the time, and a nemesis (docs/guarantees.md)."""

from __future__ import annotations

from syncadmin.chaos import campaign
from syncadmin.chaos.campaign import Options
from syncadmin.chaos.report import report

# A small company, so that its first run is soon over and its edits often meet the same records.
RECORDS, PEOPLE, PER_SECOND = 30, 3, 3.0
# Nothing waits longer than a minute after the failures of one minute; the rest is for a busy machine.
QUIET_SECONDS = 480.0


def test_a_minute_of_chaos_loses_invents_doubles_and_brings_back_nothing() -> None:
    options = Options(
        minutes=1,
        database="postgresql",
        seed=7,
        records=RECORDS,
        people=PEOPLE,
        per_second=PER_SECOND,
        quiet_seconds=QUIET_SECONDS,
    )
    told: list[str] = []
    outcome = campaign.run(options, told.append)
    story = "\n".join([*told, report(outcome)])
    assert outcome.good, f"{story}\n{outcome.output[-20000:]}"
    assert outcome.edits.total() > 0, story
    assert outcome.ours > 0, story
    assert not outcome.never_played, story
    assert outcome.unanswered > 0, story
