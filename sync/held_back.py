"""Records that are neither linked nor copied for the time being: how long they wait, and who is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from django.utils import timezone

from sync import hints
from sync.matching import Unlinked
from sync.models import ChangedRecord
from sync.plan_unlinked import TWIN_UNREAD, UNREAD, UNSURE, Hold
from sync.schema_watch import LOOK_AGAIN_SECONDS

# While a field stands in the way of a create or of matching: what puts it right rings at once.
HOLD_SECONDS = 3600.0
# What one record does not show is looked at again as often as a failure that somebody must mend: after as long as it
# has waited yet, so that very many of them leave time for others.
UNREAD_SECONDS, UNREAD_AT_MOST = 900.0, 3600.0

RETURNED = "returned_unread"  # of a pair that may resume
# What is said of a hold that nothing but a look at the record ends: it is listed as a failure.
SAYS: Mapping[str, str] = MappingProxyType(
    {
        UNREAD: "This record does not show our account a field by which it is recognised on the other side.",
        TWIN_UNREAD: "A record on the other side that may be the same does not show our account the field that tells.",
        RETURNED: "Both records are back, and one does not show our account a field that tells whether they belong "
        "together.",
    }
)


def wait(held: Sequence[tuple[Hold, Unlinked]]) -> None:
    """Keep the hints of these records."""
    kept = [(hold.code, one.hint, one.record.version) for hold, one in held if one.hint]
    hints.postpone([hint for code, hint, _ in kept if code == UNSURE], LOOK_AGAIN_SECONDS)
    hints.postpone([hint for code, hint, _ in kept if code != UNSURE and code not in SAYS], HOLD_SECONDS)
    hints.fail_all([_told(code, [hint], version) for code, hint, version in kept if code in SAYS])


def keep(code: str, waiting: Sequence[ChangedRecord], version: str) -> bool:
    """Keep the hints of a pair for which nothing else rings once this hold ends; returns whether it is such a one."""
    if code == UNSURE:
        hints.postpone(waiting, LOOK_AGAIN_SECONDS)
    elif code in SAYS:
        hints.fail_all([_told(code, waiting, version)])
    return code == UNSURE or code in SAYS


def _told(code: str, waiting: Sequence[ChangedRecord], version: str) -> hints.Failed:
    """⚑ Nothing rings when a record shows a field again: its hint stays, and people are told why it waits."""
    now = timezone.now()
    waited = max((now - (hint.failing_since or now)).total_seconds() for hint in waiting) if waiting else 0.0
    again = min(max(waited, UNREAD_SECONDS), UNREAD_AT_MOST)
    return hints.Failed(waiting, SAYS[code], "key_hidden", again, attempts=1, version=version[:200])
