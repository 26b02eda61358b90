"""The lease of a mapping: one run at a time, and a worker that lost it cannot commit.

A conditional UPDATE takes it, so it works the same on SQLite and PostgreSQL. The fencing number grows with every
holder; every commit of a run is conditional on it (Kleppmann, "How to do distributed locking", 2016).
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone

from sync.models import MappingState
from sync.rows import change, select

# Renewed with every commit and before every batch; long enough for one slow remote call, short enough that a
# killed worker's mapping goes on within half a minute.
LEASE_SECONDS = 30
# While slow calls run in threads, the main thread extends it this often.
RENEW_SECONDS = LEASE_SECONDS / 3


TAKE = """UPDATE sync_mappingstate SET fence = fence + 1, lease_until = %s, holder = %s
    WHERE mapping_id = %s AND (lease_until IS NULL OR lease_until < %s)"""
EXTEND = """UPDATE sync_mappingstate SET lease_until = %s
    WHERE mapping_id = %s AND fence = %s AND lease_until IS NOT NULL"""
FREE = "UPDATE sync_mappingstate SET lease_until = NULL, holder = '' WHERE mapping_id = %s AND fence = %s"


class LeaseLost(Exception):
    """Another run holds the mapping: stop at once, commit nothing."""


@dataclass(slots=True)
class Lease:
    mapping_id: int
    fence: int
    sure_until: float = 0.0  # on the monotonic clock: before this nobody else can have taken it

    @property
    def sure(self) -> bool:
        """Whether it certainly is still ours, without asking the database: the look of threads before they send."""
        return time.monotonic() < self.sure_until

    def renew(self) -> None:
        """Extend the lease; raises LeaseLost. Inside a transaction it also makes the commit conditional."""
        sure_until = time.monotonic() + LEASE_SECONDS
        until = timezone.now() + timedelta(seconds=LEASE_SECONDS)
        if not change(EXTEND, until, self.mapping_id, self.fence):
            self.sure_until = 0.0
            raise LeaseLost(f"The lease of mapping {self.mapping_id} passed to another run.")
        self.sure_until = sure_until

    def release(self) -> None:
        change(FREE, self.mapping_id, self.fence)


def take(mapping_id: int) -> Lease | None:
    """The lease, or None while somebody holds it."""
    now = timezone.now()
    if not select("SELECT 1 FROM sync_mappingstate WHERE mapping_id = %s", mapping_id):
        MappingState.objects.get_or_create(mapping_id=mapping_id)
    sure_until = time.monotonic() + LEASE_SECONDS
    holder = f"{socket.gethostname()}:{os.getpid()}"[:100]
    if not change(TAKE, now + timedelta(seconds=LEASE_SECONDS), holder, mapping_id, now):
        return None
    # Nobody else can have raised it since: the lease is ours until it ends.
    [(fence,)] = select("SELECT fence FROM sync_mappingstate WHERE mapping_id = %s", mapping_id)
    return Lease(mapping_id, fence, sure_until)
