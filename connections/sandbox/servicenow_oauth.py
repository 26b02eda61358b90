"""Who calls: user and password, or a token of /oauth_token.do. Tokens end; a refresh token gives another."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Callable

from connections.sandbox.base import Request, Response
from connections.sandbox.servicenow_records import Records, Row

REFRESH_SECONDS = 100 * 86400


class OAuth:
    """`passwords`: by user_name. `token_seconds`: how long an access token lives."""

    def __init__(self, records: Records, now: Callable[[], float], token_seconds: float) -> None:
        self.records = records
        self.now = now
        self.token_seconds = token_seconds
        self.passwords: dict[str, str] = {}
        self.clients: dict[str, tuple[str, str]] = {}  # client id → (secret, user_name it acts as)
        self.tokens: dict[str, tuple[str, str, float]] = {}  # token → (kind, user_name, end)

    def client(self, acts_as: str) -> dict[str, str]:
        """A new entry of the application registry."""
        id, secret = secrets.token_hex(16), secrets.token_urlsafe(12)
        self.clients[id] = (secret, acts_as)
        return {"client_id": id, "client_secret": secret}

    def end_all(self) -> None:
        """Let every access token end now."""
        self.tokens = {
            t: (kind, user, 0.0 if kind == "access" else end) for t, (kind, user, end) in self.tokens.items()
        }

    def issue(self, kind: str, user: str) -> str:
        token = secrets.token_urlsafe(40)
        life = self.token_seconds if kind == "access" else REFRESH_SECONDS
        self.tokens[token] = (kind, user, self.now() + life)
        return token

    def user_of(self, request: Request) -> Row | None:
        """The active user a request comes from."""
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        user = ""
        if scheme.lower() == "basic":
            try:
                name, _, password = base64.b64decode(text).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                return None
            user = name if name and self.passwords.get(name) == password else ""
        elif scheme.lower() == "bearer":
            kind, owner, end = self.tokens.get(text, ("", "", 0.0))
            user = owner if kind == "access" and end > self.now() else ""
        row = self.records.by_name("sys_user", user) if user else None
        return row if row and row["active"] == "true" else None

    def token(self, request: Request) -> Response:
        if "x-www-form-urlencoded" not in request.headers.get("content-type", ""):
            return _refused("server_error", "unspecified")
        form = request.form()
        secret, acts_as = self.clients.get(form.get("client_id", ""), ("", ""))
        if not secret or form.get("client_secret") != secret:
            return _refused("invalid_client", "access_denied")
        match form.get("grant_type"):
            case "client_credentials":
                return self._answer(acts_as, refresh=None)
            case "password":
                user = form.get("username", "")
                if not user or self.passwords.get(user) != form.get("password"):
                    return _refused("server_error", "access_denied")
                return self._answer(user, refresh=self.issue("refresh", user))
            case "refresh_token":
                given = form.get("refresh_token", "")
                kind, user, end = self.tokens.get(given, ("", "", 0.0))
                if kind != "refresh" or end <= self.now():
                    return _refused("server_error", "access_denied")
                return self._answer(user, refresh=given)
        return _refused("unsupported_grant_type", "unsupported grant type")

    def _answer(self, user: str, refresh: str | None) -> Response:
        body = {
            "access_token": self.issue("access", user),
            "scope": "useraccount",
            "token_type": "Bearer",
            "expires_in": int(self.token_seconds),
        }
        return Response(200, body | ({"refresh_token": refresh} if refresh else {}))


def _refused(error: str, description: str) -> Response:
    return Response(401, {"error_description": description, "error": error})
