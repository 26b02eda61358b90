"""Who signs in where in the demo. Everything follows from one random word that the demo keeps between starts."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from syncadmin.demo.world import Person

INTEGRATION_NAME = "SyncAdmin Integration"
INTEGRATION_EMAIL = "syncadmin@example.com"
GITHUB_LOGIN, SERVICENOW_USER = "syncadmin-bot", "syncadmin"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Sign-ins at the stand-ins, for SyncAdmin's own account and for each person of the office."""

    word: str

    def jira_token(self, email: str) -> str:
        return f"ATATT3x{self._derive('jira', email)}"

    def salesforce_app(self, email: str) -> tuple[str, str]:
        """(client id, client secret) of a connected app that runs as this person."""
        return f"3MVG9{self._derive('app', email)}", self._derive("secret", email).upper()

    def github_token(self) -> str:
        return f"ghp_{self._derive('github', GITHUB_LOGIN)[:36]}"

    def servicenow_password(self) -> str:
        return self._derive("servicenow", SERVICENOW_USER)[:24]

    def zendesk_token(self) -> str:
        return self._derive("zendesk", INTEGRATION_EMAIL)[:40]

    def webhook_secret(self) -> str:
        """What Jira signs its webhooks with."""
        return self._derive("webhook", "jira")

    def _derive(self, *parts: str) -> str:
        return hmac.new(self.word.encode(), "\0".join(parts).encode(), hashlib.sha256).hexdigest()


def office_people(people: tuple[Person, ...], system: str) -> list[Person]:
    """Those who can sign in at `system`, "jira" or "salesforce"."""
    return [person for person in people if person.active and getattr(person, system)]
