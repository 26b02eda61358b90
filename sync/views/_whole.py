"""Questions about a record as a whole: what can be answered, what each answer does, and the answer itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string
from django.utils.safestring import SafeString

from connections.connectors.base import ConnectorError, Record
from mappings.compiled import field_spec
from mappings.models import Mapping as SyncMapping
from sync import hints, instructions, jobs
from sync.approval import NotWaiting
from sync.merge import OTHER
from sync.models import Conflict, Instruction, Link
from sync.views._candidates import Candidate, can_be_looked_for, candidates, subject_of
from sync.views._questions import rules_of
from sync.views._values import brief, last_part, system_names

Kind = Conflict.Kind
# Questions about a record that we may have made, or whose twin we may have made: a person knows which one that is.
MAY_BE_A_TWIN = ("made_by_us", "may_be_made_by_us", "may_have_a_twin")


@dataclass(frozen=True, slots=True)
class Act:
    """One answer. `name` is posted; `effect`: what it does, said beforehand; `asks`: label of a text to type."""

    name: str
    label: str
    icon: str
    effect: str
    look: str = ""  # pri, bad or ""
    asks: str = ""


@dataclass(slots=True)
class Whole:
    """What the page shows of such a question. `side`: where the record in question is; `candidates` are across.

    `values`: (field, value) of a record whose twin is gone; `picks`: whether records are read live to choose from.
    """

    side: str
    record: str
    values: list[tuple[str, SafeString]] = field(default_factory=list)
    acts: list[Act] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    picks: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an answer: an instruction on its way, a link made at once, or why not. Texts in three parts."""

    asked: Instruction | None = None
    link: Link | None = None
    problem: str = ""
    said: str = ""


def shown(conflict: Conflict, names: Mapping[str, str]) -> Whole:
    side, external_id = subject_of(conflict)
    here, there = names[side], names[OTHER[side]]
    link = conflict.link
    label = (getattr(link, f"{side}_key") or external_id) if link else _label(conflict, side, external_id)
    found = Whole(side, label)
    if link is None:
        if conflict.kind == Kind.AMBIGUOUS_MATCH:
            found.candidates = candidates(conflict)
            found.picks = True
        else:
            whose = conflict.code in MAY_BE_A_TWIN
            if whose:
                found.acts.append(
                    Act(
                        "twin",
                        "Name its twin",
                        "link",
                        f"Links {label} with that record. Fields that differ are filled or asked about, nothing is "
                        "overwritten.",
                        "pri",
                        asks=f"Id, key or address of its twin in {there}",
                    )
                )
            found.acts.append(
                Act(
                    "look",
                    "Look again",
                    "redo",
                    f"{label} is read and matched afresh. Nothing is written before.",
                    "" if whose else "pri",
                )
            )
        found.acts.append(
            Act(
                "leave",
                "Leave it unlinked",
                "fork",
                f"{label} stays in {here} alone: it is neither matched nor copied until you let it be matched again.",
            )
        )
    elif conflict.kind == Kind.DELETE_UPDATE or conflict.code == "delete_refused":
        unsure = f" It was only not found in {there}: look there first." if link.may_return else ""
        found.values = _said(conflict, side)
        found.acts = [
            Act(
                "unlink",
                f"Keep it in {here}",
                "fork",
                f"{label} stays as it is; the pair is unlinked. Nothing is written.",
                "pri",
            ),
            Act(
                "delete_twin",
                f"Delete it in {here} too",
                "trash",
                f"Deletes {label} in {here}. Both records are read again first; if the deleted one is back, or {label} "
                f"was edited, nothing is deleted.{unsure}",
                "bad",
            ),
        ]
    elif conflict.kind in (Kind.UNCERTAIN_CREATE, Kind.DUPLICATE):
        found.candidates = candidates(conflict)
        found.picks = conflict.kind == Kind.DUPLICATE or can_be_looked_for(conflict)
        found.acts = [
            Act(
                "exists",
                "It exists" if conflict.kind == Kind.UNCERTAIN_CREATE else "It is another one",
                "link",
                f"Links {label} with that record. Fields that differ are asked about, nothing is overwritten.",
                "pri",
                asks=f"Its id, key or address in {there}",
            ),
        ]
        if conflict.kind == Kind.UNCERTAIN_CREATE:
            found.acts.append(
                Act("recreate", "It does not, create it again", "plus", f"Creates the twin of {label} in {there}.")
            )
        found.acts.append(_leave_pair(label))
    else:
        found.acts = [
            Act(
                "recreate",
                "Try again",
                "redo",
                f"Creates the twin of {label} in {there}, from its present values.",
                "pri",
            ),
            _leave_pair(label),
        ]
    return found


def _leave_pair(label: str) -> Act:
    return Act("unlink", "Leave it unlinked", "fork", f"{label} gets no twin until you link it again.")


def _said(conflict: Conflict, side: str) -> list[tuple[str, SafeString]]:
    """What the record that is left says, as of the last look."""
    said = getattr(conflict, f"{side}_value") or {}
    rules = rules_of(conflict.mapping.published.document) if conflict.mapping.published else {}
    specs = [(field_spec(rule[side]), said[rule_id]) for rule_id, rule in rules.items() if rule_id in said]
    return [(spec.label, brief(value, spec)) for spec, value in specs]


def _label(conflict: Conflict, side: str, external_id: str) -> str:
    return str(getattr(conflict, f"{side}_value") or external_id)


# Answers. --------------------------------------------------------------------------------------------------------


def answer(conflict: Conflict, posted: Mapping[str, str], seen: Mapping[str, Any] | None, user: Any) -> Answer:
    """Carry out what a person chose on the page of `shown`. `seen`: {side: value} that it showed; None: not known."""
    if conflict.state != Conflict.State.OPEN:
        return Answer(problem="Somebody else was first. · Nothing of yours was written. · See what was decided.")
    name = posted.get("act", "")
    names = system_names(conflict.mapping)
    allowed = shown(conflict, names)
    if name not in {act.name for act in allowed.acts} and not (name == "link" and allowed.picks):
        return Answer(problem="Nothing was chosen. · Nothing was written. · Choose one of the answers.")
    try:
        if conflict.link is None:
            return _unlinked(conflict, name, posted, allowed, user)
        if name in ("exists", "link"):
            return _exists(conflict, conflict.link, posted.get("id", ""), names, user)
    except NotWaiting as problem:
        return Answer(problem=f"{problem} · Nothing was changed. · Look at the records.")
    if name == "delete_twin":
        return _delete(conflict, conflict.link, allowed.side, seen, user)
    kind = Instruction.Kind.UNLINK if name == "unlink" else Instruction.Kind.RECREATE
    return Answer(instructions.ask(conflict.link, kind, {}, user))


def _delete(conflict: Conflict, link: Link, side: str, seen: Mapping[str, Any] | None, user: Any) -> Answer:
    """Delete the record that is left, if it still says what the person saw."""
    if seen is None:
        return Answer(
            problem="This page was open for too long. · Nothing was deleted. · Look at the values, then choose again."
        )
    return Answer(instructions.ask(link, Instruction.Kind.DELETE_TWIN, {}, user, {"seen": seen.get(side) or {}}))


def _unlinked(conflict: Conflict, name: str, posted: Mapping[str, str], allowed: Whole, user: Any) -> Answer:
    side, external_id = subject_of(conflict)
    if name == "leave":
        link = instructions.leave_unlinked(conflict, user)
        return Answer(link=link, said=f"{link.title or allowed.record} stays unlinked. · Nothing was written.")
    if name == "look":
        hints.mark(conflict.mapping_id, side, [external_id])
        jobs.wake(conflict.mapping_id)
        return Answer(said=f"{allowed.record} is looked at again. · This page tells if the question remains.")
    chosen = posted.get("id", "")
    if name == "twin":
        return _twin(conflict, chosen, allowed.record, user)
    if chosen not in {one.external_id for one in allowed.candidates}:
        return Answer(problem="That record does not fit any more. · Nothing was linked. · Choose another one.")
    return _with(conflict, chosen, allowed.record, user)


def _exists(conflict: Conflict, link: Link, text: str, names: Mapping[str, str], user: Any) -> Answer:
    """Bind the record a person names."""
    side = "right" if link.left_id else "left"
    record = _named(conflict.mapping, side, text, names)
    if isinstance(record, Answer):
        return record
    found = {"side": side, "id": record.external_id, "key": record.key or record.external_id}
    return Answer(instructions.ask(link, Instruction.Kind.RELINK, {}, user, found))


def _twin(conflict: Conflict, text: str, label: str, user: Any) -> Answer:
    """Link the record in question with the one a person names. Raises NotWaiting."""
    side, _ = subject_of(conflict)
    record = _named(conflict.mapping, OTHER[side], text, system_names(conflict.mapping))
    if isinstance(record, Answer):
        return record
    return _with(conflict, record.external_id, label, user)


def _with(conflict: Conflict, other: str, label: str, user: Any) -> Answer:
    """Link the record in question with this one, also where that goes on waiting for its twin or was left unlinked.
    Raises NotWaiting."""
    side, external_id = subject_of(conflict)
    ids = {side: external_id, OTHER[side]: other}
    alone = {f"{OTHER[side]}_id": other, f"{side}_id": None}
    waits = (Link.State.CREATING, Link.State.UNLINKED)
    half = Link.objects.filter(**alone, mapping=conflict.mapping_id, state__in=waits).first()
    if half is not None:
        found = {"side": side, "id": external_id, "key": label}
        return Answer(instructions.ask(half, Instruction.Kind.RELINK, {}, user, found))
    return _linked(instructions.link_by_hand(conflict, ids["left"], ids["right"], user))


def _linked(link: Link) -> Answer:
    return Answer(link=link, said="Linked. · Fields that differ are filled or asked about, nothing is overwritten.")


def _named(mapping: SyncMapping, side: str, text: str, names: Mapping[str, str]) -> Record | Answer:
    """The record of `side` that a person names, once its system says that it is there; else why not."""
    wanted, system = last_part(text), names[side]
    if not wanted:
        return Answer(problem="No record is named. · Nothing was linked. · Type its id, or paste its address.")
    try:
        record = _read(mapping, side, wanted)
    except ConnectorError as error:
        why = error.message.rstrip(".") or "no reason was given"
        return Answer(problem=f"{system} did not answer: {why}. · Nothing was linked. · Try again in a moment.")
    if record is None or record.deleted:
        return Answer(problem=f"{system} knows no record “{wanted}”. · Nothing was linked. · Check the id.")
    return record


def _read(mapping: SyncMapping, side: str, wanted: str) -> Record | None:
    connector = import_string(settings.OPEN_CONNECTOR)(mapping.connection(side), lane="live")
    found: Mapping[str, Record] = connector.get_many(mapping.object_type(side), [wanted], [])
    records: Sequence[Record] = list(found.values())
    # A system may answer a key with the record under its id.
    return found.get(wanted) or (records[0] if len(records) == 1 else None)
