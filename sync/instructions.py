"""How people ask: an Instruction, audited, consumed by the next plan. No second path writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.utils import timezone

from sync import audit, hints, jobs
from sync.models import Conflict, Instruction, Link, Operation
from sync.session import SIDES


def ask(
    link: Link,
    kind: str,
    choices: Mapping[str, Mapping[str, Any]],
    user: Any,
    params: Mapping[str, Any] | None = None,
) -> Instruction:
    """Note what `user` asked for on `link` and ring. `choices` as described at Instruction.choices.

    The conflicts it answers show as being settled at once. Earlier, still waiting instructions on the same fields are
    replaced: the last word of a person counts.
    """
    with transaction.atomic():
        instruction = Instruction.objects.create(
            mapping=link.mapping,
            link=link,
            kind=kind,
            choices={rule: dict(choice) for rule, choice in choices.items()},
            params=dict(params or {}),
            by=user if getattr(user, "pk", None) else None,
            by_name=user.get_username() if hasattr(user, "get_username") else str(user),
        )
        _replace_waiting(instruction)
        Conflict.objects.filter(link=link, rule_id__in=list(choices) or [""], state=Conflict.State.OPEN).update(
            state=Conflict.State.RESOLVING, instruction=instruction
        )
        audit.write(
            "ask",
            "asked",
            actor=instruction.by_name,
            actor_kind="person",
            mapping=link.mapping,
            link_id=link.pk,
            object_label=str(link),
            request_id=instruction.request_id,
            params={"by": instruction.by_name, "kind": kind, "choices": _shown(choices)},
        )
        for side in SIDES:
            hints.mark(link.mapping_id, side, [external_id for external_id in [link.record_id(side)] if external_id])
        jobs.wake(link.mapping_id)
    return instruction


def _replace_waiting(instruction: Instruction) -> None:
    older = Instruction.objects.filter(link=instruction.link, state=Instruction.State.WAITING).exclude(
        pk=instruction.pk
    )
    for one in older:
        if set(one.choices) & set(instruction.choices):
            one.state, one.finished_at = Instruction.State.STALE, timezone.now()
            one.outcome = {"": "superseded"}
            one.save(update_fields=["state", "finished_at", "outcome"])


def _shown(choices: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    return {rule: str(choice.get("take")) for rule, choice in choices.items()}


def resolve(conflict: Conflict, choice: Mapping[str, Any], user: Any) -> Instruction:
    """Settle one conflict about a field. `choice`: {"take", "value", "in", "seen", "force"}."""
    assert conflict.link is not None
    return ask(conflict.link, Instruction.Kind.RESOLVE, {conflict.rule_id: choice}, user)


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
