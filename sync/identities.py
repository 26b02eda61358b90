"""Which record in which system is the same thing. ⚑ The key belongs to the thing, not to a link."""

from __future__ import annotations

import uuid

from connections.models import Connection
from sync.models import Identity, IdentityRecord, Link
from sync.session import Session


def identity_of(session: Session, side: str, external_id: str) -> Identity:
    """The thing this record is; a new one if it is not known yet. Call inside a transaction."""
    return thing_of(session.connection(side), session.object_type(side), external_id)


def thing_of(connection: Connection, object_type: str, external_id: str) -> Identity:
    """`identity_of` without a run."""
    known = (
        IdentityRecord.objects.filter(connection=connection, object_type=object_type, external_id=external_id)
        .select_related("identity")
        .first()
    )
    if known:
        return known.identity
    identity = Identity.objects.create(key=f"syncadmin-{uuid.uuid4().hex}")
    IdentityRecord.objects.create(
        identity=identity, connection=connection, object_type=object_type, external_id=external_id
    )
    return identity


def note_record(identity: Identity | None, connection: Connection, object_type: str, external_id: str) -> None:
    """Note that the thing has this record, unless the record is another thing already or the thing has another one."""
    if identity is None:
        return
    taken = IdentityRecord.objects.filter(connection=connection, object_type=object_type)
    if not taken.filter(external_id=external_id).exists() and not taken.filter(identity=identity).exists():
        IdentityRecord.objects.create(
            identity=identity, connection=connection, object_type=object_type, external_id=external_id
        )


def bind_record(session: Session, link: Link, side: str, external_id: str) -> None:
    """Note that the link's thing has this record on `side`; a thing has one per connection and object type."""
    if link.identity is None:
        return
    IdentityRecord.objects.get_or_create(
        identity=link.identity,
        connection=session.connection(side),
        object_type=session.object_type(side),
        defaults={"external_id": external_id},
    )


def known_twin(session: Session, side: str, identity: Identity) -> str | None:
    """The thing's record on `side`, if another mapping already found or made it."""
    return (
        IdentityRecord.objects.filter(
            identity=identity, connection=session.connection(side), object_type=session.object_type(side)
        )
        .values_list("external_id", flat=True)
        .first()
    )
