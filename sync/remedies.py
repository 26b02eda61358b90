"""What a failure means in plain words, and what to do about it. Pure.

A code says most of it; where a system refused something, its own words say more: the first pattern that fits them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Remedy:
    """`head`: the cause in a few words; `fix`: what to do. `place`: where it is done: value_map, mapping, connection,
    queue (in the review queue, one by one) or ""."""

    head: str
    fix: str
    place: str = ""


# By what a system says: (pattern, what it means, what to do, where).
SAID: tuple[tuple[re.Pattern[str], str, str, str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), head, fix, place)
    for pattern, head, fix, place in (
        (
            r"too long|longer than|max(imum)?[ _]?length|exceeds? .*(length|characters|limit)|string_too_long",
            "{system} has less room for {field} than we send",
            "Shorten {field} in {other}; it is sent again as soon as it changes. Or edit what is sent: {other} then "
            "keeps its long text.",
            "",
        ),
        (
            r"required|missing|must not be empty|cannot be (blank|empty|null)|may not be null|is mandatory",
            "{system} wants a value that we do not send",
            "Fill the field it names in {other}, or let an admin map it or give new records a value for it in the "
            "mapping's settings. A new version is tried by itself.",
            "mapping",
        ),
        (
            r"option|pick ?list|not (a )?valid (value|choice)|bad value|not in the list|allowed values?|enum",
            "{system} does not know the value of {field}",
            "Add the value in {system}, or let an admin map it to one that is there in the value map and publish. "
            "Then retry.",
            "value_map",
        ),
        (
            r"permission|not authori[sz]ed|forbidden|insufficient|access|privilege|may not|not allowed to",
            "Our account may not do this in {system}",
            "Give our account the right to edit {field} in {system}, then retry.",
            "connection",
        ),
        (
            r"read.?only|cannot be set|not on the (appropriate )?screen|not (editable|updateable|writable)",
            "{system} does not let anybody write {field} this way",
            "Put {field} on the edit screen in {system}, or let an admin make the rule one-way.",
            "mapping",
        ),
        (
            r"duplicate|already exists|already in use|unique",
            "Another record of {system} has this value already",
            "Find the other record in {system} and correct one of the two, then retry.",
            "",
        ),
        (
            r"locked|in approval|row lock|in use by",
            "The record is locked in {system}",
            "Unlock the record in {system}, or wait until its approval is over, then retry.",
            "",
        ),
        (
            r"inactive|deactivated|no such (user|person)|nobody here|unknown user|user .*not found",
            "{system} does not know the person",
            "Choose somebody in {other} who is active in {system}, or activate the person there, then retry.",
            "",
        ),
        (
            r"validation|trigger|workflow|transition|not reachable|business rule",
            "A rule of {system} stands against it",
            "Make the record meet that rule in {system}, or let its administrator change the rule, then retry.",
            "",
        ),
    )
)

# A system that has trouble of its own.
TROUBLED = re.compile(
    r"time.?out|timed out|unavailable|bad gateway|internal|server error|busy|connection|reset|# error", re.IGNORECASE
)

_READ_IT = "Read what {system} says below, correct the record or the rule, then retry."
_ONE_BY_ONE = "Open each of them: only a person can say which is true."
BY_CODE: Mapping[str, Remedy] = {
    # questions
    "refused": Remedy("{system} refuses {field}", _READ_IT),
    "not_allowed": Remedy(
        "Our account may not write {field} in {system}",
        "Give our account the right to edit {field} in {system}, then retry.",
        "connection",
    ),
    "cut_short": Remedy(
        "{system} keeps only a part of {field}",
        "Shorten or round {field} in {other}, edit what is sent, or keep the two different in the review queue.",
    ),
    "maybe_written": Remedy(
        "{system} did not answer, and {field} says something else by now",
        "Open each of them and choose the value that counts.",
        "queue",
    ),
    "create_refused": Remedy("{system} refuses to create the twin", _READ_IT),
    "delete_refused": Remedy(
        "{system} refuses to delete the twin",
        "Delete it in {system} or keep it and unlink the pair; or give our account the right, then retry.",
        "queue",
    ),
    "close_refused": Remedy(
        "{system} refuses to close the twin",
        "Correct the values that closing writes in the mapping's settings, or close it in {system}.",
        "mapping",
    ),
    "created_or_not": Remedy("{system} did not say whether it created the twin", _ONE_BY_ONE, "queue"),
    "key_twice": Remedy("Our key is on more than one record of {system}", _ONE_BY_ONE, "queue"),
    "fits_what_was_sent": Remedy(
        "The twin would be another record's double",
        "Link the two in the review queue, or edit what is sent once more.",
        "queue",
    ),
    "value_not_in_map": Remedy(
        "{field} has values that the value map does not know",
        "Let an admin add them to the value map and publish: what waits is tried by itself. Or choose another value "
        "in {other}.",
        "value_map",
    ),
    "person_unknown": Remedy(
        "{system} knows nobody of that name",
        "Give the person an account in {system}, or choose somebody else in {other}, then retry.",
    ),
    "person_hidden": Remedy(
        "The person's e-mail address is hidden",
        "Let the person show the address to our account in {other}, or choose somebody else, then retry.",
    ),
    "queue_not_mapped": Remedy(
        "A queue has no counterpart in {system}",
        "Let an admin add the queue to the rule and publish: what waits is tried by itself.",
        "mapping",
    ),
    "required_would_be_emptied": Remedy(
        "{field} is empty in {other} and must not be empty in {system}",
        "Fill {field} in {other}; it is sent as soon as it changes.",
    ),
    "not_a_number": Remedy("{field} holds no number", "Correct {field} in {other}; it is sent as soon as it changes."),
    "not_a_date": Remedy("{field} holds no date", "Correct {field} in {other}; it is sent as soon as it changes."),
    "edited_shortened_copy": Remedy(
        "{field} was edited where only its beginning is kept",
        "Open each of them and say which text counts.",
        "queue",
    ),
    # writes
    "write_failed": Remedy(
        "{system} keeps failing to take our writes",
        "Read what {system} says below. Each is tried again by itself, at least every hour; retry once the cause is "
        "gone.",
    ),
    "write_troubled": Remedy(
        "{system} has trouble of its own",
        "There is nothing to correct here: each is tried again by itself, at least every hour. Retry once {system} is "
        "well.",
        "connection",
    ),
    # records
    "not_planned": Remedy(
        "Something in this record breaks our plan",
        "Nothing of it was written. Look at its last edits; correct what is unusual, or report the message to whoever "
        "operates SyncAdmin. It is tried again by itself, at least every hour.",
    ),
    "not_read": Remedy(
        "{system} does not give us this record",
        "Check in {system} that our account may see the record and its fields, then retry.",
        "connection",
    ),
    "unreadable": Remedy(
        "The record cannot be read in {system} any more",
        "If it was deleted, there is nothing to do: we look again in an hour. If it is hidden, let our account see it.",
        "connection",
    ),
    "key_hidden": Remedy(
        "A field by which records are recognised is hidden from our account",
        "Let our account see it in both systems, or publish a version with other match keys. Until then such a record "
        "is neither linked nor copied; we look again every 15 minutes.",
        "connection",
    ),
    "older": Remedy(
        "{system} shows an older state than before",
        "A copy of {system} lags behind. It is read again by itself; if it stays, ask its administrator.",
    ),
}
OTHERWISE = Remedy("{field} cannot be carried over to {system}", "Open one of them to see why, correct it, then retry.")


def remedy(code: str, message: str, system: str, other: str, field: str = "") -> Remedy:
    """Plain words for a cause. `message`: the system's own; `other`: the name of the system on the other side."""
    found = BY_CODE.get(code, OTHERWISE)
    if code in ("refused", "create_refused", "close_refused", "write_failed"):
        said = next((row for row in SAID if row[0].search(message)), None)
        if code == "write_failed" and (said is None or TROUBLED.search(message)):
            found = BY_CODE["write_troubled"] if TROUBLED.search(message) else found
        elif said is not None:
            found = Remedy(*said[1:])
    words = {"system": system or "The system", "other": other or "the other system", "field": field or "the record"}
    head = found.head.format(**words)
    return Remedy(head[:1].upper() + head[1:], found.fix.format(**words), found.place)
