"""What `manage.py up` refuses before it starts anything, and what the scheduler survives."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.test import override_settings

from syncadmin import preparation, services
from syncadmin.management.commands import scheduler


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise AssertionError("something was started")

    monkeypatch.setattr(services, "supervisor", refuse)


def test_up_refuses_debug_because_of_what_error_pages_show() -> None:
    with override_settings(DEBUG=True), pytest.raises(CommandError, match="DEBUG is on, so nothing was started"):
        call_command("up")


@pytest.mark.parametrize("option", ["--workers", "--web-processes"])
def test_up_refuses_numbers_that_would_leave_work_undone(option: str) -> None:
    with pytest.raises(CommandError, match="at least one live worker and one web process"):
        call_command("up", option, "0")


def test_up_names_the_process_that_already_uses_the_data(tmp_path: Path) -> None:
    with (
        services.lock_data_folder(tmp_path),
        override_settings(DATA_DIR=tmp_path),
        pytest.raises(CommandError, match=rf"already runs.*kill {os.getpid()}"),
    ):
        call_command("up")


def test_up_names_a_data_folder_it_cannot_write() -> None:
    with override_settings(DATA_DIR=Path("/proc/self/data")), pytest.raises(CommandError, match="Make the folder"):
        call_command("up")


def test_up_does_not_touch_a_database_that_lacks_migrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "unapplied_migrations", lambda: ["sync.0002_next", "sync.0003_more"])
    monkeypatch.setattr(preparation, "migrate", lambda: pytest.fail("it migrated"))
    with (
        override_settings(DATA_DIR=tmp_path),
        pytest.raises(CommandError, match=r"lacks 2 changes.*sync\.0002_next.*up --migrate"),
    ):
        call_command("up")


@pytest.mark.django_db
def test_static_files_are_collected_once_and_again_when_one_changes(tmp_path: Path) -> None:
    root = tmp_path / "static"
    with override_settings(STATIC_ROOT=str(root)):
        assert preparation.collect_static()
        assert not preparation.collect_static()
        (root / ".collected").write_text("as another version left it")
        assert preparation.collect_static()
    assert any(root.iterdir())


def test_the_scheduler_leaves_out_a_tick_the_database_refuses_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def tick() -> None:
        done.append("tick")
        if len(done) == 1:
            raise OperationalError("database is locked")

    def stop_soon() -> None:
        done.append("recorded")
        os.kill(os.getpid(), signal.SIGTERM)

    enqueued: list[Any] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.setattr(scheduler, "TICK_SECONDS", 0.0)
    monkeypatch.setattr(scheduler, "close_old_connections", lambda: None)
    monkeypatch.setattr(scheduler.schedule, "tick", tick)
    monkeypatch.setattr(scheduler, "record_tick", stop_soon)
    monkeypatch.setattr(scheduler, "clean_up_after_dead_workers", lambda: done.append("cleaned"))
    monkeypatch.setattr(scheduler.jobs, "enqueue", lambda *job: enqueued.append(job))
    try:
        call_command("scheduler")
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert done == ["tick", "tick", "recorded", "cleaned"]
    assert enqueued == [("housekeeping", "sync.schedule.tidy")]
