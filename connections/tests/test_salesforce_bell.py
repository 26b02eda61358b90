"""Salesforce's change events over long polling: positions, gaps, ended sessions, cuts, and what the hints tell."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from connections.connectors.base import Hint, NeedsAuthorization, NotAllowed, Retry
from connections.tests.evidence import needs_evidence, payload
from connections.tests.salesforce_world import World, world

# Far above what a loopback poll takes; reached only when an event never comes.
PATIENCE = 10.0
CASES = "replay /data/CaseChangeEvent"


@pytest.fixture
def w():
    with world(connect_seconds=0.3) as found:
        yield found


class Ears:
    """A listening connector in the test's own hands."""

    def __init__(self, w: World, *object_types: str) -> None:
        self.stopped = threading.Event()
        self.stream: Iterator = w.connector.listen(object_types or ("Case",), self.stopped.is_set)

    def batch(self) -> list[Hint]:
        """The next hints, heartbeats left out."""
        end = time.monotonic() + PATIENCE
        for hints in self.stream:
            if hints:
                return list(hints)
            assert time.monotonic() < end, "no hint came"
        raise AssertionError("the stream ended")

    def close(self) -> None:
        self.stopped.set()
        self.stream.close()


@pytest.fixture
def ears(w):
    opened: list[Ears] = []

    def listen(*object_types: str) -> Ears:
        opened.append(Ears(w, *object_types))
        return opened[-1]

    yield listen
    for each in opened:
        each.close()


def test_the_first_time_everything_is_to_be_looked_at(w, ears):
    assert ears("Case", "CaseComment").batch() == [
        Hint("Case", "*", verified=True),
        Hint("CaseComment", "*", verified=True),
    ]


def test_an_edit_by_a_person_rings_with_its_new_values(w, ears):
    case = w.case()
    heard = ears()
    heard.batch()
    w.org.edit(case, w.jane, Subject="Louder", Effort__c=None, OwnerId=w.us)
    (hint,) = heard.batch()
    assert (hint.object_type, hint.external_id, hint.verified, hint.own_account) == ("Case", case, True, False)
    assert hint.changes == {"Subject": "Louder", "OwnerId": "sync@acme.example"}
    assert hint.version == w.connector.get_many("Case", [case], [])[case].version
    assert hint.at is not None and not hint.deleted


def test_our_own_write_is_told_as_ours_and_our_user_in_a_browser_is_not(w, ears):
    case = w.case()
    heard = ears()
    heard.batch()
    w.connector.update("Case", case, {"Labels__c": ["docs", "api"], "Description": "a\nb"}, None, [])
    (ours,) = heard.batch()
    assert ours.own_account and ours.changes == {"Labels__c": ["api", "docs"], "Description": "a\nb"}
    w.org.edit(case, w.us, Subject="by hand")
    (by_hand,) = heard.batch()
    assert not by_hand.own_account
    w.open("another").update("Case", case, {"Subject": "another connection"}, None, [])
    (other,) = heard.batch()
    assert not other.own_account


def test_a_deletion_and_a_return_are_told_apart(w, ears):
    case = w.case()
    heard = ears()
    heard.batch()
    w.org.delete(case, w.jane)
    (gone,) = heard.batch()
    assert gone.deleted and gone.changes is None
    w.org.undelete(case, w.jane)
    (back,) = heard.batch()
    assert not back.deleted


def test_a_long_text_sent_as_a_difference_tells_no_values(w, ears):
    text = "\n".join(f"line {n} of a long description" for n in range(100))
    case = w.case(Description=text)
    heard = ears()
    heard.batch()
    w.org.edit(case, w.jane, Description=text.replace("line 7 ", "line seven "))
    (hint,) = heard.batch()
    assert hint.external_id == case and hint.changes is None


def test_events_while_nobody_listened_are_replayed(w, ears):
    case = w.case()
    heard = ears()
    heard.batch()
    w.org.edit(case, w.jane, Subject="one")
    heard.batch()
    w.org.edit(case, w.jane, Subject="two")
    heard.batch()  # taken, but its position is not yet kept: the next one is asked for first
    heard.close()
    w.org.edit(case, w.jane, Subject="three")
    again = ears()
    assert [h.changes for h in again.batch()] == [{"Subject": "two"}, {"Subject": "three"}]


def test_a_position_is_kept_only_after_the_hints_were_taken(w, ears):
    heard = ears()
    heard.batch()
    case = w.case()
    heard.batch()
    assert CASES not in w.state.kept
    w.org.edit(case, w.jane, Subject="next")
    heard.batch()
    assert w.state.kept[CASES] > 0


def test_a_gap_event_rings_its_records_without_values(w, ears):
    case = w.case()
    heard = ears()
    heard.batch()
    w.app.bus.gap("Case", [case])
    (hint,) = heard.batch()
    assert hint.external_id == case and hint.changes is None and not hint.deleted
    w.app.bus.gap("Case", [case], "GAP_DELETE")
    assert heard.batch()[0].deleted


def test_an_overflow_rings_for_everything(w, ears):
    heard = ears()
    heard.batch()
    w.app.bus.overflow("Case")
    assert [(h.object_type, h.external_id) for h in heard.batch()] == [("Case", "*")]


def test_an_event_that_cannot_be_read_rings_for_everything_and_stops_nothing(w, ears, monkeypatch):
    case = w.case()
    heard = ears()
    heard.batch()
    with w.app.bus.news:
        event = {"replay": w.app.bus.last + 1, "at": time.time(), "entity": "Case", "data": {"payload": {"odd": 1}}}
        w.app.bus.events.append(event)
        w.app.bus.last += 1
        w.app.bus.news.notify_all()
    assert [h.external_id for h in heard.batch()] == ["*"]
    w.org.edit(case, w.jane, Subject="goes on")
    assert heard.batch()[0].changes == {"Subject": "goes on"}


def test_a_position_too_old_to_replay_starts_anew_and_looks_at_everything(w, ears):
    case = w.case()
    w.state.put(CASES, 7)
    heard = ears()
    assert [h.external_id for h in heard.batch()] == ["*"]
    w.org.edit(case, w.jane, Subject="new")
    assert heard.batch()[0].changes == {"Subject": "new"}


def test_a_forgotten_session_is_opened_again_without_missing_anything(w, ears):
    case = w.case()
    heard = ears()
    heard.batch()
    w.org.edit(case, w.jane, Subject="one")
    heard.batch()
    w.org.edit(case, w.jane, Subject="two")
    heard.batch()
    w.app.cometd.forget_sessions()
    w.org.edit(case, w.jane, Subject="three")
    assert [h.changes for h in heard.batch()] == [{"Subject": "three"}]


def test_an_ended_sign_in_is_renewed_once_and_listening_goes_on(w, ears):
    case = w.case()
    heard = ears()
    heard.batch()
    w.org.edit(case, w.jane, Subject="one")
    heard.batch()
    w.org.edit(case, w.jane, Subject="two")
    heard.batch()
    w.app.oauth.expire_all()
    w.org.edit(case, w.jane, Subject="three")
    assert [h.changes for h in heard.batch()] == [{"Subject": "three"}]
    assert w.tokens.renewals == 2


def test_a_sign_in_that_stays_refused_needs_a_person(w, ears):
    w.connector.object_types()
    w.app.oauth.apps.clear()
    w.app.oauth.expire_all()
    with pytest.raises(NeedsAuthorization):
        ears().batch()


def test_a_cut_connection_ends_the_stream_with_a_retry(w, ears):
    heard = ears()
    heard.batch()
    w.app.fault("drop_before", path="/cometd", times=50)
    with pytest.raises(Retry):
        heard.batch()


def test_an_object_without_change_events_is_named_and_the_others_ring(w, ears):
    w.app.bus.entities.discard("CaseComment")
    heard = ears("Case", "CaseComment")
    assert [h.object_type for h in heard.batch()] == ["Case"]
    assert w.state.kept["bell_refused"] == ["CaseComment"]
    w.app.bus.entities.discard("Case")
    with pytest.raises(NotAllowed, match="Change Data Capture"):
        ears("Case").batch()


def test_a_quiet_org_still_gives_signs_of_life(w, ears, monkeypatch):
    monkeypatch.setattr("connections.connectors.salesforce_bell.HEARTBEAT_SECONDS", 0.1)
    heard = ears()
    heard.batch()
    assert next(heard.stream) == []


def test_a_stop_is_obeyed_while_a_poll_is_held(ears):
    with world(connect_seconds=30) as slow:
        heard = Ears(slow)
        heard.batch()
        started = time.monotonic()
        threading.Timer(0.2, heard.stopped.set).start()
        assert list(heard.stream) == []
        assert time.monotonic() - started < 5


@needs_evidence
def test_recorded_events_become_hints(w):
    from connections.connectors.salesforce_bell import hints_of

    (hint,) = hints_of(w.connector.org, payload("salesforce/cdc_update"), "Employee__c")
    assert hint.external_id == "a00B000000AVWaZIAX" and hint.object_type == "Employee__c"
    assert hint.at == "2019-05-02T11:29:00Z" and hint.version == "2019-05-02T11:29:00Z"
    assert not hint.own_account and hint.changes is None  # this org has no such object
