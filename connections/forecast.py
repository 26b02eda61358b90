"""How far the calls of a connection go: used so far, at this pace by the end of the window, and when they run out.

Pure: the time and all counts are inputs. Where a system tells what is left, that is what counts, since others may use
the same allowance; else only our own limit is known.
"""

from __future__ import annotations

from dataclasses import dataclass

from connections.connectors.quota import Quota

HOUR = 3600.0
# From this share of the allowance on, by the end of the window, somebody should know.
NEAR = 0.8


@dataclass(frozen=True, slots=True)
class Forecast:
    """kind: ok, warn or bad. `share`: of the allowance that is used by the end of the window at this pace; None where
    nobody can say. `runs_out_in`: seconds, None where it does not."""

    kind: str
    left: str  # what is left now, for people
    ahead: str  # what becomes of it
    share: float | None = None
    runs_out_in: float | None = None


def forecast(quota: Quota | None, per_hour: float, rate: float, now: float) -> Forecast:
    """What becomes of the allowance at the pace of `per_hour` calls.

    quota: as the system told last; rate: our own limit, calls a second; now: seconds since 1970.
    """
    if quota is None:
        allowed = rate * HOUR
        share = per_hour / allowed
        left = f"The system does not tell how many calls are left. Our own limit is {allowed:,.0f} an hour."
        ahead = f"At the present pace ({per_hour:,.0f} an hour) we use {_percent(share)} of it."
        return Forecast("warn" if share >= NEAR else "ok", left, ahead, share)
    left = f"The system tells that {quota.remaining:,} of {quota.limit:,} calls are left"
    ends_in = quota.window or quota.resets_in or max(0.0, quota.resets_at - now)
    if not ends_in:
        return Forecast("warn" if quota.remaining <= quota.limit * (1 - NEAR) else "ok", f"{left}.", "")
    more = per_hour * ends_in / HOUR
    # A sliding window gives back what it took: in its length we use what we use, whatever is used now.
    by_then = more if quota.window else quota.limit - quota.remaining + more
    share = by_then / quota.limit
    runs_out = quota.remaining / per_hour * HOUR if per_hour and more > quota.remaining else None
    span = f" in {_span(ends_in)}" if quota.window else f", given anew in {_span(ends_in)}"
    pace = f"At the present pace ({per_hour:,.0f} an hour) {_percent(share)} of them are used by then"
    ahead = f"{pace}; they run out in {_span(runs_out)}." if runs_out is not None else f"{pace}; they do not run out."
    kind = "bad" if runs_out is not None else "warn" if share >= NEAR else "ok"
    return Forecast(kind, f"{left}{span}.", ahead, share, runs_out)


def _percent(share: float) -> str:
    return "less than 1 %" if 0 < share < 0.01 else f"{share * 100:.0f} %"


def _span(seconds: float) -> str:
    """Seconds for people: "45 s", "12 min", "3 h"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * HOUR else f"{seconds / HOUR:.0f} h"
