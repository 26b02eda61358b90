"""Bulk writes as Zendesk does them: a job is queued, looked after, and tells what became of each record.

The job's id is kept before it is asked about, ⚑ beside those of other workers. A worker that dies meanwhile, or stops
waiting, leaves it behind: whoever has to find out what became of a write (see sync/recover.py) is told to wait as long
as the job may still do it.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from connections.connectors import zendesk_errors as errors
from connections.connectors.base import ConnectorError, RateLimited, Retry, Uncertain
from connections.connectors.zendesk_desk import Desk

STATE = "jobs"
DONE, FAILED = "completed", ("failed", "killed")
# A job of a hundred tickets takes some seconds. Each look is a call: the first comes when a quick one can be done, the
# next when its progress promises the end, or else after as long again.
FIRST_LOOK, PATIENCE = 0.3, 20.0
# Zendesk forgets what became of jobs; one this old is no longer in its queue.
KEPT_SECONDS = 3600.0
AGAIN_SECONDS = 10.0

Jobs = dict[str, dict[str, Any]]  # {id: when it was noted, and the names of its records}


def run(
    desk: Desk, method: str, path: str, body: Any, names: Sequence[str]
) -> Sequence[Mapping[str, Any] | ConnectorError]:
    """What became of each record, in order: its result as Zendesk tells it, or the error of the whole.

    names: ids or keys by which the records are known while the job is at work. Raises where nothing was queued.
    """
    job = _job(desk.call(method, path, json=body, write=True).json)
    if job is None:
        raise errors.unknown(True)
    id = str(job["id"])
    _note(desk, id, names)
    waited = 0.0
    while job["status"] != DONE and waited < PATIENCE:
        if job["status"] in FAILED:
            _drop(desk, [id])
            return [_unknown_fate("Zendesk's job ended early.")] * len(names)
        seconds = min(_until_done(job, waited), PATIENCE - waited)
        pause(seconds)
        waited += seconds
        try:
            job = _job(desk.call("GET", f"job_statuses/{id}").json) or job
        except Retry:
            continue  # it is done or not, whether we may look now or later
        except ConnectorError as error:
            return [_unknown_fate(error.message)] * len(names)
    if job["status"] != DONE:
        return [_unknown_fate("Zendesk is still at work on it.")] * len(names)
    _drop(desk, [id])
    return _by_item(job.get("results"), names)


def _until_done(job: Mapping[str, Any], waited: float) -> float:
    """Seconds to the next look at a job that was not done after `waited`."""
    done, total = job.get("progress"), job.get("total")
    if waited and isinstance(done, int) and isinstance(total, int) and 0 < done < total:
        return max(FIRST_LOOK, waited * (total - done) / done)
    return waited or FIRST_LOOK


def check_none_at_work(desk: Desk, names: Collection[str]) -> None:
    """Raises RateLimited while a job that may still write one of these is in Zendesk's queue: nothing is wrong with the
    connection, and it is too early to tell."""
    kept = desk.context.state.get(STATE, {})
    concerned = {id: one for id, one in kept.items() if set(one["names"]) & set(names)}
    if not concerned:
        return
    now = time.time()
    recent = [id for id, one in concerned.items() if now - one["at"] < KEPT_SECONDS]
    unfinished: set[str] = set()
    if recent:
        body = desk.call("GET", "job_statuses/show_many", params={"ids": ",".join(recent)}).json
        told = body.get("job_statuses") if isinstance(body, Mapping) else None
        if not isinstance(told, list):
            raise errors.unknown(False)
        states = {str(one.get("id")): one.get("status") for one in told if isinstance(one, Mapping)}
        unfinished = {id for id in recent if states.get(id) in ("queued", "working")}
    _drop(desk, [id for id in concerned if id not in unfinished])
    if unfinished:
        raise RateLimited(
            "Zendesk is still at work on a write of ours. Nothing is lost. We look again when it is done.",
            after=AGAIN_SECONDS,
        )


def _job(body: Any) -> dict[str, Any] | None:
    job = body.get("job_status") if isinstance(body, Mapping) else None
    fits = isinstance(job, dict) and isinstance(job.get("id"), str) and job["id"] and isinstance(job.get("status"), str)
    return job if fits else None


def _by_item(results: Any, names: Sequence[str]) -> list[Mapping[str, Any] | ConnectorError]:
    """Results by their index; an update's, which may lack it, by the id of its ticket."""
    found: dict[int, Mapping[str, Any]] = {}
    for one in results if isinstance(results, list) else []:
        if not isinstance(one, Mapping):
            continue
        place = one.get("index")
        if not isinstance(place, int) and str(one.get("id")) in names:
            place = names.index(str(one.get("id")))
        if isinstance(place, int) and 0 <= place < len(names):
            found[place] = one
    return [found.get(place) or _unknown_fate("Zendesk's job does not say how it went.") for place in range(len(names))]


def _unknown_fate(what: str) -> Uncertain:
    return Uncertain(f"{what} It may have taken our change or not; we look before anything is sent again.")


def _note(desk: Desk, id: str, names: Sequence[str]) -> None:
    now = time.time()

    def noted(kept: Jobs | None) -> Jobs:
        recent = {key: one for key, one in (kept or {}).items() if now - one["at"] < KEPT_SECONDS}
        return {**recent, id: {"at": now, "names": list(names)}}

    desk.context.state.change(STATE, noted)


def _drop(desk: Desk, ids: Collection[str]) -> None:
    if ids:
        desk.context.state.change(STATE, lambda kept: {key: one for key, one in (kept or {}).items() if key not in ids})


def pause(seconds: float) -> None:
    time.sleep(seconds)
