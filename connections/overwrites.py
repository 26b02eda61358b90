"""Whether it is noticed that our write replaces an edit made after our last read. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from connections.connectors.base import Capabilities, Change

BLIND = "An edit made between our read and our write cannot be detected here."
REFUSED = "The system refuses our write where the record was edited after our read"
HISTORY = "The system's history tells of an edit that our write replaced"
ASKED = "A person is asked about it, with the overwritten value and one click to restore it."
LEFT_OUT = "In other fields it cannot be detected here."
JUST_THEN = "What is edited there between that look and the write cannot be detected here."
REPLACED = (
    "Our write replaces it, and nobody is asked. We read right before each write, so the moment is short; a rule that "
    "only reads here replaces nothing."
)


@dataclass(frozen=True, slots=True)
class Detection:
    """`what` can be noticed, one sentence, and its `meaning` for such an edit."""

    what: str
    meaning: str


def detection(able: Capabilities, looks_at: str = "") -> Detection:
    """What a system with these capabilities lets us notice. `looks_at`: see `Connector`."""
    covered = "" if able.complete_history else ", in the fields it covers"
    asked = ASKED if able.complete_history else f"{ASKED} {LEFT_OUT}"
    if looks_at:
        covered = f", in all fields but {looks_at}, which we look at right before the write"
        asked = f"{ASKED} {JUST_THEN}"
    if able.conditional_write:
        close = f"less than {able.conditional_resolution:g} s away"
        if not able.conditional_resolution:
            return Detection(f"{REFUSED}.", "Nothing is overwritten: the record is read and decided again.")
        if able.field_history:
            return Detection(f"{REFUSED}; its history tells of one {close}{covered}.", asked)
        return Detection(f"{REFUSED}; one {close} cannot be detected here.", REPLACED)
    if able.field_history:
        return Detection(f"{HISTORY}{covered}.", asked)
    return Detection(BLIND, REPLACED)


def detection_in(able: Capabilities, blind_in: Mapping[str, str], object_type: str, looks_at: str = "") -> Detection:
    """The same for one object type. `blind_in`: see `Connector`."""
    return Detection(BLIND, REPLACED) if object_type in blind_in else detection(able, looks_at)


def over_others(changes: Sequence[Change], field: str, account: str) -> Change | None:
    """The change of a field by `account` that lies right over the last one of somebody else, where the history tells
    what that one wrote: what is not told could not be restored.

    changes: since the read that was decided from, oldest first. Their order decides, not their values: a history may
    tell a text in another form than a read does.
    """
    of_field = [change for change in changes if change.field == field]
    over = [change for before, change in pairwise(of_field) if before.by != account and change.by == account]
    return over[-1] if over and not over[-1].untold else None


def exception(blind_in: Mapping[str, str]) -> str:
    """What does not hold for every object type; empty where it does."""
    return f" In {' and '.join(blind_in.values())} such an edit cannot be detected here." if blind_in else ""
