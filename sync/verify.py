"""The life of a verification: begun, carried out in slices, taken up again after a crash, stopped, ended.

⚑ It writes nothing remote and holds no lease of the mapping, so live runs never wait for it.
"""

from __future__ import annotations

import logging
import secrets
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Count, F, Max, Q
from django.utils import timezone

from connections import retest
from connections.connectors.base import Gone, NeedsAuthorization, NotAllowed, RateLimited, Refused
from connections.models import Connection
from mappings.models import Mapping
from sync import audit, hints, jobs
from sync.lease import Lease
from sync.models import Link, Run, Verification
from sync.read import SideFailed
from sync.session import SIDES, open_session
from sync.standing import StandsStill, keeps_from_comparing
from sync.verify_pairs import APART, no_counts
from sync.verify_walk import LEASE, Lost, Stopped, Walk, pairs_left, pairs_of, stretch

log = logging.getLogger("sync")

# Enough to see one pair in a hundred that differs with 95 % certainty, at six calls where a call reads a hundred.
SAMPLE_PAIRS = 300
# Without room in the budget for so long the verification stops itself. The clock begins another soon: a sample within
# the day, a complete one after a day.
GIVE_UP_AFTER = timedelta(hours=12)
# In a row, without getting on: a system that fails, or a worker that dies.
MOST_TRIES = 8
PAUSE_SECONDS = 15.0
# What stands still is looked at again after this long: somebody may resume it, or take the window away.
LOOK_AGAIN = timedelta(minutes=1)

State, Kind = Verification.State, Verification.Kind


class CannotBegin(Exception):
    """A verification cannot begin now; the text says why, in three parts."""


# Begin and stop. -------------------------------------------------------------------------------------------------


def begin(mapping: Mapping, kind: str, by: str = "", size: int = SAMPLE_PAIRS) -> Verification:
    """Begin a verification of what is published; `by`: who asked, "" for the clock. Raises CannotBegin."""
    if mapping.published is None:
        raise CannotBegin(f"{mapping} was never published. · There is nothing to compare. · Publish it first.")
    if still := keeps_from_comparing(mapping, timezone.now(), by_clock=not by):
        said = " ".join(part for part in (f"{still.head}.", still.why) if part)
        raise CannotBegin(f"{said} · Nothing was read, and no verification was begun. · Verify again after that.")
    for side in SIDES:
        connection = mapping.connection(side)
        if not connection.usable:
            raise CannotBegin(
                f"{connection} cannot be used: {connection.get_state_display()}. · Nothing was read. · "
                "Repair the connection, then verify again."
            )
    pairs = pairs_of(mapping)
    apart = Link.objects.filter(mapping=mapping, state__in=APART).values_list("state").annotate(n=Count("pk"))
    number = pairs.count()
    one = Verification(
        mapping=mapping,
        version=mapping.published,
        kind=kind,
        size=size if kind == Kind.SAMPLE else 0,
        seed=secrets.randbits(62),
        started_by=by[:150],
        last=pairs.aggregate(last=Max("pk"))["last"] or 0,
        total=min(size, number) if kind == Kind.SAMPLE else number,
        counts={**no_counts(), "apart": dict(apart.order_by())},
        rung_at=timezone.now(),
    )
    try:
        with transaction.atomic():
            one.save()
            if by:
                _audit(one, "verification_started", by, {"kind": one.get_kind_display().lower(), "pairs": one.total})
            jobs.verify_soon(one.pk)
    except IntegrityError:
        raise CannotBegin(
            f"A verification of {mapping} is going on already. · Nothing was begun. · Wait for its end, or stop it."
        ) from None
    return one


def stop(one: Verification, by: str) -> bool:
    """Ask an open verification to end; False if it had ended already. A worker notices before its next call."""
    with transaction.atomic():
        asked = Verification.objects.filter(pk=one.pk, state__in=Verification.OPEN, stop_asked_by="")
        if not asked.update(stop_asked_by=by[:150], not_before=timezone.now(), rung_at=timezone.now()):
            return False
        _audit(one, "verification_stopped", by, {})
        free = Verification.objects.filter(pk=one.pk, state=State.WAITING)
        if not free.update(state=State.STOPPED, finished_at=timezone.now(), reason=_stop_reason(by)):
            jobs.verify_soon(one.pk)  # its worker may be dead: then the next one ends it
    return True


def _stop_reason(by: str) -> dict[str, Any]:
    return {"code": "verification_stopped", "params": {"by": by}}


def _audit(one: Verification, code: str, by: str, params: dict[str, Any]) -> None:
    audit.write("verification", code, actor=by, actor_kind="person", mapping=one.mapping, params={**params, "by": by})


# Carrying out. ---------------------------------------------------------------------------------------------------


def work(verification_id: int) -> str:
    """Carry a verification on for a slice of time. Returns its state, or "busy" where another worker has it.

    Safe to call at any time, from any number of workers.
    """
    one = _claim(verification_id)
    if one is None:
        return "busy"
    walk: Walk | None = None
    try:
        if one.stop_asked_by:
            raise Stopped
        if one.tries > MOST_TRIES and one.reason.get("code") != "verification_waits":
            return _end(one, State.FAILED, one.reason or {"code": "verification_broke_off", "params": {}})
        walk = Walk(
            one, open_session(one.mapping, Lease(one.mapping_id, 0), Run.Kind.DRY, "verify", version=one.version)
        )
        return _carry_on(walk)
    except Lost:
        return "lost"
    except Stopped:
        asked = Verification.objects.values_list("stop_asked_by", flat=True).get(pk=one.pk)
        return _end(one, State.STOPPED, _stop_reason(asked), walk)
    except StandsStill:
        assert walk is not None
        return _hold(walk) or _hand_on(walk)  # it may be over by now
    except SideFailed as failure:
        # A system that fails because its window has just begun is no failure.
        return _stand_still(one, walk, _mapping_now(one)) or _set_back(one, walk, failure)
    except (KeyboardInterrupt, SystemExit):
        _leave(one, walk, state=State.WAITING)  # the worker is asked to end: the next one goes on at once
        raise
    except Exception as problem:
        log.exception("verification %s failed", one.pk)
        _end(one, State.FAILED, _failed(f"{problem.__class__.__name__}."), walk)
        raise


def _claim(verification_id: int) -> Verification | None:
    """One worker at a time; a dead one's turn ends with its lease."""
    now = timezone.now()
    free = Verification.objects.filter(
        Q(lease_until=None) | Q(lease_until__lt=now),
        pk=verification_id,
        state__in=Verification.OPEN,
        not_before__lte=now,
    )
    turn = {"fence": F("fence") + 1, "tries": F("tries") + 1, "lease_until": now + LEASE, "heartbeat_at": now}
    if not free.update(state=State.RUNNING, **turn):
        return None
    related = ("mapping__left_connection", "mapping__right_connection", "mapping__published", "version")
    return Verification.objects.select_related(*related).get(pk=verification_id)


def _carry_on(walk: Walk) -> str:
    one = walk.one
    pairs = pairs_left(walk)
    while True:
        walk.beat()
        if held := _hold(walk):
            return held
        if stretch(walk, pairs):
            return _end(one, State.DONE, {}, walk)
        if walk.over():
            return _hand_on(walk)


def _hold(walk: Walk) -> str:
    """End it or let it wait, where it must not read on now: its state then; "" where it may."""
    one, mapping = walk.one, _mapping_now(walk.one)
    if stopped := _why_stop(one, mapping):
        return _end(one, State.STOPPED, stopped, walk)
    if stands := _stand_still(one, walk, mapping):
        return stands
    if _asked_to_wait(mapping):
        return _pause(one, walk)
    due = next((row for side in SIDES if (row := mapping.connection(side)).to_be_tested), None)
    return _test_first(walk, due) if due else ""


def _mapping_now(one: Verification) -> Mapping:
    return Mapping.objects.select_related("left_connection", "right_connection").get(pk=one.mapping_id)


def _why_stop(one: Verification, mapping: Mapping) -> dict[str, Any]:
    """What makes the rest of the comparison meaningless or unwelcome; {} for nothing."""
    if mapping.published_id != one.version_id:
        return {"code": "verification_version_moved", "params": {}}
    for side in SIDES:
        connection = mapping.connection(side)
        if not connection.usable:
            reason = connection.state_reason or connection.get_state_display()
            return {"code": "connection_unusable", "params": {"connection": connection.name, "reason": reason}}
    return {}


def _asked_to_wait(mapping: Mapping) -> Connection | None:
    """The connection whose system asked us to wait longest, if one did."""
    now = timezone.now()
    connections = [mapping.connection(side) for side in SIDES]
    waiting = [one for one in connections if one.waits_until(now)]
    return max(waiting, key=lambda one: one.waits_until(now) or now) if waiting else None


def _test_first(walk: Walk, connection: Connection) -> str:
    """Whose records are read is not known. ⚑ The next slice goes on: this one calls with what was stored before."""
    retest.before_run(connection)
    until = timezone.now() + timedelta(seconds=PAUSE_SECONDS)
    reason = {"code": "verification_tests", "params": {"system": connection.name}}
    _leave(walk.one, walk, state=State.WAITING, not_before=until, reason=reason, tries=0)
    return State.WAITING


# Endings and pauses. ---------------------------------------------------------------------------------------------


def _leave(one: Verification, walk: Walk | None, **changes: Any) -> None:
    held = Verification.objects.filter(pk=one.pk, fence=one.fence, state=State.RUNNING)
    held.update(lease_until=None, done=one.counts["pairs"], **changes, **(walk.spent() if walk else {}))


def _end(one: Verification, state: str, reason: dict[str, Any], walk: Walk | None = None) -> str:
    _leave(one, walk, state=state, reason=reason, finished_at=timezone.now())
    return state


def _hand_on(walk: Walk) -> str:
    """The slice is over: the next worker goes on, after what waits in the queue."""
    _leave(walk.one, walk, state=State.WAITING, rung_at=timezone.now())
    jobs.verify_soon(walk.one.pk)
    return State.WAITING


def _stand_still(one: Verification, walk: Walk | None, mapping: Mapping) -> str:
    """Wait for the end of a window or pause; "" where there is none.

    ⚑ What was read since the last commit is read again: a system may have hidden it already. The time counts neither
    as a try nor as time without room in the budget.
    """
    now = timezone.now()
    still = keeps_from_comparing(mapping, now, by_clock=not one.started_by)
    if still is None:
        return ""
    until = min(still.until or now + LOOK_AGAIN, now + LOOK_AGAIN)
    reason = {"code": "verification_stands_still", "params": {"head": still.head}}
    _leave(one, walk, state=State.WAITING, not_before=until, reason=reason, tries=0, moved_at=now)
    return State.WAITING


def _pause(one: Verification, walk: Walk | None, seconds: float = 0.0, side: str = "") -> str:
    """No room in the budget: live edits go first, and we come back, or stop ourselves where that takes too long."""
    now = timezone.now()
    mapping = _mapping_now(one)
    asked = _asked_to_wait(mapping)
    until = now + timedelta(seconds=max(seconds, PAUSE_SECONDS))
    if asked is not None:
        until = max(until, asked.waits_until(now) or now)
    system = (mapping.connection(side) if side or asked is None else asked).name
    if now - one.moved_at > GIVE_UP_AFTER:
        return _end(one, State.STOPPED, {"code": "verification_no_room", "params": {"system": system}}, walk)
    reason = {"code": "verification_waits", "params": {"system": system}}
    _leave(one, walk, state=State.WAITING, not_before=until, reason=reason)
    return State.WAITING


def _failed(message: str) -> dict[str, Any]:
    return {"code": "verification_failed", "params": {"message": message}}


def _set_back(one: Verification, walk: Walk | None, failure: SideFailed) -> str:
    """A read failed. What was counted stays; the pairs since then are read again."""
    error, connection = failure.error, one.mapping.connection(failure.side)
    message = error.message or error.__class__.__name__
    if isinstance(error, RateLimited):
        return _pause(one, walk, error.after, failure.side)
    reason = _failed(f"{connection.name}: {message}")
    if one.tries >= MOST_TRIES or isinstance(error, NeedsAuthorization | NotAllowed | Refused | Gone):
        return _end(one, State.FAILED, reason, walk)
    until = timezone.now() + timedelta(seconds=hints.backoff(one.tries))
    _leave(one, walk, state=State.WAITING, not_before=until, reason=reason)
    return State.WAITING
