"""Zendesk: tickets by the Support API, comments and notes as children, users and organizations; a webhook is its bell.

Changes are read from the incremental export, which hides the last minute: a list names ids only, and a position is a
time. The correlation key lies in `external_id`. `scope`: {"group", "form", "type", "tag"}, see zendesk_scope.py.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from connections.connectors import zendesk_comments as comments
from connections.connectors import zendesk_directory as directory
from connections.connectors import zendesk_export as export
from connections.connectors import zendesk_history as history
from connections.connectors import zendesk_jobs as jobs
from connections.connectors import zendesk_lookups as lookups
from connections.connectors import zendesk_people as people
from connections.connectors import zendesk_scope as scopes
from connections.connectors import zendesk_webhook as webhook
from connections.connectors import zendesk_writes as writes
from connections.connectors.base import (
    Capabilities,
    Change,
    CheckResult,
    Connector,
    ConnectorError,
    Context,
    Creation,
    DeliveryRequest,
    Field,
    FormField,
    NotAllowed,
    ObjectType,
    Page,
    ParsedDelivery,
    Record,
    Step,
    Update,
    Values,
    WriteResult,
)
from connections.connectors.proofs import Verdict
from connections.connectors.proofs import check as check_proof
from connections.connectors.zendesk_check import check
from connections.connectors.zendesk_desk import FORM, PAGE, Desk
from connections.connectors.zendesk_fields import UNREADABLE, moment

TICKET = "ticket"
# Tickets whose scope and tags are remembered from the read that showed them: a batch and its counterparts.
REMEMBERED = 1000


class Zendesk(Connector):
    kind = "zendesk"
    label = "Zendesk"
    proof = webhook.PROOF
    address_help = "The account's own address, like https://acme.zendesk.com, also where a brand has another."
    form: ClassVar[Sequence[FormField]] = (
        *FORM,
        FormField(
            "webhook_secret",
            "Signing secret of the webhook",
            secret=True,
            required=False,
            help="Only for a webhook made by hand: SyncAdmin keeps the secret of one that it registers itself.",
        ),
    )
    scope_form: ClassVar[Sequence[FormField]] = scopes.FIELDS
    scope_help = "Tickets have to fit everything that is filled in."
    blind_in: ClassVar[Mapping[str, str]] = {"user": "users", "organization": "organizations"}
    capabilities = Capabilities(
        bulk_read=PAGE,
        bulk_write=PAGE,
        conditional_write=True,
        conditional_resolution=1.0,  # updated_stamp has whole seconds
        idempotent_create=True,  # by Idempotency-Key for two hours, then by the look-up of the key alone
        settle_seconds=60.0,  # nobody tells how soon a list by external_id shows a new ticket
        lists_lag=True,
        lists_deletions=True,
        write_returns_record=True,
        field_history=True,
        complete_history=True,  # "Audits are a read-only history of all updates to a ticket"
        watermark_granularity=1.0,
        overlap=10.0,
        lookback=120.0,  # the hidden minute, and as much again
        concurrency=4,
        rate_per_second=3.0,  # the smallest plan takes 200 calls a minute
        bell="webhook",
        subscribes=True,
        update_timeout=120.0,  # a job may wait in Zendesk's queue; while it does, nothing is decided about its records
    )

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.desk = Desk(context)
        self._seen: OrderedDict[str, tuple[str, dict[str, Any], bool]] = OrderedDict()

    def capabilities_of(self, object_type: str) -> Capabilities:
        """Comments carry no key; users and organizations are written one by one, and without a condition."""
        if object_type == TICKET:
            return self.capabilities
        return replace(self.capabilities, idempotent_create=False, bulk_write=1, conditional_write=False)

    # What there is -----------------------------------------------------------------------------------------------

    def check(self) -> CheckResult:
        return check(self.desk, bool(self.context.secrets.get("webhook_secret") or self._made_secret()))

    def object_types(self) -> Sequence[ObjectType]:
        return [
            ObjectType(TICKET, "Ticket"),
            *(ObjectType(name, label, TICKET) for name, label in comments.TYPES.items()),
            *(ObjectType(name, kind.label) for name, kind in directory.KINDS.items()),
        ]

    def fields(self, object_type: str, scope: Values) -> Sequence[Field]:
        if object_type in comments.TYPES:
            return comments.FIELDS
        self.desk.forget()
        if kind := directory.KINDS.get(object_type):
            return [column.shown for column in directory.shape_of_kind(self.desk, kind).columns.values()]
        return [column.shown for column in self.desk.shape().columns.values()]

    def people(self, query: str) -> Sequence[tuple[str, str]]:
        return people.search(self.desk, query)

    def url_of(self, object_type: str, external_id: str, key: str | None) -> str:
        area = directory.KINDS[object_type].list if object_type in directory.KINDS else "tickets"
        return f"{self.context.address}/agent/{area}/{external_id.partition(':')[0]}"

    # Reads -------------------------------------------------------------------------------------------------------

    def changed_since(
        self, object_type: str, watermark: str | None, fields: Sequence[str], scope: Values
    ) -> Iterator[Page]:
        if object_type in comments.TYPES:
            yield from comments.changes(self.desk, object_type, watermark, fields)
            return
        if kind := directory.KINDS.get(object_type):
            yield from directory.changes(self.desk, kind, watermark, directory.tag_of(kind, scope))
            return
        wanted = scopes.asked(self.desk.shape(), scope) if scope else {}
        reached = watermark
        for page in export.tickets(self.desk, watermark):
            stamps = [at for row in page.rows if (at := export.changed_at(row))]
            reached = max([reached or "", *stamps]) or None
            if page.last and page.started:
                # What the hidden minute holds comes later, with a later time: here the next list goes on.
                reached = max(reached or "", export.complete_until(page.started))
            records = [_listed(row) for row in page.rows if _concerns(row, wanted)]
            yield Page(records, reached, server_time=page.started, last=page.last)

    def shift_watermark(self, watermark: str, seconds: float) -> str:
        return export.shifted(watermark, seconds)

    def get_many(self, object_type: str, ids: Sequence[str], fields: Sequence[str]) -> Mapping[str, Record]:
        if object_type in comments.TYPES:
            return comments.read(self.desk, object_type, ids, fields)
        if kind := directory.KINDS.get(object_type):
            return directory.read(self.desk, kind, ids, fields)
        rows = writes.rows_of(self.desk, ids)
        return {one.external_id: one for one in self._records(list(rows.values()), fields)}

    def in_scope(self, object_type: str, ids: Sequence[str], scope: Values) -> set[str]:
        if object_type in comments.TYPES:
            return set(comments.read(self.desk, object_type, ids, ()))
        if kind := directory.KINDS.get(object_type):
            tag = directory.tag_of(kind, scope)
            found = directory.rows_of(self.desk, kind, ids)
            return {id for id, row in found.items() if directory.alive(row) and directory.fits(row, tag)}
        wanted = scopes.asked(self.desk.shape(), scope) if scope else {}
        rows = writes.rows_of(self.desk, ids)
        return {id for id, row in rows.items() if _alive(row) and scopes.fits(scopes.facts(row), wanted)}

    def admits(self, object_type: str, record: Record, scope: Values) -> bool | None:
        """From what the ticket showed when it was read, though its record tells less."""
        if object_type in comments.TYPES or not any(scope.values()):
            return True
        if object_type in directory.KINDS:
            return None
        version, told, _ = self._seen.get(record.external_id, ("", {}, False))
        if version != record.version:
            return None
        return scopes.fits(told, scopes.asked(self.desk.shape(), scope))

    def list_ids(self, object_type: str, scope: Values) -> Iterator[Sequence[str]]:
        if object_type in comments.TYPES:
            for page in comments.changes(self.desk, object_type, None, ()):
                yield [one.external_id for one in page.records]
            return
        if kind := directory.KINDS.get(object_type):
            yield from directory.every_id(self.desk, kind, directory.tag_of(kind, scope))
            return
        yield from lookups.every_id(self.desk, scopes.asked(self.desk.shape(), scope) if scope else {})

    def children(
        self, object_type: str, parent_ids: Sequence[str], fields: Sequence[str]
    ) -> Mapping[str, Sequence[Record]]:
        if object_type not in comments.TYPES:
            raise NotAllowed(
                f"Zendesk's {object_type} belongs to no other record. Nothing was read. Check the mapping."
            )
        return comments.of_parents(self.desk, object_type, parent_ids, fields)

    def find_by_correlation_key(
        self, object_type: str, keys: Sequence[str], fields: Sequence[str], scope: Values
    ) -> Mapping[str, Sequence[Record]]:
        """A ticket outside the scope counts as well: its thing exists. One call a key; only open creates ask."""
        if object_type in comments.TYPES:
            return {}
        if kind := directory.KINDS.get(object_type):
            own = directory.by_keys(self.desk, kind, keys)
            return {key: self._of_directory(kind, rows, fields) for key, rows in own.items()}
        jobs.check_none_at_work(self.desk, keys)
        found = {key: writes.by_key(self.desk, key) for key in dict.fromkeys(keys)}
        return {key: self._records([row for row in rows if _alive(row)], fields) for key, rows in found.items() if rows}

    def own_recent(self, object_type: str, since: str, fields: Sequence[str], scope: Values) -> Sequence[Record]:
        if object_type in comments.TYPES:
            return comments.own_recent(self.desk, object_type, since, fields)
        if kind := directory.KINDS.get(object_type):
            return self._of_directory(kind, directory.made_since(self.desk, kind, since), fields)
        return self._records(lookups.made_by(self.desk, self.desk.me()["id"], since), fields)

    def find_by_values(
        self, object_type: str, path: str, wanted: Sequence[Any], fields: Sequence[str], scope: Values
    ) -> Sequence[Record]:
        if kind := directory.KINDS.get(object_type):
            tag = directory.tag_of(kind, scope)
            return self._of_directory(kind, directory.by_value(self.desk, kind, path, wanted, tag), fields)
        shape = self.desk.shape()
        within = scopes.asked(shape, scope) if scope else {}
        return self._records(lookups.by_value(self.desk, shape, path, wanted, within), fields)

    def history(
        self, object_type: str, ids: Sequence[str], fields: Sequence[str], since: str
    ) -> Mapping[str, Sequence[Change]]:
        if object_type != TICKET:
            return {}
        jobs.check_none_at_work(self.desk, ids)
        return history.of_tickets(self.desk, ids, fields, since)

    # Writes ------------------------------------------------------------------------------------------------------

    def create(
        self,
        object_type: str,
        values: Values,
        correlation_key: str,
        scope: Values,
        parent_id: str | None = None,
        fields: Sequence[str] = (),
    ) -> WriteResult:
        if object_type in comments.TYPES:
            return comments.create(self.desk, object_type, values, parent_id)
        if kind := directory.KINDS.get(object_type):
            tag = directory.tag_of(kind, scope)
            return WriteResult(directory.create(self.desk, kind, values, correlation_key, tag), created=True)
        added = scopes.asked(self.desk.shape(), scope) if scope else {}
        return writes.create(self.desk, values, correlation_key, added, fields)

    def update(
        self, object_type: str, external_id: str, values: Values, expected_version: str | None, fields: Sequence[str]
    ) -> WriteResult:
        if object_type in comments.TYPES:
            raise comments.missing(self.desk, object_type, external_id)
        if kind := directory.KINDS.get(object_type):
            version = _known(expected_version)
            return WriteResult(directory.update(self.desk, kind, external_id, values, version, fields))
        return writes.update(self.desk, external_id, values, _known(expected_version), fields, self._shown)

    def delete(self, object_type: str, external_id: str) -> None:
        if object_type in comments.TYPES:
            raise comments.missing(self.desk, object_type, external_id)
        if kind := directory.KINDS.get(object_type):
            return directory.delete(self.desk, kind, external_id)
        writes.delete(self.desk, external_id)

    def create_many(
        self, object_type: str, creations: Sequence[Creation], fields: Sequence[str], scope: Values
    ) -> Sequence[WriteResult | ConnectorError]:
        if object_type == TICKET:
            added = scopes.asked(self.desk.shape(), scope) if scope else {}
            return writes.create_many(self.desk, creations, added, fields)
        return [
            _outcome(partial(self.create, object_type, one.values, one.correlation_key, scope, one.parent_id))
            for one in creations
        ]

    def update_many(
        self, object_type: str, updates: Sequence[Update], fields: Sequence[str]
    ) -> Sequence[WriteResult | ConnectorError]:
        if object_type in comments.TYPES:
            return [comments.fixed() for _ in updates]
        if object_type in directory.KINDS:
            each = (partial(self.update, object_type, u.external_id, u.values, u.expected_version) for u in updates)
            return [_outcome(partial(one, fields)) for one in each]
        known = [Update(one.external_id, one.values, _known(one.expected_version)) for one in updates]
        return writes.update_many(self.desk, known, fields, self._shown)

    def write_correlation_key(self, object_type: str, external_id: str, key: str) -> None:
        if kind := directory.KINDS.get(object_type):
            directory.write_key(self.desk, kind, external_id, key)
        elif object_type == TICKET:
            writes.write_key(self.desk, external_id, key)

    # The bell ----------------------------------------------------------------------------------------------------

    def verdict(self, request: DeliveryRequest) -> Verdict:
        """By the secret that was entered, or by the one Zendesk made when we registered the webhook."""
        entered, kept = super().verdict(request), self._made_secret()
        if entered.verified or not kept:
            return entered
        return check_proof(webhook.PROOF, {webhook.PROOF.secret: kept}, request, request.received_at)

    def _made_secret(self) -> str:
        return str((self.context.tokens.current() or {}).get(webhook.SECRET) or "")

    def parse_delivery(self, request: DeliveryRequest) -> ParsedDelivery:
        return webhook.parse(request, self.verdict(request))

    def subscribe(self, object_types: Sequence[str], scope: Values, callback_url: str) -> None:
        webhook.subscribe(self.desk, object_types, callback_url)

    def unsubscribe(self) -> None:
        webhook.unsubscribe(self.desk)

    def steps_by_hand(self, object_types: Sequence[str], scope: Values, callback_url: str) -> Sequence[Step]:
        return webhook.by_hand(callback_url)

    # Helpers -----------------------------------------------------------------------------------------------------

    def _of_directory(
        self, kind: directory.Kind, rows: Sequence[Mapping[str, Any]], fields: Sequence[str]
    ) -> list[Record]:
        shape = directory.shape_of_kind(self.desk, kind)
        return [directory.record_of(kind, shape, row, fields) for row in rows]

    def _records(self, rows: Sequence[Mapping[str, Any]], fields: Sequence[str]) -> list[Record]:
        found = writes.records(self.desk, self.desk.shape(), rows, fields)
        for row, record in zip(rows, found, strict=True):
            rested = not writes.just_changed(self.desk, _known(record.version))
            self._seen[record.external_id] = (record.version, scopes.facts(row), rested)
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return found

    def _shown(self, external_id: str, version: str | None) -> Mapping[str, Any] | None:
        """⚑ Only where the ticket had rested when it was read: then the write's condition tells of every edit since."""
        seen, told, rested = self._seen.get(external_id, ("", {}, False))
        return {"tags": told["tags"], "updated_at": seen} if rested and seen == version else None


def _outcome(act: Callable[[], WriteResult]) -> WriteResult | ConnectorError:
    try:
        return act()
    except ConnectorError as error:
        return error


def _listed(row: Mapping[str, Any]) -> Record:
    """A list is a minute behind: it names the record, which is then read by id."""
    return Record(
        external_id=str(row["id"]),
        version=moment(row.get("updated_at")) or UNREADABLE,
        values={},
        updated_at=moment(row.get("updated_at")),
        deleted=not _alive(row),
    )


def _concerns(row: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """A deleted ticket concerns every scope: what is left of it may no longer show where it belonged."""
    return not _alive(row) or scopes.fits(scopes.facts(row), wanted)


def _alive(row: Mapping[str, Any]) -> bool:
    return row.get("status") != "deleted"


def _known(version: str | None) -> str | None:
    """A version that Zendesk can compare: a record whose time could not be read has none."""
    return None if version == UNREADABLE else version
