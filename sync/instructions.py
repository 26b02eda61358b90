"""How people ask: an Instruction, audited, consumed by the next plan. No second path writes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from mappings.models import Mapping as SyncMapping
from sync import audit, clobbers, hints, jobs, outcomes
from sync.approval import NotWaiting
from sync.creates_under_way import WAITS_FOR_A_PERSON
from sync.identities import note_records, thing_of_pair
from sync.matching import forget_keys
from sync.models import AuditEntry, Conflict, Instruction, Link, MatchKey, Operation
from sync.session import SIDES

Choices = Mapping[str, Mapping[str, Any]]  # {rule id: what to take}, as described at Instruction.choices


def ask(
    link: Link,
    kind: str,
    choices: Choices,
    user: Any,
    params: Mapping[str, Any] | None = None,
) -> Instruction:
    """Note what `user` asked for on `link` and ring. `choices` as described at Instruction.choices.

    The conflicts it answers show as being settled at once. What waits about the same fields is replaced: the last word
    of a person counts. What waits about other fields stays.
    """
    return ask_all(link.mapping, [(link, choices)], kind, user, params)[0]


def ask_all(
    mapping: SyncMapping,
    wishes: Sequence[tuple[Link, Choices]],
    kind: str,
    user: Any,
    params: Mapping[str, Any] | None = None,
) -> list[Instruction]:
    """`ask` for many links of one mapping, each named once: one action of `user`, as many statements as for one."""
    by_name = user.get_username() if hasattr(user, "get_username") else str(user)
    request_id = str(uuid.uuid4())
    asked = [
        Instruction(
            mapping=mapping,
            link=link,
            kind=kind,
            choices={rule: dict(choice) for rule, choice in choices.items()},
            params=dict(params or {}),
            by=user if getattr(user, "pk", None) else None,
            by_name=by_name,
            request_id=request_id,
        )
        for link, choices in wishes
    ]
    with transaction.atomic():
        hints.lock(mapping.pk)
        Instruction.objects.bulk_create(asked)
        audit.append(_replace_waiting(asked))
        _being_settled(asked)
        audit.append(
            [
                audit.entry(
                    "ask",
                    "asked",
                    actor=by_name,
                    actor_kind="person",
                    mapping=mapping,
                    link_id=link.pk,
                    object_label=str(link),
                    request_id=request_id,
                    params={"by": by_name, "kind": kind, "choices": _shown(choices)},
                )
                for link, choices in wishes
            ]
        )
        for side in SIDES:
            hints.mark(mapping.pk, side, [id for link, _ in wishes if (id := link.record_id(side))])
        jobs.wake(mapping.pk)
    return asked


def _replace_waiting(asked: Sequence[Instruction]) -> list[AuditEntry]:
    """The last word of a person counts: what waits about the same fields is replaced. Returns what to tell.

    ⚑ Only that: an answer to other fields of the same instruction, by whomever, goes on waiting.
    """
    now = {one.link_id: one for one in asked}
    states = (Instruction.State.WAITING, Instruction.State.APPLYING)
    earlier = Instruction.objects.filter(link__in=list(now), state__in=states).select_related("link")
    older, entries = [], []
    for one in earlier.exclude(pk__in=[new.pk for new in asked]):
        new = now[one.link_id]
        if again := outcomes.chosen_by_both(one, new):
            older.append(one)
            entries.append(outcomes.give_way(one, again, new))
    Instruction.objects.bulk_update(older, outcomes.SAVED)
    return entries


def _being_settled(asked: Sequence[Instruction]) -> None:
    """The questions that these answer show as being settled at once."""
    now = {one.link_id: one for one in asked}
    open_ones = Conflict.objects.filter(link__in=list(now), state=Conflict.State.OPEN)
    answered = [one for one in open_ones if one.rule_id in (now[one.link_id].choices or [""])]
    answered = [one for one in answered if clobbers.may_end(one, now[one.link_id])]
    for one in answered:
        one.state, one.instruction = Conflict.State.RESOLVING, now[one.link_id]
    Conflict.objects.bulk_update(answered, ["state", "instruction"])


def _shown(choices: Choices) -> dict[str, str]:
    return {rule: str(choice.get("take")) for rule, choice in choices.items()}


def resolve(conflict: Conflict, choice: Mapping[str, Any], user: Any) -> Instruction:
    """Settle one conflict about a field, as `user` was shown it. `choice`: {"take", "value", "in", "seen", "force"}."""
    assert conflict.link is not None
    seen = {**(choice.get("seen") or {}), **clobbers.named(conflict)}
    return ask(conflict.link, Instruction.Kind.RESOLVE, {conflict.rule_id: {**choice, "seen": seen}}, user)


def undo(operation: Operation, user: Any) -> Instruction:
    """Write back what a confirmed write replaced, if the field still says what we wrote."""
    choices = {
        rule: {
            "take": "before",
            "in": operation.side,
            "value": sent["before"],
            "seen": {operation.side: sent.get("read_back", sent["value"])},
        }
        for rule, sent in operation.fields.items()
    }
    return ask(operation.link, Instruction.Kind.UNDO, choices, user, {"operation": operation.pk})


# Records without a link. No run holds them, so these act at once; the constraints of Link stop a second answer. ------


def link_by_hand(conflict: Conflict, left_id: str, right_id: str, user: Any) -> Link:
    """Say that two unlinked records are the same thing. Nothing is assumed agreed; the pair is planned at once.

    Raises NotWaiting if the question is settled or one of the records is linked already.
    """
    mapping = conflict.mapping
    keys = _labels(mapping.pk, {"left": left_id, "right": right_id})
    with _once(conflict), transaction.atomic():
        identity = thing_of_pair(mapping, left_id, right_id)
        link = Link.objects.create(
            mapping=mapping,
            identity=identity,
            left_id=left_id,
            right_id=right_id,
            left_key=keys.get("left", ""),
            right_key=keys.get("right", ""),
            title=conflict.title,
        )
        note_records(
            (identity, mapping.connection(side), mapping.object_type(side), external_id)
            for side, external_id in (("left", left_id), ("right", right_id))
        )
        _answered(conflict, link, "linked_by_hand", user)
    return link


def leave_unlinked(conflict: Conflict, user: Any) -> Link:
    """Say that the record of a question has no twin: it is neither matched nor copied until it is matched again.

    Raises NotWaiting if the question is settled or the record is linked already.
    """
    side, _, external_id = conflict.subject.partition(":")
    key = _labels(conflict.mapping_id, {side: external_id}).get(side, "")
    with _once(conflict), transaction.atomic():
        link = Link.objects.create(
            mapping=conflict.mapping,
            state=Link.State.UNLINKED,
            title=conflict.title,
            **{f"{side}_id": external_id, f"{side}_key": key},
        )
        _answered(conflict, link, "left_unlinked", user)
    return link


def match_again(link: Link, user: Any) -> None:
    """Take back `leave_unlinked`: the record is looked at as if it were new. Raises NotWaiting."""
    with transaction.atomic():
        audit.write("relink", "matched_again", user=user, **_about(link), params={"by": user.get_username()})
        hints.lock(link.mapping_id)
        alone = Link.objects.filter(Q(left_id=None) | Q(right_id=None), pk=link.pk, state=Link.State.UNLINKED)
        # What the ledger tells of the link stays: where a create was tried, the link goes on waiting for its twin.
        # ⚑ So does the question whether an earlier create happened: it is asked anew, and none is sent before.
        tried = link.operations.exists()
        asked = {rule: why for rule, why in link.parked.items() if why.get("code") in WAITS_FOR_A_PERSON}
        if not (alone.update(state=Link.State.CREATING, parked=asked, typed={}) if tried else alone.delete()[0]):
            raise NotWaiting(f"{link} is not one record that was left alone.")
        for side in SIDES:
            if external_id := link.record_id(side):
                hints.mark(link.mapping_id, side, [external_id])
        jobs.wake(link.mapping_id)


@contextmanager
def _once(conflict: Conflict) -> Iterator[None]:
    """The first answer counts: a settled question, or a record linked meanwhile, is NotWaiting."""
    if not Conflict.objects.filter(pk=conflict.pk, state=Conflict.State.OPEN).exists():
        raise NotWaiting(f"“{conflict.title}” is settled already.")
    try:
        yield
    except IntegrityError:
        raise NotWaiting("One of these records is linked already.") from None


def _labels(mapping_id: int, ids: Mapping[str, str]) -> dict[str, str]:
    """What people call these unlinked records, by side, as far as their match keys tell."""
    found = {}
    for side, external_id in ids.items():
        rows = MatchKey.objects.filter(mapping=mapping_id, side=side, external_id=external_id).exclude(label="")
        found[side] = rows.values_list("label", flat=True).first() or ""
    return found


def _about(link: Link) -> dict[str, Any]:
    return {"mapping": link.mapping, "link_id": link.pk, "object_label": str(link)}


def _answered(conflict: Conflict, link: Link, code: str, user: Any) -> None:
    """The questions about the link's records are closed, and their pair is looked at, as is who fitted them too."""
    by = user.get_username()
    subjects = []
    for side in SIDES:
        if external_id := link.record_id(side):
            subjects.append(f"{side}:{external_id}")
            forget_keys(link.mapping_id, side, [external_id])
            hints.mark(link.mapping_id, side, [external_id])
    Conflict.objects.filter(mapping=link.mapping, subject__in=subjects).exclude(state=Conflict.State.CLOSED).update(
        state=Conflict.State.CLOSED, closed_at=timezone.now(), closed_by=by, closed_code="resolved"
    )
    audit.write("link", code, user=user, **_about(link), params={"by": by})
    jobs.wake(link.mapping_id)
