"""The laws of the plan: whatever links, records, questions, own writes and people's choices are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from connections.connectors.base import Record
from mappings.compiled import CompiledMapping, CompiledRule, CompiledSide
from mappings.tests.properties import PLAN, cases
from sync.merge import MISSING, OTHER, Agree, Ask, Field, Skip, Stale, Write, is_empty
from sync.plan import (
    OSCILLATION_WRITES,
    InstructionView,
    LinkPlan,
    LinkView,
    OwnWrite,
    plan_link,
)
from sync.plan_deletion import plan_deletion
from sync.plan_unlinked import Bind, Candidate, Leave, MakeTwin, Wonder, plan_creation, plan_unlinked
from sync.tests.property_cases import SIDES, Case, Picks, carried_out, case_of, choice_of, picks, rule_of
from sync.tests.test_plan import SIDE

RULES = 3
BYTES = 160
NOW = 1000.0
ROUNDS = 3


@dataclass
class Situation:
    """A link with its two records, as one batch reads them."""

    mapping: CompiledMapping
    cases: list[Case]
    link: LinkView
    left: Record
    right: Record
    instructions: list[InstructionView]

    def plan(self, **more: Any) -> LinkPlan:
        return plan_link(self.mapping, self.link, self.left, self.right, self.instructions, now=NOW, **more)


def mapping_of(rules: list[CompiledRule], **side: Any) -> CompiledMapping:
    one = CompiledSide(**{**SIDE, **side})
    return CompiledMapping(one, one, tuple(rules), (), "fill_empty", 15, {})


def records_of(fields: Mapping[str, Field], rules: list[CompiledRule]) -> tuple[Record, Record]:
    found = []
    for side in SIDES:
        values = {rule.field(side).path: fields[rule.id].value(side) for rule in rules}
        hidden = frozenset(path for path, value in values.items() if value is MISSING)
        shown = {path: value for path, value in values.items() if value is not MISSING}
        found.append(Record(f"{side}1", "1", shown, unreadable=hidden))
    return found[0], found[1]


def bases_of(fields: Mapping[str, Field]) -> dict[str, dict[str, Any]]:
    return {side: {rule: f.base(side) for rule, f in fields.items() if f.base(side) is not MISSING} for side in SIDES}


def situation(pick: Picks, own_writes: bool = True, **limits: Any) -> Situation:
    found = []
    for number in range(RULES):
        family, rule = rule_of(pick, rule_id=f"r{number}")
        if pick.once_in(4):
            rule = replace(rule, **{side: replace(rule.field(side), separate_write=True) for side in SIDES})
        found.append(case_of(pick, (family, rule), **limits))
    rules, fields = [case.rule for case in found], {case.rule.id: case.field for case in found}
    left, right = records_of(fields, rules)
    asked = {case.rule.id: choice_of(pick, case) for case in found if pick.once_in(5)}
    instructions = [InstructionView(7, "resolve", asked)] if asked else []
    writes: dict[tuple[str, str], list[OwnWrite]] = {}
    if own_writes:
        for case in found:
            side = pick.of(SIDES)
            pool = case.family.values[SIDES.index(side)]
            some = [
                OwnWrite(n, pick.of(pool), pick.of((0, 0, 1, 2)), NOW - 9 + n) for n in range(pick.of((0, 0, 1, 7)))
            ]
            writes[(side, case.rule.field(side).path)] = some
    link = LinkView(
        id=1,
        left_id="left1",
        right_id="right1",
        bases=bases_of(fields),
        parked={rule: f.parked for rule, f in fields.items() if f.parked},
        open_conflicts={rule: "field" for rule, f in fields.items() if f.open_conflict},
        own_writes=writes,
        edits={
            **{("left", rule): f.left_edit for rule, f in fields.items() if f.left_edit},
            **{("right", rule): f.right_edit for rule, f in fields.items() if f.right_edit},
        },
    )
    return Situation(mapping_of(rules), found, link, left, right, instructions)


def situations(**limits: Any) -> st.SearchStrategy[Situation]:
    return picks(BYTES).map(lambda pick: situation(pick, **limits))


@cases(PLAN)
@given(situations())
def test_each_rule_has_one_outcome_and_no_outcome_two_writes(case: Situation) -> None:
    plan = case.plan()
    assert set(plan.outcomes) == {rule.id for rule in case.mapping.rules}
    written = Counter(field.rule for operation in plan.operations for field in operation.fields)
    asked = Counter(conflict.rule for conflict in plan.conflicts)
    assert max([*written.values(), *asked.values()], default=1) == 1
    assert not written.keys() & plan.agreed.keys()
    assert not written.keys() & asked.keys()
    assert not asked.keys() & plan.agreed.keys()
    calls = [(operation.side, operation.part) for operation in plan.operations]
    assert len(set(calls)) == len(calls), "one call per side and part"


@cases(PLAN)
@given(situations())
def test_what_cannot_be_read_is_left_alone(case: Situation) -> None:
    """Hidden is not empty: nothing is written, agreed, asked, closed or taken up about it."""
    plan = case.plan()
    hidden = {rule.id for rule, f in pairs(case) if MISSING in (f.left, f.right)}
    written = {field.rule for operation in plan.operations for field in operation.fields}
    told = written | plan.agreed.keys() | {c.rule for c in plan.conflicts} | set(plan.closed) | set(plan.unparked)
    assert not hidden & told
    assert {rule for rule, outcome in plan.outcomes.items() if isinstance(outcome, Skip)} == hidden


def pairs(case: Situation) -> list[tuple[CompiledRule, Field]]:
    return [(one.rule, one.field) for one in case.cases]


@cases(PLAN)
@given(situations())
def test_a_call_carries_the_before_image_the_source_and_only_where_values_may_flow(case: Situation) -> None:
    plan = case.plan()
    fields = {rule.id: (rule, f) for rule, f in pairs(case)}
    for operation in plan.operations:
        for planned in operation.fields:
            rule, f = fields[planned.rule]
            assert planned.path == rule.field(operation.side).path
            assert planned.before == f.value(operation.side)
            assert planned.source == f.value(OTHER[operation.side])
            assert rule.may_write(operation.side)
            assert operation.part == (planned.path if rule.field(operation.side).separate_write else "")


@cases(PLAN)
@given(situations())
def test_questions_close_only_where_none_is_left(case: Situation) -> None:
    """A question that is asked again is never closed on the way, and a value stays parked while anything is asked."""
    plan = case.plan()
    asked = {conflict.rule for conflict in plan.conflicts}
    assert set(plan.closed) <= set(case.link.open_conflicts) - asked
    assert set(plan.unparked) <= set(case.link.parked) - asked
    waiting = {rule for rule, outcome in plan.outcomes.items() if isinstance(outcome, Skip | Write)}
    assert set(case.link.parked) - asked - waiting == set(plan.unparked)


@cases(PLAN)
@given(situations())
def test_a_link_is_settled_only_if_there_is_nothing_to_do(case: Situation) -> None:
    plan = case.plan()
    busy = any(isinstance(outcome, Write | Agree | Ask) for outcome in plan.outcomes.values())
    skipped = any(isinstance(outcome, Skip) for outcome in plan.outcomes.values())
    assert plan.settled is not (busy or plan.waiting)
    assert skipped or not plan.waiting, "only a field that cannot be read now keeps a quiet pair from being settled"


@cases(PLAN)
@given(situations())
def test_each_choice_of_a_person_is_answered(case: Situation) -> None:
    plan = case.plan()
    for one in case.instructions:
        assert plan.instructions[one.id].keys() == one.choices.keys()
        for rule, answer in plan.instructions[one.id].items():
            outcome = plan.outcomes[rule]
            if answer == "done":
                assert isinstance(outcome, Agree)
            if answer == "refused":
                assert isinstance(outcome, Ask)
            assert answer == "stale" or not isinstance(outcome, Stale)


@cases(PLAN)
@given(situations())
def test_in_a_held_pair_only_what_a_person_asked_for_is_looked_at(case: Situation) -> None:
    plan = case.plan(chosen_only=True)
    chosen = {rule for one in case.instructions for rule in one.choices}
    assert plan.outcomes.keys() == chosen and not plan.settled


@cases(PLAN)
@given(situations(own_writes=False))
def test_a_plan_that_is_carried_out_leaves_nothing_to_do_within_three_rounds(case: Situation) -> None:
    fields = {rule.id: f for rule, f in pairs(case)}
    rules = list(case.mapping.rules)
    for _ in range(ROUNDS):
        plan = case.plan()
        if not plan.operations and not plan.agreed:
            break
        for rule in rules:
            outcome = plan.outcomes[rule.id]
            if isinstance(outcome, Write):
                assert rule.id in {field.rule for operation in plan.operations for field in operation.fields}
            fields[rule.id] = carried_out(rule, fields[rule.id], outcome)
        left, right = records_of(fields, rules)
        questions = {rule: "field" for rule, f in fields.items() if f.open_conflict}
        parked = {rule: f.parked for rule, f in fields.items() if f.parked}
        link = replace(case.link, bases=bases_of(fields), open_conflicts=questions, parked=parked)
        case = Situation(case.mapping, case.cases, link, left, right, [])
    plan = case.plan()
    assert not plan.operations and not plan.agreed, "it goes on and on"


# Loops. ------------------------------------------------------------------------------------------------------------


@dataclass
class Struggle:
    """Somebody who sets a field to these values, one after each of our writes, whatever we write."""

    rule: CompiledRule
    pool: tuple[Any, ...]
    answers: list[Any]


def struggles() -> st.SearchStrategy[Struggle]:
    def draw(pick: Picks) -> Struggle:
        family, rule = rule_of(pick, policies=("right", "left"), directions=("both",))
        pool = family.values[0]
        return Struggle(rule, pool, [pick.of(pool) for _ in range(40)])

    return picks(60).map(draw)


@cases(PLAN)
@given(struggles())
def test_a_war_of_updates_ends_in_a_question(case: Struggle) -> None:
    """Coming back to values already written, we stop after few writes; new values may be a busy person's."""
    rule, mapping = case.rule, mapping_of([case.rule])
    field = Field(None, None, None, None)
    writes: dict[tuple[str, str], list[OwnWrite]] = {}
    count: Counter[str] = Counter()
    for number, value in enumerate(case.answers):
        field = replace(field, left=value)
        for _ in range(ROUNDS):
            left, right = records_of({rule.id: field}, [rule])
            link = LinkView(1, "l", "r", bases_of({rule.id: field}), own_writes=writes)
            plan = plan_link(mapping, link, left, right, now=NOW + number, max_hops=100)
            outcome = plan.outcomes[rule.id]
            if isinstance(outcome, Write):
                key = (outcome.side, rule.field(outcome.side).path)
                count[f"{outcome.side}:{outcome.value}"] += 1
                writes.setdefault(key, []).append(OwnWrite(number, outcome.value, 0, NOW + number))
            if not isinstance(outcome, Write | Agree):
                break
            field = carried_out(rule, field, outcome)
        if isinstance(outcome, Ask) and outcome.kind == "oscillation":
            break
    assert all(number <= OSCILLATION_WRITES for number in count.values()), count


# Deletions. --------------------------------------------------------------------------------------------------------


@cases(PLAN)
@given(
    st.one_of(situations(), situations(edited=(), agreed=True, hidden=False)),
    st.sampled_from(SIDES),
    st.sampled_from(("review", "ignore", "unlink", "close", "delete")),
    st.booleans(),
    st.sampled_from(("gone", "empty", "as it is")),
    st.booleans(),
)
def test_a_deletion_deletes_no_edited_survivor(
    case: Situation, gone: str, policy: str, released: bool, found: str, agreed: bool
) -> None:
    """Only the twin is touched, only where the mapping says so or a person, and never where it was edited."""
    if not agreed:
        case.link = replace(case.link, bases={side: {} for side in SIDES})
    closing = {"status": "closed"}
    mapping = mapping_of(list(case.mapping.rules), on_delete=policy, close_values=closing)
    other = OTHER[gone]
    survivor = (case.left if other == "left" else case.right) if found != "gone" else None
    if survivor is not None and found == "empty":
        survivor = replace(survivor, values=dict.fromkeys(survivor.values))
    plan = plan_deletion(mapping, case.link, gone, survivor, released)
    edited = survivor is not None and any(
        rule.id in case.link.bases[other]
        and survivor.values.get(rule.field(other).path, case.link.bases[other][rule.id])
        != case.link.bases[other][rule.id]
        for rule in mapping.rules
    )
    unread = survivor is not None and any(
        rule.id in case.link.bases[other] and rule.field(other).path not in survivor.values for rule in mapping.rules
    )
    assert len(plan.operations) + len(plan.conflicts) + bool(plan.state) == 1, "one answer"
    for operation in plan.operations:
        assert operation.side == other and survivor is not None
        assert released or not (edited or unread)
        if operation.kind == "delete":
            assert released or policy == "delete"
        else:
            assert policy == "close" and operation.extra == closing
    if survivor is None:
        assert plan.state == "deleted"
    if not released and policy in ("review", "delete", "close") and not case.link.bases[other] and survivor:
        assert plan.conflicts, "a pair that never agreed is left to a person"


# Records without a link. -------------------------------------------------------------------------------------------


def candidates() -> st.SearchStrategy[list[Candidate]]:
    one = st.builds(Candidate, st.sampled_from(("R1", "R2", "R3")), st.integers(0, 2))
    return st.lists(one, max_size=3, unique_by=lambda candidate: candidate.external_id)


@cases(PLAN)
@given(situations(), st.sampled_from(SIDES), candidates(), st.integers(0, 1), st.booleans(), st.booleans())
def test_a_record_is_bound_only_to_the_one_that_fits_best_and_copied_only_if_none_does(
    case: Situation, side: str, fitting: list[Candidate], rivals: int, bound: bool, creating: bool
) -> None:
    mapping = mapping_of(list(case.mapping.rules), create=creating)
    record = case.left if side == "left" else case.right
    decision = plan_unlinked(mapping, side, record, fitting, rivals, bound)
    best = [c.external_id for c in fitting if c.alternative == min(one.alternative for one in fitting)]
    if isinstance(decision, Bind):
        assert not rivals and [decision.right_id if side == "left" else decision.left_id] == best
    else:
        assert len(best) != 1 or rivals
    if isinstance(decision, MakeTwin):
        assert creating and not fitting and not bound
    if isinstance(decision, Leave):
        assert not creating and not fitting and not bound


@cases(PLAN)
@given(situations(), st.sampled_from(SIDES))
def test_a_twin_is_made_of_what_its_record_says_and_nothing_is_forgotten(case: Situation, side: str) -> None:
    """Each value that may flow is sent, or noted as unsent, and a required one that cannot be filled is asked about."""
    record, target = (case.left if side == "left" else case.right), OTHER[side]
    twin = plan_creation(case.mapping, side, record, case.link.parked)
    if isinstance(twin, Wonder):
        assert twin.kind == "unmapped"
        assert any(rule.field(target).required for rule in case.mapping.rules)
        return
    sent = {field.rule: field for field in twin.fields}
    for rule in case.mapping.rules:
        path = rule.field(side).path
        flows = rule.may_write(target) and path in record.values
        assert (rule.id in sent) + (rule.id in twin.unsent) == flows
        if rule.id in sent:
            assert sent[rule.id].value == rule.lens.put(target, record.values[path])
            assert sent[rule.id].value != case.link.parked.get(rule.id, {}).get("value", MISSING)
            assert not is_empty(sent[rule.id].value) or not rule.field(target).required
