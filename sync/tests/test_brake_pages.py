"""What a brake offers on its page does what it says: real runs that halt, and a person who decides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from connections.connectors.base import Page, Record, Retry
from connections.connectors.memory import MemoryConnector
from connections.models import Connection
from mappings.models import Mapping
from sync.models import Allowance, AuditEntry, Cursor, Link, MappingState
from sync.tests.conftest import Pair
from sync.tests.test_engine_brakes import two_writes_each, written

pytestmark = pytest.mark.django_db


def pairs(pair: Pair, number: int) -> list[str]:
    """Ids on the left of so many linked pairs, under a mapping that deletes the twin of what is deleted there."""
    pair.publish(left={**pair.mapping.published.document["left"], "on_delete": "delete"})
    ids = [pair.left.add(title=f"T{n}", ref=f"N{n}") for n in range(number)]
    for n in range(number):
        pair.right.add(title=f"T{n}", ref=f"N{n}")
    pair.quiet(20)
    assert Link.objects.filter(state="active").count() == number
    return ids


def halt() -> MappingState:
    return MappingState.objects.get()


def page(client: Client) -> str:
    """The page of the run that a person is asked about."""
    response = client.get(reverse("run", args=[halt().halt_reason["params"]["run"]]))
    return " ".join(response.content.decode().split())


def decide(client: Client, what: str, **data: object) -> str:
    """Send a form of that page; the page one is led to."""
    url = reverse(what, args=[halt().halt_reason["params"]["run"]])
    return client.post(url, {"reason": "looked at it", **data}, follow=True).content.decode()


# A side that lists nothing. --------------------------------------------------------------------------------------


def emptied(pair: Pair) -> dict[str, Record]:
    """Thirty pairs, of which the left tells no deletion and suddenly lists nothing; an edit on the right waits.

    Returns what the left had.
    """
    pair.left.capabilities = replace(pair.left.capabilities, lists_deletions=False)
    pairs(pair, 30)
    had = dict(pair.left.records)
    pair.left.records.clear()
    Cursor.objects.update(swept_at=None)
    assert pair.run().code == "side_empty"
    edited = next(iter(pair.right.alive()))
    pair.right.edit(edited, body="an edit of somebody")
    pair.ring("right", edited)
    # A run by hand halted; the next poll by the clock is an hour away.
    later = timezone.now() + timedelta(hours=1)
    MappingState.objects.update(next_poll_at=later, left_poll_at=later, right_poll_at=later)
    return had


def test_an_empty_side_offers_no_hold_and_refuses_one(pair: Pair, admin_client: Client) -> None:
    emptied(pair)
    html = page(admin_client)
    assert "Left suddenly lists no records, although 30 are linked" in html
    assert "5 of the linked records" in html and str(Link.objects.order_by("pk")[0]) in html
    assert "List it again" in html and "Release that many" in html and "/hold/" not in html
    assert "Nothing was held; the mapping stays halted" in decide(admin_client, "run-hold")
    assert halt().halt == "brake" and not Link.objects.filter(state="held").exists()
    assert pair.run().state == "halted", "it still waits"


def test_an_empty_side_that_is_still_empty_when_it_is_listed_again_halts_again(
    pair: Pair, admin_client: Client
) -> None:
    emptied(pair)
    assert "Left is listed again" in decide(admin_client, "run-list-again")
    assert halt().halt == "" and not Allowance.objects.exists()
    assert AuditEntry.objects.get(code="list_again").params["by"] == "admin"
    assert pair.run("live").code == "side_empty"
    assert len(pair.right.alive()) == 30 and len(pair.open_conflicts()) == 1, "the edited one alone was looked at"


def test_a_side_that_lists_its_records_again_goes_on_as_if_nothing_had_been(pair: Pair, admin_client: Client) -> None:
    had = emptied(pair)
    pair.left.records.update(had)
    decide(admin_client, "run-list-again")
    assert pair.run("live").state == "done"
    pair.quiet()
    assert "an edit of somebody" in [record.values["body"] for record in pair.left.alive().values()]
    assert len(pair.right.alive()) == 30


def test_an_empty_side_that_is_believed_takes_one_release(pair: Pair, admin_client: Client) -> None:
    emptied(pair)
    decide(admin_client, "run-release", number="30")
    pair.run("live")
    assert len(pair.right.alive()) == len(pair.open_conflicts()) == 1, "all but the one that was edited: that is asked"
    assert halt().halt == ""


def test_only_a_brake_about_an_empty_side_is_answered_by_another_list(pair: Pair, admin_client: Client) -> None:
    for external_id in pairs(pair, 30):
        pair.left.remove(external_id)
    assert pair.run().code == "brake"
    assert "Nothing was done" in decide(admin_client, "run-list-again")
    assert halt().halt == "brake"


# More than a batch. ----------------------------------------------------------------------------------------------


def deleted(pair: Pair, number: int) -> list[str]:
    """So many records deleted on the left, more than its list shows on a page; a run that a brake stopped."""
    ids = pairs(pair, number)
    for external_id in ids:
        pair.left.remove(external_id)
    assert pair.run().code == "brake"
    assert len(pair.right.alive()) == number
    return ids


def test_a_brake_amid_a_long_list_shows_all_that_waits(pair: Pair, admin_client: Client) -> None:
    deleted(pair, 120)
    assert halt().halt_reason["params"]["planned"] == 50, "the batch that was too much"
    html = page(admin_client)
    assert "would delete or empty about 120 records in Right." in html and "120 changes wait." in html
    assert "It stopped after planning 50 of them" in html and "so far" not in html
    named = [str(link) for link in Link.objects.all() if f">{link}</li>" in html]
    assert "5 of them" in html and len(named) == 5, "a sample of the pairs whose twins it would delete"
    assert "Hold these 120 records" in html and "up to 120" in html


def test_one_release_lets_through_all_that_waits_and_nothing_beyond(pair: Pair, admin_client: Client) -> None:
    deleted(pair, 120)
    assert "a number from 1 to 120" in decide(admin_client, "run-release", number="121")
    decide(admin_client, "run-release", number="120")
    pair.quiet(20)
    assert not pair.right.alive() and halt().halt == ""
    # Each was let through once: what comes after it within the hour has the ordinary limit.
    ids = [pair.left.add(title=f"again {n}") for n in range(21)]
    pair.quiet(20)
    for external_id in ids:
        pair.left.remove(external_id)
    assert pair.run().code == "brake"
    assert len(pair.right.alive()) == 21


def test_a_release_of_some_lets_through_so_many_and_the_limit_and_halts_again(pair: Pair, admin_client: Client) -> None:
    deleted(pair, 120)
    decide(admin_client, "run-release", number="70")
    pair.run("live")
    assert halt().halt == "brake" and len(pair.right.alive()) >= 120 - 70 - 20
    assert f"about {len(pair.right.alive())} records" in page(admin_client)


def test_hold_takes_out_every_record_that_is_reported_deleted_and_no_other(pair: Pair, admin_client: Client) -> None:
    ids = pairs(pair, 121)
    for external_id in ids[1:]:
        pair.left.remove(external_id)
    pair.left.edit(ids[0], body="an edit of somebody")
    assert pair.run().code == "brake"
    assert "120 records are held" in decide(admin_client, "run-hold")
    told_of = AuditEntry.objects.filter(action="hold", actor="admin").values_list("link_id", flat=True)
    held = Link.objects.filter(state="held").values_list("pk", flat=True)
    assert sorted(told_of.exclude(link_id=None)) == sorted(held), "the log names each"
    pair.quiet(20)
    assert Link.objects.filter(state="held").count() == 120 and Link.objects.get(left_id=ids[0]).state == "active"
    assert "an edit of somebody" in [record.values["body"] for record in pair.right.alive().values()]
    assert len(pair.right.alive()) == 121 and halt().halt == ""


def test_a_brake_before_creates_names_some_of_the_records_without_a_twin(pair: Pair, admin_client: Client) -> None:
    pair.publish(brakes={"create": [10, 0.0]})
    ids = [pair.left.add(title=f"T{n}", ref=f"N{n}") for n in range(12)]
    assert pair.run().code == "brake"
    html = page(admin_client)
    assert "would create" in html and "5 of them" in html
    assert len([one for one in ids if f">{one}</li>" in html]) == 5 and not pair.right.alive()


def test_hold_takes_out_all_whose_changes_wait_where_no_hint_tells_the_kind(pair: Pair, admin_client: Client) -> None:
    ids = pairs(pair, 120)
    pair.publish(brakes={"update": [10, 0.0]})
    for external_id in ids:
        pair.left.edit(external_id, body="a bulk edit")
    assert pair.run().code == "brake"
    html = page(admin_client)
    assert "would change at least 50 records in Right." in html and "Hold these 120 records" in html
    decide(admin_client, "run-hold")
    assert Link.objects.filter(state="held").count() == 120
    assert pair.run().state == "done" and halt().halt == ""


def test_where_a_record_takes_two_writes_these_are_what_is_counted_and_released(
    pair: Pair, admin_client: Client
) -> None:
    both = two_writes_each(pair, 6)
    assert pair.run().code == "brake"
    html = page(admin_client)
    assert "would change 6 records in Right." in html and "Writes planned, from 6 changes, to 6 records" in html
    assert "<b>12</b>" in html and "A record may take up to 2 at once" in html
    assert "12 lets through whatever waits, but a field that reaches its value in several steps takes more" in html
    assert "5 writes in Right are released" in decide(admin_client, "run-release", number="5")
    pair.run("live")
    assert written(pair, both) == (2, 0)
    html = page(admin_client)
    assert "1 more would pass, and each of these records takes at least 2 at once" in html
    decide(admin_client, "run-release", number="8")
    pair.run("live")
    assert written(pair, both) == (6, 0) and halt().halt == ""


def test_more_than_all_that_waits_can_be_released_where_a_record_takes_two_writes(
    pair: Pair, admin_client: Client
) -> None:
    both = two_writes_each(pair, 60)
    assert pair.run().code == "brake"
    html = page(admin_client)
    assert "would change at least 50 records in Right." in html and "60 changes wait." in html
    assert "120 lets through whatever waits" in html
    decide(admin_client, "run-release", number="120")
    pair.quiet(20)
    assert written(pair, both) == (60, 0) and halt().halt == ""


def test_a_list_that_breaks_off_after_the_brake_says_at_least(
    pair: Pair, admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = pairs(pair, 120)
    whole = MemoryConnector.changed_since

    def two_pages(self: MemoryConnector, *how: Any) -> Iterator[Page]:
        yield from islice(whole(self, *how), 2)
        raise Retry("It went away.")

    with monkeypatch.context() as broken:
        broken.setattr(MemoryConnector, "changed_since", two_pages)
        for external_id in ids:
            pair.left.remove(external_id)
        assert pair.run().code == "brake", "what the list failed for is told by the run after the decision"
    html = page(admin_client)
    assert "would delete or empty at least 100 records in Right so far." in html
    assert "At least 100 changes wait: the lists were not read to their end yet" in html
    decide(admin_client, "run-hold")
    pair.quiet(20)
    assert Link.objects.filter(state="held").count() == 100 and len(pair.right.alive()) == 100, "the rest is no brake's"


# While nothing runs. ---------------------------------------------------------------------------------------------


def test_what_is_released_outside_of_the_hours_goes_out_at_once(pair: Pair, admin_client: Client) -> None:
    deleted(pair, 30)
    later = (timezone.localtime().weekday() + 3) % 7
    pair.publish(schedule={"kind": "hours", "days": [later], "from": "08:00", "to": "09:00"})
    assert "are released for one hour" in decide(admin_client, "run-release", number="30")
    assert pair.run("live").state == "done" and not pair.right.alive()


@pytest.mark.parametrize("stops", ["the mapping", "a system", "another account"])
def test_nothing_is_released_for_an_hour_in_which_nothing_is_written(
    pair: Pair, admin_client: Client, stops: str
) -> None:
    deleted(pair, 30)
    if stops == "the mapping":
        Mapping.objects.update(state="paused")
    else:
        Connection.objects.filter(name="Right").update(state="paused" if stops == "a system" else "account_changed")
    html = decide(admin_client, "run-release", number="30")
    assert "Nothing was released" in html and "are released for one hour" not in html
    assert halt().halt == "brake" and not Allowance.objects.exists()
