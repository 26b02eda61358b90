"""What the oracle of the simulation must speak up about: one small scene for each of its checks.

No engine takes part: people and "we" write to two systems in memory, and the audit log says what it is told.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from connections.connectors.memory import US, LogLine
from sync.simulation import oracle, oracle_log, oracle_values
from sync.simulation.clock import START
from sync.simulation.evidence import Entry, Evidence
from sync.simulation.remote import SimulatedWorld
from sync.simulation.script import Nature

CAREFUL = Nature(
    exact_version=True,
    conditional=True,
    history=True,
    lookup_consistent=True,
    idempotent_create=True,
    lists_lag=False,
    gone_means_gone=True,
    lists_deletions=True,
    lag=0.0,
    granularity=0.0,
    clock=0.0,
    bulk_write=1,
    trims=False,
    automation=False,
)


class Scene:
    """Two systems and a log; every accepted write is one second later than the last."""

    def __init__(self) -> None:
        self.left, self.right = (SimulatedWorld(name, CAREFUL, lambda: START) for name in ("Left", "Right"))
        self.journal: list[tuple[SimulatedWorld, LogLine]] = []
        self.reads: list[tuple[int, str, frozenset[str], int]] = []
        self.entries: list[Entry] = []
        self.typed: dict[str, tuple[str, str]] = {}
        self.named: set[tuple[str, str, str]] = set()
        self.asked: list[tuple[int, str, str, str]] = []

    def add(self, world: SimulatedWorld, by: str = "ana", **values: Any) -> str:
        external_id = world.add(by, **values)
        self._note(world)
        return external_id

    def edit(self, world: SimulatedWorld, external_id: str, by: str = "ana", **values: Any) -> None:
        world.edit(external_id, by, **values)
        self._note(world)

    def remove(self, world: SimulatedWorld, external_id: str) -> None:
        world.remove(external_id)
        self._note(world)

    def _note(self, world: SimulatedWorld) -> None:
        known = sum(where is world for where, _ in self.journal)
        self.journal += [(world, line) for line in world.log[known:]]

    def pair(self, ref: str = "R1", **values: Any) -> tuple[str, str]:
        """The same thing on both sides, made by people."""
        return self.add(self.left, ref=ref, **values), self.add(self.right, ref=ref, **values)

    def look(self, world: SimulatedWorld, external_id: str) -> None:
        self.reads.append((len(self.journal), world.name, frozenset([external_id]), 0))

    def tell(self, action: str, code: str, label: str, field: str, before: Any, after: Any) -> None:
        self.entries.append(Entry(action, code, label, field, before, after, len(self.journal)))

    def findings(self) -> list[str]:
        numbers = range(len(self.journal))
        evidence = Evidence(
            worlds=[self.left, self.right],
            journal=self.journal,
            moments=[START + timedelta(seconds=number) for number in numbers],
            began=list(numbers),
            looked=[sum(at <= number for at, *_ in self.reads) for number in numbers],
            writers=[0 if line.by == US else -1 for _, line in self.journal],
            reads=self.reads,
            entries=self.entries,
            typed=self.typed,
            pairs=[(0, 1)],
            published=[],
            named=self.named,
            asked=self.asked,
        )
        return oracle.judge(evidence).findings


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_nothing_is_said_of_an_edit_that_crossed_and_is_in_the_log(scene: Scene) -> None:
    left, right = scene.pair(title="a")
    scene.edit(scene.left, left, title="b")
    scene.edit(scene.right, right, US, title="b")
    scene.tell("write", "edited", f"{left} = {right}", "Title", "a", "b")
    assert scene.findings() == []


def test_a_twin_that_a_person_sent_under_another_reference_is_of_the_same_thing(scene: Scene) -> None:
    left = scene.add(scene.left, ref="R1", title="a")
    scene.typed["R1 typed"] = (left, "ref")
    scene.asked.append((len(scene.journal), "retried", left, "Ref"))
    right = scene.add(scene.right, US, ref="R1 typed", title="a")
    label = f"{left} = {right}"
    scene.tell("write", "created", label, "Title", None, "a")
    scene.tell("write", "retried", label, "Ref", None, "R1 typed")
    assert scene.findings() == []


# Each returns how its finding begins.


def an_edit_written_over(scene: Scene) -> str:
    left, right = scene.pair(title="a")
    scene.edit(scene.left, left, title="b")
    scene.edit(scene.right, right, title="c")
    scene.edit(scene.left, left, US, title="c")
    scene.tell("write", "edited", f"{left} = {right}", "Title", "a", "c")
    return f"lost: b of R1, written to Left {left}"


def a_label_left_where_it_was_not_taken_off(scene: Scene) -> str:
    left, right = scene.pair(title="a", labels=["vip"])
    scene.edit(scene.left, left, labels=[])
    return f"resurrected: label vip on Right {right}"


def two_values_without_a_word(scene: Scene) -> str:
    left, _ = scene.pair(title="a")
    scene.edit(scene.left, left, title="b")
    return "unequal: title of R1"


def a_one_way_value_that_did_not_cross(scene: Scene) -> str:
    left, _ = scene.pair(title="a")
    scene.edit(scene.left, left, note="n")
    return "unequal: note of R1"


def an_edit_after_what_was_let_differ(scene: Scene) -> str:
    left, right = scene.pair(title="a")
    scene.edit(scene.left, left, title="b")
    scene.tell("agree", "agreed_to_differ", f"{left} = {right}", "Title", "a", {"left": "b", "right": "a"})
    scene.edit(scene.left, left, title="c")
    return "unequal: title of R1"


def a_new_record_that_was_not_copied(scene: Scene) -> str:
    left = scene.add(scene.left, ref="R1", title="a")
    return f"not copied: R1, {left} in Left, to Right"


def a_policy_that_nobody_named(scene: Scene) -> str:
    left, right = scene.pair(title="a")
    scene.edit(scene.left, left, title="b")
    scene.edit(scene.right, right, title="c")
    scene.edit(scene.right, right, US, title="b")
    scene.named.add(("", "Title", "policy_review"))
    scene.tell("write", "policy_left", f"{left} = {right}", "Title", "c", "b")
    return "decided by policy_left, which nobody named: Title"


def an_answer_that_nobody_gave(scene: Scene) -> str:
    left, right = scene.pair(title="a")
    scene.edit(scene.left, left, title="b")
    scene.edit(scene.right, right, title="c")
    scene.edit(scene.right, right, US, title="b")
    scene.asked.append((len(scene.journal), "resolved", left, "Body"))
    scene.tell("write", "resolved", f"{left} = {right}", "Title", "c", "b")
    return "nobody asked: write resolved of Title"


def a_second_record_of_one_thing(scene: Scene) -> str:
    scene.pair(title="a")
    scene.add(scene.right, US, ref="R1")
    return "duplicated: R1 in Right"


def a_deleted_record_made_again(scene: Scene) -> str:
    _, right = scene.pair(title="a")
    scene.remove(scene.right, right)
    scene.add(scene.right, US, ref="R1")
    return "resurrected: R1 in Right"


def a_value_of_ours_that_goes_and_comes(scene: Scene) -> str:
    left, right = scene.pair(title="a")
    for title in ("b", "c"):
        scene.edit(scene.left, left, title=title)
    for title in ("b", "c", "b", "c"):
        scene.edit(scene.right, right, US, title=title)
        scene.tell("write", "edited", f"{left} = {right}", "Title", "", title)
    return f"flip-flop: title of Right {right} back to 'b'"


def a_value_nobody_wrote(scene: Scene) -> str:
    left, right = scene.pair(title="a")
    for world, one in ((scene.left, left), (scene.right, right)):
        scene.edit(world, one, US, note="made up")
    return "invented: ['made up'] in note of Left"


def a_label_of_another_thing(scene: Scene) -> str:
    scene.pair("R1", title="a", labels=["vip"])
    left, right = scene.pair("R2", title="b")
    for world, one in ((scene.left, left), (scene.right, right)):
        scene.edit(world, one, US, labels=["vip"])
    return f"invented: ['vip'] in labels of Left {left}"


def a_value_of_another_field(scene: Scene) -> str:
    left, right = scene.pair(title="a")
    for world, one in ((scene.left, left), (scene.right, right)):
        scene.edit(world, one, US, amount="a")
    return f"invented: ['a'] in amount of Left {left}"


def what_was_typed_for_another_thing(scene: Scene) -> str:
    scene.typed["typed"] = (scene.pair("R1", title="a")[0], "title")
    left, right = scene.pair("R2", title="b")
    for world, one in ((scene.left, left), (scene.right, right)):
        scene.edit(world, one, US, title="typed")
    return f"invented: ['typed'] in title of Left {left}"


def a_write_against_the_direction(scene: Scene) -> str:
    left, right = scene.pair(title="a", note="n")
    scene.edit(scene.right, right, note="m")
    scene.edit(scene.left, left, US, note="m")
    return f"written against the direction: note of Left {left}"


def a_write_that_no_log_tells(scene: Scene) -> str:
    left, right = scene.pair(title="a")
    scene.edit(scene.left, left, title="b")
    scene.edit(scene.right, right, US, title="b")
    return f"not audited: ['b'] in title of Right {right}"


def a_write_told_of_another_thing(scene: Scene) -> str:
    other = scene.pair("R2", title="a")
    left, right = scene.pair(title="a")
    scene.edit(scene.left, left, title="b")
    scene.edit(scene.right, right, US, title="b")
    scene.tell("write", "edited", " = ".join(other), "Title", "a", "b")
    return f"not audited: ['b'] in title of Right {right}"


def a_question_though_one_side_alone_was_edited(scene: Scene) -> str:
    left, right = scene.pair(title="a")
    scene.edit(scene.left, left, title="b")
    scene.tell("conflict", "both_changed", f"{left} = {right}", "Title", "a", {"left": "b", "right": "a"})
    return f"needless question: title of {left} = {right}, edited only in ['Left']"


def the_same_question_again(scene: Scene) -> str:
    left, right = scene.pair(title="a")
    scene.edit(scene.left, left, title="b")
    scene.edit(scene.right, right, title="c")
    label, both = f"{left} = {right}", {"left": "b", "right": "c"}
    scene.tell("conflict", "both_changed", label, "Title", "a", both)
    scene.tell("conflict_closed", "equal", label, "Title", None, None)
    scene.tell("conflict", "both_changed", label, "Title", "a", both)
    return f"asked again unchanged: Title of {label}"


def the_older_edit_that_won(scene: Scene) -> str:
    left, right = scene.pair(title="a")
    scene.edit(scene.left, left, title="older")
    scene.edit(scene.right, right, title="newer")
    scene.look(scene.right, right)
    scene.edit(scene.right, right, US, title="older")
    scene.tell("write", "policy_newest", f"{left} = {right}", "Title", "newer", "older")
    return f"older edit won: title of {left} = {right}: 'newer' lost to 'older'"


SCENES: tuple[tuple[Callable[..., None], Callable[[Scene], str]], ...] = (
    (oracle_values.nothing_is_lost, an_edit_written_over),
    (oracle_values.sets_are_merged, a_label_left_where_it_was_not_taken_off),
    (oracle_values.both_sides_agree_or_say_why, two_values_without_a_word),
    (oracle_values.both_sides_agree_or_say_why, a_one_way_value_that_did_not_cross),
    (oracle_values.both_sides_agree_or_say_why, an_edit_after_what_was_let_differ),
    (oracle_values.every_record_has_its_twin, a_new_record_that_was_not_copied),
    (oracle_log.only_what_was_named_decides, a_policy_that_nobody_named),
    (oracle_log.nobody_answered_for_a_person, an_answer_that_nobody_gave),
    (oracle_values.nothing_is_there_twice, a_second_record_of_one_thing),
    (oracle_values.nothing_comes_back_to_life, a_deleted_record_made_again),
    (oracle_values.nothing_flips_back_and_forth, a_value_of_ours_that_goes_and_comes),
    (oracle_values.nothing_is_invented, a_value_nobody_wrote),
    (oracle_values.nothing_is_invented, a_label_of_another_thing),
    (oracle_values.nothing_is_invented, a_value_of_another_field),
    (oracle_values.nothing_is_invented, what_was_typed_for_another_thing),
    (oracle_values.what_only_reads_is_never_written, a_write_against_the_direction),
    (oracle_log.every_write_is_audited, a_write_that_no_log_tells),
    (oracle_log.every_write_is_audited, a_write_told_of_another_thing),
    (oracle_log.nobody_is_asked_needlessly, a_question_though_one_side_alone_was_edited),
    (oracle_log.no_question_comes_back_unchanged, the_same_question_again),
    (oracle_log.the_newer_edit_wins, the_older_edit_that_won),
)


@pytest.mark.parametrize("happens", [scene for _, scene in SCENES], ids=lambda one: one.__name__)
def test_the_oracle_speaks_up_about(scene: Scene, happens: Callable[[Scene], str]) -> None:
    begins = happens(scene)
    assert [finding for finding in scene.findings() if finding.startswith(begins)]


def test_what_a_person_emptied_by_an_undo_is_an_edit_to_another_mapping() -> None:
    scene = Scene()
    left, right = scene.pair(title="a")
    scene.edit(scene.left, left, US, title=None)
    scene.tell("write", "undone", f"{left} = R9", "Title", "a", None)
    scene.edit(scene.right, right, title="b")
    scene.tell("conflict", "both_changed", f"{left} = {right}", "Title", "a", {"left": None, "right": "b"})
    assert not [finding for finding in scene.findings() if finding.startswith("needless question")]


def test_who_cannot_know_what_was_there_asks_of_need() -> None:
    scene = Scene()
    left, right = scene.pair(title="a")
    scene.tell("unclear", "several_creates", f"{left} = {right}", "Title", None, "a")
    scene.edit(scene.right, right, title="b")
    scene.tell("conflict", "both_changed", f"{left} = {right}", "Title", "x", {"left": "a", "right": "b"})
    assert not scene.findings()


def test_each_check_has_its_scene() -> None:
    assert {check for check, _ in SCENES} == set(oracle.CHECKS)
