"""A record that left the scope: time stands still for its pair, and nothing people wrote meanwhile is lost."""

from __future__ import annotations

from typing import Any

import pytest

from sync.tests.conftest import Pair
from sync.tests.engine_cases import live

pytestmark = pytest.mark.django_db


def scoped(pair: Pair, side: str, **more: Any) -> None:
    """Only records of owner x belong on this side; no rule maps the owner."""
    assert pair.mapping.published
    pair.publish(**{side: {**pair.mapping.published.document[side], "scope": {"owner": "x"}, **more}})


def test_an_edit_of_the_twin_made_meanwhile_crosses_when_the_record_returns(pair: Pair) -> None:
    scoped(pair, "left")
    left, right, link = pair.linked(body="agreed", owner="x")
    pair.left.edit(left, owner="y")
    pair.right.edit(right, body="meanwhile")
    pair.ring("right", right)
    live(pair)
    link.refresh_from_db()
    assert link.out_of_scope == "left"
    assert pair.both(left, right, "body") == ("agreed", "meanwhile")
    pair.left.edit(left, owner="x")
    pair.ring("left", left)
    live(pair)
    link.refresh_from_db()
    assert link.out_of_scope == ""
    assert pair.both(left, right, "body") == ("meanwhile", "meanwhile")
