"""Records of a described API, made of what its answers hold. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from connections.connectors.base import Record
from connections.connectors.rest_absent import lacks
from connections.connectors.rest_definition import Definition, FieldDefinition, ObjectType, OptionDefinition, Scope
from connections.connectors.rest_document import placeholders
from connections.connectors.rest_paths import id_of, look, truth
from connections.connectors.rest_values import Accounts, incoming, moment

DIGEST_LENGTH = 32

NO_VERSION = "unreadable"

Options = Callable[[FieldDefinition], Sequence[OptionDefinition]]


class Reader:
    """Reads one object type. `options`, `who`: asked only for fields that need them."""

    def __init__(
        self, definition: Definition, object_type: ObjectType, options: Options, who: Callable[[], Accounts]
    ) -> None:
        self.definition = definition
        self.type = object_type
        self.fields = {field.name: field for field in object_type.fields}
        self._options = options
        self._who = who
        self.digests = uses_digests(definition) and not (object_type.place.version and object_type.place.version_counts)
        self.below_parent = is_below_parent(object_type)

    def record(self, raw: Any, fields: Sequence[str], parent_id: str | None = None) -> Record:
        """Raises ValueError for what has no id. What is wrong otherwise makes all fields unreadable, and no more.

        People and options may have to be asked for, which raises a ConnectorError where that fails.
        """
        place = self.type.place
        external_id = self.id(raw, parent_id)
        parent = self._parent(raw, parent_id)
        deleted = truth(place.deleted, raw)
        values, unreadable = ({}, frozenset[str]()) if deleted else self.values(raw, fields)
        try:
            times = {name: self._moment(expression, raw) for name, expression in self._times}
            version = "deleted" if deleted else self._version(raw, times["updated_at"])
        except ValueError:
            return not_understood(external_id, fields)
        return Record(
            external_id=external_id,
            version=version,
            values=values,
            updated_at=times["updated_at"],
            updated_by=_text(look(place.updated_by, raw)),
            updated_by_name=_text(look(place.updated_by_name, raw)),
            created_at=times["created_at"],
            created_by=_text(look(place.created_by, raw)),
            key=_text(look(place.key, raw)),
            title=_text(look(place.title, raw)),
            parent_id=parent if self.type.parent else None,
            correlation_key=_text(look(self.type.key.read, raw)) if self.type.key else None,
            deleted=deleted,
            unreadable=unreadable,
        )

    def id(self, raw: Any, parent_id: str | None = None) -> str:
        """The external id alone, which asks nobody. Raises ValueError for what has none."""
        if not isinstance(raw, Mapping):
            raise ValueError("a record is expected")
        own = id_of(look(self.type.place.id, raw))
        return f"{self._parent(raw, parent_id) or ''}/{own}" if self.below_parent else own

    def _parent(self, raw: Mapping[str, Any], parent_id: str | None) -> str | None:
        return parent_id or _text(look(self.type.place.parent_id, raw))

    @property
    def _times(self) -> tuple[tuple[str, str], ...]:
        return (("updated_at", self.type.place.updated_at), ("created_at", self.type.place.created_at))

    def _moment(self, expression: str, raw: Mapping[str, Any]) -> str | None:
        return moment(look(expression, raw), self.definition.times)

    def _version(self, raw: Mapping[str, Any], updated_at: str | None) -> str:
        if self.digests:
            values, unreadable = self.values(raw, list(self.fields))
            text = json.dumps([values, sorted(unreadable)], sort_keys=True, ensure_ascii=False)
            return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST_LENGTH]
        version = _text(look(self.type.place.version, raw)) if self.type.place.version else updated_at
        if not version:
            raise ValueError("the record has no version and no time of its last change")
        return version

    def values(self, raw: Mapping[str, Any], fields: Sequence[str]) -> tuple[dict[str, Any], frozenset[str]]:
        """(values, fields that cannot be read: hidden, of another kind, or not known)."""
        values, unreadable = {}, set()
        for path in fields:
            field = self.fields.get(path)
            if field is None:
                unreadable.add(path)
                continue
            expression = field.read or field.name
            # ⚑ Hidden is not empty, whatever is left of the value.
            if field.absent == "hidden" and lacks(expression, raw):
                unreadable.add(path)
                continue
            try:
                values[path] = self.normal(field, look(expression, raw))
            except ValueError:
                unreadable.add(path)
        return values, frozenset(unreadable)

    def normal(self, field: FieldDefinition, raw: Any) -> Any:
        options = self._options(field) if field.kind in ("option", "set") else ()
        who = self._who() if field.kind == "person" else {}
        return incoming(field, raw, self.definition.times, options, who)

    def limits(self, raw: Any) -> dict[str, tuple[str, ...]]:
        """What a record has at each of the scope's places."""
        return {limit.name: _texts(look(limit.read, raw)) for limit in self.type.scope}


def not_understood(external_id: str, fields: Sequence[str]) -> Record:
    """A record of which nothing is known but that it is not gone."""
    return Record(external_id, NO_VERSION, {}, unreadable=frozenset(fields))


def uses_digests(definition: Definition) -> bool:
    """Whether versions are digests where there is no counter: ⚑ as soon as one list knows no changes, for all of them.

    Such lists are compared by version alone, and a time tells the same of two edits in one second.
    """
    return any(each.list and not each.list.changed for each in definition.object_types if not each.parent)


def is_below_parent(object_type: ObjectType) -> bool:
    """Whether a child is found below its parent only; then its id is "parent/child"."""
    sections = (object_type.read, object_type.update, object_type.delete)
    return any("parent" in placeholders(section.path) for section in sections if section)


def lets_in(scopes: Sequence[Scope], held: Mapping[str, tuple[str, ...]], scope: Mapping[str, Any]) -> bool:
    """Whether a scope lets a record in that holds these values."""
    wanted = {limit.name: str(scope[limit.name]) for limit in scopes if scope.get(limit.name) not in (None, "")}
    return all(value in held.get(name, ()) for name, value in wanted.items())


def _text(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
        return None
    return str(value)


def _texts(value: Any) -> tuple[str, ...]:
    each = value if isinstance(value, list) else [value]
    return tuple(text for text in map(_text, each) if text is not None)
