from __future__ import annotations

from unittest import mock

import pytest
from rq import SimpleWorker, Worker
from rq.exceptions import InvalidJobOperation
from rq.serializers import JSONSerializer

from syncadmin import workers


@pytest.fixture(autouse=True)
def redis_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making a worker asks Redis for its version: let it ask a double."""
    client = mock.MagicMock()
    client.connection_pool.connection_kwargs = {}
    client.info.return_value = {"redis_version": "7.2.4"}
    monkeypatch.setattr(workers.django_rq, "get_connection", lambda name: client)


def test_live_jobs_run_in_the_workers_own_process() -> None:
    worker = workers.make_worker(["live"])
    assert isinstance(worker, SimpleWorker)
    assert type(worker).execute_job is SimpleWorker.execute_job
    assert worker.queue_names() == ["live"]
    assert worker.serializer is JSONSerializer


def test_bulk_and_housekeeping_jobs_run_in_a_fork_whose_death_is_noticed_soon() -> None:
    worker = workers.make_worker(["bulk", "housekeeping"])
    assert isinstance(worker, Worker)
    assert type(worker).execute_job is Worker.execute_job
    assert worker.job_monitoring_interval == 5


@pytest.mark.parametrize("queues", [["live", "bulk"], ["nope"], []])
def test_queues_that_do_not_fit_one_worker_are_refused(queues: list[str]) -> None:
    with pytest.raises(ValueError, match=r"There is no queue|a worker of its own"):
        workers.make_worker(queues)


def test_database_connections_are_closed_before_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr(workers.connections, "close_all", lambda: order.append("closed"))
    monkeypatch.setattr(Worker, "fork_work_horse", lambda self, job, queue: order.append("forked"))
    workers.make_worker(["bulk"]).fork_work_horse(mock.Mock(), mock.Mock())
    assert order == ["closed", "forked"]


@pytest.mark.parametrize("queues", [["live"], ["bulk"]])
def test_a_worker_that_an_emptied_redis_forgot_registers_again(
    queues: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = workers.make_worker(queues)
    born: list[str] = []
    monkeypatch.setattr(worker, "register_birth", lambda: born.append(worker.name))
    worker.connection.hexists.return_value = True
    worker.heartbeat()
    assert born == []
    worker.connection.hexists.return_value = False
    worker.heartbeat()
    assert born == [worker.name]
    worker.connection.delete.assert_called_once_with(worker.key)


@pytest.mark.parametrize("queues", [["live"], ["bulk"]])
def test_a_job_whose_note_was_emptied_away_meanwhile_is_done_with_a_line_instead_of_a_traceback(
    queues: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgotten(*_: object) -> None:
        raise InvalidJobOperation("Failed to retrieve status for job")

    worker = workers.make_worker(queues)
    cleaned: list[object] = []
    monkeypatch.setattr(workers.BaseWorker, "handle_job_success", forgotten)
    monkeypatch.setattr(worker, "cleanup_execution", lambda job, pipeline: cleaned.append(job))
    monkeypatch.setattr(worker, "log", log := mock.Mock())
    worker.handle_job_success(job := mock.Mock(), mock.Mock(), mock.Mock())
    assert cleaned == [job], "and the worker is free for the next one"
    log.warning.assert_called_once()
    log.error.assert_not_called()
