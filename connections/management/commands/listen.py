from __future__ import annotations

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand

from connections import take_in
from connections.listener import run_listener

# What is being taken in is finished: a batch takes a fraction of a second, a look at the doorbell a second at most.
LAST_BATCH_SECONDS = 5.0


class Command(BaseCommand):
    help = "Take webhooks in, and listen to the live feeds of connections that have one. Several may run."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        taking = threading.Thread(target=take_in.serve, args=(stop.is_set,), name="take in", daemon=True)
        taking.start()
        try:
            run_listener(stop.is_set)
        finally:
            stop.set()
            taking.join(LAST_BATCH_SECONDS)
