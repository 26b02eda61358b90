"""Verifications in tests: pairs that agree without a run, values that drift unseen, and calls that fail on demand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from connections.connectors.memory import World
from sync import verify
from sync.models import Link, Verification
from sync.tests.conftest import Pair

COMPLETE, SAMPLE = Verification.Kind.COMPLETE, Verification.Kind.SAMPLE


def begun(pair: Pair, kind: str = COMPLETE, **more: Any) -> Verification:
    pair.mapping.refresh_from_db()
    return verify.begin(pair.mapping, kind, **more)


def verified(pair: Pair, kind: str = COMPLETE, **more: Any) -> Verification:
    """A verification that was carried out to its end."""
    one = begun(pair, kind, **more)
    verify.work(one.pk)
    one.refresh_from_db()
    return one


def pairs(pair: Pair, number: int, **values: Any) -> list[Link]:
    """`number` more linked pairs that agree, made without a run."""
    made = []
    for n in range(number):
        ids = [world.add(title=f"T{n}", **values) for world in (pair.left, pair.right)]
        bases = {one["id"]: pair.left.value(ids[0], one["left"]["path"]) for one in document(pair)["rules"]}
        made.append(
            Link(mapping=pair.mapping, left_id=ids[0], right_id=ids[1], left_bases=bases, right_bases=dict(bases))
        )
    Link.objects.bulk_create(made)
    return list(Link.objects.order_by("-pk")[:number])[::-1]


def document(pair: Pair) -> dict[str, Any]:
    version = pair.mapping.published
    assert version is not None
    found: dict[str, Any] = version.document
    return found


def put(world: World, external_id: str | None, **values: Any) -> None:
    """The record says something else, and no stamp, log or list tells of it."""
    assert external_id is not None
    record = world.records[external_id]
    world.records[external_id] = replace(record, values={**record.values, **values})


def drift(pair: Pair, link: Link, path: str = "body", value: Any = "drifted") -> None:
    """The right differs, although neither side was edited since both agreed."""
    put(pair.right, link.right_id, **{path: value})
    link.right_bases[path] = value
    link.save(update_fields=["right_bases"])


def before_call(world: World, number: int, act: Callable[[], Any]) -> None:
    """`act` happens just before the world's read number `number` from now on."""
    seen = 0

    def hook(verb: str, ids: Any) -> None:
        nonlocal seen
        if verb == "get":
            seen += 1
            if seen == number:
                act()

    world.before = hook


def raising(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def reads(world: World) -> list[list[str]]:
    return [ids for verb, ids in world.calls if verb == "get"]
