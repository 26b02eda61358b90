"""What a newcomer's machine may lack, and what the first command says about it."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from syncadmin.demo import environment

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def bootstrap(tmp_path: Path) -> ModuleType:
    """scripts/bootstrap.py, working on an empty folder."""
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "scripts" / "bootstrap.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.ROOT, module.VENV = tmp_path, tmp_path / ".venv"
    for name in ("requirements.txt", "requirements-dev.txt"):
        (tmp_path / name).write_text(f"the lock {name}")
    return module


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.socket() as other:
        other.bind((environment.LOOPBACK, 0))
        other.listen(1)
        yield other.getsockname()[1]


def fake_python(folder: Path, name: str, script: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_a_python_that_is_too_old_is_named_with_the_remedy(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bootstrap.sys, "version_info", (3, 9, 2))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(bootstrap.Problem, match=r"This is Python 3\.9.*3\.11 or newer(.|\n)*make demo PYTHON="):
        bootstrap.usable_python()


def test_a_newer_python_under_another_name_is_found_and_one_that_does_not_start_is_passed_over(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bootstrap.sys, "version_info", (3, 9, 2))
    monkeypatch.setenv("PATH", str(tmp_path))
    fake_python(tmp_path, "python3.14", "exit 127")
    good = fake_python(tmp_path, "python3.12", "exit 0")
    assert bootstrap.usable_python() == good


def test_a_python_without_venv_names_the_debian_package(bootstrap: ModuleType, tmp_path: Path) -> None:
    python = fake_python(tmp_path, "python3", 'case "$2" in *ensurepip*) exit 1;; esac; echo 3.11')
    with pytest.raises(bootstrap.Problem, match=r"apt install python3\.11-venv"):
        bootstrap.check_venv_module(python)


def test_a_folder_that_refuses_files_is_named_with_the_remedy(bootstrap: ModuleType) -> None:
    with pytest.raises(bootstrap.Problem, match=r"Files cannot be made in /proc/self(.|\n)*chown"):
        bootstrap.check_folder(Path("/proc/self"))


def test_an_installed_lock_is_not_installed_again_until_it_changes(bootstrap: ModuleType, tmp_path: Path) -> None:
    bootstrap.VENV.mkdir()
    assert not bootstrap.installed(dev=False)
    path, text = bootstrap.stamp(dev=False)
    path.write_text(text)
    assert bootstrap.installed(dev=False)
    assert not bootstrap.installed(dev=True)
    (tmp_path / "requirements.txt").write_text("a newer lock")
    assert not bootstrap.installed(dev=False)


def test_the_bootstrap_and_what_it_imports_can_be_read_by_python_3_9() -> None:
    import ast

    for path in ("scripts/bootstrap.py", "syncadmin/__init__.py", "syncadmin/demo/__init__.py"):
        ast.parse((ROOT / path).read_text(), feature_version=(3, 9))
    ast.parse((ROOT / "syncadmin/demo/environment.py").read_text(), feature_version=(3, 9))


def test_a_port_in_use_is_named_with_a_free_one(tmp_path: Path, busy_port: int) -> None:
    with pytest.raises(environment.Unusable, match=rf"Port {busy_port} is in use(.|\n)*make demo PORT=\d+"):
        environment.check_port_free(tmp_path, busy_port)


def test_make_demo_stops_at_a_busy_port_before_it_installs_anything(busy_port: int) -> None:
    done = subprocess.run(
        [sys.executable, "scripts/bootstrap.py", "demo", "--port", str(busy_port)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert f"Port {busy_port} is in use" in done.stderr
    assert "Installing" not in done.stdout


@pytest.mark.parametrize(
    "given, told", [([], "200"), (["SEED=3900558"], "200 3900558"), (["N=5"], "5"), (["N=5", "SEED=7"], "5 7")]
)
def test_make_simulate_takes_a_seed_without_a_number_of_histories(given: list[str], told: str) -> None:
    # Not what another make, which may have begun these tests, tells those that it begins.
    ours = {name: value for name, value in os.environ.items() if name not in ("N", "SEED", "MAKEFLAGS", "MAKELEVEL")}
    done = subprocess.run(["make", "-n", "simulate", *given], cwd=ROOT, env=ours, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("bootstrap.py simulate")[1].split() == told.split()


def test_a_demo_that_runs_already_is_named_with_its_address(tmp_path: Path) -> None:
    from syncadmin.services import lock_data_folder

    with lock_data_folder(tmp_path):
        environment.write_private(tmp_path / "demo.json", '{"url": "http://127.0.0.1:8123"}')
        with pytest.raises(environment.Unusable, match=rf"already runs.*8123(.|\n)*kill {os.getpid()}"):
            environment.check_port_free(tmp_path, 8123)
    assert environment.running_demo(tmp_path) is None


def test_the_demo_writes_its_settings_for_other_commands_readable_by_its_user_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://demo@localhost/demo")
    folder = tmp_path / ".demo"
    port = environment.free_port(20000)
    settings = environment.prepare(port, folder)
    assert settings["PUBLIC_URL"] == f"http://127.0.0.1:{port}"
    assert settings["DATABASE_URL"] == "postgres://demo@localhost/demo"
    ports = {int(address.rpartition(":")[2]) for address in settings["ALLOWED_PRIVATE_ADDRESSES"].split(",")}
    assert len(ports) == 2 and port not in ports
    assert (folder / "env").stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("ALLOWED_PRIVATE_ADDRESSES", "127.0.0.1:9000")  # a system that somebody tries it with
    assert environment.prepare(port, folder)["ALLOWED_PRIVATE_ADDRESSES"].endswith(",127.0.0.1:9000")
    assert f"PUBLIC_URL=http://127.0.0.1:{port}\n" in (folder / "env").read_text()
