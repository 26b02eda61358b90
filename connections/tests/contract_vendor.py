"""What the contract suite needs from the system behind a connector: acts of a person there, and its own records.

A subclass per connector, beside its tests. Values go in and come out in the normalised form of
`connections.connectors.base`, so that the suite can compare them with what the connector says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connections.connectors.base import (
    Connector,
    ConnectorError,
    DeliveryRequest,
    Field,
    Record,
    Values,
    WriteResult,
)
from connections.sandbox.base import Standin


@dataclass(frozen=True)
class Sample:
    """A field of one kind with two different values, as a read gives them. `empty`: what an empty one reads.

    `clearable` is False where the system insists on a value; emptying it is then refused.
    """

    path: str
    first: Any
    second: Any
    empty: Any = None
    clearable: bool = True


@dataclass(frozen=True)
class Person:
    """`value`: as in records; `account`: their id at the system; `name`: part of their name there."""

    value: str
    account: str
    name: str


class Vendor:
    """One running system with a connector on it. The suite asks for nothing else."""

    connector: Connector
    object_type: str
    scope: Values = {}
    # Narrower than `scope`: lets in what `add(inside=True)` makes and not what `add(inside=False)` makes.
    narrow: Values
    leaving: Values  # an edit by which a record leaves `narrow`
    title: str  # path of the text people recognise a record by: it has a longest length and can be matched by
    samples: Mapping[str, Sample]  # by kind; a kind that is missing here has no writable field at the system
    ana: Person  # active, makes the edits
    inactive_person: str  # a person value of somebody who has left
    unknown_id: str  # well-formed, of no record
    matches: Mapping[str, str] = {}  # further matchable paths → a value a record made with `add` could have
    journey: tuple[str, Any, int] | None = None  # (field with a way of its own, value, steps to it from a new record)
    follows: frozenset[str] = frozenset()  # paths the system itself changes on that way
    lines: str | None = None  # path of a plain text of several lines; None where the system has none
    children: str | None = None  # an object type owned by `object_type`
    hides_fields: bool = True  # whether the right to read a single field can be taken from our account
    unused: frozenset[str] = frozenset()  # methods that the connector has for other systems, and not for this one
    has_pages = True  # whether people open a record at the system itself

    # Acts of a person ----------------------------------------------------------------------------------------------

    def add(self, values: Values | None = None, inside: bool = True) -> str:
        """A new record by Ana; its id."""
        raise NotImplementedError

    def edit(self, external_id: str, values: Values) -> None:
        raise NotImplementedError

    def remove(self, external_id: str) -> None:
        raise NotImplementedError

    def pave(self) -> None:
        """Let another record go the `journey`, so that the way has been seen."""
        raise NotImplementedError

    def add_child(self, external_id: str, text: str) -> str:
        """Something Ana adds to a record, of the object type `children`."""
        raise NotImplementedError

    # The system itself -----------------------------------------------------------------------------------------------

    def ids(self) -> set[str]:
        """All records that are there."""
        raise NotImplementedError

    def snapshot(self, external_id: str) -> dict[str, Any]:
        """All the system holds of a record, by path, in its own form; without times, versions and editors."""
        raise NotImplementedError

    def tick(self, seconds: float) -> None:
        """Let the system's clock, which stands still, go on. An hour in all at most."""
        raise NotImplementedError

    def position_of(self, updated_at: str | None) -> str:
        """The watermark of a record's time, in the connector's own form."""
        raise NotImplementedError

    def stamp(self) -> str:
        """The system's time now, as a normalised datetime."""
        raise NotImplementedError

    def hide(self, path: str) -> None:
        """Take the right to read a field from our account; asked only where that can be done."""
        raise NotImplementedError

    def lag(self, seconds: float) -> None:
        """Let lists be behind by so much; asked only where the connector declares that they lag."""
        raise NotImplementedError

    def delivery(self, external_id: str) -> DeliveryRequest:
        """The signed webhook request that tells of the last edit; asked only of connectors with such a bell."""
        raise NotImplementedError

    def break_stream(self) -> None:
        """Forget the change feed's past; asked only of connectors with a stream."""
        raise NotImplementedError

    # Shorthand -------------------------------------------------------------------------------------------------------

    @property
    def other(self) -> Sample:
        """A text beside the title; where the system has no plain one, its rich text."""
        return self.samples.get("text") or self.samples["rich_text"]

    @property
    def told(self) -> Sample:
        """A text whose changes the system's history tells."""
        return self.samples["text"]

    @property
    def paths(self) -> list[str]:
        return [self.title, *(sample.path for sample in self.samples.values())]

    def firsts(self) -> dict[str, Any]:
        return {sample.path: sample.first for sample in self.samples.values()}

    def seconds(self) -> dict[str, Any]:
        return {sample.path: sample.second for sample in self.samples.values()}

    def read(self, external_id: str, paths: Sequence[str] | None = None) -> Record:
        wanted = self.paths if paths is None else paths
        return self.connector.get_many(self.object_type, [external_id], wanted)[external_id]

    def fields(self) -> dict[str, Field]:
        return {field.path: field for field in self.connector.fields(self.object_type, self.scope)}

    def create(self, values: Values, key: str) -> WriteResult:
        return self.connector.create(self.object_type, values, key, self.scope)

    def update(self, external_id: str, values: Values, version: str | None = None) -> WriteResult:
        return self.connector.update(self.object_type, external_id, values, version, self.paths)

    def changed(self, watermark: str | None, scope: Values | None = None) -> list[Record]:
        within = self.scope if scope is None else scope
        pages = self.connector.changed_since(self.object_type, watermark, self.paths, within)
        return [record for page in pages for record in page.records]

    def watermark(self) -> str:
        """The position after everything there is now."""
        *_, last = self.connector.changed_since(self.object_type, None, [], self.scope)
        assert last.watermark is not None
        return last.watermark

    def listed(self, scope: Values | None = None) -> list[str]:
        within = self.scope if scope is None else scope
        return [id for page in self.connector.list_ids(self.object_type, within) for id in page]

    def find(self, path: str, *wanted: Any, scope: Values | None = None) -> list[str]:
        within = self.scope if scope is None else scope
        return [r.external_id for r in self.connector.find_by_values(self.object_type, path, wanted, [path], within)]


@dataclass(frozen=True)
class Answered:
    """Which of a connector's calls a test disturbs: `method` "" for every one, `path` a regular expression."""

    method: str
    path: str


class WiredVendor(Vendor):
    """A system reached over HTTP, whose answers can be disturbed."""

    everything = Answered("", "")  # every call to the API, sign-in left out
    writing: Mapping[str, Answered]  # the writing call behind "create", "update", "delete"
    # Calls of one bulk write: more than one where the system queues it as a job and tells later how it went.
    bulk_write_calls = 1
    looks_after_a_write = 0  # calls that ask the system's history what an update replaced
    odd_answers: Sequence[Any] = ()  # JSON of the vendor's kind with parts missing or of another type
    secret: str  # what our account signs in with
    _asked = 0  # faults asked for, each as often as it is to be met

    def disturbed(self) -> Standin:
        """What answers the connector, and can be told to answer wrongly."""
        raise NotImplementedError

    def fault(self, kind: str, which: Answered, **options: Any) -> None:
        """See `connections.sandbox.base.Fault`."""
        app = self.disturbed()
        app.fault(kind, method=which.method, path=which.path, **options)
        self._asked = sum(fault.times for fault in app.faults)

    def heal(self) -> bool:
        """End all faults. Whether one of them was met since they were asked for."""
        faults = self.disturbed().faults
        left = sum(fault.times for fault in faults)
        faults.clear()
        return left < self._asked

    def forget(self) -> None:
        """Make the connector ask again for all that it has learnt of the system."""
        raise NotImplementedError

    def requests(self) -> list[str]:
        """ "METHOD path" of the API calls since this was last asked."""
        raise NotImplementedError


def differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    """Paths at which two snapshots differ."""
    return {path for path in {*before, *after} if before.get(path) != after.get(path)}


def outcome(act: Callable[[], Any]) -> Any:
    """What `act` led to: its result, or the connector's error. Anything else goes on its way and fails the test."""
    try:
        return act()
    except ConnectorError as error:
        return error
