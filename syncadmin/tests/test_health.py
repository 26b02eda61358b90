from __future__ import annotations

import datetime
import time
from typing import Any

import pytest
import redis
from django.db import OperationalError, connection
from django.test import Client

from syncadmin import health
from syncadmin.workers import QUEUES


class FakeWorker:
    def __init__(self, queues: tuple[str, ...], age: float = 1.0, state: str = "idle") -> None:
        self.queues, self.state = queues, state
        self.last_heartbeat = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=age)

    def queue_names(self) -> list[str]:
        return list(self.queues)

    def get_state(self) -> str:
        return self.state


class FakeRedis:
    """Answers what health asks; `tick`: when the scheduler ticked last."""

    def __init__(self, tick: float | None = None) -> None:
        self.tick = tick

    def ping(self) -> bool:
        return True

    def get(self, key: str) -> bytes | None:
        assert key == health.SCHEDULER_KEY
        return None if self.tick is None else str(self.tick).encode()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """All parts working; a test breaks one."""
    parts: dict[str, Any] = {"redis": FakeRedis(time.time()), "workers": [FakeWorker(QUEUES)]}
    monkeypatch.setattr(health, "redis_client", lambda: parts["redis"])
    monkeypatch.setattr(health.Worker, "all", lambda connection: parts["workers"])
    return parts


def ask(client: Client) -> tuple[int, dict[str, Any]]:
    answer = client.get("/healthz")
    return answer.status_code, answer.json()


@pytest.mark.django_db
def test_a_stranger_learns_that_every_part_works(client: Client, world: dict[str, Any]) -> None:
    assert ask(client) == (
        200,
        {"status": "ok", "failing": [], "database": "ok", "redis": "ok", "workers": "ok", "scheduler": "ok"},
    )


@pytest.mark.django_db
@pytest.mark.parametrize(
    "workers",
    [
        [],
        [FakeWorker(("live", "bulk"))],
        [FakeWorker(("live", "bulk")), FakeWorker(("housekeeping",), age=300)],
        [FakeWorker(("live", "bulk")), FakeWorker(("housekeeping",), age=300, state="busy")],
    ],
)
def test_a_queue_without_a_living_worker_fails_the_workers(
    client: Client, world: dict[str, Any], workers: list[FakeWorker]
) -> None:
    world["workers"] = workers
    status, body = ask(client)
    assert (status, body["failing"]) == (503, ["workers"])
    assert "housekeeping" in body["workers"]


@pytest.mark.django_db
def test_a_worker_busy_with_a_job_may_be_silent_longer_than_an_idle_one(client: Client, world: dict[str, Any]) -> None:
    world["workers"] = [FakeWorker(QUEUES, age=60, state="busy")]
    assert ask(client)[0] == 200
    world["workers"] = [FakeWorker(QUEUES, age=60)]
    assert ask(client)[0] == 503


@pytest.mark.django_db
@pytest.mark.parametrize("tick", [None, 1_000_000_000.0])
def test_a_scheduler_that_does_not_tick_is_named(client: Client, world: dict[str, Any], tick: float | None) -> None:
    world["redis"] = FakeRedis(tick)
    status, body = ask(client)
    assert (status, body["failing"]) == (503, ["scheduler"])


@pytest.mark.django_db
def test_without_redis_the_database_is_still_judged(
    client: Client, world: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> bool:
        raise redis.ConnectionError("Error 111 connecting to 10.0.0.7:6379")

    monkeypatch.setattr(world["redis"], "ping", refuse)
    status, body = ask(client)
    assert (status, body["failing"], body["database"]) == (503, ["redis", "workers", "scheduler"], "ok")
    assert "10.0.0.7" not in str(body)


@pytest.mark.django_db
def test_a_database_that_does_not_answer_is_named_without_its_error_text(
    client: Client, world: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise OperationalError("could not connect to server at db.internal")

    monkeypatch.setattr(connection, "cursor", refuse)
    status, body = ask(client)
    assert (status, body["failing"]) == (503, ["database"])
    assert "db.internal" not in str(body)
