"""What is wrong with one rule of a draft: its fields, its transform, its value map, its policy.

Pure: no Django, no HTTP library, no clock. A new check is one function and one entry of RULE_CHECKS.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mappings.compiled import compile_rule
from mappings.problems import OTHER, SIDES, Problem, SideFacts, kind_words, named, rule_label, writes
from mappings.transforms import TRANSFORMS
from mappings.transforms.base import CannotExpress, Lens, Transform

TEXT_KINDS = frozenset({"text", "rich_text"})


def fits(transform: Transform, left_kind: str, right_kind: str) -> bool:
    """Whether a transform is made for these kinds; "*" stands for any kind."""
    return any(a in ("*", left_kind) and b in ("*", right_kind) for a, b in transform.kinds)


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
            f"The transform “{transform.label}” has no setting {named(unknown)}.",
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
            f"“{transform.label}” does not lead from {kind_words(left['kind'])} to {kind_words(right['kind'])}.",
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
            f"{rule_label(rule)} needs a value map and has none, or an empty one.",
            "No value could cross.",
            "Choose a value map or make one.",
            rule["id"],
            field="value_map",
        )
        return
    if rule["entries"] and not (transform.needs_value_map or transform.takes_value_map):
        yield Problem(
            "warning",
            "map_ignored",
            f"{rule_label(rule)} has a value map, and “{transform.label}” uses none.",
            "Values cross as if there were no map.",
            "Choose the transform “Value map”, or no value map.",
            rule["id"],
            field="transform",
        )
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
            f"The value map lists {named([twice[0]['left']])} = {named([twice[0]['right']])} twice.",
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
            f"{named(lost)} of {field.label} in {facts[side].name} {'has' if len(lost) == 1 else 'have'} "
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
                f"{target.label} in {facts[side].name} has no option {named(strange)}.",
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
            f"{field.label} in {facts[side].name} has no option {named(absent)}.",
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
            f"{named(retired)} is switched off in {field.label} of {facts[side].name}.",
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
                    f"{named(several)} in {facts[side].name} all mean {named([value])} in {facts[OTHER[side]].name}.",
                    f"On the way back {named([value])} becomes {named([several[0]])}; a record that holds one of "
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
            f"The policy “{rule['policy']['name']}” merges sets, but {rule_label(rule)} is not a set on both sides.",
            "There is nothing to add to or remove from.",
            "Choose another policy.",
            rule["id"],
            field="policy",
        )
    if kind == "merge_text" and not kinds <= TEXT_KINDS:
        yield Problem(
            "error",
            "policy_unsuited",
            f"The policy “{rule['policy']['name']}” merges text, but {rule_label(rule)} is not text on both sides.",
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
