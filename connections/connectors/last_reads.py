"""What the last read of each record said: whether a system took a write is seen by what it says afterwards."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from connections.connectors.base import Record

# A run reads some hundred records before it writes them; of each we keep digests, not values.
REMEMBERED = 5_000


@dataclass(frozen=True, slots=True)
class LastRead:
    """What the last read of a record said, as far as a write or a scope asks. `values`: digests by path."""

    version: str = ""
    values: Mapping[str, bytes] = field(default_factory=dict)
    held: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def said(self, path: str, value: Any) -> bool:
        return self.values.get(path) == digest(value)


class LastReads:
    def __init__(self) -> None:
        self._by_id: OrderedDict[str, LastRead] = OrderedDict()

    def remember(self, record: Record, held: Mapping[str, tuple[str, ...]] | None = None) -> None:
        before = self._by_id.pop(record.external_id, None)
        values = {path: digest(value) for path, value in record.values.items()}
        if before and before.version == record.version:
            values = {**before.values, **values}
        self._by_id[record.external_id] = LastRead(record.version, values, held or {})
        while len(self._by_id) > REMEMBERED:
            try:
                self._by_id.popitem(last=False)
            except KeyError:  # another thread was faster
                break

    def get(self, external_id: str) -> LastRead | None:
        return self._by_id.get(external_id)


def digest(value: Any) -> bytes:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
