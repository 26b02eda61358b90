"""What a person decides about at a brake."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone

from sync import waiting
from sync.approval import side_is_empty
from sync.brakes import STILL_READING
from sync.merge import OTHER
from sync.models import MappingState, Run
from sync.views._run_story import written_by

# A version published this shortly before a brake is worth naming as its cause.
FRESH_VERSION = timedelta(hours=24)

KIND_WORDS = {"create": "create", "update": "change", "delete": "delete or empty"}
NOUNS = {"create": "creations", "update": "writes", "delete": "deletions and writes that empty a field"}
CAUSES = {
    "create": "many records are new on the other side, or the scope of the mapping became wider.",
    "update": "a bulk edit or an import on the other side, or a rule that now gives other values.",
    "delete": "a bulk deletion on the other side, or our account there lost the right to see records or fields.",
}
CAUSE_OF_EMPTY = (
    "our account there lost the right to see the records, the scope of the mapping fits none of them any more, or "
    "they were really deleted."
)


@dataclass(frozen=True, slots=True)
class Braked:
    """What the brake stopped. `most`: the largest number of writes that can be released at once.

    A brake counts writes, and a record may take several. It halts at the first batch that is too much: `planned` writes
    to `records` records, of `looked` changes. What else waits is counted as it is now, and is known completely only
    where the lists were read to their end (`complete`).
    """

    side: str
    system: str
    source: str  # the system of the other side
    source_id: int  # of its connection
    empty: bool  # the source suddenly lists nothing; `planned` are then all linked records
    kind: str
    verb: str
    noun: str
    planned: int
    records: int
    least: int  # of the writes that one of these records takes
    room: int  # writes that releases and limit still let through, where there is a release
    already: int
    limit: int
    looked: int
    written: int  # writes of the same run that came before and stand
    waiting: int
    complete: bool
    told: bool  # all about records that are reported deleted
    holdable: int  # records that holding takes out
    calls: int  # the most writes of that kind that one change takes, for all we know
    sample: list[str]
    cause: str

    @property
    def most(self) -> int:
        return self.planned if self.empty else max(self.planned, self.waiting * self.calls)

    @property
    def number(self) -> int:
        """How many records it would write to, as far as can be known."""
        return max(self.records, self.holdable) if self.told else self.records

    @property
    def roughly(self) -> str:
        """What stands before `number`: it is exact only where all that waits was planned."""
        if self.complete and self.waiting <= self.looked:
            return ""
        return "about" if self.complete and self.number > self.records else "at least"

    @property
    def too_small(self) -> bool:
        """Whether something of a release is left, and too little for any record of the plan."""
        return 0 < self.room < self.least


def braked(run: Run, state: MappingState | None) -> Braked | None:
    """What a person decides about, if it is this run that the mapping waits for."""
    if state is None or state.halt != MappingState.Halt.BRAKE:
        return None
    params = state.halt_reason.get("params") or {}
    if params.get("run") != run.pk:
        return None
    kind, side, empty = params.get("kind", "update"), params.get("side", "right"), side_is_empty(state)
    source = run.mapping.connection(OTHER[side])
    return Braked(
        side=side,
        system=run.mapping.connection(side).name,
        source=source.name,
        source_id=source.pk,
        empty=empty,
        kind=kind,
        verb=KIND_WORDS.get(kind, kind),
        noun=NOUNS.get(kind, kind),
        planned=params.get("planned", 0),
        records=params.get("records", params.get("planned", 0)),
        least=params.get("least", 1),
        room=params.get("room", 0),
        already=params.get("already", 0),
        limit=params.get("limit", 0),
        looked=params.get("looked", 0),
        written=written_by(run),
        waiting=waiting.changes(run.mapping),
        complete=run.phase != STILL_READING,
        told=params.get("told", False),
        holdable=0 if empty else waiting.records(run.mapping, {"kind": kind, "side": side, **params}),
        calls=1 if kind == "create" or params.get("told") else waiting.calls(run.mapping, side),
        sample=params.get("sample", []),
        cause=_cause(run, CAUSE_OF_EMPTY if empty else CAUSES.get(kind, "")),
    )


def _cause(run: Run, known: str) -> str:
    age = run.started_at - run.version.published_at
    if timedelta(0) <= age < FRESH_VERSION:
        at = timezone.localtime(run.version.published_at)
        published = f"version {run.version.number} of the mapping was published at {at:%H:%M}"
        return f"{published}, shortly before. Otherwise: {known}"
    return known
