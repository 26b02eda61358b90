"""What one run holds: its mapping version, its lease, its two connectors, and its row on the runs page."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.conf import settings
from django.utils import timezone
from django.utils.module_loading import import_string

from connections.connectors.base import Capabilities, Connector, ConnectorError
from connections.models import Connection
from mappings.compiled import CompiledMapping, compile_document
from mappings.models import Mapping, MappingVersion
from sync.hints import LARGEST_LIVE_BATCH
from sync.lease import Lease
from sync.merge import OTHER
from sync.models import Run, SchemaFinding
from sync.rows import fetch, save_rows
from sync.schema import Finding, standing

SIDES = ("left", "right")
# Lanes of the rate budget a run may draw on: a batch of live edits and everything else.
LANES = ("live", "backfill")


@dataclass
class Session:
    """Threads of a run share the connectors and the call counter; the database belongs to the main thread."""

    mapping: Mapping
    version: MappingVersion
    compiled: CompiledMapping  # with everything standing still that `findings` stop
    lease: Lease
    lanes: dict[str, dict[str, Connector]]  # lane of the rate budget -> side -> connector
    lane: str
    kind: str
    started_by: str = ""
    run: Run | None = None
    counts: Counter[str] = field(default_factory=Counter)
    calls: dict[str, Counter[str]] = field(default_factory=lambda: {side: Counter() for side in SIDES})
    done: int = 0
    as_published: CompiledMapping = field(init=False)
    findings: list[Finding] = field(default_factory=list)  # what of it no longer fits the systems' fields
    bulk_batch: int = 0  # follows how long the last bulk batch took; 0 before the first
    # Sides whose changes may have been missed: nothing there is believed deleted before a complete listing.
    behind: set[str] = field(default_factory=set)
    unanswered: Counter[str] = field(default_factory=Counter)  # writes in a row that a side did not answer
    in_turn: bool = False  # a turn goes on, see turns.py: the hours of the schedule do not end this run
    all_noted: bool = False  # what could be the same thing is noted: nothing keeps from matching, see noting.py
    listed_edits: bool = False  # a poll listed an edit that nobody had told of
    # When the batch began to read: what was rung later is news to its decisions.
    reading_since: datetime = field(default_factory=timezone.now)

    def __post_init__(self) -> None:
        self.as_published = self.compiled
        self.compiled = standing(self.as_published, self.findings)

    @property
    def connectors(self) -> dict[str, Connector]:
        """The two connectors, drawing on the budget of the lane in use."""
        return self.lanes[self.lane]

    def connection(self, side: str) -> Connection:
        return self.mapping.connection(side)

    def object_type(self, side: str) -> str:
        return self.compiled.side(side).object_type

    def scope(self, side: str) -> dict[str, Any]:
        return dict(self.compiled.side(side).scope)

    def whole_call(self, side: str) -> int:
        """How many changes of `side` one call reads here and one there, where they are written many to a call as well;
        else 1."""
        here, there = self._able(side), self._able(OTHER[side])
        return min(here.bulk_read, there.bulk_read, LARGEST_LIVE_BATCH) if there.bulk_write > 1 else 1

    def able(self, side: str) -> Capabilities:
        """What holds for the object type of `side`. Raises ConnectorError."""
        return self.connectors[side].capabilities_of(self.object_type(side))

    def _able(self, side: str) -> Capabilities:
        try:
            return self.able(side)
        except ConnectorError:
            return self.connectors[side].capabilities  # what is wrong is told by the read that follows

    def paths(self, side: str) -> list[str]:
        return self.compiled.paths(side)

    def system(self, side: str) -> str:
        """What people call the system on `side`."""
        return self.connectors[side].label.removesuffix(" Cloud")

    @property
    def edits_seen(self) -> bool:
        """Whether people, or anybody else, edited something since the last run, as far as this one knows."""
        return self.listed_edits or any(self.counts[kind] for kind in ("created", "updated", "deleted", "conflicts"))

    def ensure_run(self) -> Run:
        """The run's row, made when there is something to tell: an idle poll leaves no row."""
        if self.run is None:
            self.run = Run.objects.create(
                mapping=self.mapping, version=self.version, kind=self.kind, started_by=self.started_by
            )
        return self.run

    def progress(self, **changes: Any) -> None:
        """Write what the runs page shows. Not part of any decision."""
        if self.run is None:
            return
        for name, value in changes.items():
            setattr(self.run, name, value)
        self.run.calls = {side: dict(counter) for side, counter in self.calls.items()}
        self.run.counts = dict(self.counts)
        self.run.done = self.done
        self.run.heartbeat_at = timezone.now()
        columns = dict.fromkeys(("calls", "counts", "done", "heartbeat_at", *changes))  # PostgreSQL takes each once
        save_rows([self.run], list(columns))

    def to_approve(self, preview: dict[str, Any]) -> None:
        """The run ends with numbers that wait for a person."""
        ended = {"state": Run.State.APPROVAL, "finished_at": timezone.now(), "phase": ""}
        self.progress(preview=preview, total=self.done, **ended)


def open_session(
    mapping: Mapping, lease: Lease, kind: str, lane: str, started_by: str = "", version: MappingVersion | None = None
) -> Session:
    """A session pinned to the published version, or to `version` for a dry run."""
    pinned = version or mapping.published
    assert pinned is not None, "only published mappings run"
    compiled = compile_document(pinned.document)
    calls: dict[str, Counter[str]] = {side: Counter() for side in SIDES}
    guard = threading.Lock()

    def counter(side: str) -> Callable[..., None]:
        def count(kind: str, status: int = 0, seconds: float = 0.0) -> None:
            with guard:
                calls[side][kind] += 1

        return count

    opener = import_string(settings.OPEN_CONNECTOR)
    lanes = {
        one: {
            side: opener(mapping.connection(side), lane=one, on_call=counter(side), may_write=lambda: lease.sure)
            for side in SIDES
        }
        for one in {lane, *LANES}
    }
    findings = stored_findings(mapping) if pinned.pk == mapping.published_id else []
    return Session(mapping, pinned, compiled, lease, lanes, lane, kind, started_by, calls=calls, findings=findings)


def stored_findings(mapping: Mapping) -> list[Finding]:
    rows = fetch(SchemaFinding, "mapping_id = %s ORDER BY id", mapping.pk)
    return [finding_of(one) for row in rows for one in row.findings]


def finding_of(data: dict[str, Any]) -> Finding:
    return Finding(**data)
