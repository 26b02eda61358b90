from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from syncadmin import embedded

SERVE = (
    sys.executable,
    "-c",
    "import sys; from pathlib import Path; from syncadmin import embedded; embedded.serve(Path(sys.argv[1]))",
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    embedded.prepare(tmp_path)
    process = subprocess.Popen(embedded.command(tmp_path))
    wait_for(tmp_path)
    yield tmp_path, process
    process.kill()
    process.wait()


def wait_for(data_dir: Path) -> None:
    for _ in range(500):
        if embedded.answering_pid(data_dir):
            return
        subprocess.run(["sleep", "0.02"])
    raise AssertionError("the embedded Valkey did not answer")


def test_the_socket_lies_in_the_data_folder_while_its_path_is_short_enough(tmp_path: Path) -> None:
    assert embedded.socket_path(Path("/srv/syncadmin/.data")) == Path("/srv/syncadmin/.data/valkey.sock")
    long = tmp_path / ("x" * 120)
    path = embedded.socket_path(long)
    assert len(str(path)) <= embedded.LONGEST_SOCKET_PATH
    assert path == embedded.socket_path(long)
    assert path != embedded.socket_path(tmp_path / ("y" * 120))


def test_a_socket_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    with pytest.raises(PermissionError, match="belongs to another user"):
        embedded.own_folder(tmp_path / "link")


def test_the_server_never_evicts_and_keeps_its_data_over_a_kill(
    server: tuple[Path, subprocess.Popen[bytes]],
) -> None:
    data_dir, process = server
    client = redis.Redis.from_url(embedded.url(data_dir))
    assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert client.config_get("port") == {"port": "0"}
    client.set("kept", "yes")
    client.execute_command("WAITAOF", 1, 0, 1000)
    process.kill()
    process.wait()
    again = subprocess.Popen(embedded.command(data_dir))
    try:
        wait_for(data_dir)
        assert redis.Redis.from_url(embedded.url(data_dir)).get("kept") == b"yes"
    finally:
        again.kill()
        again.wait()


def test_a_server_left_behind_by_a_killed_start_is_ended_first(
    server: tuple[Path, subprocess.Popen[bytes]],
) -> None:
    data_dir, process = server
    embedded.prepare(data_dir)
    assert process.wait(timeout=10) == 0
    assert embedded.answering_pid(data_dir) is None


@pytest.mark.parametrize(
    ("file", "says"),
    [("*.manifest", b""), ("*.base.rdb", b"VALKEY"), ("*.incr.aof", b"*3\r\n$3\r\nSET\r\n$1\r\nb\r\nno number\r\n")],
)
def test_a_server_that_cannot_load_what_is_stored_starts_empty_and_says_so(
    server: tuple[Path, subprocess.Popen[bytes]], file: str, says: bytes
) -> None:
    data_dir, process = server
    redis.Redis.from_url(embedded.url(data_dir)).set("kept", "yes")
    process.kill()
    process.wait()
    [stored] = (data_dir / embedded.STORED).glob(file)
    stored.write_bytes(says)
    again = subprocess.Popen([*SERVE, str(data_dir)], stdout=subprocess.PIPE)
    try:
        wait_for(data_dir)
        assert redis.Redis.from_url(embedded.url(data_dir)).get("kept") is None
        assert (data_dir / f"{embedded.STORED}.unreadable").is_dir()
    finally:
        again.kill()
    assert b"Nothing is lost" in again.communicate()[0]


def test_what_can_be_loaded_is_kept(server: tuple[Path, subprocess.Popen[bytes]]) -> None:
    data_dir, process = server
    client = redis.Redis.from_url(embedded.url(data_dir))
    client.set("kept", "yes")
    client.execute_command("WAITAOF", 1, 0, 1000)
    process.kill()
    process.wait()
    again = subprocess.Popen([*SERVE, str(data_dir)])
    try:
        while embedded.answering_pid(data_dir) != again.pid:
            time.sleep(0.02)
        assert redis.Redis.from_url(embedded.url(data_dir)).get("kept") == b"yes"
    finally:
        again.kill()
        again.wait()


def test_only_after_a_bad_end_it_is_tried_whether_what_is_stored_loads(
    server: tuple[Path, subprocess.Popen[bytes]],
) -> None:
    data_dir, process = server
    assert embedded.pid_file(data_dir).exists()
    process.terminate()
    process.wait()
    assert not embedded.pid_file(data_dir).exists(), "an end in order costs the next start nothing"
    [stored] = (data_dir / embedded.STORED).glob("*.manifest")
    stored.write_bytes(b"")
    failed = subprocess.run([*SERVE, str(data_dir)], stdout=subprocess.DEVNULL)
    assert failed.returncode == 1 and embedded.pid_file(data_dir).exists(), "the next start tries first"
