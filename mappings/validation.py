"""What is wrong with a draft, before it is published.

Pure: no Django, no HTTP library, no clock. Takes the draft as a document (format: mappings/compiled.py) and what the
two systems say of their fields. Errors stop publishing, warnings do not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from connections.connectors.base import Field
from mappings import schedules
from mappings.moved import moved_sides
from mappings.problems import OTHER, SIDES, Problem, SideFacts, kind_words, named, rule_label, writes
from mappings.rule_checks import RULE_CHECKS, Facts

# Documents are re-rendered by their systems: equal texts need not be equal values, so they cannot identify a thing.
UNMATCHABLE_KINDS = frozenset({"rich_text", "set"})

Place = tuple[int, str]  # (connection id, object type)


def check(
    document: Mapping[str, Any],
    left: SideFacts,
    right: SideFacts,
    others: Sequence[tuple[str, Place, Place]] = (),
    published: Mapping[str, Any] | None = None,
) -> list[Problem]:
    """All problems of a draft, errors first. `others`: name and sides of the other published mappings. `published`: the
    document that is in force."""
    facts = {"left": left, "right": right}
    problems: list[Problem] = [*moved_sides(published, document)]
    if not document["rules"]:
        problems.append(
            Problem(
                "error",
                "no_rules",
                "The mapping has no rules.",
                "Nothing would be synced.",
                "Add a pair of fields, or take a suggestion.",
                field="rules",
            )
        )
    for rule in document["rules"]:
        for find in RULE_CHECKS:
            problems += find(rule, document, facts)
    problems += _two_writers(document, facts)
    for side in SIDES:
        problems += _required_fields(document, facts, side)
        problems += _extra_values(document, facts, side)
        problems += _scope(document, facts, side)
    problems += _schedule(document, facts)
    problems += _match_keys(document, facts)
    problems += _cycle(document, others)
    return sorted(problems, key=lambda problem: problem.level != "error")


# Over all rules and the settings. -------------------------------------------------------------------------------------


def _two_writers(document: Mapping[str, Any], facts: Facts) -> Iterator[Problem]:
    for side in SIDES:
        writers: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for rule in document["rules"]:
            if writes(rule, side):
                writers[rule[side]["path"]].append(rule)
        for path, rules in writers.items():
            for rule in rules[1:]:
                yield Problem(
                    "error",
                    "two_writers",
                    f"Two rules write {rule[side]['label']} in {facts[side].name}: {rule_label(rules[0])} "
                    f"and {rule_label(rule)}.",
                    "Each would undo what the other wrote, without end.",
                    "Let only one of them write this field.",
                    rule["id"],
                    side,
                    path,
                )


def _required_fields(document: Mapping[str, Any], facts: Facts, side: str) -> Iterator[Problem]:
    settings = document[side]
    if not settings["create"]:
        return
    given = {rule[side]["path"] for rule in document["rules"] if writes(rule, side)}
    given |= set(settings["create_defaults"]) | set(settings["scope"])
    for field in facts[side].fields:
        if field.required and field.creatable and field.path not in given:
            yield Problem(
                "error",
                "required_unmapped",
                f"{field.label} is required in {facts[side].name} and has no source.",
                "Every new record would be refused.",
                "Pair it, set a value for new records, or do not create records there.",
                side=side,
                field=field.path,
            )


def _extra_values(document: Mapping[str, Any], facts: Facts, side: str) -> Iterator[Problem]:
    """Values written beside the rules: at creation, and when the twin is closed."""
    settings = document[side]
    for path, value in settings["create_defaults"].items():
        field = facts[side].field(path)
        if field is None or not field.creatable or field.separate_write:
            why = "does not exist" if field is None else "cannot be set at creation"
            yield Problem(
                "error",
                "bad_create_default",
                f"The value for new records in {facts[side].name} names {path}, which {why}.",
                "Every new record would be refused.",
                "Remove it from the values for new records."
                + (" A rule can write it right after." if field is not None and field.separate_write else ""),
                side=side,
                field=path,
            )
        elif unfit := _unfit(field, value):
            yield Problem(
                "warning",
                "unfit_create_default",
                f"{field.label} in {facts[side].name} {unfit}.",
                "Where the system insists on it, every new record is refused and asked about.",
                "Choose another value for new records, or change the field there.",
                side=side,
                field=path,
            )
    if document[OTHER[side]]["on_delete"] != "close":
        return
    if not settings["close_values"]:
        yield Problem(
            "error",
            "no_close_values",
            f"Records in {facts[side].name} are closed when their twin is deleted, but not what closing writes.",
            "Nothing would happen to them.",
            "Say which field gets which value, for example a status.",
            side=side,
            field="close_values",
        )
    for path in settings["close_values"]:
        field = facts[side].field(path)
        if field is None or not field.writable:
            why = "does not exist" if field is None else "is read only"
            yield Problem(
                "error",
                "bad_close_value",
                f"Closing in {facts[side].name} writes {path}, which {why}.",
                "The record would stay as it is.",
                "Choose another field.",
                side=side,
                field=path,
            )
    apart = [path for path in settings["close_values"] if (f := facts[side].field(path)) and f.separate_write]
    if apart and len(settings["close_values"]) > 1:
        yield Problem(
            "warning",
            "separate_write",
            f"{named(apart)} in {facts[side].name} is written by a call of its own.",
            "Closing takes more than one write; a person may see the record half closed for a moment.",
            "Leave it so, or close by this field alone.",
            side=side,
            field="close_values",
        )


def _unfit(field: Field, value: Any) -> str:
    """What of a value for new records its field does not take; "" where nothing is known to be wrong."""
    offered = {option.value for option in field.options if option.active}
    given = [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]
    if offered and not set(given) <= offered:
        return f"has no option {named([one for one in given if one not in offered])}, the value for new records"
    if field.max_length is not None and isinstance(value, str) and len(value) > field.max_length:
        return f"takes {field.max_length:,} characters; the value for new records is longer"
    return ""


def _scope(document: Mapping[str, Any], facts: Facts, side: str) -> Iterator[Problem]:
    form, scope = facts[side].scope_form, document[side]["scope"]
    for entry in form:
        shown = entry.show_if is None or scope.get(entry.show_if[0]) == entry.show_if[1]
        if entry.required and shown and not scope.get(entry.name):
            yield Problem(
                "error",
                "scope_missing",
                f"The scope of {facts[side].name} lacks {entry.label}.",
                "We would not know which records belong to the mapping.",
                f"Fill in {entry.label}.",
                side=side,
                field="scope",
            )
    if form and not any(scope.values()):
        yield Problem(
            "warning",
            "scope_everything",
            f"The scope of {facts[side].name} is empty.",
            f"Every {document[side]['object_label']} the account can see belongs to the mapping.",
            "Narrow it, if that is not meant.",
            side=side,
            field="scope",
        )
    unknown = sorted(set(scope) - {entry.name for entry in form})
    if form and unknown:
        yield Problem(
            "error",
            "scope_unknown",
            f"{facts[side].name} knows no scope setting {named(unknown)}.",
            "It would be ignored and let in records that were meant to stay out.",
            "Remove it or correct its name.",
            side=side,
            field="scope",
        )


def _schedule(document: Mapping[str, Any], facts: Facts) -> Iterator[Problem]:
    """A schedule that leaves a system alone for longer than it keeps its changes."""
    gap = schedules.longest_gap(document.get("schedule") or {})
    for side in SIDES:
        kept = facts[side].feed_retention
        if kept is not None and gap > kept:
            yield Problem(
                "warning",
                "schedule_too_rare",
                f"{facts[side].name} keeps its changes for {kept / 3600:.0f} h, and {gap / 3600:.0f} h can lie between "
                "two runs.",
                "After such a gap both sides are compared completely; nothing is lost, but it costs many calls.",
                "Let it run more often.",
                side=side,
                field="schedule",
            )


def _match_keys(document: Mapping[str, Any], facts: Facts) -> Iterator[Problem]:
    if not document["match_keys"]:
        yield Problem(
            "warning",
            "no_match_keys",
            "The mapping has no way to find the same thing on both sides.",
            "Records that exist on both sides already would be created again.",
            "Name at least one pair of fields that identify a thing.",
            field="match_keys",
        )
    for number, alternative in enumerate(document["match_keys"], start=1):
        for pair in alternative:
            for side in SIDES:
                field = facts[side].field(pair[side])
                if field is None or field.kind in UNMATCHABLE_KINDS:
                    why = (
                        "does not exist"
                        if field is None
                        else f"is {kind_words(field.kind)} and cannot identify a thing"
                    )
                    yield Problem(
                        "error",
                        "match_key_unusable",
                        f"Way {number} to find the same thing uses {pair[side]} of {facts[side].name}, which {why}.",
                        "Nothing could be matched by it.",
                        "Choose another field.",
                        side=side,
                        field="match_keys",
                    )
        for side in SIDES:
            known = [f for pair in alternative if (f := facts[side].field(pair[side]))]
            if document[side]["create"] and known and not any(field.matchable for field in known):
                yield Problem(
                    "error",
                    "match_key_not_searchable",
                    f"{facts[side].name} cannot be searched by {named([field.label for field in known])}.",
                    "Before a record is created there, we could not see whether it exists already.",
                    "Choose a searchable field, or do not create records there.",
                    side=side,
                    field="match_keys",
                )


def _cycle(document: Mapping[str, Any], others: Sequence[tuple[str, Place, Place]]) -> Iterator[Problem]:
    """Whether the two object types already meet by way of other mappings."""
    start, goal = ((document[side]["connection"], document[side]["object_type"]) for side in SIDES)
    reached: dict[Place, list[str]] = {start: []}
    waiting = [start]
    while waiting:
        here = waiting.pop(0)
        for name, left, right in others:
            for a, b in ((left, right), (right, left)):
                if a == here and b not in reached:
                    reached[b] = [*reached[here], name]
                    waiting.append(b)
    if start != goal and goal in reached:
        yield Problem(
            "warning",
            "cycle",
            f"These two are already connected by {named(reached[goal])}.",
            "An edit can come round in a circle; if it changes its form on the way, it flips back and forth until "
            "we stop it.",
            "Make sure that the mappings agree on every shared field, or leave one out.",
            field="mapping",
        )
