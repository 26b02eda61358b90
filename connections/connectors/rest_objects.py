"""One object type of a described API, as one connection sees it: direct reads, and what was seen of each record."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from connections.connectors.base import Field, Gone, Option, Record, Retry, Values
from connections.connectors.http import Answer
from connections.connectors.last_reads import LastRead, LastReads
from connections.connectors.rest_client import Client
from connections.connectors.rest_definition import FieldDefinition, ObjectType
from connections.connectors.rest_list import Lister
from connections.connectors.rest_lookups import Lookups
from connections.connectors.rest_paths import fill_all, is_id, look
from connections.connectors.rest_records import NO_VERSION, Reader, lets_in, not_understood

# Where a list gives less than a direct read, so many records are read to see which fields there are: each is a call.
READ_FOR_THEIR_FIELDS = 5


class OddAnswer(Retry):
    """A success about one record that holds none."""


class AnotherRecord(OddAnswer):
    """A success about one record that holds another one."""


@dataclass(frozen=True, slots=True)
class Raw:
    """One record as the API gave it. `etag`: the header of that answer."""

    record: Record
    raw: Any
    etag: str = ""


class Objects:
    def __init__(self, client: Client, object_type: ObjectType, lookups: Lookups) -> None:
        self.client = client
        self.type = object_type
        self.lookups = lookups
        self.reader = Reader(client.definition, object_type, lookups.options, lookups.accounts)
        self.lister = Lister(client, object_type, self.reader)
        self._reads = LastReads()

    # Reads by id. -----------------------------------------------------------------------------------------------

    def read(self, ids: Sequence[str], fields: Sequence[str]) -> dict[str, Record]:
        """Those that are there, deleted ones among them where the API tells. ⚑ What one answer for many lacks is asked
        for again, since a list may be cut off without a word."""
        wanted = [id for id in dict.fromkeys(ids) if self.known_form(id)]
        found: dict[str, Record] = {}
        if self.type.read_many:
            size = self.type.read_many.size
            for start in range(0, len(wanted), size):
                found |= self._read_part(wanted[start : start + size], fields)
            return found
        return self._each_alone(wanted, fields)

    def _each_alone(self, ids: Sequence[str], fields: Sequence[str]) -> dict[str, Record]:
        """⚑ A record whose answer is not understood is unreadable: it is not gone, and others do not wait for it, since
        it may stay so for ever. Raises OddAnswer where no answer at all is understood."""
        found: dict[str, Record] = {}
        odd: dict[str, OddAnswer] = {}
        for id in ids:
            try:
                one = self.read_one(id, fields)
            except OddAnswer as error:
                odd[id] = error
                continue
            if one:
                found[id] = one.record
        strange = [error for error in odd.values() if not isinstance(error, AnotherRecord)]
        if strange and len(strange) == len(ids) and not self._lists_records():
            raise strange[0]
        return found | {id: not_understood(id, fields) for id in odd}

    def _lists_records(self) -> bool:
        """Whether the system is understood elsewhere, so that an odd answer is about its record alone."""
        needs_filter = any(limit.required for limit in self.type.scope)
        if self.type.parent or not self.type.list or needs_filter:
            return False
        return bool(next(self.lister.pages([])).records)

    def _read_part(self, ids: Sequence[str], fields: Sequence[str]) -> dict[str, Record]:
        found = self._read_many(ids, fields)
        many = self.type.read_many
        missing = [id for id in ids if id not in found] if many and not many.believed else []
        while missing:
            if self.type.read and self.type.read.path:
                return found | self._each_alone(missing, fields)
            if len(missing) == len(ids):
                return found  # the answer to this very question
            ids, again = missing, self._read_many(missing, fields)
            found |= again
            missing = [id for id in missing if id not in again] if again else []
        return found

    def _read_many(self, ids: Sequence[str], fields: Sequence[str]) -> dict[str, Record]:
        many, one = self.type.read_many, self.type.read
        assert many
        joined = many.separator.join(ids)
        listed = [fill_all(many.each, {"id": id}) for id in ids]
        path = self.client.path(many.path, ids=joined)
        params = self.client.texts(many.parameters, ids=joined)
        body = fill_all(many.body, {**self.client.names, "ids": listed}) if many.method == "POST" else None
        # One odd id must not keep the others from being read: where it is refused, each is asked for alone.
        alone = self.client.definition.errors.refused_status if len(ids) > 1 or (one and one.path) else ()
        answer = self.client.call(
            many.method, path, about="list", params=params, json=body, object_type=self.type, ok=alone
        )
        if not answer.ok:
            return self._each_asked(ids, fields)
        raws = look(many.records, answer.json)
        if not isinstance(raws, list):
            raise self.client.unusable(f"a list of records at “{many.records}”")
        found, broken = self._taken_many(raws, ids, fields)
        missing = [id for id in ids if id not in found] if broken else []
        if missing and len(ids) == 1 and not (one and one.path):
            return {ids[0]: not_understood(ids[0], fields)}
        # ⚑ An entry without an id may be of any of them, so that none of them counts as absent.
        return found | self._each_asked(missing, fields)

    def _each_asked(self, ids: Sequence[str], fields: Sequence[str]) -> dict[str, Record]:
        if self.type.read and self.type.read.path:
            return self._each_alone(ids, fields)
        return {id: record for id in ids for record in self._read_many([id], fields).values()}

    def _taken_many(
        self, raws: Sequence[Any], ids: Sequence[str], fields: Sequence[str]
    ) -> tuple[dict[str, Record], bool]:
        """(those that were asked for, whether an entry has no id)"""
        found: dict[str, Record] = {}
        broken = False
        for raw in raws:
            try:
                record = self.reader.record(raw, fields)
            except ValueError:
                broken = True
                continue
            if record.external_id in ids:
                found[record.external_id] = record
                self.remember(record, raw)
        return found, broken

    def read_one(self, external_id: str, fields: Sequence[str]) -> Raw | None:
        """None where it is not there, or hidden. Raises OddAnswer for an answer that is none."""
        one = self.type.read
        if not self.known_form(external_id):
            return None
        if not one or not one.path:
            found = self._read_many([external_id], fields) if self.type.read_many else {}
            record = found.get(external_id)
            return Raw(record, None) if record else None
        names = self.names_of(external_id)
        path, params = self.client.path(one.path, **names), self.client.texts(one.parameters, **names)
        answer = self.client.call(
            "GET", path, about="record", params=params, ok=one.missing_status, object_type=self.type
        )
        if answer.status in one.missing_status and not answer.ok:
            return None
        if one.merged:
            raw = look(one.record, answer.json)
            with suppress(ValueError):
                if (into := self.reader.id(raw, names.get("parent"))) != external_id:
                    return Raw(Record(external_id, "merged", {}, deleted=True, merged_into=into), raw)
        return self.taken(answer, one.record, external_id, fields)

    def taken(self, answer: Answer, where: str, external_id: str | None, fields: Sequence[str]) -> Raw:
        """The record an answer holds. Raises OddAnswer where it holds none, or that of another id."""
        raw = look(where, answer.json)
        parent = self.names_of(external_id).get("parent") if external_id else None
        try:
            record = self.reader.record(raw, fields, parent or None)
        except ValueError:
            raise self.client.unusable(f"a record at “{where}”", OddAnswer) from None
        if external_id is not None and record.external_id != external_id:
            raise self.client.unusable(f"the record {external_id}; it gave {record.external_id}", AnotherRecord)
        self.remember(record, raw)
        return Raw(record, raw, answer.headers.get("ETag", ""))

    def names_of(self, external_id: str) -> dict[str, str]:
        """What the templates of one record may use."""
        if not self.reader.below_parent:
            return {"id": external_id}
        parent, _, id = external_id.partition("/")
        return {"id": id, "parent": parent}

    def known_form(self, external_id: str) -> bool:
        parts = self.names_of(external_id).values()
        separator = self.type.read_many.separator if self.type.read_many else ""
        return all(is_id(part) and not (separator and separator in part) for part in parts)

    def gone(self, external_id: str) -> Gone:
        certain = self.type.trust.not_found_is_gone
        label = self.type.label or self.type.name
        return Gone(f"There is no {label} {external_id[:60]!r} (any more). Nothing was changed.", certain=certain)

    # What was seen. ---------------------------------------------------------------------------------------------

    def remember(self, record: Record, raw: Any) -> None:
        self._reads.remember(record, self.reader.limits(raw))

    def seen(self, external_id: str) -> LastRead | None:
        return self._reads.get(external_id)

    def admits(self, record: Record, scope: Values) -> bool | None:
        if not any(scope.get(limit.name) not in (None, "") for limit in self.type.scope):
            return True
        seen = self.seen(record.external_id)
        if seen is None or seen.version != record.version:
            return None
        return lets_in(self.type.scope, seen.held, scope)

    def limited(self, scope: Values) -> dict[str, str]:
        """The list's parameters for a scope."""
        found: dict[str, str] = {}
        for limit in self.type.scope:
            value = scope.get(limit.name)
            if limit.parameter and value not in (None, ""):
                found |= self.client.texts({limit.parameter: limit.value}, value=str(value))
        return found

    # What there is. ---------------------------------------------------------------------------------------------

    def fields(self) -> Sequence[Field]:
        return [self._shown(field) for field in self.type.fields]

    def hidden(self, scope: Values, fields: Sequence[str]) -> set[str]:
        """Those of the fields that no record of the list's first page has at all: our account may not see them, or
        their place is described wrongly. None where that would need a filter which is not set."""
        missing = [limit for limit in self.type.scope if limit.required and scope.get(limit.name) in (None, "")]
        if self.type.parent or not self.type.list or missing or not fields:
            return set()
        records = next(self.lister.pages(fields, self.limited(scope))).records
        if not self.type.list.complete:
            size = self.type.read_many.size if self.type.read_many else READ_FOR_THEIR_FIELDS
            ids = [record.external_id for record in records if not record.deleted]
            records = list(self.read(ids[:size], fields).values())
        told = [record.unreadable for record in records if not record.deleted and record.version != NO_VERSION]
        return set(frozenset.intersection(*told)) if told else set()

    def _shown(self, field: FieldDefinition) -> Field:
        options = self.lookups.options(field) if field.kind in ("option", "set") else ()
        names = dict.fromkeys(option.name or str(option.value) for option in options)
        return Field(
            path=field.name,
            label=field.label or field.name,
            kind=field.kind,
            format=field.format or None,
            options=[Option(name, name) for name in names if name],
            writable=field.writable and self.type.update is not None,
            creatable=field.creatable and self.type.create is not None,
            required=field.required,
            max_length=field.max_length,
            matchable=bool(field.search) and self.type.list is not None,
        )
