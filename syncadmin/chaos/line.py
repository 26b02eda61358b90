"""A line between us and a vendor that can be slow, silent, cut or dead: a TCP relay on loopback."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from types import TracebackType

from syncadmin.demo.environment import LOOPBACK

CHUNK = 64 * 1024
CONNECT_SECONDS = 5.0
# Closing with this sends a reset instead of a goodbye.
RESET = struct.pack("ii", 1, 0)


class Line:
    """`with Line(from_port, to_port) as line:`; what it does can be changed at any time.

    delay: seconds before anything is passed on, each way. silent: answers are held back until it ends.
    dead: new connections are reset. `cut()` resets those there are.
    """

    def __init__(self, port: int, target: int) -> None:
        self.port, self.target = port, target
        self.delay = 0.0
        self.dead = False
        self._speaks = threading.Event()
        self._speaks.set()
        self._lock = threading.Lock()
        self._open: dict[socket.socket, bool] = {}  # our side of each connection: a request is under way
        self._closing = False
        self.waiting_when_cut = 0  # requests whose connection was reset before their answer
        self.held_back = 0  # answers that came late

    @property
    def silent(self) -> bool:
        return not self._speaks.is_set()

    @silent.setter
    def silent(self, value: bool) -> None:
        (self._speaks.clear if value else self._speaks.set)()

    def __enter__(self) -> Line:
        self._server = socket.create_server((LOOPBACK, self.port), backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._closing = True
        self.calm()
        self._server.close()
        self.cut()

    def calm(self) -> None:
        self.delay, self.dead, self.silent = 0.0, False, False

    def cut(self) -> None:
        with self._lock:
            there = dict(self._open)
        self.waiting_when_cut += sum(there.values())
        for one in there:
            _reset(one)

    def _accept(self) -> None:
        while not self._closing:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            if self.dead:
                _reset(near)
                continue
            threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection((LOOPBACK, self.target), timeout=CONNECT_SECONDS)
        except OSError:
            _reset(near)
            return
        far.settimeout(None)
        for one in (near, far):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._open[near] = False
        threading.Thread(target=self._pass_on, args=(near, far, near, True), daemon=True).start()
        self._pass_on(far, near, near, False)
        with self._lock:
            self._open.pop(near, None)

    def _pass_on(self, source: socket.socket, target: socket.socket, near: socket.socket, asking: bool) -> None:
        # A request that was read is passed on even if its sender has gone meanwhile: a late effect.
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                if asking:
                    self._under_way(near, True)
                if self.delay:
                    time.sleep(self.delay)
                if not asking and self.silent:
                    self.held_back += 1
                    self._speaks.wait()
                target.sendall(data)
                if not asking:
                    self._under_way(near, False)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        if not asking:
            source.close()

    def _under_way(self, near: socket.socket, value: bool) -> None:
        with self._lock:
            if near in self._open:
                self._open[near] = value


def _reset(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        one.shutdown(socket.SHUT_RD)
    with contextlib.suppress(OSError):
        one.close()
