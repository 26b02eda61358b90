"""After a restore: every pair is compared and nothing is written, until a person has seen the numbers.

What was written between the backup and the restore is no longer known, but it is there: a pair whose sides say the
same is agreed on again, a record that carries our key or fits by its match keys is linked again instead of created
again. Only what would have to be written waits, as hints, with numbers and samples for the approval.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from django.db import transaction
from django.utils import timezone

from mappings.changes import sides_to_list
from mappings.models import Mapping
from sync import hints, noting
from sync.commit import commit_links
from sync.lease import Lease
from sync.look import Looked, look
from sync.matching import forget
from sync.merge import Ask
from sync.models import ChangedRecord, Cursor, MappingState, Operation, Run
from sync.plan import PlannedOperation
from sync.read import SideEmpty, poll, sweep
from sync.session import SIDES, Session
from sync.standing import StandsStill, may_write
from sync.unlinked import commit_meeting

# Hints looked at together: as many as one bulk read takes at most systems.
BATCH = 100
# Examples shown for each rule, and for new records.
SAMPLES = 3
# A value in an example is for recognising it, not for reading.
SAMPLE_TEXT = 80
# Linking again brings pairs to compare, which bring nothing new to link: twice is usual, more would be a loop.
MOST_PASSES = 5


class _Found:
    """What one pass over the waiting hints found."""

    def __init__(self, session: Session) -> None:
        self.compared = 0
        self.numbers: dict[str, Counter[str]] = {rule.id: Counter() for rule in session.compiled.rules}
        self.samples: dict[str, list[dict[str, Any]]] = {rule.id: [] for rule in session.compiled.rules}
        self.alone = 0  # records for which nothing fits yet: a later one may carry their key
        self.ours = 0  # of them, made by us: asked about when nothing more is found
        self.create: Counter[str] = Counter()
        self.delete: Counter[str] = Counter()
        self.names: dict[str, list[str]] = {"create": [], "delete": []}

    def write(self, name: str, operation: PlannedOperation) -> None:
        if operation.kind != "update":
            counter = self.create if operation.kind == "create" else self.delete
            counter[operation.side] += 1
            self.name(operation.kind, name)
            return
        for field in operation.fields:
            self.numbers[field.rule][f"write_{operation.side}"] += 1
            if len(self.samples[field.rule]) < SAMPLES:
                shown = {"before": _brief(field.before), "value": _brief(field.value)}
                self.samples[field.rule].append({"record": name, "side": operation.side, **shown})

    def name(self, kind: str, name: str) -> None:
        if len(self.names[kind]) < SAMPLES:
            self.names[kind].append(name)


def compare(session: Session) -> None:
    """List both sides, read what may have changed, agree on what is equal, and leave the numbers on the run.

    Raises SideFailed, LeaseLost, StandsStill.
    """
    run = session.ensure_run()
    session.progress(phase="read")
    state = MappingState.objects.select_related("version").get(mapping=session.mapping)
    if state.version is not None:  # ⚑ what is linked by another version's keys must see all that it could be
        noting.begin(session, state, sides_to_list(state.version.document, session.version.document))
    empty = [side for side in SIDES if not _list(session, side)]
    session.progress(phase="match", total=_waiting(session).count(), done=0)
    agreed, linked, compared = 0, 0, 0
    asking = False
    for number in range(MOST_PASSES):
        found = _Found(session)
        newly_linked = 0
        for rung in _batches(session):
            _still_on(session)
            looked = look(session, rung)
            newly, equal = _take_over(session, looked, found, asking)
            newly_linked, agreed = newly_linked + newly, agreed + equal
            session.done += len(rung)
            session.progress()
        linked += newly_linked
        compared = max(compared, found.compared)
        if newly_linked == 0 and not (number == 0 and found.alone):
            if asking or not found.ours:
                break
            asking = True
    preview = {
        "compared": compared,
        "agreed": agreed,
        "linked": linked,
        "unclear": _open(session),
        "create": {side: found.create[side] for side in SIDES},
        "delete": {side: found.delete[side] for side in SIDES},
        "names": found.names,
        "empty": empty,
        "differences": [
            {
                "rule": rule.id,
                "label": rule.label,
                **{name: found.numbers[rule.id][name] for name in ("write_left", "write_right", "review")},
                "samples": found.samples[rule.id],
            }
            for rule in session.compiled.rules
        ],
    }
    with transaction.atomic():
        session.lease.renew()
        state.refresh_from_db()
        params = {**(state.halt_reason.get("params") or {}), "run": run.pk}
        MappingState.objects.filter(pk=state.pk).update(
            compared_at=timezone.now(), halt_reason={**state.halt_reason, "params": params}
        )
        session.to_approve(preview)  # ⚑ with the halt's end of comparing: numbers that no run shows, nobody approves


def begin_again(mapping: Mapping, lease: Lease) -> None:
    """Compare once more: the numbers that wait are of another version, and nothing was written by them."""
    with transaction.atomic():
        lease.renew()
        compared = MappingState.objects.filter(
            mapping=mapping, halt=MappingState.Halt.RESTORED, compared_at__isnull=False
        )
        if compared.update(compared_at=None):  # else somebody approved them meanwhile
            Run.objects.filter(mapping=mapping, kind=Run.Kind.RESTORED, state=Run.State.APPROVAL).update(
                state=Run.State.LOST, error={"code": "version_moved_on", "params": {}}
            )


def _still_on(session: Session) -> None:
    session.lease.renew()
    if not may_write(session):
        raise StandsStill


def _list(session: Session, side: str) -> bool:
    """Mark everything that a complete listing shows as changed, and what it lacks. False: it lists nothing at all."""
    Cursor.objects.filter(mapping=session.mapping, side=side).update(watermark=None)
    poll(session, side, hints.Lane.BACKFILL, between=lambda: _still_on(session))
    try:
        noting.list_side(session, side, between=lambda: _still_on(session))
        sweep(session, side, between=lambda: _still_on(session))
    except SideEmpty:
        return False
    return True


def _waiting(session: Session) -> Any:
    return ChangedRecord.objects.filter(mapping=session.mapping)


def _batches(session: Session) -> Iterator[list[ChangedRecord]]:
    """Every hint there is, due or not, those that come up meanwhile left for the next pass."""
    last = _waiting(session).order_by("-pk").values_list("pk", flat=True).first() or 0
    after = 0
    while rows := list(_waiting(session).filter(pk__gt=after, pk__lte=last).order_by("pk")[:BATCH]):
        after = rows[-1].pk
        yield rows


def _open(session: Session) -> int:
    """Writes of before the backup of which it is still not known what became of them."""
    return Operation.objects.filter(mapping=session.mapping, state__in=Operation.OPEN).count()


def _take_over(session: Session, looked: Looked, found: _Found, asking: bool) -> tuple[int, int]:
    """Save what needs no write; returns (newly linked pairs, fields agreed on). ⚑ A link with a planned write is left
    as it is, with its hints: nothing of it is decided before the approval."""
    quiet = [one for one in looked.decided if not one.plan.operations]
    settled = {one.link.pk for one in quiet}
    found.compared += len(looked.decided)
    for one in looked.decided:
        for operation in one.plan.operations:
            found.write(str(one.link), operation)
        for rule_id, outcome in one.plan.outcomes.items():
            found.numbers[rule_id]["review"] += isinstance(outcome, Ask)
    consumed = [hint for hint in looked.consumed if looked.of_record[(hint.side, hint.external_id)].pk in settled]
    meeting, newly = looked.meeting, 0
    if meeting is not None:
        newly = len(meeting.binds)
        for twin, unlinked in meeting.twins:
            found.create[twin.side] += 1
            found.name("create", unlinked.record.key or unlinked.record.external_id)
        found.alone += len(meeting.twins) + len(meeting.noted)
        meeting.twins = []  # their hints stay
        ours = [asked for asked in meeting.questions if asked[0].code == "made_by_us"]
        found.ours += len(ours)
        found.alone += len(ours)
        if not asking:  # what they were made from may still turn up
            meeting.questions = [asked for asked in meeting.questions if asked not in ours]
    with transaction.atomic():
        commit_links(session, looked.known, quiet, [*consumed, *looked.vanished])
        for side in SIDES:
            forget(session, side, [hint.external_id for hint in looked.vanished if hint.side == side])
        if meeting is not None:
            commit_meeting(session, meeting)
    return newly, sum(len(one.plan.agreed) for one in quiet)


def _brief(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= SAMPLE_TEXT else f"{text[:SAMPLE_TEXT]}…"
