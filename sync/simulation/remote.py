"""A system in memory that misbehaves as real ones do, and keeps an append-only log of what it accepted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from connections.connectors.base import Capabilities, Field
from connections.connectors.memory import US, World
from sync.simulation.clock import START
from sync.simulation.script import Nature

FIELDS = (
    Field("title", "Title", "text", required=True, matchable=False),
    Field("body", "Body", "text"),
    Field("amount", "Amount", "text"),
    Field("labels", "Labels", "set"),
    Field("note", "Note", "text"),
    Field("ref", "Reference", "text", matchable=True),
)
ROBOT = "robot"
UPDATE_TIMEOUT = 20.0  # an unanswered write has arrived by then or never will
SETTLE = 30.0  # longer than the longest lag of a look-up
# An automation answers this many of our writes: a rule without end would be a loop that no tool can end for them.
ROBOT_EDITS = 2


class SimulatedWorld(World):
    def __init__(self, name: str, nature: Nature, now: Callable[[], datetime]) -> None:
        self.nature = nature
        self._clock = now
        self.robot_edits = ROBOT_EDITS if nature.automation else 0
        super().__init__(name, FIELDS, capabilities_of(nature), self._now)
        self.lag = nature.lag if nature.lists_lag else 0.0
        self.key_lag = 0.0 if nature.lookup_consistent or nature.idempotent_create else nature.lag
        if nature.trims:
            self.on_write = lambda _id, values, _by: {
                path: value.strip() if isinstance(value, str) else value for path, value in values.items()
            }

    def _now(self) -> datetime:
        """Its own clock, cut to what its stamps can say."""
        moment = self._clock() + timedelta(seconds=self.nature.clock)
        if not self.nature.granularity:
            return moment
        seconds = (moment - START).total_seconds() // self.nature.granularity * self.nature.granularity
        return (START + timedelta(seconds=seconds)).astimezone(UTC)

    def edit(self, external_id: str, by: str = "ana", **values: Any) -> None:
        super().edit(external_id, by, **values)
        if by == US and self.robot_edits and "title" in values:
            self.robot_edits -= 1
            super().edit(external_id, ROBOT, amount=f"robot {self.name}{self.robot_edits}")


def capabilities_of(nature: Nature) -> Capabilities:
    return replace(
        Capabilities(),
        bulk_read=10,
        bulk_write=nature.bulk_write,
        conditional_write=nature.conditional,
        conditional_resolution=0.0 if nature.exact_version else nature.granularity,
        idempotent_create=nature.idempotent_create,
        create_lookup_consistent=nature.lookup_consistent or nature.idempotent_create,
        settle_seconds=SETTLE,
        lists_lag=nature.lists_lag,
        not_found_means_gone=nature.gone_means_gone,
        lists_deletions=nature.lists_deletions,
        write_returns_record=True,
        field_history=nature.history,
        complete_history=nature.history,
        exact_version=nature.exact_version,
        watermark_granularity=nature.granularity or 0.000001,
        stamp_granularity=nature.granularity or 0.000001,
        overlap=max(5.0, nature.granularity),
        lookback=max(nature.lag, nature.granularity, 2.0),
        update_timeout=UPDATE_TIMEOUT,
        bell="webhook",
    )
