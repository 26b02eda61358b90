"""Was the database restored from a backup, or copied? What a number kept outside of it tells.

Pure: no Django, no files, no clock. The database counts upwards (`Epoch.number`), and what it has reached is noted
outside of it, in a file of every host and in Redis, always after the database itself. So whatever is noted outside
is never ahead of the database, unless the database has gone back. A host without a note, a flushed Redis or a note
that lags proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SAME, RESTORED, MOVED = "same", "restored", "moved"

# After a restore the number jumps by this: hosts note it once a minute, so that no note of any of them is as high.
JUMP = 60


@dataclass(frozen=True, slots=True)
class Inside:
    """What the database says. `live`: it holds a mapping that writes. `place`: empty where it was never noted."""

    database: str
    number: int
    place: Mapping[str, str]
    live: bool


def judge(inside: Inside, outside: Mapping[str, int], here: Mapping[str, str]) -> str:
    """SAME, RESTORED (from a backup) or MOVED (a copy, or the only one at a new place).

    `outside`: {database: highest number noted}; `here`: the place as it is now.
    """
    if outside.get(inside.database, 0) > inside.number:
        return RESTORED
    if inside.number == 0 and inside.live and outside and inside.database not in outside:
        return RESTORED  # from before it counted at all, while a newer state of it has been here
    if inside.place and dict(inside.place) != dict(here):
        return MOVED
    return SAME


def after(inside: Inside, outside: Mapping[str, int]) -> int:
    """The number from which a restored or moved database goes on: beyond every note there is of it."""
    return max(inside.number, outside.get(inside.database, 0)) + JUMP
