"""When to look at the fields of the two systems, and what becomes of a mapping whose version no longer fits them.

Looks are rare and shared: the list of an object type is kept in the database for all mappings that have it. A run looks
when one is due and nothing else is to be done, so that no live edit waits for it, and at once where an answer makes it
likely that a field changed. What is found is judged under the mapping's lease: only what depends on the field stands
still, with one entry in the queue; put right, the entry closes by itself and the records are looked at again.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from types import MappingProxyType
from typing import Any, TypeVar

from django.db import transaction
from django.utils import timezone

from connections.connectors.base import Connector, ConnectorError, Field, Option, Record, Refused
from mappings.models import Mapping as SyncMapping
from sync import schema, schema_entries
from sync.lease import LeaseLost, take
from sync.models import MappingState, Run, SchemaFinding, SchemaLook
from sync.read import Reading, SideFailed
from sync.rows import fetch, select
from sync.schema import Finding
from sync.session import SIDES, Session, finding_of, open_session

log = logging.getLogger("sync")

# A changed field that no answer tells of is found this late at most. A list of fields takes some systems ten calls:
# every ten minutes that is one call a minute, whatever the number of mappings.
LOOK_SECONDS = 600
# What answers tell is looked into at once, but no more often: a system that refuses values all day is not asked for
# its fields with every one of them.
LOOK_AGAIN_SECONDS = 60
LISTED = "listed "  # before what was odd about a field, see SchemaLook.odd: the system lists it all the same
NOTHING_ODD: Mapping[str, str] = MappingProxyType({})

Result = TypeVar("Result")


# When to look. ---------------------------------------------------------------------------------------------------


def at_start(session: Session, state: MappingState) -> None:
    """Under a new version what was found before may be put right, or new: judged from the lists that are there."""
    judged, _, _ = state.schema_judged.partition("|")
    if judged != str(session.version.pk):
        looks = _looks(session)
        if all(look.digest for look in looks.values()):
            judge(session, looks)


def idle(session: Session) -> bool:
    """Nothing else is to be done: look where it is due. Returns whether records are to be looked at again."""
    looks = _looks(session)
    now = timezone.now()
    for side, look in _places(looks).items():
        if look.due_at <= now:
            take_look(look, session.lanes["backfill"][side], session.object_type(side), session.scope(side))
    return judge(session, looks)


def noticed(
    session: Session, reading: Reading, only: Mapping[str, Collection[str]] | None = None
) -> dict[str, frozenset[str]]:
    """⚑ Before anything is decided from a read: a field that no record shows, or that has another form, is looked
    into at once. Returns, by side, the paths that must wait for the next look, since the last one was a moment ago or
    was not answered: until then nobody knows why they are not shown, and in `reading` they are unreadable, also where
    they have another form. `only`: by side, the paths that matter. Raises LeaseLost."""
    waiting: dict[str, frozenset[str]] = {}
    for side in SIDES:
        records = [record for record in reading.records[side].values() if not record.deleted]
        odd = {path: how for path, how in _odd(session, side, records).items() if only is None or path in only[side]}
        if odd and not suspect(session, side, odd):
            waiting[side] = frozenset(odd)
            _cover(session, side, reading.records[side], odd.keys())
    return waiting


def _cover(session: Session, side: str, records: dict[str, Record], odd: Collection[str]) -> None:
    """⚑ Take out the values that have another form than their field's: they are not read, rather than merged. Nor is
    what nobody shows: it is not empty."""
    kinds = _kinds(session, side)
    for external_id, record in records.items():
        strange = _strange(kinds, record)
        shown = {path: value for path, value in record.values.items() if path not in strange}
        hidden = record.unreadable | strange | (set(odd) - shown.keys())
        records[external_id] = replace(record, values=shown, unreadable=hidden)


def _kinds(session: Session, side: str) -> dict[str, str]:
    """{path: kind} of the rules that do not stand still."""
    still = session.compiled.still
    return {rule.field(side).path: rule.field(side).kind for rule in session.compiled.rules if rule.id not in still}


def _strange(kinds: Mapping[str, str], record: Record) -> set[str]:
    return {path for path, value in record.values.items() if path in kinds and not schema.fits(kinds[path], value)}


def _odd(session: Session, side: str, records: Sequence[Record]) -> dict[str, str]:
    """{path: "unshown" by every record, "hidden" where they name it as such, "strange" where it has another form}"""
    if not records:
        return {}
    kinds = _kinds(session, side)
    shown: set[str] = set()
    strange: set[str] = set()
    for record in records:
        shown.update(record.values)
        strange.update(_strange(kinds, record))
    hidden = frozenset[str]().union(*(record.unreadable for record in records))
    unshown = set(session.paths(side)) - shown
    return {path: "hidden" if path in hidden else "unshown" for path in unshown} | dict.fromkeys(strange, "strange")


def refused(session: Session, side: str, paths: Collection[str]) -> None:
    """Writes to `side` were refused naming these fields: it may be about the field and not the value."""
    if paths:
        suspect(session, side)


def survive(session: Session, act: Callable[[], Result]) -> Result:
    """`act`; once more without the field where a system refused a whole read because of one. Raises SideFailed."""
    try:
        return act()
    except SideFailed as failure:
        if failure.looked_into or not _explains(session, failure):
            raise
        return act()


def _explains(session: Session, failure: SideFailed) -> bool:
    """Whether a read failed because of a field that is gone, so that it can be made again without it."""
    error, side = failure.error, failure.side
    failure.looked_into = True
    if not isinstance(error, Refused) or not error.fields:
        return False
    before = session.paths(side)
    ours = set(error.fields) & set(before)
    suspect(session, side, sure=bool(ours))
    if session.paths(side) != before:
        return True
    if not ours:  # not what we read, hence what we filter by
        path, said = next(iter(error.fields.items()))
        _add(session, schema.scope_finding(side, path, said or error.message))
    return False


def listed(session: Session, side: str) -> None:
    """A list of this side was read to its end: whatever was wrong with its filter is put right."""
    if any(one.subject == f"scope:{side}" for one in session.findings):
        _store(session, [one for one in session.findings if one.subject != f"scope:{side}"], None)


def suspect(session: Session, side: str, odd: Mapping[str, str] = NOTHING_ODD, sure: bool = False) -> bool:
    """Look at once; if the last look is from a moment ago and nothing is `sure`, soon. Returns whether it is known now
    what the system lists.

    `odd`: what a read does not show, or shows in another form, as SchemaLook keeps it.
    """
    looks = _looks(session)
    look, now = looks[side], timezone.now()
    if odd and all(_looked_into(look, path, how) for path, how in odd.items()):
        # Looked into before: the system lists them, and these records do not have them. ⚑ Or another mapping looked, or
        # a run that broke off, and what is listed now was not judged here.
        judge(session, looks)
        return True
    if not sure and look.looked_at is not None and now - look.looked_at < timedelta(seconds=LOOK_AGAIN_SECONDS):
        soon = look.looked_at + timedelta(seconds=LOOK_AGAIN_SECONDS)
        SchemaLook.objects.filter(pk=look.pk, due_at__gt=soon).update(due_at=soon)
        return False
    session.lease.renew()
    answered = take_look(look, session.connectors[side], session.object_type(side), session.scope(side), odd)
    session.lease.renew()
    judge(session, looks)
    return answered


def _looked_into(look: SchemaLook, path: str, how: str) -> bool:
    """⚑ A look because some records never had the field says nothing about one that is hidden now, or retyped."""
    known = look.odd.get(path)
    return known is not None and how in ("unshown", known.removeprefix(LISTED))


def look_now(mapping: SyncMapping) -> bool:
    """A person asks: read the fields of both sides and judge them. False where a run is at it, which looks next.

    Raises ConnectorError, and then nothing changed.
    """
    lease = take(mapping.pk)
    if lease is None:
        look_soon(mapping)
        return False
    try:
        session = open_session(mapping, lease, Run.Kind.MANUAL, "live")
        looks = _looks(session)
        for side, look in _places(looks).items():
            connector = session.connectors[side]
            take_look(look, connector, session.object_type(side), session.scope(side), strict=True)
            lease.renew()
        judge(session, looks)
        MappingState.objects.filter(mapping=mapping).update(next_poll_at=None)  # whether its filter works shows a list
    except LeaseLost:
        return False
    finally:
        lease.release()
    return True


def look_soon(mapping: SyncMapping) -> None:
    """The next run reads the fields of both sides, and lists the records: whether a filter works shows a list."""
    places = {(mapping.connection(side).pk, mapping.object_type(side)) for side in SIDES}
    for connection, object_type in places:
        rows = SchemaLook.objects.filter(connection=connection, object_type=object_type)
        rows.update(due_at=timezone.now())
    MappingState.objects.filter(mapping=mapping).update(next_poll_at=None)


# Looking. --------------------------------------------------------------------------------------------------------


WITHOUT_FIELDS = ("id", "connection_id", "object_type", "scope_digest", "due_at", "looked_at", "digest", "odd")


def _looks(session: Session) -> dict[str, SchemaLook]:
    """The last look at each side's object type. One query, where both were looked at before; a list of fields can be
    long, and is fetched where it is needed."""
    keys = {side: (session.connection(side).pk, session.object_type(side), _scope(session, side)) for side in SIDES}
    places, digests = {key[0] for key in keys.values()}, {key[2] for key in keys.values()}
    rows = {
        (row.connection_id, row.object_type, row.scope_digest): row
        for row in fetch(SchemaLook, "connection_id IN %s AND scope_digest IN %s", places, digests, only=WITHOUT_FIELDS)
    }
    for connection, object_type, digest in keys.values():
        if (connection, object_type, digest) not in rows:
            rows[(connection, object_type, digest)], _ = SchemaLook.objects.get_or_create(
                connection_id=connection, object_type=object_type, scope_digest=digest
            )
    return {side: rows[key] for side, key in keys.items()}


def _scope(session: Session, side: str) -> str:
    return hashlib.sha256(json.dumps(session.scope(side), sort_keys=True).encode()).hexdigest()


def _places(looks: Mapping[str, SchemaLook]) -> dict[str, SchemaLook]:
    """One side each where both look at the same object type."""
    return {side: look for side, look in looks.items() if side == "left" or look.pk != looks["left"].pk}


def take_look(
    look: SchemaLook,
    connector: Connector,
    object_type: str,
    scope: Mapping[str, Any],
    odd: Mapping[str, str] = NOTHING_ODD,
    strict: bool = False,
) -> bool:
    """Ask for the fields and keep them; one asker at a time. Returns whether it was answered. `odd`: as in `suspect`.

    What the system does not answer changes nothing: the last list is believed, and it is asked again soon. `strict`:
    raise its ConnectorError then.
    """
    now = timezone.now()
    claimed = SchemaLook.objects.filter(pk=look.pk, due_at=look.due_at).update(
        due_at=now + timedelta(seconds=LOOK_SECONDS)
    )
    if not claimed:
        look.refresh_from_db()
        return False
    found: Sequence[Field] = ()
    hidden: Collection[str] = ()
    try:
        listed = connector.described(object_type, scope)
        # ⚑ Where the list is not the system's own word, what no record has is as good as not listed: it would wait for
        # ever, and somebody must know. What one record lacks and others have is not.
        named = {path for path, how in {**look.odd, **odd}.items() if how == "hidden"}
        if doubtful := named & {one.path for one in listed}:
            hidden = connector.hidden_everywhere(object_type, doubtful, scope)
        found = listed
    except ConnectorError as error:
        log.warning("%s cannot be listed: %s", look, error)
        if strict:
            raise
    finally:
        # A list without a field is no answer: everything would stand still because of it.
        if not found:
            soon = now + timedelta(seconds=LOOK_AGAIN_SECONDS)
            SchemaLook.objects.filter(pk=look.pk).update(due_at=soon)
    if not found:
        return False
    look.fields = [asdict(one) for one in found]
    look.digest = hashlib.sha256(json.dumps(look.fields, sort_keys=True).encode()).hexdigest()
    there = {one.path for one in found} - set(hidden)
    gone = {path: how.removeprefix(LISTED) for path, how in look.odd.items() if path not in there}
    look.odd = {**gone, **{path: LISTED + how if path in there else how for path, how in odd.items()}}
    look.looked_at, look.due_at = now, now + timedelta(seconds=LOOK_SECONDS)
    look.save(update_fields=["fields", "digest", "odd", "looked_at", "due_at"])
    return True


def fields_now(session: Session, side: str) -> list[Field]:
    """What the last look found."""
    return fields_of(_looks(session)[side])


def fields_of(look: SchemaLook) -> list[Field]:
    return [Field(**{**one, "options": tuple(Option(**option) for option in one["options"])}) for one in look.fields]


# Judging. --------------------------------------------------------------------------------------------------------


def judge(session: Session, looks: Mapping[str, SchemaLook]) -> bool:
    """Compare the version that runs with the last lists, and keep what was found. Under the mapping's lease.

    Returns whether records were marked to be looked at again. Raises LeaseLost.
    """
    lists = "|".join(f"{looks[side].digest[:32]}{_hidden_mark(looks[side])}" for side in SIDES)
    mark = f"{session.version.pk}|{lists}"
    [(judged,)] = select("SELECT schema_judged FROM sync_mappingstate WHERE mapping_id = %s", session.mapping.pk)
    if judged == mark:
        return False
    unreadable = {side: _hidden(look) for side, look in looks.items()}
    lists_now = {
        side: [one for one in fields_of(look) if one.path not in unreadable[side]]
        for side, look in looks.items()
        if look.digest
    }
    same_version = judged.partition("|")[0] == str(session.version.pk)
    kept = [
        one
        for one in session.findings
        # Another version may filter otherwise. ⚑ Of a side that was never listed like this nothing is put right.
        if (same_version if one.subject.startswith("scope:") else one.side not in lists_now)
    ]
    found = schema.compare(session.version.document, lists_now, unreadable)
    retry = _changed_sides(judged, mark)
    return _store(session, [*kept, *found], mark, retry)


def _hidden(look: SchemaLook) -> list[str]:
    """Paths that records name as hidden from us and that are not listed, or are hidden everywhere."""
    return sorted(path for path, how in look.odd.items() if how == "hidden")


def _hidden_mark(look: SchemaLook) -> str:
    gone = _hidden(look)
    return ":" + hashlib.sha256("\x1f".join(gone).encode()).hexdigest()[:8] if gone else ""


def _changed_sides(before: str, after: str) -> list[str]:
    """Sides whose list of fields is another one than when it was last judged."""
    if not before:
        return []
    lists = list(zip(before.split("|")[1:], after.split("|")[1:], strict=False))
    return [side for side, (old, new) in zip(SIDES, lists, strict=False) if old and old != new]


def _add(session: Session, one: Finding) -> None:
    if all(known.subject != one.subject for known in session.findings):
        _store(session, [*session.findings, one], None)


def _store(session: Session, found: Sequence[Finding], mark: str | None, retry: Sequence[str] = ()) -> bool:
    """Rows, queue entries and audit of these findings in one transaction; the run goes on with them.

    ⚑ What goes on again is marked before its row is gone: after a crash in between it is marked once more.
    """
    before = {
        row.subject: [finding_of(one) for one in row.findings]
        for row in SchemaFinding.objects.filter(mapping=session.mapping)
    }
    after: dict[str, list[Finding]] = {}
    for one in found:
        after.setdefault(one.subject, []).append(one)
    resumed = [subject for subject, were in before.items() if after.get(subject) != were]
    standing = schema.standing(session.as_published, found)
    if resumed:
        schema_entries.look_again(session, tombstones=any(subject.startswith("match:") for subject in resumed))
    with transaction.atomic():
        session.lease.renew()
        if before != after:
            schema_entries.tell(session, before, after)
            schema_entries.supersede(session, standing)
        rules = {subject.removeprefix("rule:") for subject in resumed if subject.startswith("rule:")}
        marked = schema_entries.values_may_fit_again(session, retry, rules, standing)
        if mark is not None:
            MappingState.objects.filter(mapping=session.mapping).update(schema_judged=mark)
    session.findings = list(found)
    session.compiled = standing
    return bool(resumed) or marked
