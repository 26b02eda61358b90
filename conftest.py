"""What every test shares."""

from __future__ import annotations

import os
from typing import Any

import pytest
from django.db import connection
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


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """The audit log refuses deletions, so tests that empty all tables between them could not; its own tests put the
    triggers back."""
    with django_db_blocker.unblock():
        remove_triggers(connection)


@pytest.fixture(autouse=True)
def _no_kept_fields() -> None:
    """Field metadata is kept per process and connection id; ids repeat from test to test."""
    from connections import open as opener

    opener._fields.clear()
