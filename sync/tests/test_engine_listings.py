"""Complete listings compared with the links, while pairs go on changing."""

from __future__ import annotations

import pytest

from sync.models import Cursor, Link
from sync.tests.conftest import Pair
from sync.tests.engine_cases import once
from sync.tests.test_engine_running import pairs, tells_of_no_deletions

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("resumed, gone", [(-1, 3), (0, -1)])
def test_a_pair_that_becomes_active_during_a_listing_hides_no_deletion(pair: Pair, resumed: int, gone: int) -> None:
    tells_of_no_deletions(pair)
    pairs(pair, 9)  # one more than a byte has bits
    links = list(Link.objects.order_by("pk"))
    held = Link.objects.filter(pk=links[resumed].pk)
    held.update(state=Link.State.HELD)
    del pair.left.records[links[gone].record_id("left")]
    Cursor.objects.filter(side="left").update(swept_at=None)
    once(pair.left, "list_ids", lambda: held.update(state=Link.State.ACTIVE))
    pair.quiet()
    assert [one.link_id for one in pair.open_conflicts()] == [links[gone].pk]
