"""What every test shares."""

from __future__ import annotations

import os
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import TestCase, TransactionTestCase
from hypothesis import HealthCheck, Phase, settings

from sync.audit_guard import remove_triggers

# Property tests try the same cases in every run, wherever it runs: a red run means a change, not luck. Nothing is
# timed, since a busy machine is no defect. How many cases: mappings/tests/properties.py.
settings.register_profile(
    "suite", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
# For scripts/mutants.py, which asks only whether a case fails: finding the smallest such case takes a minute or two.
settings.register_profile(
    "unshrunk", settings.get_profile("suite"), phases=[Phase.explicit, Phase.generate], report_multiple_bugs=False
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


# Files whose tests start the whole of SyncAdmin and take minutes. Spread over the run, no two of them share the two
# cores, and none is left over for the end, when the other core has nothing to do any more.
WHOLE = ("test_chaos.py", "test_story.py", "test_kill.py")


# What chooses its database itself, or starts everything and takes minutes: once is enough. Chaos has PostgreSQL, the
# story and the kills have SQLite.
ONCE = (*WHOLE, "test_simulation_ways.py")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database-tests", action="store_true", help="only tests that use the database: the others say the same on all"
    )


def uses_database(item: pytest.Item) -> bool:
    fixtures = getattr(item, "fixturenames", ())
    case = getattr(item, "cls", None)
    if item.get_closest_marker("same_everywhere") is not None:
        return False
    return (
        item.get_closest_marker("django_db") is not None
        or bool({"db", "transactional_db", "admin_user", "client"} & set(fixtures))
        or (isinstance(case, type) and issubclass(case, TestCase | TransactionTestCase))
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--database-tests"):
        items[:] = [item for item in items if uses_database(item) and item.path.name not in ONCE]
    rest = [item for item in items if item.path.name not in WHOLE]
    for part, name in reversed(list(enumerate(WHOLE))):
        start = len(rest) * part // len(WHOLE)
        rest[start:start] = [item for item in items if item.path.name == name]
    items[:] = rest


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """The audit log refuses deletions, so tests that empty all tables between them could not; its own tests put the
    triggers back."""
    with django_db_blocker.unblock():
        remove_triggers(connection)


@pytest.fixture(autouse=True)
def _no_kept_fields() -> None:
    """Field metadata and waits are kept per process and connection id; ids repeat from test to test."""
    from connections import open as opener

    opener._fields.clear()
    opener._paused.clear()


@pytest.fixture(autouse=True)
def _no_kept_pulse(monkeypatch: pytest.MonkeyPatch) -> None:
    """What pages keep for some seconds lasts as long as the test, or a slow one would count a query more."""
    cache.clear()
    monkeypatch.setattr("syncadmin.context.PULSE_SECONDS", 3600)
