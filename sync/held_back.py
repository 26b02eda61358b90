"""Records that are neither linked nor copied for the time being: how long they wait, and who is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from sync import hints
from sync.matching import Unlinked
from sync.models import ChangedRecord
from sync.plan_unlinked import UNREAD, Hold

# While a field stands in the way of a create or of matching: what puts it right rings at once.
HOLD_SECONDS = 3600.0
# What one record does not show is looked at again as often as a failure that somebody must mend.
UNREAD_SECONDS = 900.0

RETURNED = "returned_unread"  # of a pair that may resume
# What is said of a hold that nothing but a look at the record ends: it is listed as a failure.
SAYS: Mapping[str, str] = MappingProxyType(
    {
        UNREAD: "This record does not show our account a field by which it is recognised on the other side.",
        RETURNED: "Both records are back, and one does not show our account a field that tells whether they belong "
        "together.",
    }
)


def wait(held: Sequence[tuple[Hold, Unlinked]]) -> None:
    """Keep the hints of these records."""
    kept = [(hold.code, one.hint, one.record.version) for hold, one in held if one.hint]
    hints.postpone([hint for code, hint, _ in kept if code not in SAYS], HOLD_SECONDS)
    hints.fail_all([told(code, [hint], version) for code, hint, version in kept if code in SAYS])


def told(code: str, waiting: Sequence[ChangedRecord], version: str) -> hints.Failed:
    """⚑ Nothing rings when a record shows a field again: its hint stays, and people are told why it waits."""
    return hints.Failed(waiting, SAYS[code], "key_hidden", UNREAD_SECONDS, attempts=1, version=version[:200])
