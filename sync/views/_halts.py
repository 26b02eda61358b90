"""What keeps every record of a mapping waiting: a pause, a halt, a system, its schedule; worst first, in words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.conf import settings
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from connections.models import Connection
from connections.pauses import Standstill
from mappings import schedules
from mappings.models import Mapping as SyncMapping
from sync import turns
from sync.models import ChangedRecord, MappingState
from sync.session import SIDES
from sync.standing import stands_still
from sync.wording import sentence


@dataclass(frozen=True, slots=True)
class Why:
    """kind: ok, info, warn or bad. head: the answer; text: what it means; url, button: the way on."""

    kind: str
    head: str
    text: str = ""
    url: str = ""
    button: str = ""


def halt_of(mapping: SyncMapping, state: MappingState | None) -> Why | None:
    """Why nothing of the mapping is written now, whatever its schedule; None where it is."""
    return _of_the_mapping(mapping, state) or _of_the_systems(mapping)


def _of_the_mapping(mapping: SyncMapping, state: MappingState | None) -> Why | None:
    waits = "Changes are noted and wait; nothing is lost."
    still = stands_still(mapping, timezone.now())
    if mapping.state == SyncMapping.State.DRAFT:
        head = f"Nothing moves: the mapping {mapping.name} is not published"
        return Why("warn", head, waits, url_of("mapping", mapping.slug), "See the mapping")
    if still is not None:
        head = f"Nothing moves: {still.head}"
        return Why("warn", head, " ".join(part for part in (still.why, waits) if part), *_place(mapping, still))
    halt = state.halt if state else ""
    reason = state.halt_reason if state else {}
    if halt == MappingState.Halt.APPROVAL:
        return Why(
            "warn", "The first run waits for approval", "Nothing is written before.", url_of("runs"), "See the runs"
        )
    if halt == MappingState.Halt.RESTORED:
        said = sentence(reason.get("code", ""), reason.get("params"))
        head = "Nothing is written: the mapping is compared after a restore"
        system = _of_the_systems(mapping) if state is not None and state.compared_at is None else None
        if system is not None:  # it cannot even be compared
            return replace(system, kind="bad", head=f"{head}. {system.head}", text=f"{said} {system.text}")
        return Why("bad", head, said, url_of("runs"), "See the runs")
    if halt == MappingState.Halt.BRAKE:
        said = sentence(reason.get("code", "brake"), reason.get("params"))
        return Why("bad", "A brake halted the mapping", said, url_of("runs"), "See the runs")
    return None


def _place(mapping: SyncMapping, still: Standstill) -> tuple[str, str]:
    """Where the pause or window stands: (address, button)."""
    for side in SIDES:
        if still.name == mapping.connection(side).name and still.name != mapping.name:
            return url_of("connection", mapping.connection(side).pk), "See the connection"
    return url_of("mapping", mapping.slug), "See the mapping"


def _of_the_systems(mapping: SyncMapping) -> Why | None:
    now = timezone.now()
    for side in SIDES:
        one = mapping.connection(side)
        url, button = url_of("connection", one.pk), "See the connection"
        if not one.usable:
            state = Connection.State(one.state).label.lower()
            head = f"Nothing moves: {one.name} needs a person ({state})"
            text = " ".join(part for part in (one.state_reason, "Changes wait; nothing is lost.") if part)
            return Why("bad", head, text, url, button)
        if one.down_since is not None:
            head = f"{one.name} does not answer since {timezone.localtime(one.down_since):%H:%M}"
            return Why("warn", head, f"{one.state_reason} Changes wait; nothing is lost.".strip(), url, button)
        if one.retry_after and one.retry_after > now:
            until = timezone.localtime(one.retry_after)
            reason = one.state_reason if one.state == Connection.State.UNREACHABLE else ""
            head = f"{one.name} {'does not answer' if reason else 'asked us to wait'}, until {until:%H:%M:%S}"
            return Why("warn", head, f"{reason} Changes wait; nothing is lost.".strip(), url, button)
    return None


# Schedules. ------------------------------------------------------------------------------------------------------


def between_runs(mapping: SyncMapping, state: MappingState | None) -> str:
    """How the mapping runs and when next, where it waits for that: "Orders runs only by hand"; "" while it runs."""
    plan = mapping.published.document.get("schedule") if mapping.published is not None else None
    now = timezone.now()
    if not plan or state is None or state.approved_at is None or not turns.off_schedule(plan, state, now):
        return ""
    words = schedules.words(plan)
    said = f"{mapping.name} runs {words[0].lower()}{words[1:]}"
    runs = schedules.next_runs(plan, now, settings.TIME_ZONE, state.next_turn_at, 1)
    return f"{said}, next {_moment(runs[0])}" if runs else said


def for_its_run(mapping: SyncMapping, state: MappingState | None, what: str = "A change waits") -> Why | None:
    """Why what was noticed is not looked at now: `what` waits for the schedule."""
    said = between_runs(mapping, state)
    if not said:
        return None
    text = "Nothing is lost; a person who may start runs can start the next one at any time."
    return Why("info", f"{what}: {said}", text, url_of("runs"), "See the runs")


def as_of_its_run(mapping: SyncMapping, state: MappingState | None) -> str:
    """As of when we know a pair that is looked at with the next run only; "" while the mapping runs."""
    said = between_runs(mapping, state)
    if not said or state is None or state.last_run_at is None:
        return ""
    return f"This was so at the last run, {_moment(state.last_run_at)}: {said}."


def _moment(at: datetime) -> str:
    local = timezone.localtime(at)
    return f"{local:%H:%M}" if local.date() == timezone.localtime().date() else f"{local:%a %-d %b, %H:%M}"


# Failed looks. ---------------------------------------------------------------------------------------------------


def failed_look(hint: ChangedRecord, mapping: SyncMapping, state: MappingState | None, fingerprint: str) -> Why:
    """Why a record that was looked at still waits. `fingerprint`: of the failure under which it is listed, if it is."""
    return Why(
        "bad" if hint.attempts > 2 else "warn",
        f"The last look failed: {hint.error.rstrip('.') or 'no reason was given'}",
        f"Nothing is lost. {tried(hint, mapping, state)}".strip(),
        *way_to_cause(fingerprint),
    )


def tried(hint: ChangedRecord, mapping: SyncMapping, state: MappingState | None) -> str:
    """How often a failed look or write was tried, and when it is tried next; "" where it was not."""
    if not hint.attempts:
        return ""
    times = "once" if hint.attempts == 1 else f"{hint.attempts} times"
    if said := between_runs(mapping, state):
        return f"Tried {times}, the next try comes with the next run: {said}."
    return f"Tried {times}, the next try is at {timezone.localtime(hint.not_before):%H:%M:%S}."


def way_to_cause(fingerprint: str) -> tuple[str, str]:
    """The way to the page of the cause: (address, button)."""
    return (reverse("failure-group", args=[fingerprint]), "See the cause") if fingerprint else ("", "")


def url_of(name: str, *arguments: Any) -> str:
    """The page's address; "" where there is none."""
    try:
        return reverse(name, args=arguments)
    except NoReverseMatch:
        return ""
