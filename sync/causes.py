"""What failed for the same reason: the fingerprint by which failures are grouped. Pure.

Two failures share a cause when mapping, side, rule or part, code and the system's message agree, once ids, numbers and
quoted values are taken out of the message: "Account 001xx is locked" and "Account 002yy is locked" are one cause.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

# What a fingerprint is made of first: a group never mixes questions, writes and records.
QUESTION, WRITE, RECORD = "question", "write", "record"

# Conflict kinds in which something could not be done, as against those in which two people disagree.
FAILED_KINDS = frozenset({"refused", "unmapped", "schema", "uncertain_create"})
# Codes of other kinds that say the same: a twin that could not be closed, a create that did or would make a double.
FAILED_CODES = frozenset({"close_refused", "key_twice", "fits_what_was_sent"})
# ⚑ Whether a write happened is not known: to try again would make a second record, or undo what somebody did since. A
# person says which.
UNSURE_CODES = frozenset({"created_or_not", "key_twice", "maybe_written"})

# A message as long as this tells its cause in its beginning; a stack trace behind it differs from try to try.
MESSAGE_LENGTH = 300
DIGITS = 12  # of the fingerprint: 48 bits, far more than there are causes

_QUOTED = re.compile(r"“[^”]*”|„[^“”]*[“”]|«[^»]*»|‘[^’]*’|\"[^\"]*\"|`[^`]*`|(?<!\w)'[^']*'(?!\w)")
_ADDRESS = re.compile(r"https?://\S+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
# An id, a number, a time or a version: any word that has a digit in it.
_NUMBERED = re.compile(r"[\w.:/@+-]*\d[\w.:/@+-]*(?:[,’'] ?\d[\w.:/@+-]*)*")


def normalised(message: str) -> str:
    """The message without what differs from record to record: quoted values, addresses, ids and numbers."""
    text = _QUOTED.sub("…", message)
    text = _ADDRESS.sub("@", text)
    text = _NUMBERED.sub("#", text)
    return " ".join(text.split()).casefold().rstrip(" .!…")[:MESSAGE_LENGTH]


def fingerprint(mapping_id: int, source: str, side: str, part: str, code: str, message: str = "") -> str:
    """The name of a cause. `source`: QUESTION, WRITE or RECORD; `part`: a rule's id, a field's path, "" for all."""
    said = json.dumps([mapping_id, source, side, part, code, normalised(message)])
    return hashlib.sha256(said.encode()).hexdigest()[:DIGITS]


def of_conflict(mapping_id: int, kind: str, rule_id: str, code: str, params: Mapping[str, Any]) -> str:
    """The cause of a question in which something could not be done; "" for any other question."""
    if kind not in FAILED_KINDS and code not in FAILED_CODES:
        return ""
    side, message = str(params.get("side") or ""), str(params.get("message") or "")
    return fingerprint(mapping_id, QUESTION, side, rule_id, code, message)
