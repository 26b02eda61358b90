"""What of a mapping must stand still, because the fields of a system are no longer what its version knows.

Pure: no Django, no HTTP, no clock. A version's document and the fields as the two systems list them now go in, findings
come out; `standing` lays them over the compiled mapping. ⚑ A field that is not shown is never read as empty: what
depends on it waits with its bases, everything else flows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from math import isfinite
from typing import Any

from connections.connectors.base import Field
from mappings.compiled import CompiledMapping, CompiledRule, Standstill
from mappings.transforms.base import FieldSpec
from mappings.transforms.rich_text import ADF, format_of
from mappings.validation import UNMATCHABLE_KINDS
from sync.merge import OTHER

SIDES = ("left", "right")
# What a finding stops.
RULE, WRITES, VALUES, CREATES, MATCHING, READING = "rule", "writes", "values", "creates", "matching", "reading"
LATER = "later"  # nothing: the field is written right after the record is made instead of with it
# Findings about one field, the gravest first: it gives the entry in the queue its name.
GRAVITY = (READING, RULE, WRITES, VALUES, MATCHING, CREATES, LATER)
MISSING_CODES = frozenset({"field_removed", "field_renamed", "field_hidden"})
# A field whose values have another form than its kind has must not be merged: which types a kind's values are of.
FORMS: Mapping[str, tuple[type, ...]] = {
    "text": (str,),
    "rich_text": (str, dict),
    "option": (str,),
    "set": (list,),
    "person": (str,),
    "number": (int, float),
    "boolean": (bool,),
    "date": (str,),
    "datetime": (str,),
    "reference": (str,),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a version knows otherwise than the system says it.

    `subject`: what the queue has one entry for: "rule:<id>", "create:<side>", "match:<side>", "scope:<side>".
    `stops`: rule (neither side is looked at), writes (to `side`), values (writes of some values to `side`), creates (on
    `side`, as long as `path` stays empty; all of them where `path` is ""), matching, reading (the whole mapping).
    later: nobody needs to be told. `params`: for the sentence; JSON values.
    """

    subject: str
    side: str
    code: str
    stops: str
    path: str = ""
    label: str = ""
    rule: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)


def compare(
    document: Mapping[str, Any],
    fields: Mapping[str, Sequence[Field]],
    unreadable: Mapping[str, Collection[str]] | None = None,
) -> list[Finding]:
    """Everything about `document` (format: mappings/compiled.py) that no longer fits.

    `fields`: by side, as listed now; a side that is not there is not judged. `unreadable`: by side, paths that reads
    named as hidden from our account.
    """
    now = {side: {one.path: one for one in listed} for side, listed in fields.items()}
    hidden = unreadable or {}
    found: list[Finding] = []
    for rule in document["rules"]:
        for side in now:
            found += _of_rule(rule, side, document, now, hidden.get(side, ()))
    for side in now:
        found += _of_creates(document, side, now)
        found += _of_match_keys(document, side, now[side], hidden.get(side, ()))
    return found


# One side of a rule. ---------------------------------------------------------------------------------------------

Now = Mapping[str, Mapping[str, Field]]  # side -> path -> field


def _of_rule(
    rule: Mapping[str, Any], side: str, document: Mapping[str, Any], now: Now, hidden: Collection[str]
) -> Iterator[Finding]:
    spec = rule[side]
    if spec["kind"] == "unknown":  # the version did not know it either
        return

    def finding(code: str, stops: str, **params: Any) -> Finding:
        subject = f"rule:{rule['id']}"
        return Finding(subject, side, code, stops, spec["path"], spec["label"], rule["id"], params)

    field_now = now[side].get(spec["path"])
    if field_now is None:
        yield _missing(finding, spec, side, document, now, hidden)
        return
    if retyped := _retyped(spec, field_now):
        yield finding("type_changed", RULE, **retyped)
        return
    if not _writes(rule, side):
        return
    if spec.get("writable", True) and not field_now.writable:
        yield finding("read_only", WRITES)
        return
    if spec.get("creatable", True) and not field_now.creatable:
        yield finding("not_creatable", LATER)
    if gone := _options_gone(rule, side, field_now):
        yield finding("option_removed", VALUES, values=gone)
    if shorter := _shorter(spec, field_now):
        yield finding("shortened", VALUES, **shorter)


def _missing(
    finding: Any,
    spec: Mapping[str, Any],
    side: str,
    document: Mapping[str, Any],
    now: Now,
    hidden: Collection[str],
) -> Finding:
    taken = {rule[side]["path"] for rule in document["rules"]}
    alike = [
        one
        for one in now[side].values()
        if one.path not in taken and one.kind == spec["kind"] and one.label.casefold() == spec["label"].casefold()
    ]
    if len(alike) == 1:  # a guess for a person, never followed by itself
        found: Finding = finding("field_renamed", RULE, suggestion=alike[0].path)
    else:
        found = finding("field_hidden" if spec["path"] in hidden else "field_removed", RULE)
    return found


def _writes(rule: Mapping[str, Any], side: str) -> bool:
    return bool(rule["direction"] in ("both", f"to_{side}"))


def _retyped(spec: Mapping[str, Any], now: Field) -> dict[str, str]:
    """What it was and is, where the field is of another type than the version knows."""
    both_formats = {now.format, spec.get("format")} - {None}
    if now.kind == spec["kind"] and len(both_formats) < 2:
        return {}
    return {"was": _type(spec["kind"], spec.get("format")), "now": _type_of(now)}


def _shorter(spec: Mapping[str, Any], now: Field) -> dict[str, int]:
    was, limit = spec.get("max_length"), now.max_length
    if limit is None or was is None or limit >= was:  # where no limit was told, none is known to be shorter
        return {}
    return {"was": was, "limit": limit}


def _no_longer_offered(spec: Mapping[str, Any], now: Field) -> list[str]:
    """Options that the version knows and the field does not have any more. Where none are told, none are gone."""
    offered = {option.value for option in now.options if option.active}
    return [option for option in spec.get("options") or () if option not in offered] if offered else []


def _type(kind: str, form: str | None) -> str:
    return kind.replace("_", " ") + (f" ({form})" if form else "")


def _type_of(one: Field) -> str:
    return _type(one.kind, one.format)


def _options_gone(rule: Mapping[str, Any], side: str, now: Field) -> list[str]:
    """Options that the rule may write there and that are not offered any more."""
    known = _no_longer_offered(rule[side], now)
    if rule.get("entries"):
        used = {str(entry.get(side)) for entry in rule["entries"]}
    elif from_there := rule[OTHER[side]].get("options"):
        used = set(from_there)
    else:
        return known
    return [option for option in known if option in used]


# New records. ----------------------------------------------------------------------------------------------------


def _of_creates(document: Mapping[str, Any], side: str, now: Now) -> Iterator[Finding]:
    settings = document[side]
    if not settings["create"]:
        return

    def finding(code: str, one: Field | None, path: str, wait_for: str, rule: str = "", **told: Any) -> Finding:
        label = one.label if one else path
        return Finding(f"create:{side}", side, code, CREATES, wait_for, label, rule, {"path": path, **told})

    rules = {rule[side]["path"]: rule for rule in document["rules"] if _writes(rule, side)}
    given = set(settings["create_defaults"]) | set(settings["scope"])
    for one in now[side].values():
        if not one.required or not one.creatable or one.path in given:
            continue
        rule = rules.get(one.path)
        if rule is None:
            yield finding("newly_required", one, one.path, one.path)
        elif not rule[side].get("required") and rule[side]["kind"] != "unknown" and _may_be_empty(rule, side, now):
            yield finding("newly_required", one, one.path, one.path, rule["id"])
    known = {spec["path"]: spec for spec in (document.get("create_fields") or {}).get(side, ())}
    for path, value in settings["create_defaults"].items():
        there = now[side].get(path)
        if there is None or not there.creatable or there.separate_write:
            yield finding("create_value_unusable", there, path, "")
        elif unfit := _unfit(known.get(path), value, there):
            code, told = unfit
            yield finding(code, there, path, "", **told)


def _unfit(spec: Mapping[str, Any] | None, value: Any, now: Field) -> tuple[str, dict[str, Any]] | None:
    """Why a value for new records does not fit its field any more; `spec`: the field as the version knows it."""
    if spec is None or spec["kind"] == "unknown":
        return None
    if retyped := _retyped(spec, now):
        return "create_type_changed", retyped
    named = value if isinstance(value, list) else [value]
    if gone := [option for option in _no_longer_offered(spec, now) if option in named]:
        return "create_option_removed", {"values": gone}
    shorter = _shorter(spec, now)
    if shorter and isinstance(value, str) and len(value) > shorter["limit"]:
        return "create_shortened", dict(shorter)
    return None


def _may_be_empty(rule: Mapping[str, Any], side: str, now: Now) -> bool:
    """Whether the source may say nothing; boxes that are ticked or not always say something."""
    source = now.get(OTHER[side], {}).get(rule[OTHER[side]]["path"])
    return source is None or not (source.required or source.kind == "boolean")


# How records are found. ------------------------------------------------------------------------------------------


def _of_match_keys(
    document: Mapping[str, Any], side: str, now: Mapping[str, Field], hidden: Collection[str]
) -> Iterator[Finding]:
    labels = {rule[side]["path"]: rule[side]["label"] for rule in document["rules"]}
    for path in dict.fromkeys(pair[side] for way in document["match_keys"] for pair in way):
        one = now.get(path)
        label = labels.get(path, path)
        if one is None:
            code = "match_field_hidden" if path in hidden else "match_field_removed"
            yield Finding(f"match:{side}", side, code, MATCHING, path, label)
        elif one.kind in UNMATCHABLE_KINDS:
            told = {"now": _type_of(one)}
            yield Finding(f"match:{side}", side, "match_field_changed", MATCHING, path, label, "", told)
    if not document[side]["create"]:
        return
    for way in document["match_keys"]:
        known = [one for pair in way if (one := now.get(pair[side])) and one.kind not in UNMATCHABLE_KINDS]
        if known and not any(one.matchable for one in known):
            one = known[0]
            yield Finding(f"match:{side}", side, "match_field_unsearchable", MATCHING, one.path, one.label)


def scope_finding(side: str, path: str, message: str) -> Finding:
    """The mapping's filter names a field that the system refuses to look at: nothing there can be listed."""
    return Finding(f"scope:{side}", side, "scope_field_gone", READING, path, path, "", {"message": message})


# Laid over the compiled mapping. ---------------------------------------------------------------------------------


def standing(compiled: CompiledMapping, findings: Sequence[Finding]) -> CompiledMapping:
    """The mapping with everything that `findings` stop standing still."""
    if not findings:
        return compiled
    still: dict[str, Standstill] = {}
    missing: dict[str, set[str]] = {side: set() for side in SIDES}
    for one in findings:
        if one.code in MISSING_CODES or one.code in ("match_field_removed", "match_field_hidden"):
            missing[one.side].add(one.path)
        if one.subject.startswith("rule:") and one.stops != LATER:
            still[one.rule] = _with(still.get(one.rule), one)
    waits = {side: _waits(compiled, side, findings, still, missing) for side in SIDES}
    return replace(
        compiled,
        rules=tuple(_as_now(rule, findings) for rule in compiled.rules),
        still=still,
        missing={side: frozenset(paths) for side, paths in missing.items()},
        creates_wait=waits,
        matching_waits=any(one.stops == MATCHING for one in findings),
    )


def _as_now(rule: CompiledRule, findings: Sequence[Finding]) -> CompiledRule:
    """The rule with what its fields demand now: not with the create, or not empty."""
    for one in findings:
        if one.rule == rule.id and one.stops in (LATER, CREATES):
            known = rule.field(one.side)
            spec = replace(known, creatable=False) if one.stops == LATER else replace(known, required=True)
            rule = replace(rule, left=spec) if one.side == "left" else replace(rule, right=spec)
    return rule


def _with(known: Standstill | None, one: Finding) -> Standstill:
    base = known or Standstill(one.code)
    if one.stops == RULE:
        return replace(base, code=one.code, whole=True)
    if one.stops == WRITES:
        return replace(base, sides=base.sides | {one.side})
    if "values" in one.params:
        return replace(base, values={**base.values, one.side: frozenset(one.params["values"])})
    return replace(base, lengths={**base.lengths, one.side: int(one.params["limit"])})


def _waits(
    compiled: CompiledMapping,
    side: str,
    findings: Sequence[Finding],
    still: Mapping[str, Standstill],
    missing: Mapping[str, set[str]],
) -> dict[str, str]:
    """{path: code}: what a record on `side` must not be made without."""
    waits = {one.path: one.code for one in findings if one.stops == CREATES and one.side == side}
    for rule in compiled.rules:
        spec = rule.field(side)
        # A required field whose rule stands still: the record would be refused. One that is gone demands nothing.
        if rule.id in still and spec.required and rule.may_write(side) and spec.path not in missing[side]:
            waits.setdefault(spec.path, still[rule.id].code)
    return waits


def gravest(findings: Sequence[Finding]) -> Finding:
    """The one that gives an entry its sentence."""
    return min(findings, key=lambda one: GRAVITY.index(one.stops))


# What reads tell. ------------------------------------------------------------------------------------------------


def fits(kind: str, value: Any) -> bool:
    """Whether a value read has the form that the kind's values have. None is empty, whatever the kind."""
    forms = FORMS.get(kind)
    if value is None or forms is None:
        return True
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, forms)


def may_hold(spec: FieldSpec, value: Any) -> bool:
    """Whether a value that a person gives has the form of the field's values.

    Whether it is an option, or short enough, the system knows better than the version: it says so itself.
    """
    if value is None or not fits(spec.kind, value):
        return value is None
    if spec.kind == "number":
        return isinstance(value, int) or isfinite(value)
    if spec.kind == "set":
        return all(isinstance(one, str) for one in value)
    if spec.kind == "rich_text":
        return isinstance(value, dict if format_of(spec) is ADF else str)
    if spec.kind in ("date", "datetime"):
        try:
            (date if spec.kind == "date" else datetime).fromisoformat(value)
        except ValueError:
            return False
    return True
