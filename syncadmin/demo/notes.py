"""What the demo keeps for people and scripts in .demo/demo.json, and the one random word everything follows from."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connections.models import RoleAssignment
from syncadmin.demo.credentials import INTEGRATION_EMAIL, Credentials
from syncadmin.demo.environment import known, write_private

MAPPING_SLUG = "support-escalations"
PASSWORD_BYTES = 9  # 12 characters: enough for a site on loopback, short enough to type
ROLES = tuple(str(role) for role in RoleAssignment.Role.values)


@dataclass(frozen=True, slots=True)
class Notes:
    url: str
    jira_url: str
    salesforce_url: str
    users: list[dict[str, str]]  # {"username", "password", "role"}
    credentials: Credentials
    new: bool  # made at this start

    def document(self) -> dict[str, Any]:
        client_id, client_secret = self.credentials.salesforce_app(INTEGRATION_EMAIL)
        token = self.credentials.jira_token(INTEGRATION_EMAIL)
        return {
            "url": self.url,
            "users": self.users,
            "mapping": MAPPING_SLUG,
            "jira": {"url": self.jira_url, "email": INTEGRATION_EMAIL, "token": token},
            "salesforce": {"url": self.salesforce_url, "client_id": client_id, "client_secret": client_secret},
        }


def keep(folder: Path, url: str, jira_url: str, salesforce_url: str) -> Notes:
    """The notes of this start: users and sign-ins as they were, addresses as they are. Written to the folder."""
    word = folder / "word"
    new = not word.exists()
    if new:
        write_private(word, secrets.token_hex(16))
    before = {} if new else known(folder)
    users = before.get("users") or [
        {"username": role, "password": secrets.token_urlsafe(PASSWORD_BYTES), "role": role} for role in ROLES
    ]
    new = new or not before.get("users")
    notes = Notes(url, jira_url, salesforce_url, users, Credentials(word.read_text()), new)
    write_private(folder / "demo.json", json.dumps(notes.document(), indent=2) + "\n")
    return notes
