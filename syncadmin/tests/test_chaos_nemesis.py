"""The nemesis of chaos runs: a short run meets every deed, and what breaks it off fails the run."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from syncadmin.chaos import campaign
from syncadmin.chaos import nemesis as chaos
from syncadmin.chaos.campaign import Options
from syncadmin.chaos.nemesis import MOST_TRIES, PAUSE_SECONDS, Nemesis

SECONDS = 1.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is a hundred times as quick."""
    monkeypatch.setattr(chaos, "TICK_SECONDS", 0.002)
    monkeypatch.setattr(chaos, "LEAST_PAUSE_SECONDS", 0.005)


def nemesis(monkeypatch: pytest.MonkeyPatch, seconds: float = SECONDS, **deeds: Callable[[], str]) -> Nemesis:
    """One that has these deeds alone, and nothing to hit."""
    for name, deed in deeds.items():
        deed.__name__ = f"_{name}"
    monkeypatch.setattr(Nemesis, "_deeds", lambda _: list(deeds.values()))
    demo: Any = SimpleNamespace(ask_for_faults=lambda *_: None)
    lines: Any = {system: SimpleNamespace(calm=lambda: None) for system in ("jira", "salesforce")}
    return Nemesis(demo, lines, None, 7, seconds, None, 3.0, 0.5, lambda _: None)


def play(one: Nemesis) -> None:
    one.begin()
    time.sleep(one.seconds)
    one.end()


def hit() -> Callable[[], str]:
    return lambda: "hit"


def misses(times: int) -> Callable[[], str]:
    left = [times]

    def deed() -> str:
        left[0] -= 1
        if left[0] >= 0:
            raise ProcessLookupError("not there")
        return "hit"

    return deed


def test_a_short_run_plays_each_deed_also_one_that_missed_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    deeds = {f"deed_{number}": hit() for number in range(6)}
    one = nemesis(monkeypatch, **deeds, late=misses(2))
    play(one)
    assert not one.never_played and one.played["late"] and one.done["missed"] == 2


def test_a_deed_that_never_hits_is_named_and_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    one = nemesis(monkeypatch, good=hit(), never=misses(1000))
    play(one)
    assert one.never_played == ["never"] and one.played["good"]


def test_the_pace_is_that_of_the_minutes_until_each_was_played(monkeypatch: pytest.MonkeyPatch) -> None:
    one = nemesis(monkeypatch, 60, good=hit(), other=hit())
    assert one._pause(19, 60) == 3.0 and one._pause(3, 600) == PAUSE_SECONDS
    one.played.update(("good", "other"))
    assert one._pause(19, 1) == PAUSE_SECONDS
    one.pause = 5.0
    assert one._pause(19, 60) == 5.0


def test_what_is_broken_is_mended_in_the_end_though_that_failed_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    mended = misses(1)
    one = nemesis(monkeypatch, good=hit())
    one.undo.append((0.0, mended))
    one.undo.append((time.monotonic() + 1000, hit()))
    play(one)
    assert len(one.undo) == 1 and one.played["good"]


def zero_division() -> str:
    return str(1 / 0)


def test_an_exception_that_the_nemesis_did_not_foresee_fails_the_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "output.log").write_text("")

    @contextlib.contextmanager
    def no_demo(*_: Any, **__: Any) -> Iterator[Any]:
        yield SimpleNamespace(folder=tmp_path, process=SimpleNamespace(poll=lambda: None))

    @contextlib.contextmanager
    def no_lines() -> Iterator[Any]:
        yield 0, {}

    def only_the_nemesis(options: Options, demo: Any, lines: Any, server: Any, outcome: Any, say: Any) -> None:
        one = nemesis(monkeypatch, good=hit(), bad=zero_division)
        one.begin()
        campaign._sleep(demo, 5, outcome.problems)
        one.end()

    monkeypatch.setattr(campaign, "running_demo", no_demo)
    monkeypatch.setattr(campaign, "_lines", no_lines)
    monkeypatch.setattr(campaign, "_campaign", only_the_nemesis)
    before = threading.excepthook
    outcome = campaign.run(Options(minutes=1), lambda _: None)
    assert threading.excepthook is before
    assert not outcome.good
    (told,) = outcome.problems
    assert "broke off" in told and "ZeroDivisionError" in told and "zero_division" in told


def test_a_deed_that_never_hits_does_not_take_the_place_of_the_next_deck(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def deed() -> str:
        tried.append(time.monotonic())
        raise ConnectionResetError("down")

    one = nemesis(monkeypatch, good=hit(), bad=deed)
    one.pause = 0.0
    play(one)
    assert len(tried) > MOST_TRIES and one.played["good"] > 1, "the next deck is dealt all the same"
