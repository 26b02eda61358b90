from __future__ import annotations

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand

from connections.listener import run_listener


class Command(BaseCommand):
    help = "Listen to the live feeds of connections that have one. Several may run: each feed has one listener."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        run_listener(stop.is_set)
