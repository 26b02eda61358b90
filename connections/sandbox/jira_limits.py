"""Rate limits of the Jira stand-in: calls per second and user, writes per issue, and the headers that tell."""

from __future__ import annotations

from collections.abc import Callable

from connections.sandbox.base import Request, Response, Stop
from connections.sandbox.jira_site import Site
from connections.sandbox.jira_views import utc_minute

# Below this share of its limit Jira adds X-RateLimit-NearLimit.
NEAR_LIMIT = 0.2


class Limits:
    """`per_second`: calls per second and user, bursts of twice that. `writes_per_issue`: (writes, seconds)."""

    def __init__(
        self, site: Site, now: Callable[[], float], per_second: float | None, writes_per_issue: tuple[int, float] | None
    ) -> None:
        self.site = site
        self.now = now
        self.per_second = per_second
        self.writes_per_issue = writes_per_issue
        self._buckets: dict[str, tuple[float, float]] = {}  # account id → (calls left, when)
        self._writes: dict[str, list[float]] = {}

    def check(self, request: Request, account: str) -> None:
        """Count a call. Raises Stop(429) for one too many."""
        if self.per_second is not None and not self._take_call(account):
            raise Stop(self._too_many("jira-burst-based", 1.0))
        if self.writes_per_issue is not None and request.method in ("PUT", "POST", "DELETE"):
            self._count_write(request)

    def headers(self, account: str) -> dict[str, str]:
        """What an answer tells about the calls left."""
        if self.per_second is None:
            return {}
        left = self._buckets.get(account, (0.0, 0.0))[0]
        near = {"X-RateLimit-NearLimit": "true"} if left < NEAR_LIMIT * 2 * self.per_second else {}
        return self._limit_headers(left) | near

    def _take_call(self, account: str) -> bool:
        rate, now = float(self.per_second or 0), self.now()
        left, when = self._buckets.get(account, (2 * rate, now))
        left = min(2 * rate, left + (now - when) * rate)
        self._buckets[account] = (max(0.0, left - 1), now)
        return left >= 1

    def _count_write(self, request: Request) -> None:
        parts = request.path.split("/")
        issue = self.site.find(parts[5]) if len(parts) > 5 and parts[4] == "issue" else None
        if issue is None or self.writes_per_issue is None:
            return
        allowed, seconds = self.writes_per_issue
        recent = [t for t in self._writes.get(issue["id"], []) if t > self.now() - seconds]
        if len(recent) >= allowed:
            raise Stop(self._too_many("jira-per-issue-on-write", recent[0] + seconds - self.now()))
        self._writes[issue["id"]] = [*recent, self.now()]

    def _too_many(self, reason: str, seconds: float) -> Response:
        wait = max(1, int(seconds + 0.999))
        headers = self._limit_headers(0) | {
            "Retry-After": str(wait),
            "X-RateLimit-Reset": utc_minute(self.site.clock() + wait),
            "RateLimit-Reason": reason,
        }
        return Response(429, {"errorMessages": ["Rate limit exceeded."], "errors": {}}, headers)

    def _limit_headers(self, left: float) -> dict[str, str]:
        limit = int(2 * (self.per_second or 0))
        return {"X-RateLimit-Limit": str(limit), "X-RateLimit-Remaining": str(int(left))}
