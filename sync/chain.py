"""The hash chain of the audit log. Pure: rows in, seals out.

seal_n = SHA-256(seal_{n-1} ‖ canonical text of entry n). The text holds the salted digest of the values, not the
values, so that erasing them leaves the chain verifiable.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# What a seal covers, in this order. `values` is not among them; `values_digest` is.
SEALED = (
    "number",
    "at",
    "actor_kind",
    "actor",
    "action",
    "code",
    "params",
    "mapping_id",
    "mapping_name",
    "mapping_version",
    "run_id",
    "link_id",
    "operation_id",
    "connection_id",
    "request_id",
    "object_label",
    "field_label",
    "side",
    "values_digest",
)
GENESIS = "0" * 64


def canonical(value: Any) -> str:
    """The one text of a JSON value that digests are made of."""
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))


def values_digest(salt: str, values: Any) -> str:
    return hashlib.sha256((salt + canonical(values)).encode()).hexdigest()


def seal(previous: str, row: Mapping[str, Any]) -> str:
    """The seal of `row`, a mapping of the SEALED names; `at` is an ISO string in UTC."""
    text = canonical([row[name] for name in SEALED])
    return hashlib.sha256((previous + text).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Verdict:
    """How far the chain holds. `broken_at`: number of the first entry that does not; `why` is a sentence."""

    entries: int
    last_number: int
    last_seal: str
    broken_at: int | None = None
    why: str = ""

    @property
    def intact(self) -> bool:
        return self.broken_at is None


def verify(rows: Iterable[Mapping[str, Any]]) -> Verdict:
    """Check rows in the order of their numbers; each also holds "seal", "salt" and "values"."""
    previous, last, count = GENESIS, 0, 0
    for row in rows:
        count += 1
        number = row["number"]
        if number != last + 1:
            return Verdict(count, last, previous, last + 1, f"Entry {last + 1} is missing.")
        if seal(previous, row) != row["seal"]:
            return Verdict(count, last, previous, number, f"Entry {number} was changed after it was sealed.")
        if row["values"] is not None and values_digest(row["salt"], row["values"]) != row["values_digest"]:
            return Verdict(count, last, previous, number, f"The values of entry {number} were changed.")
        previous, last = row["seal"], number
    return Verdict(count, last, previous)
