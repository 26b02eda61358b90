"""Keys made once for an embedded installation and kept in its data folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

from cryptography.fernet import Fernet


def generated_keys(data_dir: Path) -> dict[str, str]:
    """SECRET_KEY and CREDENTIAL_KEY of `data_dir`, made at the first call.

    Raises OSError where the folder cannot be written. O_EXCL lets exactly one of several starting processes
    make the file.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    path = data_dir / "keys.json"
    if not path.exists():
        made = {"SECRET_KEY": Fernet.generate_key().decode(), "CREDENTIAL_KEY": Fernet.generate_key().decode()}
        draft = path.with_suffix(f".{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(made))
        try:
            os.link(draft, path)  # atomic, and refuses to replace keys that another process made first
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return dict(json.loads(path.read_text()))
