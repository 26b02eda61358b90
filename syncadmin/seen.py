"""What a page was made from: a second person's save in between is noticed by it."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def state_digest(*parts: Any) -> str:
    """Of what is stored, as the page sends it back with its form."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
