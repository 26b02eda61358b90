"""Whether a connection's live changes work, in words: when the last event came, whether a subscription seems dead."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

# An event comes within seconds. Changes that were carried this long after the last one came without any.
LATE = timedelta(minutes=10)
# So many of them are no accident: one may be an edit whose event was told before, or a rule's own doing.
DEAD_AFTER = 3


@dataclass(frozen=True, slots=True)
class Health:
    """kind: ok, info or warn; the trouble in three parts, where there is one."""

    kind: str
    what: str
    meaning: str = ""
    todo: str = ""


def unheard_since(made_at: datetime, seen_at: datetime | None) -> datetime:
    """From when on changes count as found without an event."""
    return max(made_at, seen_at or made_at) + LATE


def health_of(bell: str, name: str, seen_at: datetime | None, unheard: int, used: bool) -> Health | None:
    """`unheard`: changes carried since `unheard_since`; `used`: whether any mapping has the connection. Pure."""
    if bell == "none":
        return None
    event = "webhook" if bell == "webhook" else "sign of life of the change stream"
    dead = unheard >= DEAD_AFTER
    if dead and bell == "webhook":
        what = (
            f"No webhook came from {name}, while polls found {unheard} changes"
            if seen_at is None
            else f"The webhook of {name} seems dead: {unheard} changes were found by polls since the last one came"
        )
        todo = f"Set it up (again) at {name}, and look at the refused ones below, if there are any."
        return Health("warn", f"{what}.", "Nothing was lost: polls find changes, only later.", todo)
    if dead:
        return Health(
            "warn",
            f"No {event} of {name}, while polls found {unheard} changes.",
            "Nothing was lost: polls find changes, only later.",
            "See that the listener runs, and that the objects are selected at the system.",
        )
    if seen_at is None:
        waiting = f"Waiting for the first {event}." if used else "No mapping uses this connection yet."
        return Health("info", waiting, "Until then we ask regularly, so you can go on.")
    return Health("ok", "Live changes arrive.")
