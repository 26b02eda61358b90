"""The parts of a running SyncAdmin on one machine, as children of a supervisor; `up` and `demo` start them."""

from __future__ import annotations

import fcntl
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connections

from connections.connectors import all_connectors
from syncadmin import embedded
from syncadmin.processes import Supervisor, die_with

WEB_PROCESSES = 2
WEB_THREADS = 8  # pages wait for the database more than they compute
# The web server goes first: a webhook is answered within 100 ms, however much the engine has to do.
ENGINE_NICE = 5
WEB_GRACE = 5  # seconds for requests under way when the server stops
REDIS_SECONDS = 20.0  # loading a large append-only file takes some
WEB_SECONDS = 60.0


class AlreadyRunning(Exception):
    """Another supervisor uses the data folder."""


def lock_data_folder(data_dir: Path) -> IO[str]:
    """Hold the data folder for this process and its forks; the lock ends with the last of them.

    Raises AlreadyRunning with the holder's process id, OSError where the folder cannot be written.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    file = (data_dir / "running.lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise AlreadyRunning(file.read().strip() or "unknown") from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def command(name: str, *arguments: str, nice: int = 0, **options: Any) -> Callable[[], None]:
    """A management command as a child. What it refuses is said in a line, not in a traceback."""

    def run() -> None:
        try:
            os.nice(nice)
            call_command(name, *arguments, **options)
        except CommandError as error:
            raise SystemExit(str(error)) from None

    return run


def supervisor() -> Supervisor:
    return Supervisor(before_fork=connections.close_all)


def start_redis(family: Supervisor) -> None:
    """The embedded Valkey, unless REDIS_URL names a server. Returns once it answers."""
    if settings.REDIS_URL:
        return
    family.start("valkey", partial(embedded.serve, settings.DATA_DIR), foundation=True)
    family.wait(lambda: embedded.answering_pid(settings.DATA_DIR) is not None, "The embedded Valkey", REDIS_SECONDS)


def start_engine(family: Supervisor, live_workers: int, listener: bool = True) -> None:
    """Workers, scheduler and the listener to change feeds."""
    for number in range(1, live_workers + 1):
        family.start(f"live-{number}", command("worker", "live", nice=ENGINE_NICE))
    family.start("bulk", command("worker", "bulk", nice=ENGINE_NICE))
    family.start("house", command("worker", "housekeeping", nice=ENGINE_NICE))
    family.start("scheduler", command("scheduler"))
    if listener:
        family.start("listener", command("listen"))


def start_web(family: Supervisor, bind: str, processes: int = WEB_PROCESSES) -> None:
    family.start("web", partial(serve, bind, processes))


def wait_for_web(family: Supervisor, url: str) -> None:
    """Return once /healthz answers that every part works."""
    family.wait(lambda: healthy(url), f"SyncAdmin at {url}", WEB_SECONDS)


def healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=2) as answer:  # noqa: S310 - our own http address
            return bool(json.load(answer)["status"] == "ok")
    except (urllib.error.URLError, OSError, ValueError):
        return False


def serve(bind: str, processes: int) -> None:
    """Become the web server: gunicorn with threads; the application is loaded once, before its workers fork."""
    from gunicorn.app.base import BaseApplication

    class Web(BaseApplication):
        def load_config(self) -> None:
            options = {
                "bind": bind,
                "workers": processes,
                "worker_class": "gthread",
                "threads": WEB_THREADS,
                "preload_app": True,
                "graceful_timeout": WEB_GRACE,
                "loglevel": "warning",
                "control_socket_disable": True,
                "post_fork": lambda arbiter, worker: die_with(arbiter.pid),  # a killed server must free its port
                # Beats of the workers are written here each second; memory instead of a disk.
                "worker_tmp_dir": "/dev/shm" if Path("/dev/shm").is_dir() else None,  # noqa: S108
            }
            for name, value in options.items():
                self.cfg.set(name, value)

        def load(self) -> Any:
            from syncadmin.wsgi import application

            # Else the first requests import them: a second and a half, for which everybody waits who comes meanwhile.
            all_connectors()
            import_module(settings.ROOT_URLCONF)
            return application

    Web().run()
