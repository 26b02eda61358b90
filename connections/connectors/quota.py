"""What a system says of the calls that are left, read from the headers of any answer.

Pure: no Django, no HTTP library, no clock. The usual headers are read for every connector; one whose system uses others
overrides `Connector.quota`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

# Names of the same three figures, as vendors write them: limit, remaining, reset.
USUAL = (
    ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"),
    ("x-rate-limit", "x-rate-limit-remaining", "ratelimit-reset"),
    ("x-ratelimit-total", "x-ratelimit-remaining", ""),
    ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"),
)
# A reset above this is a moment (seconds since 1970), below it the seconds that are left.
MOMENT = 10**8


@dataclass(frozen=True, slots=True)
class Quota:
    """Calls that the system lets us make. `window`: seconds of a sliding window, where it is one; `resets_at`: seconds
    since 1970 at which they are given anew, `resets_in`: seconds until then; 0 where not told."""

    limit: int
    remaining: int
    window: float = 0.0
    resets_at: float = 0.0
    resets_in: float = 0.0


def usual_quota(headers: Mapping[str, str]) -> Quota | None:
    """The quota of the usual headers (names in any case), or None where there are none."""
    for limit_name, remaining_name, reset_name in USUAL:
        limit, remaining = _whole(headers.get(limit_name)), _whole(headers.get(remaining_name))
        if limit and remaining is not None and remaining <= limit:
            at = _seconds(headers.get(reset_name)) if reset_name else 0.0
            return Quota(limit, remaining, resets_at=at if at > MOMENT else 0.0, resets_in=at if at <= MOMENT else 0.0)
    return None


def _whole(text: str | None) -> int | None:
    """A number of calls; None for anything else, such as a list of several limits."""
    return int(text) if text is not None and text.strip().isascii() and text.strip().isdecimal() else None


def _seconds(text: str | None) -> float:
    """A reset as seconds or as a moment; 0.0 where it is neither."""
    if text is None:
        return 0.0
    number = _whole(text)
    if number is not None:
        return float(number)
    try:
        moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        return 0.0
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
