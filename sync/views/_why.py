"""The answer of the record page: do both sides agree, and if not, why not and what comes next."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from connections.connectors import connector_class
from mappings.compiled import CompiledMapping, CompiledRule
from mappings.models import Mapping as SyncMapping
from sync.asked import RETURNED
from sync.compare import DRIFT, compare_bases
from sync.merge import MISSING
from sync.models import ChangedRecord, Conflict, Instruction, Link, MappingState, Operation
from sync.session import SIDES
from sync.views import _schema
from sync.views._halts import Why, as_of_its_run, failed_look, for_its_run, halt_of, tried, url_of, way_to_cause
from sync.views._queue import cause_of
from sync.wording import sentence

log = logging.getLogger(__name__)


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


def why(link: Link, known: Known, names: Mapping[str, str], compiled: CompiledMapping | None) -> Why:
    """The first thing that keeps the two records apart, worst first. `compiled`: the version that runs."""
    rules = compiled.rules if compiled is not None else ()
    return (
        _of_the_pair(link, known, names)
        or halt_of(link.mapping, known.state)
        or _of_the_record(link, known, names)
        or _of_the_twin(link, known, names)
        or _of_a_field(link.mapping, known)
        or _on_its_way(link, known, names, rules)
        or _apart(link, rules)
        or _agree(link, len(rules), as_of_its_run(link.mapping, known.state))
    )


def _of_the_pair(link: Link, known: Known, names: Mapping[str, str]) -> Why | None:
    State = Link.State
    gone = " and ".join(names[side] for side in SIDES if getattr(link, f"deleted_{side}"))
    deleted = f"Deleted in {gone or 'one system'}"
    if link.may_return:
        deleted = f"Counted as deleted in {gone or 'one system'}, where it was not found twice"
    if link.state == State.UNLINKED and gone:
        return Why("info", f"{deleted}; the pair is unlinked", "What is left stays as it is.")
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
            "warn",
            "This pair is held: a person took it out of a halted run",
            f"{deleted} since; what becomes of the other one is decided once the pair goes on."
            if gone
            else "Its changes wait, nothing is lost.",
        )
    back = link.parked.get("", {}).get("code") if link.state == State.DELETED else None
    if back in RETURNED:
        head = f"Deleted in {gone or 'one system'}; its id is back"
        stays = "the pair stays apart, and nothing is carried between the two."
        if back == "returned_untold":
            text = (
                f"No match key is filled in on both sides that would tell whether it still is the same thing: {stays}"
            )
            head = f"{head}, and nothing tells whether it is the same thing"
        else:
            text = (
                f"It may be another thing by now: {stays} It goes on by itself once their match keys are equal again."
            )
            head = f"{head} with other match keys"
        return Why("warn", head, f"{text} If they are the same thing, link them again.")
    if link.state == State.DELETED:
        return Why(
            "info",
            deleted,
            "Should it only be hidden from our account, it is synced again within an hour of being shown."
            if link.may_return
            else "Its ids and keys are kept, so that it is known if it returns.",
        )
    question = next((one for one in known.conflicts if not one.rule_id), None)
    return _decision(question, names) if question is not None else None


def _decision(one: Conflict, names: Mapping[str, str], more: int = 0) -> Why:
    cause = cause_of(one, names) or "Both sides changed it after they last agreed."
    what = one.field_label or one.get_kind_display()
    head = f"{what} waits for a decision" if not more else f"{more + 1} fields wait for a decision"
    if one.state == Conflict.State.RESOLVING:
        return Why("info", f"{what} is being settled", "The answer is on its way.")
    text = f"{cause} The other fields flow on." if one.rule_id else cause
    return Why("warn", head, text, reverse("conflict", args=[one.pk]), "Settle it")


def _of_the_record(link: Link, known: Known, names: Mapping[str, str]) -> Why | None:
    if link.out_of_scope:
        stays = "Its twin is not made." if link.state == Link.State.CREATING else "Both records stay as they are."
        by, untold = "the scope of the mapping", ""
        if hides_by := _hides_by(link.mapping.connection(link.out_of_scope).kind):
            by = f"{by}, or {hides_by},"
            untold = " One that is not shown may have been deleted, which nobody tells: then unlink the pair."
        return Why(
            "info",
            f"Not synced: {by} leaves it out in {names[link.out_of_scope]}",
            f"{stays} It follows again with the first look after it is back in the scope.{untold}",
            url_of("mapping-settings", link.mapping.slug),
            "See the scope",
        )
    if known.conflicts and link.state != Link.State.CREATING:  # a twin is made without the fields that wait
        return _decision(known.conflicts[0], names, len(known.conflicts) - 1)
    return _of_a_write(link, known) or _of_a_look(link, known)


def _hides_by(kind: str) -> str:
    try:
        return connector_class(kind).hides_by
    except KeyError:
        return ""


def _of_a_write(link: Link, known: Known) -> Why | None:
    """A write that failed, told by what the system said."""
    last, newest = known.failing, known.operation
    if newest is None or newest.state in Operation.OPEN:
        return None
    if last is None and any(hint.error and hint.error == _message(newest) for hint in known.hints):
        last = newest  # not listed yet: the first tries are often hiccups
    if last is None:
        return None
    word = "gave up" if last.state == Operation.State.DEAD else "keeps failing" if last.failing_since else "failed"
    what = "create" if last.kind == Operation.Kind.CREATE else "write"
    said = sentence(last.result.get("code", "gave_up"), last.result.get("params"))
    return Why(
        "bad", f"The last {what} {word}", f"{said} {_tries(link, known)}".strip(), *way_to_cause(_fingerprint(known))
    )


def _message(operation: Operation) -> str:
    """What the system said to a write that is tried again; "" for any other end."""
    if operation.result.get("code") not in ("retry", "gave_up"):
        return ""
    return str((operation.result.get("params") or {}).get("message", ""))


def _of_a_look(link: Link, known: Known) -> Why | None:
    of_write = _message(known.failing) if known.failing is not None else ""
    hint = next((one for one in known.hints if one.attempts and (one.fingerprint or one.error != of_write)), None)
    return failed_look(hint, link.mapping, known.state, _fingerprint(known)) if hint is not None else None


def _tries(link: Link, known: Known) -> str:
    """How often it was tried and when it is tried next; "" where no failed try is noted."""
    return next((tried(one, link.mapping, known.state) for one in known.hints if one.attempts), "")


def _fingerprint(known: Known) -> str:
    """Of the failure under which the pair is listed, if it is."""
    listed = (one.fingerprint for one in (*known.hints, known.failing) if one is not None)
    return next((fingerprint for fingerprint in listed if fingerprint), "")


def _of_a_field(mapping: SyncMapping, known: Known) -> Why | None:
    """A rule of the mapping stands still for all its records."""
    rules = [one for one in known.schema if one.subject.startswith("rule:")]
    if not rules:
        return None
    one = rules[0]
    head = _schema.title(one) if len(rules) == 1 else f"{len(rules)} fields wait, because a system changed them"
    text = f"{_schema.what(one)} {_schema.meaning(one)}"
    return Why("warn", head, text, reverse("conflict", args=[one.pk]), "See what to do")


def _of_the_twin(link: Link, known: Known, names: Mapping[str, str]) -> Why | None:
    if link.state != Link.State.CREATING:
        return None
    side = "right" if link.left_id else "left"
    there = names[side]
    if waits := _schema.creates_wait(known.schema, side):
        head = f"Its twin in {there} is not made yet"
        return Why("warn", head, _schema.what(waits), reverse("conflict", args=[waits.pk]), "See what to do")
    return (
        _unanswered(known)
        or for_its_run(link.mapping, known.state, f"Its twin in {there} is not made yet")
        or Why("info", f"Its twin in {there} is being created", "It is here as soon as the system answers.")
    )


def _unanswered(known: Known) -> Why | None:
    last = known.operation
    if last is None or last.state != Operation.State.UNCERTAIN:
        return None
    return Why("warn", "The last write was not answered", "It is looked up before anything is sent again.")


def _on_its_way(link: Link, known: Known, names: Mapping[str, str], rules: Sequence[CompiledRule]) -> Why | None:
    last = known.operation
    if unanswered := _unanswered(known):
        return unanswered
    moving = known.instruction or (last is not None and last.state in Operation.OPEN)
    if moving or known.hints:
        on_its_way = Why("info", "A change is on its way", "It was noticed and is looked at next.")
        unread = None if moving else _unread(link, known, names, rules)
        return for_its_run(link.mapping, known.state) or unread or on_its_way
    return None


def _unread(link: Link, known: Known, names: Mapping[str, str], rules: Sequence[CompiledRule]) -> Why | None:
    """Whatever waits was looked at, and waits because the last read of a record did not show a field."""
    now = timezone.now()
    if any(hint.not_before <= now for hint in known.hints):
        return None
    for side in SIDES:
        noted = link.pending_edits.get(side, {})
        unread = [rule.label for rule in rules if "unread_since" in noted.get(rule.id, {})]
        if unread:
            what = unread[0] if len(unread) == 1 else f"{len(unread)} fields"
            return Why(
                "warn",
                f"{what} cannot be read in {names[side]} at the moment",
                "This record does not show it to our account. What was edited waits and nothing is emptied; all other "
                "fields flow. It is looked at again every 15 minutes.",
            )
    return None


def _apart(link: Link, rules: Sequence[CompiledRule]) -> Why | None:
    """Fields on which the two do not agree although nothing waits: told as a verification would, without a read."""
    stands = {rule.id: _stands(link, rule) for rule in rules}
    drifted = [rule for rule in rules if stands[rule.id] == DRIFT]
    if drifted:
        one = len(drifted) == 1
        return Why(
            "warn",
            f"{drifted[0].label if one else f'{len(drifted)} fields'} differ{'s' if one else ''}, "
            f"although nobody edited {'it' if one else 'them'} since both sides agreed",
            "Most often a changed rule or value map leaves this behind. Nothing writes it by itself: the next edit of "
            "either side is carried over, and a verification lists it for repair.",
            url_of("verifications", link.mapping.slug),
            "See the verifications",
        )
    unagreed = [rule for rule in rules if stands[rule.id] == "unagreed"]
    if unagreed:
        one = len(unagreed) == 1
        return Why(
            "info",
            f"{unagreed[0].label if one else f'{len(unagreed)} fields'} {'was' if one else 'were'} never agreed on",
            "One of the two systems does not show it to our account, or it was not looked at since the rule is there.",
        )
    return None


def _stands(link: Link, rule: CompiledRule) -> str:
    left, right = (link.bases(side).get(rule.id, MISSING) for side in SIDES)
    agreed, parked = rule.id in link.agreed_differences, link.parked.get(rule.id)
    try:
        return compare_bases(rule, left, right, agreed=agreed, parked=parked)
    except Exception:  # a value of an older rule's form: a verification counts it as one that failed
        log.exception("rule %s of link %s cannot be compared", rule.id, link.pk)
        return "failed"


def _agree(link: Link, fields: int, since: str) -> Why:
    """`since`: as of when, where nothing looks at the pair until the next run."""
    differ = len(link.agreed_differences)
    if differ:
        s = "" if differ == 1 else "s"
        return Why(
            "info",
            f"{differ} field{s} may differ by agreement, the other {fields - differ} agree",
            f"The next edit of such a field flows again. {since}".strip(),
        )
    return Why("ok", f"Both sides agree on all {fields} fields" if fields else "Both sides agree", since)
