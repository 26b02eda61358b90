"""The answer of the record page: do both sides agree, and if not, why not and what comes next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Q
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from connections.models import Connection
from connections.pauses import Standstill
from mappings.models import Mapping as SyncMapping
from sync.models import ChangedRecord, Conflict, Instruction, Link, MappingState, Operation
from sync.session import SIDES
from sync.standing import stands_still
from sync.views import _schema
from sync.views._queue import cause_of
from sync.wording import sentence


@dataclass(frozen=True, slots=True)
class Why:
    """kind: ok, info, warn or bad. head: the answer; text: what it means; url, button: the way on."""

    kind: str
    head: str
    text: str = ""
    url: str = ""
    button: str = ""


@dataclass(slots=True)
class Known:
    """What the database knows of a link beside its own row."""

    conflicts: Sequence[Conflict]
    hints: Sequence[ChangedRecord]
    instruction: Instruction | None
    operation: Operation | None  # the newest
    failing: Operation | None  # the newest one that keeps failing
    state: MappingState | None
    schema: Sequence[Conflict] = ()  # entries of the mapping about fields that changed


def known_of(link: Link) -> Known:
    """Five queries."""
    of_record = Q(pk__in=[])
    for side in SIDES:
        if external_id := link.record_id(side):
            of_record |= Q(side=side, external_id=external_id)
    return Known(
        conflicts=list(Conflict.objects.filter(link=link).exclude(state=Conflict.State.CLOSED).order_by("pk")),
        hints=list(ChangedRecord.objects.filter(of_record, mapping=link.mapping_id)),
        instruction=Instruction.objects.filter(
            link=link, state__in=(Instruction.State.WAITING, Instruction.State.APPLYING)
        ).first(),
        operation=Operation.objects.filter(link=link).order_by("-pk").first(),
        failing=Operation.objects.filter(link=link, failing_since__isnull=False).order_by("-pk").first(),
        state=getattr(link.mapping, "run_state", None),
        schema=list(
            Conflict.objects.filter(
                mapping=link.mapping_id, link=None, kind=Conflict.Kind.SCHEMA, state=Conflict.State.OPEN
            ).order_by("pk")
        ),
    )


def why(link: Link, known: Known, names: Mapping[str, str], fields: int) -> Why:
    """The first thing that keeps the two records apart, worst first. `fields`: number of rules of the version."""
    return (
        _of_the_pair(link, known, names)
        or _of_the_mapping(link.mapping, known)
        or _of_the_systems(link.mapping)
        or _of_the_record(link, known, names)
        or _of_a_field(link.mapping, known)
        or _on_its_way(known)
        or _agree(link, fields)
    )


def _of_the_pair(link: Link, known: Known, names: Mapping[str, str]) -> Why | None:
    State = Link.State
    if link.state == State.UNLINKED:
        alone = not (link.left_id and link.right_id)
        return Why(
            "info",
            "This record is left alone on purpose" if alone else "This pair is unlinked on purpose",
            "It is neither matched nor copied."
            if alone
            else "Nothing is carried between them until they are linked again.",
        )
    if link.state == State.HELD:
        return Why(
            "warn", "This pair is held: a person took it out of a halted run", "Its changes wait, nothing is lost."
        )
    if link.state == State.DELETED:
        gone = " and ".join(names[side] for side in SIDES if getattr(link, f"deleted_{side}")) or "one system"
        return Why("info", f"Deleted in {gone}", "Its ids and keys are kept, so that it is known if it returns.")
    question = next((one for one in known.conflicts if not one.rule_id), None)
    if question is not None:
        return _decision(question, names)
    if link.state == State.CREATING:
        side = "right" if link.left_id else "left"
        there = names[side]
        if waits := _schema.creates_wait(known.schema, side):
            head = f"Its twin in {there} is not made yet"
            return Why("warn", head, _schema.what(waits), reverse("conflict", args=[waits.pk]), "See what to do")
        return Why("info", f"Its twin in {there} is being created", "It is here as soon as the system answers.")
    return None


def _decision(one: Conflict, names: Mapping[str, str], more: int = 0) -> Why:
    cause = cause_of(one, names) or "Both sides changed it after they last agreed."
    what = one.field_label or one.get_kind_display()
    head = f"{what} waits for a decision" if not more else f"{more + 1} fields wait for a decision"
    if one.state == Conflict.State.RESOLVING:
        return Why("info", f"{what} is being settled", "The answer is on its way.")
    text = f"{cause} The other fields flow on." if one.rule_id else cause
    return Why("warn", head, text, reverse("conflict", args=[one.pk]), "Settle it")


def _of_the_mapping(mapping: SyncMapping, known: Known) -> Why | None:
    waits = "Changes are noted and wait; nothing is lost."
    still = stands_still(mapping, timezone.now())
    if mapping.state == SyncMapping.State.DRAFT:
        head = f"Nothing moves: the mapping {mapping.name} is not published"
        return Why("warn", head, waits, _url("mapping", mapping.slug), "See the mapping")
    if still is not None:
        head = f"Nothing moves: {still.head}"
        return Why("warn", head, " ".join(part for part in (still.why, waits) if part), *_place(mapping, still))
    halt = known.state.halt if known.state else ""
    reason = known.state.halt_reason if known.state else {}
    if halt == MappingState.Halt.APPROVAL:
        return Why(
            "warn", "The first run waits for approval", "Nothing is written before.", _url("runs"), "See the runs"
        )
    if halt == MappingState.Halt.RESTORED:
        said = sentence(reason.get("code", ""), reason.get("params"))
        return Why(
            "bad", "Nothing is written: the mapping is compared after a restore", said, _url("runs"), "See the runs"
        )
    if halt == MappingState.Halt.BRAKE:
        said = sentence(reason.get("code", "brake"), reason.get("params"))
        return Why("bad", "A brake halted the mapping", said, _url("runs"), "See the runs")
    return None


def _place(mapping: SyncMapping, still: Standstill) -> tuple[str, str]:
    """Where the pause or window stands: (address, button)."""
    for side in SIDES:
        if still.name == mapping.connection(side).name and still.name != mapping.name:
            return _url("connection", mapping.connection(side).pk), "See the connection"
    return _url("mapping", mapping.slug), "See the mapping"


def _of_the_systems(mapping: SyncMapping) -> Why | None:
    now = timezone.now()
    for side in SIDES:
        one = mapping.connection(side)
        url, button = _url("connection", one.pk), "See the connection"
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


def _of_the_record(link: Link, known: Known, names: Mapping[str, str]) -> Why | None:
    if link.out_of_scope:
        return Why(
            "info",
            f"Not synced: the scope of the mapping leaves it out in {names[link.out_of_scope]}",
            "Both records stay as they are. It follows again within a minute once it is back in the scope.",
            _url("mapping-settings", link.mapping.slug),
            "See the scope",
        )
    if known.conflicts:
        return _decision(known.conflicts[0], names, len(known.conflicts) - 1)
    for hint in known.hints:
        if hint.attempts:
            again = timezone.localtime(hint.not_before)
            return Why(
                "bad" if hint.attempts > 2 else "warn",
                f"The last look failed: {hint.error.rstrip('.') or 'no reason was given'}",
                f"Nothing is lost. Tried {hint.attempts} times, the next try is at {again:%H:%M:%S}.",
                *_cause(_fingerprint(known)),
            )
    last, newest = known.failing, known.operation
    if last is not None and newest is not None and newest.state not in Operation.OPEN:
        said = sentence(last.result.get("code", "gave_up"), last.result.get("params"))
        word = "gave up" if last.state == Operation.State.DEAD else "keeps failing"
        return Why("bad", f"The last write {word}", said, *_cause(last.fingerprint))
    return None


def _fingerprint(known: Known) -> str:
    """Of the failure under which the pair is listed, if it is."""
    listed = (one.fingerprint for one in (*known.hints, known.failing) if one is not None)
    return next((fingerprint for fingerprint in listed if fingerprint), "")


def _cause(fingerprint: str) -> tuple[str, str]:
    """The way to the page of the cause: (address, button)."""
    return (reverse("failure-group", args=[fingerprint]), "See the cause") if fingerprint else ("", "")


def _of_a_field(mapping: SyncMapping, known: Known) -> Why | None:
    """A rule of the mapping stands still for all its records."""
    rules = [one for one in known.schema if one.subject.startswith("rule:")]
    if not rules:
        return None
    one = rules[0]
    head = _schema.title(one) if len(rules) == 1 else f"{len(rules)} fields wait, because a system changed them"
    text = f"{_schema.what(one)} {_schema.meaning(one)}"
    return Why("warn", head, text, reverse("conflict", args=[one.pk]), "See what to do")


def _on_its_way(known: Known) -> Why | None:
    last = known.operation
    if last is not None and last.state == Operation.State.UNCERTAIN:
        return Why("warn", "The last write was not answered", "It is looked up before anything is sent again.")
    if known.instruction or known.hints or (last is not None and last.state in Operation.OPEN):
        return Why("info", "A change is on its way", "It was noticed and is looked at next.")
    return None


def _agree(link: Link, fields: int) -> Why:
    differ = len(link.agreed_differences)
    if differ:
        s = "" if differ == 1 else "s"
        return Why(
            "info",
            f"{differ} field{s} may differ by agreement, the other {fields - differ} agree",
            "The next edit of such a field flows again.",
        )
    return Why("ok", f"Both sides agree on all {fields} fields" if fields else "Both sides agree")


def _url(name: str, *arguments: Any) -> str:
    try:
        return reverse(name, args=arguments)
    except NoReverseMatch:
        return ""
