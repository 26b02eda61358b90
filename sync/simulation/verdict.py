"""What an oracle finds."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Verdict:
    findings: list[str] = field(default_factory=list)
    undetectable: int = 0  # overwritten, or deleted, where no system could tell
