"""SQLite files: which ones may be opened at all."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from connections.guard import NOTHING_SENT, AddressRefused


def checked_file(path: str) -> Path:
    """The file that `path`, below SQLITE_FOLDER, names. Raises AddressRefused.

    Links are followed first: neither they nor ".." lead out of the folder, and none leads to our own database.
    """
    folder = settings.SQLITE_FOLDER
    if not folder:
        raise AddressRefused(
            f"SQLite files are not allowed here. {NOTHING_SENT} Ask whoever runs SyncAdmin to name a folder for them "
            "in SQLITE_FOLDER."
        )
    root = Path(folder).resolve()
    file = (root / path).resolve()
    if not file.is_relative_to(root) or file == root:
        raise AddressRefused(f"“{path}” leads out of the folder for SQLite files. {NOTHING_SENT} Name a file in it.")
    if not file.is_file():
        raise AddressRefused(f"There is no file “{path}” in the folder for SQLite files. {NOTHING_SENT} Correct it.")
    if _is_ours(file):
        raise AddressRefused(f"“{path}” is SyncAdmin's own. {NOTHING_SENT} Name the file of another application.")
    return file


def _is_ours(file: Path) -> bool:
    """Whether it is our own database, by whatever name, or lies where we keep our data."""
    for database in settings.DATABASES.values():
        own = Path(str(database.get("NAME") or ""))
        if own.is_file() and file.samefile(own):
            return True
    return file.is_relative_to(Path(settings.DATA_DIR).resolve())
