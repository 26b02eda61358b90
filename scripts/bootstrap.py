#!/usr/bin/env python3
"""Bring a fresh clone to life: check this machine, make .venv, install the pinned packages, hand over.

    bootstrap.py setup [--dev] | demo [--port N] | test | lint | simulate | chaos | mutants [NAME …] | bench

Standard library only, and a syntax that old Pythons can read: its first duty is to say clearly what is missing.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
OLDEST = (3, 11)
# Looked for when the Python that runs this is too old, newest first.
OTHER_PYTHONS = ("python3.14", "python3.13", "python3.12", "python3.11")
DISK_NEEDED = 1_500_000_000  # bytes: development packages with their wheels while they are unpacked


class Problem(Exception):
    """Something a person must put right: what happened, what it means, what to do."""


def usable_python() -> str:
    """Path of a Python that is new enough: this one, or another one found by name."""
    if sys.version_info >= OLDEST:
        return sys.executable
    for name in OTHER_PYTHONS:
        found = shutil.which(name)
        if found and runs(found):
            return found
    raise Problem(
        "This is Python {}.{}, and SyncAdmin needs 3.11 or newer. Nothing was installed.\n"
        "Install a newer one (Debian 12 and later: apt install python3 python3-venv), or name one: "
        "make demo PYTHON=/path/to/python3.12".format(*sys.version_info[:2])
    )


def runs(python: str) -> bool:
    """Whether `python` starts at all and is new enough (a version manager may leave a name that does not)."""
    check = f"import sys; sys.exit(sys.version_info < {OLDEST!r})"
    return subprocess.run([python, "-c", check], capture_output=True).returncode == 0


def check_folder(folder: Path) -> None:
    """Raise Problem unless files can be made in `folder`."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise Problem(
            f"Files cannot be made in {folder} ({error.strerror}). Nothing was started.\n"
            "SyncAdmin keeps its packages (.venv) and the demo's data (.demo) there. Make the folder writable "
            f"for you (chown -R $(id -un) {folder}), or clone the project to a folder of yours."
        ) from None


def check_venv_module(python: str) -> None:
    """Raise Problem if `python` cannot make virtual environments with pip."""
    missing = subprocess.run([python, "-c", "import venv, ensurepip"], capture_output=True, text=True)
    if missing.returncode:
        version = subprocess.run(
            [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, text=True
        ).stdout.strip()
        raise Problem(
            f"{python} cannot make virtual environments: its venv or ensurepip module is missing. "
            "Nothing was installed.\n"
            f"On Debian and Ubuntu install it with: apt install python{version}-venv (or python3-venv)"
        )


def venv_python() -> Path:
    return VENV / "bin" / "python"


def make_venv(python: str) -> None:
    """A working .venv: kept if it is one, made anew if it is broken (half made, moved, its Python gone)."""
    if venv_python().exists() and runs(str(venv_python())):
        return
    check_venv_module(python)
    say("Making the virtual environment .venv …")
    done = subprocess.run([python, "-m", "venv", "--clear", str(VENV)], capture_output=True, text=True)
    if done.returncode:
        raise Problem(
            f"The virtual environment could not be made:\n{(done.stdout + done.stderr).strip()}\n"
            "Nothing else was changed. Put right what it says and run the same command again."
        )


def lock_file(dev: bool) -> Path:
    return ROOT / ("requirements-dev.txt" if dev else "requirements.txt")


def stamp(dev: bool) -> tuple[Path, str]:
    """Where it is noted which lock is installed, and what the note must say now."""
    digest = hashlib.sha256(lock_file(dev).read_bytes()).hexdigest()
    return VENV / (".installed-dev" if dev else ".installed"), digest


def installed(dev: bool) -> bool:
    path, wanted = stamp(dev)
    return path.exists() and path.read_text() == wanted


def install(dev: bool) -> None:
    """The packages of the lock, each checked against its hash; skipped when they are there already."""
    # The development lock holds everything the runtime lock holds, at the same versions.
    if installed(dev) or (not dev and installed(True)):
        return
    if shutil.disk_usage(ROOT).free < DISK_NEEDED:
        say("Less than 1.5 GB of disk space is free here: the installation may fail for that.")
    say(f"Installing the packages of {lock_file(dev).name} (a minute or two, the first time only) …")
    pip = [str(venv_python()), "-m", "pip"]
    if subprocess.run([*pip, "--version"], capture_output=True).returncode:
        subprocess.run([str(venv_python()), "-m", "ensurepip", "--upgrade"], capture_output=True)
    # The lock is complete. Left to look for dependencies itself, pip refuses a package that another one asks for with
    # extras as soon as a newer release than the locked one is out.
    command = [*pip, "install", "-qq", "--no-input", "--disable-pip-version-check", "--require-hashes", "--no-deps"]
    if subprocess.run([*command, "-r", str(lock_file(dev))]).returncode:
        raise Problem(
            "The packages could not be installed; pip says above why. No data was touched.\n"
            "Often it is the network or the package index. Put that right and run the same command again: "
            "it goes on where it stopped."
        )
    path, text = stamp(dev)
    path.write_text(text)
    if dev:
        path, text = stamp(False)
        path.write_text(text)


def say(text: str) -> None:
    print(text, flush=True)


def hand_over(*arguments: str) -> None:
    """Become the virtual environment's Python: signals and the exit code are then its own."""
    sys.stdout.flush()
    os.chdir(str(ROOT))
    os.execv(str(venv_python()), [str(venv_python()), *arguments])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = ["setup", "demo", "test", "lint", "simulate", "chaos", "mutants", "bench"]
    parser.add_argument("what", choices=kinds)
    parser.add_argument("--port", type=int, default=8000, help="where the demo listens (default 8000)")
    parser.add_argument("--dev", action="store_true", help="setup: the packages for tests as well")
    options, rest = parser.parse_known_args()
    try:
        python = usable_python()
        if python != sys.executable:
            os.execv(python, [python, *sys.argv])
        check_folder(ROOT)
        dev = options.dev or options.what in ("test", "lint", "simulate", "chaos", "mutants") or "--sql" in rest
        if options.what == "demo":
            check_port(options.port)  # before the minutes of an installation, not after them
        make_venv(python)
        install(dev)
    except Problem as problem:
        sys.exit(f"\n{problem}\n")
    except KeyboardInterrupt:
        sys.exit("\nStopped. Run the same command again: it goes on where it stopped.")
    if options.what == "demo":
        hand_over("-m", "syncadmin.demo", "--port", str(options.port), *rest)
    elif options.what in ("test", "lint"):
        hand_over(str(ROOT / "scripts" / "checks.py"), options.what, *rest)
    elif options.what == "mutants":
        hand_over(str(ROOT / "scripts" / "mutants.py"), *rest)
    elif options.what == "simulate":
        hand_over(str(ROOT / "scripts" / "simulate.py"), *rest)
    elif options.what == "bench" and "--sql" in rest:
        hand_over("-m", "syncadmin.bench.databases", *rest)
    elif options.what == "bench":
        os.environ["ENV_FILE"] = str(ROOT / ".demo" / "env")  # the settings of the demo that runs
        hand_over(str(ROOT / "manage.py"), "bench", *rest)
    elif options.what == "chaos":
        hand_over("-m", "syncadmin.chaos", *rest)


def check_port(port: int) -> None:
    """Raise Problem if nobody may, or somebody already does, listen on `port`."""
    sys.path.insert(0, str(ROOT))
    from syncadmin.demo.environment import Unusable, check_port_free

    try:
        check_port_free(ROOT / ".demo", port)
    except Unusable as error:
        raise Problem(str(error)) from None


if __name__ == "__main__":
    main()
