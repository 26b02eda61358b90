"""Background jobs of a Zendesk account: queued, worked off, and asked about."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from connections.sandbox.zendesk_records import Conflict, Invalid, Records, Row


class Jobs:
    """`looks`: how often a job is asked about before it is done. `held`: nothing is worked off until `work()`."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.store = records.store
        self.looks = 0
        self.held = False
        self._waiting: list[tuple[str, Callable[[], list[Row]]]] = []

    def queue(self, base: str, tasks: Sequence[Mapping[str, Any]], verb: str, by: int) -> Row:
        id = f"V3-{secrets.token_hex(16)}"
        url = f"{base}/api/v2/job_statuses/{id}.json"
        job: Row = {"id": id, "url": url, "total": len(tasks), "progress": None, "status": "queued"}
        job |= {"message": None, "results": None}
        self.store.put("job", id, {**job, "looks": self.looks, "done": None})
        self._waiting.append((id, lambda: [self._one(place, task, verb, by) for place, task in enumerate(tasks)]))
        if not self.held:
            self.work()
        return job

    def work(self) -> None:
        """Work off what waits."""
        waiting, self._waiting = self._waiting, []
        for id, act in waiting:
            self.store.put("job", id, {**self.store.get("job", id), "done": act()})

    def look(self, id: str) -> Row | None:
        job: Row | None = self.store.get("job", id)
        if job is None:
            return None
        done, looks = job.pop("done"), job.pop("looks")
        if done is None or looks > 0:
            self.store.put("job", id, {**job, "done": done, "looks": max(0, looks - 1)})
            return {**job, "status": "working" if done is not None else "queued"}
        told = {"status": "completed", "progress": job["total"], "results": done}
        return {**job, **told, "message": f"Completed at {self.records.stamp()}"}

    def _one(self, place: int, task: Mapping[str, Any], verb: str, by: int) -> Row:
        try:
            if verb == "create":
                return {"index": place, "id": self.records.create(task, by)[0]["id"], "account_id": 18525119}
            row, _ = self.records.update(task.get("id"), task, by)
            return {"index": place, "id": row["id"], "action": "update", "status": "Updated", "success": True}
        except KeyError:
            failed = {"error": "TicketNotFound", "details": "The ticket was not found"}
        except Conflict:
            failed = {"error": "UpdateConflict", "details": "The ticket was updated since updated_stamp"}
        except Invalid as problem:
            failed = {"error": "RecordInvalid", "details": " ".join(problem.details.values())}
        return {"index": place, "id": task.get("id"), "action": verb, "status": "Failed", "success": False, **failed}
