"""Which record in which system is the same thing. ⚑ The key belongs to the thing, not to a link."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from collections.abc import Mapping as Named

from connections.models import Connection
from mappings.models import Mapping
from sync.models import Identity, IdentityRecord
from sync.session import Session


def known_things(session: Session, side: str, ids: Iterable[str]) -> dict[str, Identity]:
    """{external id: thing} of the records that are known, in one query."""
    return {row.external_id: row.identity for row in _rows(session.connection(side), session.object_type(side), ids)}


def things_of(session: Session, side: str, ids: Iterable[str]) -> dict[str, Identity]:
    """The things these records are; new ones where they are not known yet. Call inside a transaction."""
    return _things(session.connection(side), session.object_type(side), list(ids))


def thing_of(connection: Connection, object_type: str, external_id: str) -> Identity:
    """The thing one record is, without a run."""
    return _things(connection, object_type, [external_id])[external_id]


def thing_of_pair(mapping: Mapping, left_id: str, right_id: str) -> Identity:
    """The thing that two records of a mapping are, which are linked now: the one that either is known as, or a new one
    of the left. Call inside a transaction.

    ⚑ Where they are known as two, those are one from now on, but where each has a record of its own in one place: else
    a third mapping makes a record of one beside that of the other.
    """
    things = [
        row.identity
        for side, external_id in (("left", left_id), ("right", right_id))
        for row in _rows(mapping.connection(side), mapping.object_type(side), [external_id])
    ]
    for other in things[1:]:
        _join(things[0], other)
    return things[0] if things else thing_of(mapping.left_connection, mapping.left_object_type, left_id)


def _join(thing: Identity, other: Identity) -> None:
    places = [set(one.records.values_list("connection", "object_type")) for one in (thing, other)]
    if thing != other and not places[0] & places[1]:
        other.records.update(identity=thing)
        other.links.update(identity=thing)
        other.delete()


def _rows(connection: Connection, object_type: str, ids: Iterable[str]) -> Iterable[IdentityRecord]:
    return IdentityRecord.objects.filter(
        connection=connection, object_type=object_type, external_id__in=list(ids)
    ).select_related("identity")


def _things(connection: Connection, object_type: str, ids: list[str]) -> dict[str, Identity]:
    found = {row.external_id: row.identity for row in _rows(connection, object_type, ids)}
    missing = [external_id for external_id in dict.fromkeys(ids) if external_id not in found]
    if not missing:
        return found
    keys = {key_of(connection, object_type, external_id): external_id for external_id in missing}
    Identity.objects.bulk_create([Identity(key=key) for key in keys], ignore_conflicts=True)
    made = Identity.objects.filter(key__in=keys)
    note_records((identity, connection, object_type, keys[identity.key]) for identity in made)
    # Another mapping may have been first: its row counts.
    found.update({row.external_id: row.identity for row in _rows(connection, object_type, missing)})
    Identity.objects.filter(key__in=keys, records__isnull=True, links__isnull=True).delete()
    return found


def key_of(connection: Connection, object_type: str, external_id: str) -> str:
    """The key of a thing that is first met as this record.

    It follows from the record and from the connection's key space, and so survives the loss of this database's
    newest rows: after a restore the record that was made from it is found by it.
    """
    name = f"{connection.key_space}/{object_type}/{external_id}"
    return f"syncadmin-{uuid.uuid5(uuid.NAMESPACE_OID, name).hex}"


def note_records(rows: Iterable[tuple[Identity, Connection, str, str]]) -> None:
    """Note which records things have: (thing, connection, object type, external id).

    A record that is another thing already, or a thing that has another record there, stays as it is.
    """
    IdentityRecord.objects.bulk_create(
        [
            IdentityRecord(identity=identity, connection=connection, object_type=object_type, external_id=external_id)
            for identity, connection, object_type, external_id in rows
        ],
        ignore_conflicts=True,
    )


def forget_record(session: Session, side: str, thing: int, external_id: str) -> None:
    """The thing is this record no more: another one takes its place."""
    IdentityRecord.objects.filter(
        identity=thing,
        connection=session.connection(side),
        object_type=session.object_type(side),
        external_id=external_id,
    ).delete()


def known_twins(session: Session, side: str, things: Iterable[int]) -> Named[int, str]:
    """{thing's primary key: its record on `side`}, whichever mapping found or made it."""
    rows = IdentityRecord.objects.filter(
        identity__in=list(things), connection=session.connection(side), object_type=session.object_type(side)
    )
    return dict(rows.values_list("identity_id", "external_id"))
