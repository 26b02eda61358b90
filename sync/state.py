"""What the database knows of a batch of links, loaded in a fixed number of queries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.utils import timezone

from connections.connectors.base import Record
from mappings.models import Mapping as SyncMapping
from sync import outcomes
from sync.merge import MISSING, EditTime
from sync.models import Conflict, Identity, Instruction, Link, Operation
from sync.plan import OSCILLATION_WINDOW_SECONDS, InstructionView, LinkView, OwnWrite
from sync.rows import fetch, select
from sync.session import SIDES, Session

_RECENT = """SELECT id FROM sync_operation
    WHERE external_id IN %s AND finished_at > %s AND state = 'confirmed' AND kind = 'update'"""
_NEWEST = """SELECT (
    SELECT o.id FROM sync_operation o
    WHERE o.external_id = l.{record}_id AND o.side = '{side}' AND o.state = 'confirmed' AND o.kind = 'update'
    ORDER BY o.finished_at DESC LIMIT 1
) FROM sync_link l WHERE l.id IN %s"""
# Confirmed updates of these records, oldest first: those since a moment, and the newest of each however old it is: a
# circle of mappings that are polled once an hour turns as slowly. Four times the keys of the links, at last. All by
# id, since PostgreSQL reads the whole ledger for an OR.
OWN_WRITES = (
    "id IN ("
    + " UNION ALL ".join([_RECENT, *(_NEWEST.format(record=record, side=side) for record in SIDES for side in SIDES)])
    + ") ORDER BY finished_at, id"
)
OF_OWN_WRITES = ("id", "mapping_id", "side", "external_id", "fields", "hops", "finished_at")


@dataclass
class Batch:
    """The links of a batch with everything that decides about them."""

    links: list[Link]
    # Links with an open operation, or a record that another mapping writes: whether it is unclear what became of it
    busy: dict[int, bool] = field(default_factory=dict)
    conflicts: dict[int, dict[str, Conflict]] = field(default_factory=dict)  # link -> rule id -> open conflict
    instructions: dict[int, list[Instruction]] = field(default_factory=dict)
    asked_later: dict[int, set[str]] = field(default_factory=dict)  # link -> rules of choices that wait for others'
    own_writes: dict[tuple[str, str], dict[str, list[OwnWrite]]] = field(default_factory=dict)
    unanswered: set[int] = field(default_factory=set)  # links that waited for a person's word on a create
    asked: list[Conflict] = field(default_factory=list)  # questions that the plans open, follow or close
    lifted: dict[int, int] = field(default_factory=dict)  # conflicts taken up again (see parking.lift) -> link

    def by_record(self) -> dict[tuple[str, str], Link]:
        return {
            (side, external_id): link for link in self.links for side in SIDES if (external_id := link.record_id(side))
        }


def load(session: Session, ids: Mapping[str, Iterable[str]]) -> Batch:
    """The links of these records. Six queries, however many records."""
    wanted = "mapping_id = %s AND (left_id IN %s OR right_id IN %s) ORDER BY id"
    links = fetch(Link, wanted, session.mapping.pk, list(ids.get("left", ())), list(ids.get("right", ())))
    things = {thing.pk: thing for thing in fetch(Identity, "id IN %s", {link.identity_id for link in links} - {None})}
    for link in links:
        link.identity = things.get(link.identity_id or 0)
    batch = Batch(links)
    if not links:
        return batch
    keys = [link.pk for link in links]
    batch.busy = busy(session, links)
    for conflict in fetch(Conflict, "link_id IN %s AND state IN ('open', 'resolving') ORDER BY id", keys):
        batch.conflicts.setdefault(conflict.link_id or 0, {})[conflict.rule_id] = conflict
    by_key = {link.pk: link for link in links}
    for instruction in fetch(Instruction, "link_id IN %s AND state = 'waiting' ORDER BY id", keys):
        mine = batch.instructions.setdefault(instruction.link_id or 0, [])
        link = by_key[instruction.link_id or 0]
        if _chooses(link, instruction) and any(_chooses(link, one) for one in mine):
            batch.asked_later.setdefault(link.pk, set()).update(_chosen(instruction))
        else:
            mine.append(instruction)
    since = timezone.now() - timedelta(seconds=OSCILLATION_WINDOW_SECONDS)
    records = [external_id for link in links for side in SIDES if (external_id := link.record_id(side))]
    recent = fetch(Operation, OWN_WRITES, records, since, *[keys] * 4, only=OF_OWN_WRITES)
    by_others = {operation.mapping_id for operation in recent} - {session.mapping.pk}
    mappings = SyncMapping.objects.in_bulk(by_others) if by_others else {}
    for operation in recent:
        for side in SIDES:
            # Own writes of other mappings to the same record count too: that is how circles are seen.
            mapping = mappings.get(operation.mapping_id, session.mapping)
            connection = getattr(mapping, f"{operation.side}_connection_id")
            there = (connection, mapping.object_type(operation.side))
            if there == (session.connection(side).pk, session.object_type(side)):
                paths = batch.own_writes.setdefault((side, operation.external_id), {})
                for sent in operation.fields.values():
                    paths.setdefault(sent["path"], []).append(
                        OwnWrite(
                            operation.pk,
                            sent.get("read_back", sent["value"]),
                            operation.hops,
                            (operation.finished_at or since).timestamp(),
                            not sent.get("on_the_way"),
                            sent["source"] if operation.mapping_id == session.mapping.pk else MISSING,
                        )
                    )
    return batch


def busy(session: Session, links: Sequence[Link]) -> dict[int, bool]:
    """⚑ Links that are not planned now: an operation is on its way, ours or another mapping's on the same record."""
    place = {side: f"{session.connection(side).pk}:{session.object_type(side)}" for side in SIDES}
    owners: dict[str | None, int] = {}
    for link in links:
        for side in SIDES:
            owners[f"{place[side]}:{link.record_id(side)}"] = link.pk
    keys = {link.pk for link in links}
    theirs = "SELECT link_id, claim, state FROM sync_operation WHERE (link_id IN %s OR claim IN %s) AND state IN %s"
    found: dict[int, bool] = {}
    for link_id, claim, state in select(theirs, keys, [*owners], Operation.OPEN):
        pk = link_id if link_id in keys else owners[claim]
        found[pk] = found.get(pk, False) or state == Operation.State.UNCERTAIN
    return found


def link_view(link: Link, batch: Batch, edits: Mapping[tuple[str, str], EditTime] | None = None) -> LinkView:
    return LinkView(
        id=link.pk,
        left_id=link.left_id,
        right_id=link.right_id,
        bases={side: link.bases(side) for side in SIDES},
        parked=link.parked,
        agreed_differences=link.agreed_differences,
        open_conflicts={rule: conflict.kind for rule, conflict in batch.conflicts.get(link.pk, {}).items()},
        own_writes={
            (side, path): writes
            for side in SIDES
            for path, writes in batch.own_writes.get((side, link.record_id(side) or ""), {}).items()
        },
        edits=edits or {},
    )


def _chooses(link: Link, instruction: Instruction) -> bool:
    """⚑ Whether it is about single fields. One of these at a time: a call has one instruction, and what becomes of it
    becomes of that. What goes with a twin is about its fields once the twin is there."""
    return any(instruction.choices) or (link.state != Link.State.CREATING and bool(instruction.choices))


def _chosen(instruction: Instruction) -> set[str]:
    """The rules it still waits for, those of a twin's fields among them."""
    chosen = outcomes.waiting(instruction)
    return {*chosen, *chosen.get("", {}).get("values", ())} - {""}


def instruction_views(batch: Batch, link: Link) -> list[InstructionView]:
    asked = batch.instructions.get(link.pk, [])
    return [InstructionView(one.pk, one.kind, outcomes.waiting(one), one.by_name) for one in asked]


def seconds_of(stamp: str) -> float:
    """A normalised datetime as seconds since the epoch."""
    return datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()


def differs_from_bases(session: Session, link: Link, side: str, record: Record) -> bool:
    """Whether any readable mapped field of a fresh read is not its base: only then can there be something to do."""
    bases = link.bases(side)
    return any(
        rule.field(side).path in record.values
        and (rule.id not in bases or bases[rule.id] != record.values[rule.field(side).path])
        for rule in session.compiled.rules
    )


def hides_agreed(session: Session, link: Link, side: str, record: Record) -> bool:
    """Whether this record alone does not show a field that was agreed: an edit made under it shows later."""
    if record.deleted or not record.unreadable:
        return False
    still, bases = session.compiled.still, link.bases(side)
    read = [rule for rule in session.compiled.rules if rule.id not in still or not still[rule.id].whole]
    return any(rule.id in bases and rule.field(side).path in record.unreadable for rule in read)


def both_ids(links: Sequence[Link]) -> dict[str, list[str]]:
    return {side: [external_id for link in links if (external_id := link.record_id(side))] for side in SIDES}
