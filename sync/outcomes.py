"""What becomes of what people ask: an outcome for each field they chose, and the state that follows from them all.

⚑ A field that was carried out is not asked for any more, though another one of the same answer waits: somebody may have
edited it since.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from django.utils import timezone

from mappings.compiled import field_spec
from sync import audit
from sync.models import AuditEntry, Instruction, Operation

State = Instruction.State
# A later answer took the place of this one.
SUPERSEDED = "superseded"
# What shows of several: the first of these that became of one of them; of none, all was superseded.
BY_WEIGHT = (State.APPLYING, State.WAITING, State.DONE, State.STALE, State.REFUSED)


def of(asked: Instruction, rule: str) -> str:
    """What became of the choice for one rule so far; "" is the record as a whole, and what it says is true of all."""
    return str(asked.outcome.get(rule) or asked.outcome.get("") or State.WAITING)


def waiting(asked: Instruction) -> dict[str, Any]:
    """The choices that are still to be taken up."""
    return {rule: choice for rule, choice in asked.choices.items() if of(asked, rule) == State.WAITING}


def note(asked: Instruction, told: Mapping[str, str]) -> None:
    """Note what became of these rules ("why" besides) and the state that follows; the caller saves it."""
    asked.outcome = {rule: said for rule, said in {**asked.outcome, **told}.items() if said != State.WAITING}
    found = {of(asked, rule) for rule in asked.choices or [""]}
    asked.state = next((state for state in BY_WEIGHT if state in found), State.STALE)
    asked.finished_at = None if asked.state in (State.WAITING, State.APPLYING) else timezone.now()


SAVED = ("state", "outcome", "choices", "finished_at")


def tell(operations: Sequence[Operation], outcome: str, rules: Collection[str] | None = None) -> None:
    """What became of what these operations carry out, or of these rules of it."""
    for operation in operations:
        _tell(operation, outcome, rules)


def goes_on(operation: Operation, rule: str, reached: Any) -> None:
    """One step along the way was made: a person's choice goes on from here, and what they saw is where it led."""
    _tell(operation, State.WAITING, [rule], {operation.side: reached})


def apply_again(operation: Operation) -> None:
    """What was given up with this write goes on with it, but for what somebody chose again since."""
    if operation.instruction_id is None:
        return
    asked = Instruction.objects.get(pk=operation.instruction_id)
    chosen_since = {rule for later in _later(asked) for rule in later.choices}
    given_up = [rule for rule in _carried(operation) if of(asked, rule) == State.REFUSED and rule not in chosen_since]
    note(asked, dict.fromkeys(given_up, State.APPLYING))
    asked.save(update_fields=SAVED)


def _tell(
    operation: Operation, outcome: str, rules: Collection[str] | None, reached: Mapping[str, Any] | None = None
) -> None:
    if operation.instruction_id is None:
        return
    asked = Instruction.objects.select_related("link", "mapping").get(pk=operation.instruction_id)
    told = [rule for rule in _carried(operation) if of(asked, rule) == State.APPLYING]
    told = [rule for rule in told if rules is None or rule in rules]
    if not told:
        return
    for rule in told:
        if reached is not None and "seen" in asked.choices.get(rule, {}):
            asked.choices[rule]["seen"] = {**asked.choices[rule]["seen"], **reached}
    note(asked, dict.fromkeys(told, outcome))
    if outcome == State.WAITING:
        # ⚑ Asked while it was being written: the last word of a person counts.
        entries = [give_way(asked, again, one) for one in _later(asked) if (again := chosen_by_both(asked, one))]
        audit.append(entries)
    asked.save(update_fields=SAVED)


def _carried(operation: Operation) -> Sequence[str]:
    """The rules of which an operation decides; "" for the record as a whole."""
    return [*operation.fields] if operation.kind == Operation.Kind.UPDATE and operation.fields else [""]


def _later(asked: Instruction) -> Iterable[Instruction]:
    over = (State.STALE, State.REFUSED)
    return Instruction.objects.filter(link=asked.link_id, pk__gt=asked.pk).exclude(state__in=over).order_by("pk")


def chosen_by_both(asked: Instruction, later: Instruction) -> list[str]:
    """The rules that wait here and were chosen later again."""
    return [rule for rule in waiting(asked) if rule in later.choices]


def give_way(asked: Instruction, again: Sequence[str], later: Instruction) -> AuditEntry:
    """A later answer takes the place of this one in the rules `again`: the line of the log, the caller saves it."""
    note(asked, dict.fromkeys(again, SUPERSEDED))
    published = later.mapping.published
    labels = {rule["id"]: field_spec(rule["left"]).label for rule in published.document["rules"]} if published else {}
    return audit.entry(
        "instruction",
        "answered_again",
        actor=later.by_name,
        actor_kind=AuditEntry.ActorKind.PERSON,
        request_id=later.request_id,
        mapping=later.mapping,
        link_id=asked.link_id,
        object_label=str(asked.link),
        params={
            "by": asked.by_name,
            "fields": [labels[rule] for rule in again if rule in labels] or ["the record"],
        },
    )
