"""What became of something a person asked for: written where, at what time, or why not."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from mappings.compiled import field_spec
from mappings.models import Mapping as SyncMapping
from sync import given_up, outcomes
from sync.models import Conflict, Instruction, Operation
from sync.session import SIDES
from sync.standing import stands_still
from sync.views._questions import rules_of
from sync.views._values import brief, system_names
from sync.wording import SENTENCES, sentence

# Why the pair could not do what was asked, by the engine's word for it.
# How writes end whose fate nobody could find out.
UNKNOWN = ("not_answered", given_up.CODE)
WHY_NOT: Mapping[str, str] = {
    "unreachable": "One of the two records cannot be read any more",
    "out_of_scope": "The record left the scope of the mapping",
    "unlinked": "The pair is unlinked",
    "held": "The pair is held and one of its records is gone",
    "stands_still": "The field stands still, because it changed in one of the systems",
    "deleted": "The record was deleted",
    "creating": "The twin is still being created",
    "active": "The pair is not in that state any more",
    "found": "The record was found in the meantime and is linked now",
    "asked": "Another question about this record comes first",
    "required_would_be_emptied": "The field must not be empty there",
}
# A longer value is named, not shown: the notice is no place to read it.
LONG_VALUE = 80
EMPTY_TEXT = SafeString("")
Kind, State = Instruction.Kind, Instruction.State

DONE_WORDS: Mapping[str, str] = {
    Kind.UNDO: "Undone",
    Kind.REPAIR: "Repaired",
    Kind.UNLINK: "Unlinked",
    Kind.RELINK: "Linked",
    Kind.DELETE_TWIN: "Deleted",
    Kind.RECREATE: "Created",
}


@dataclass(frozen=True, slots=True)
class Written:
    """One field that was written; long values are left out."""

    operation: Operation
    side: str
    system: str
    label: str
    before: SafeString
    after: SafeString


@dataclass(frozen=True, slots=True)
class Progress:
    """word: the instruction's state. `open`: it is not over, look again. `undo`: the write that can be taken back."""

    instruction: Instruction
    word: str
    open: bool
    kind: str
    head: str
    meaning: str = ""
    todo: str = ""
    writes: Sequence[Written] = ()
    undo: Operation | None = None
    audit_url: str = ""

    @property
    def finished_at(self) -> Any:
        return self.instruction.finished_at


def progress_of(one: Instruction, operations: Iterable[Operation] | None = None) -> Progress:
    """`operations`: those of the instruction, where the caller has them; else they are looked up."""
    if one.state in (State.WAITING, State.APPLYING):
        return _waiting(one)
    if operations is None:
        operations = list(one.operations.select_related("link").order_by("pk"))
    if one.state == State.STALE:
        return _stale(one)
    if one.state == State.REFUSED:
        return _refused(one, list(operations))
    done = [operation for operation in operations if operation.state == Operation.State.CONFIRMED]
    names = system_names(one.mapping)
    writes = written(one.mapping, names, done)
    systems = list(dict.fromkeys(one_write.system for one_write in writes))
    left_out = _left_out(one, operations)
    word = DONE_WORDS.get(one.kind, "Saved") + (" in part" if left_out else "")
    head = f"{word} and written to {' and '.join(systems)}" if systems else word
    meaning = left_out or ("" if writes or one.kind in DONE_WORDS else "Nothing had to be written.")
    return Progress(
        one,
        "done",
        open=False,
        kind="warn" if left_out else "ok",
        head=head,
        meaning=meaning,
        todo="Check the new values, then answer again." if left_out else "",
        writes=writes,
        undo=next((operation for operation in done if can_undo(operation)), None) if one.kind != Kind.UNDO else None,
        audit_url=audit_url(str(one.request_id)),
    )


def _waiting(one: Instruction) -> Progress:
    mapping = one.mapping
    head = "Saved; it is being written" if one.state == State.APPLYING else "Saved; it is applied with the next look"
    if mapping.state != SyncMapping.State.ACTIVE:
        return Progress(
            one, one.state, True, "warn", "Saved, but the mapping is paused", "Nothing is written until it is resumed."
        )
    still = stands_still(mapping, timezone.now())
    if still is not None:
        return Progress(
            one, one.state, True, "warn", f"Saved, but {still.head}", "Nothing is written until it goes on."
        )
    halt = getattr(getattr(mapping, "run_state", None), "halt", "")
    if halt:
        return Progress(
            one, one.state, True, "warn", "Saved, but the mapping is halted", "It is applied once the mapping goes on."
        )
    return Progress(one, one.state, True, "info", head, "Values are read once more before anything is written.")


def _stale(one: Instruction) -> Progress:
    superseded = outcomes.SUPERSEDED in one.outcome.values()  # also where the plan says so, as its reason
    if superseded and not _fields(one, State.STALE, one.choices):
        return Progress(
            one,
            "stale",
            False,
            "warn",
            "A later answer took the place of this one",
            "Nothing was written for this one.",
        )
    if one.kind == Kind.DELETE_TWIN:
        return Progress(
            one,
            "stale",
            False,
            "warn",
            "One of the records changed while you were deciding",
            "Nothing was deleted.",
            "Look at what they say now, then choose again.",
        )
    moved = _moved(one)
    return Progress(
        one,
        "stale",
        False,
        "warn",
        f"{' and '.join(moved) if moved else 'The field'} moved while you were deciding",
        "Nothing of yours was written.",
        "Check the new values, then save again.",
    )


def _left_out(one: Instruction, operations: Iterable[Operation]) -> str:
    """Which fields of an answer to several it did not settle, and why; "" where it settled all."""
    by_system = {rule_id: operation for operation in operations for rule_id in operation.fields if _failed(operation)}
    stale = _fields(one, State.STALE, one.choices)
    told = [f"{stale} moved while you were deciding; nothing was written there."] if stale else []
    if refused := _fields(one, State.REFUSED, one.choices.keys() - by_system.keys()):
        why = WHY_NOT.get(one.outcome.get("why", ""), "This could not be done")
        told.append(f"{refused}: {why[0].lower()}{why[1:]}; nothing was written there.")
    for rule_id, operation in by_system.items():
        if field := _fields(one, State.REFUSED, [rule_id]):
            unknown = operation.result.get("code") in UNKNOWN
            why = "nobody knows whether this was written" if unknown else _said(operation)
            told.append(f"{field}: {why[0].lower()}{why[1:].rstrip('.')}.")
    return " ".join(told)


def _failed(operation: Operation) -> bool:
    return operation.state == Operation.State.REFUSED or operation.result.get("code") in UNKNOWN


def _said(operation: Operation) -> str:
    return sentence(operation.result.get("code", "refused"), operation.result.get("params"))


def _fields(one: Instruction, outcome: str, rules: Collection[str]) -> str:
    """Those of the fields of which this became, in words."""
    named = [rule_id for rule_id in one.choices if rule_id in rules and rule_id and one.outcome.get(rule_id) == outcome]
    known = rules_of(one.mapping.published.document) if named and one.mapping.published else {}
    return " and ".join(known[rule_id]["left"]["label"] if rule_id in known else "A field" for rule_id in named)


def _moved(one: Instruction) -> list[str]:
    """The systems whose values are no longer those the person saw, as far as the open conflicts tell."""
    names, found = system_names(one.mapping), []
    for conflict in Conflict.objects.filter(link=one.link_id, rule_id__in=list(one.choices), state=Conflict.State.OPEN):
        seen = one.choices[conflict.rule_id].get("seen") or {}
        found += [names[side] for side in SIDES if side in seen and seen[side] != getattr(conflict, f"{side}_value")]
    return list(dict.fromkeys(found))


def _refused(one: Instruction, operations: Sequence[Operation]) -> Progress:
    if any(operation.result.get("code") in UNKNOWN for operation in operations):
        head = "Nobody knows whether this was written"
        meaning = "There was no answer, and what became of it could not be found out. It is not sent again by itself."
        return Progress(one, "refused", False, "bad", head, meaning, "Look at the record there, then choose again.")
    refused = next((o for o in operations if o.state == Operation.State.REFUSED), None)
    head = "This could not be done"
    if refused is not None:
        head = _said(refused)
    elif one.outcome.get("why") in WHY_NOT:
        head = WHY_NOT[one.outcome["why"]]
    elif one.kind in (Kind.REPAIR, Kind.UNDO) and one.outcome.get("why") in SENTENCES:
        head = sentence(one.outcome["why"])
    elif one.kind == Kind.RELINK:
        head = "That record is linked already"
    return Progress(
        one, "refused", False, "bad", head, "Nothing was written.", "Choose again, or leave the values as they are."
    )


def written(mapping: SyncMapping, names: Mapping[str, str], operations: Iterable[Operation]) -> list[Written]:
    """The fields of confirmed writes, as sentences' parts."""
    rules = rules_of(mapping.published.document) if mapping.published else {}
    found = []
    for operation in operations:
        for rule_id, sent in operation.fields.items():
            rule = rules.get(rule_id)
            spec = field_spec(rule[operation.side]) if rule else None
            after = sent.get("read_back", sent["value"])
            shown = brief(sent["before"], spec), brief(after, spec)
            if max(map(len, shown)) > LONG_VALUE:
                shown = (EMPTY_TEXT, EMPTY_TEXT)
            label = spec.label if spec else sent["path"]
            found.append(Written(operation, operation.side, names[operation.side], label, *shown))
    return found


def can_undo(operation: Operation) -> bool:
    """Whether the write has something to put back, on a pair that is kept in agreement."""
    return (
        operation.state == Operation.State.CONFIRMED
        and operation.kind == Operation.Kind.UPDATE
        and bool(operation.fields)
        and operation.link.state == "active"
    )


def audit_url(request_id: str) -> str:
    """Where the entries of one action are listed; "" where this installation has no such page."""
    try:
        return f"{reverse('audit')}?request={request_id}"
    except NoReverseMatch:
        return ""
