"""What is wrong with a draft, before it is published.

Pure: no Django, no HTTP library, no clock. Takes the draft as a document (format: mappings/compiled.py) and what the
two systems say of their fields. Errors stop publishing, warnings do not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connections.connectors.base import Field, FormField
from mappings.compiled import compile_rule
from mappings.transforms import TRANSFORMS
from mappings.transforms.base import CannotExpress, Lens, Transform

SIDES = ("left", "right")
OTHER = {"left": "right", "right": "left"}
# A list in a sentence stops being read after a few items.
NAMED_VALUES = 5
TEXT_KINDS = frozenset({"text", "rich_text"})
# Documents are re-rendered by their systems: equal texts need not be equal values, so they cannot identify a thing.
UNMATCHABLE_KINDS = frozenset({"rich_text", "set"})

Place = tuple[int, str]  # (connection id, object type)


@dataclass(frozen=True, slots=True)
class SideFacts:
    """What a system says about the object type on one side."""

    name: str  # of the connection, for sentences
    fields: Sequence[Field]
    scope_form: Sequence[FormField] = ()

    def field(self, path: str) -> Field | None:
        return next((field for field in self.fields if field.path == path), None)


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding. `what` · `means` · `todo` are the three parts of its sentence; `rule_id` and `field` say where."""

    level: str  # "error" or "warning"
    code: str
    what: str
    means: str
    todo: str
    rule_id: str = ""
    side: str = ""
    field: str = ""  # path, or the name of a mapping setting

    @property
    def message(self) -> str:
        return f"{self.what} {self.means} {self.todo}"


def check(
    document: Mapping[str, Any],
    left: SideFacts,
    right: SideFacts,
    others: Sequence[tuple[str, Place, Place]] = (),
) -> list[Problem]:
    """All problems of a draft, errors first. `others`: name and sides of the other published mappings."""
    facts = {"left": left, "right": right}
    problems: list[Problem] = []
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
    problems += _match_keys(document, facts)
    problems += _cycle(document, others)
    return sorted(problems, key=lambda problem: problem.level != "error")


def fits(transform: Transform, left_kind: str, right_kind: str) -> bool:
    """Whether a transform is made for these kinds; "*" stands for any kind."""
    return any(a in ("*", left_kind) and b in ("*", right_kind) for a, b in transform.kinds)


def writes(rule: Mapping[str, Any], side: str) -> bool:
    return bool(rule["direction"] in ("both", f"to_{side}"))


def _named(values: Sequence[Any]) -> str:
    quoted = [f"“{value}”" if value is not None else "empty" for value in values[:NAMED_VALUES]]
    rest = len(values) - NAMED_VALUES
    return ", ".join(quoted) + (f" and {rest} more" if rest > 0 else "")


def _label(rule: Mapping[str, Any]) -> str:
    return f"{rule['left']['label']} ↔ {rule['right']['label']}"


# Per rule. ---------------------------------------------------------------------------------------------------

Facts = Mapping[str, SideFacts]


def _unknown_field(rule: Mapping[str, Any], document: Mapping[str, Any], facts: Facts) -> Iterator[Problem]:
    for side in SIDES:
        path = rule[side]["path"]
        if facts[side].field(path) is None:
            yield Problem(
                "error",
                "unknown_field",
                f"{facts[side].name} has no field {path}.",
                "The rule can neither read nor write there.",
                "Choose another field, or give the account the right to see this one.",
                rule["id"],
                side,
                path,
            )


def _read_only(rule: Mapping[str, Any], document: Mapping[str, Any], facts: Facts) -> Iterator[Problem]:
    for side in SIDES:
        field = facts[side].field(rule[side]["path"])
        if field is not None and writes(rule, side) and not field.writable:
            away = "left to right" if side == "left" else "right to left"
            yield Problem(
                "error",
                "read_only",
                f"{field.label} in {facts[side].name} is read only.",
                "Every write of this rule there would be refused.",
                f"Let the rule go only from {away}"
                + (", or set the value at creation instead." if field.creatable else "."),
                rule["id"],
                side,
                field.path,
            )


def _transform(rule: Mapping[str, Any], document: Mapping[str, Any], facts: Facts) -> Iterator[Problem]:
    transform = TRANSFORMS.get(rule["transform"])
    if transform is None:
        yield Problem(
            "error",
            "unknown_transform",
            f"There is no transform named “{rule['transform']}”.",
            "The rule cannot be built.",
            "Choose one of the list.",
            rule["id"],
            field="transform",
        )
        return
    unknown = sorted(set(rule["params"]) - {name for name, _ in transform.params})
    if unknown:
        yield Problem(
            "error",
            "unknown_params",
            f"The transform “{transform.label}” has no setting {_named(unknown)}.",
            "It would be ignored, which is hardly what was meant.",
            "Remove it or correct its name.",
            rule["id"],
            field="params",
        )
    if any(facts[side].field(rule[side]["path"]) is None for side in SIDES):
        return  # said already; without the kinds nothing more can be judged
    left, right = rule["left"], rule["right"]
    if not fits(transform, left["kind"], right["kind"]):
        yield Problem(
            "error",
            "type_mismatch",
            f"“{transform.label}” does not lead from {_kind(left['kind'])} to {_kind(right['kind'])}.",
            f"{left['label']} and {right['label']} would hold values of the wrong type.",
            "Choose a transform that fits both fields.",
            rule["id"],
            field="transform",
        )
        return
    if transform.needs_value_map and not rule["entries"]:
        yield Problem(
            "error",
            "no_value_map",
            f"{_label(rule)} needs a value map and has none, or an empty one.",
            "No value could cross.",
            "Choose a value map or make one.",
            rule["id"],
            field="value_map",
        )
        return
    try:
        compile_rule(rule)
    except (ValueError, TypeError, KeyError) as error:
        yield Problem(
            "error",
            "bad_params",
            f"The transform “{transform.label}” cannot be built: {str(error).rstrip('.')}.",
            "The rule would not run.",
            "Correct its settings.",
            rule["id"],
            field="params",
        )


def _kind(kind: str) -> str:
    return kind.replace("_", " ")


def _value_map(rule: Mapping[str, Any], document: Mapping[str, Any], facts: Facts) -> Iterator[Problem]:
    entries = rule["entries"]
    if not entries:
        return
    for side in SIDES:
        yield from _options_without_entry(rule, facts, side)
        yield from _entries_without_option(rule, facts, side)
    pairs = [(repr(entry["left"]), repr(entry["right"])) for entry in entries]
    twice = [entry for entry, pair in zip(entries, pairs, strict=True) if pairs.count(pair) > 1]
    if twice:
        yield Problem(
            "warning",
            "map_entry_twice",
            f"The value map lists {_named([twice[0]['left']])} = {_named([twice[0]['right']])} twice.",
            "The second line does nothing.",
            "Remove it.",
            rule["id"],
            field="value_map",
        )
    if rule["direction"] == "both":
        yield from _not_reversible(rule, facts)


def _options_without_entry(rule: Mapping[str, Any], facts: Facts, side: str) -> Iterator[Problem]:
    """Values of `side` that have nowhere to go although the rule carries values away from it."""
    field, lens = facts[side].field(rule[side]["path"]), _lens(rule)
    if field is None or lens is None or not writes(rule, OTHER[side]):
        return
    lost = []
    for option in field.options:
        try:
            if option.active:
                lens.put(OTHER[side], option.value)
        except CannotExpress:
            lost.append(option.value)
    if lost:
        yield Problem(
            "warning",
            "map_not_total",
            f"{_named(lost)} of {field.label} in {facts[side].name} {'has' if len(lost) == 1 else 'have'} "
            f"no value in {facts[OTHER[side]].name}.",
            "A record with such a value waits in the review queue for this field; its other fields flow.",
            "Add the missing lines to the value map, or leave it so.",
            rule["id"],
            side,
            "value_map",
        )


def _options_not_offered(rule: Mapping[str, Any], document: Mapping[str, Any], facts: Facts) -> Iterator[Problem]:
    """Values a rule without a value map would write to a choice that does not offer them."""
    lens = _lens(rule)
    if rule["entries"] or lens is None:
        return
    for side in SIDES:
        source, target = facts[OTHER[side]].field(rule[OTHER[side]]["path"]), facts[side].field(rule[side]["path"])
        if source is None or target is None or not target.options or not writes(rule, side):
            continue
        offered = {option.value for option in target.options}
        strange = []
        for option in source.options:
            try:
                result = lens.put(side, option.value) if option.active else None
            except CannotExpress:
                continue
            if isinstance(result, str) and result not in offered:
                strange.append(result)
        if strange:
            yield Problem(
                "warning",
                "option_not_offered",
                f"{target.label} in {facts[side].name} has no option {_named(strange)}.",
                "Writing it is refused; the field waits in the review queue, the others flow.",
                "Use a value map, or add the option there.",
                rule["id"],
                side,
                "transform",
            )


def _entries_without_option(rule: Mapping[str, Any], facts: Facts, side: str) -> Iterator[Problem]:
    """Values the map would write to `side` that the field does not take, or only knows from old records."""
    field = facts[side].field(rule[side]["path"])
    if field is None or not field.options:
        return
    active = {option.value: option.active for option in field.options}
    values = list(dict.fromkeys(entry[side] for entry in rule["entries"] if isinstance(entry[side], str)))
    absent = [value for value in values if value not in active]
    retired = [value for value in values if active.get(value) is False]
    if absent:
        yield Problem(
            "error" if writes(rule, side) else "warning",
            "option_missing",
            f"{field.label} in {facts[side].name} has no option {_named(absent)}.",
            "Writing it would be refused." if writes(rule, side) else "These lines of the value map are never used.",
            "Correct the value map, or add the option there.",
            rule["id"],
            side,
            "value_map",
        )
    if retired and writes(rule, side):
        yield Problem(
            "warning",
            "option_retired",
            f"{_named(retired)} is switched off in {field.label} of {facts[side].name}.",
            "Old records keep it; writing it to others may be refused.",
            "Map to an option that is in use.",
            rule["id"],
            side,
            "value_map",
        )


def _not_reversible(rule: Mapping[str, Any], facts: Facts) -> Iterator[Problem]:
    for side in SIDES:
        sources: dict[Any, list[Any]] = defaultdict(list)
        for entry in rule["entries"]:
            if entry[side] not in sources[entry[OTHER[side]]]:
                sources[entry[OTHER[side]]].append(entry[side])
        for value, several in sources.items():
            if len(several) > 1:
                yield Problem(
                    "warning",
                    "map_not_reversible",
                    f"{_named(several)} in {facts[side].name} all mean {_named([value])} in {facts[OTHER[side]].name}.",
                    f"On the way back {_named([value])} becomes {_named([several[0]])}; a record that holds one of "
                    "the others keeps it as long as it still means the same.",
                    "Put the line that shall win on the way back first.",
                    rule["id"],
                    side,
                    "value_map",
                )


def _policy(rule: Mapping[str, Any], document: Mapping[str, Any], facts: Facts) -> Iterator[Problem]:
    if rule["direction"] != "both":
        return  # the policy of a one-way rule is never asked
    kinds = {rule["left"]["kind"], rule["right"]["kind"]}
    kind = rule["policy"]["kind"]
    if kind == "merge_sets" and kinds != {"set"}:
        yield Problem(
            "error",
            "policy_unsuited",
            f"The policy “{rule['policy']['name']}” merges sets, but {_label(rule)} is not a set on both sides.",
            "There is nothing to add to or remove from.",
            "Choose another policy.",
            rule["id"],
            field="policy",
        )
    if kind == "merge_text" and not kinds <= TEXT_KINDS:
        yield Problem(
            "error",
            "policy_unsuited",
            f"The policy “{rule['policy']['name']}” merges text, but {_label(rule)} is not text on both sides.",
            "There are no lines to merge.",
            "Choose another policy.",
            rule["id"],
            field="policy",
        )


def _length(rule: Mapping[str, Any], document: Mapping[str, Any], facts: Facts) -> Iterator[Problem]:
    for side in SIDES:
        target, source = facts[side].field(rule[side]["path"]), facts[OTHER[side]].field(rule[OTHER[side]]["path"])
        if target is None or source is None or not writes(rule, side) or not target.max_length:
            continue
        if (lens := _lens(rule)) is not None and f"to_{side}" in lens.lossy:
            continue  # made for it: the transform shortens
        if not source.writable and source.max_length is None:
            continue  # made by the system itself (keys, numbers): nobody types a long one
        if source.kind in TEXT_KINDS and (source.max_length is None or source.max_length > target.max_length):
            yield Problem(
                "warning",
                "shorter",
                f"{target.label} in {facts[side].name} holds {target.max_length:,} characters, "
                f"{source.label} in {facts[OTHER[side]].name} holds more.",
                "A longer text is not written and waits for a person.",
                "Leave it so, or choose a transform that shortens.",
                rule["id"],
                side,
                target.path,
            )


def _lens(rule: Mapping[str, Any]) -> Lens | None:
    """The rule's functions; None where they cannot be built, which `_transform` reports."""
    try:
        return compile_rule(rule).lens
    except (ValueError, TypeError, KeyError):
        return None


RuleCheck = Callable[[Mapping[str, Any], Mapping[str, Any], Facts], Iterator[Problem]]
RULE_CHECKS: tuple[RuleCheck, ...] = (
    _unknown_field,
    _read_only,
    _transform,
    _value_map,
    _options_not_offered,
    _policy,
    _length,
)


# Over all rules and the settings. ----------------------------------------------------------------------------


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
                    f"Two rules write {rule[side]['label']} in {facts[side].name}: {_label(rules[0])} "
                    f"and {_label(rule)}.",
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
    for path in settings["create_defaults"]:
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
            f"{_named(apart)} in {facts[side].name} is written by a call of its own.",
            "Closing takes more than one write; a person may see the record half closed for a moment.",
            "Leave it so, or close by this field alone.",
            side=side,
            field="close_values",
        )


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
            f"{facts[side].name} knows no scope setting {_named(unknown)}.",
            "It would be ignored and let in records that were meant to stay out.",
            "Remove it or correct its name.",
            side=side,
            field="scope",
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
                    why = "does not exist" if field is None else f"is {_kind(field.kind)} and cannot identify a thing"
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
                    f"{facts[side].name} cannot be searched by {_named([field.label for field in known])}.",
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
            f"These two are already connected by {_named(reached[goal])}.",
            "An edit can come round in a circle; if it changes its form on the way, it flips back and forth until "
            "we stop it.",
            "Make sure that the mappings agree on every shared field, or leave one out.",
            field="mapping",
        )
