"""A seeded machine that edits, cuts and kills, and an oracle that reads only what the two systems accepted.

No update is lost: every value a person wrote is in the end on both sides, or was overwritten by a person who saw it, or
lies in a conflict. Nothing is invented, no record twice, and once people stop, so do we.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from connections.connectors.base import Retry, Uncertain
from connections.connectors.memory import US, World
from connections.models import Connection
from sync.models import AuditEntry, ChangedRecord, Conflict, Link, MappingState, Operation
from sync.tests.conftest import Pair, rule

pytestmark = pytest.mark.django_db

SEEDS = range(12)  # each about 0.6 s; long runs take more seeds
STEPS = 40
FIELDS = ("title", "body", "amount")
RULES = [rule("title", "title"), rule("body", "body"), rule("amount", "amount", "number")]


class Killed(BaseException):
    """The worker dies here: nothing after this line runs."""


@contextmanager
def trouble(world: World, chance: random.Random) -> Iterator[None]:
    """One fault in this run: no answer before or after the write, a cut line, or a killed worker."""
    kind = chance.choice(["none", "none", "lost answer", "never arrived", "cut", "kill before", "kill after"])
    armed = [kind != "none"]

    def before(verb: str, ids: object) -> None:
        writing = verb in ("create", "update")
        if armed[0] and kind == "cut":
            armed[0] = False
            raise Retry("cut", after=0)
        if armed[0] and writing and kind in ("never arrived", "kill before"):
            armed[0] = False
            raise Uncertain("no answer") if kind == "never arrived" else Killed()

    def after(verb: str, ids: object) -> None:
        if armed[0] and verb in ("create", "update") and kind in ("lost answer", "kill after"):
            armed[0] = False
            raise Uncertain("no answer") if kind == "lost answer" else Killed()

    world.before, world.after = before, after
    try:
        yield
    except Killed:
        pass
    finally:
        world.before = world.after = lambda *_: None
        # A killed worker releases nothing; the next holder waits the lease out.
        MappingState.objects.update(lease_until=None)
        Connection.objects.update(retry_after=None)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_update_is_lost_whatever_fails(pair: Pair, seed: int) -> None:
    chance = random.Random(seed)
    pair.publish(rules=RULES)
    for counter in range(1, STEPS + 1):
        side = chance.choice(["left", "right"])
        world: World = getattr(pair, side)
        what = chance.random()
        if what < 0.15 or not world.records:
            world.add(title=f"new {counter}", body=f"text {counter}")
        else:
            path = chance.choice(FIELDS)
            value = counter if path == "amount" else f"{path} {counter}"
            world.edit(chance.choice(sorted(world.alive())), by=chance.choice(["ana", "bob"]), **{path: value})
        if chance.random() < 0.3:
            pair.ring(side, chance.choice(sorted(world.records) or ["none"]))
        if chance.random() < 0.6:
            with trouble(chance.choice([pair.left, pair.right]), chance):
                pair.run()
    ChangedRecord.objects.update(attempts=0)
    pair.quiet(rounds=12)
    check(pair)
    writes = len([line for line in pair.left.log + pair.right.log if line.by == US])
    pair.quiet()
    assert len([line for line in pair.left.log + pair.right.log if line.by == US]) == writes, "quiet is quiet"


def check(pair: Pair) -> None:
    links = list(Link.objects.all())
    assert all(link.state == "active" and link.left_id and link.right_id for link in links)
    assert len(pair.left.alive()) == len(pair.right.alive()) == len(links), "no record twice, none left out"
    assert not Operation.objects.filter(state__in=Operation.OPEN).exists()
    asked = list(Conflict.objects.all())
    for link in links:
        waiting = {c.rule_id for c in asked if c.link_id == link.pk and c.state == "open"}
        for path in FIELDS:
            left, right = pair.left.value(link.left_id, path), pair.right.value(link.right_id, path)
            assert left == right or path in waiting, (path, left, right)
            lines = [
                line
                for world, record in ((pair.left, link.left_id), (pair.right, link.right_id))
                for line in world.log
                if line.external_id == record and line.field == path
            ]
            written = {line.after for line in lines if line.by != US}
            assert {line.after for line in lines if line.by == US} <= written, f"invented: {lines}"
            kept = {left, right} | {line.before for line in lines if line.by != US}
            kept |= {value for c in asked if c.link_id == link.pk for value in (c.left_value, c.right_value)}
            assert written <= kept, f"lost: {written - kept}"
    audited = AuditEntry.objects.filter(action="write").count() + AuditEntry.objects.filter(action="create").count()
    assert audited >= Operation.objects.filter(state="confirmed").count()
