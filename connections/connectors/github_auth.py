"""Signing in to GitHub: a personal access token with each call, or an app's token of an hour.

Facts: GitHub Docs, "Generating a JSON Web Token (JWT) for a GitHub App" (RS256, at most ten minutes, issued a minute
ago against clocks that differ) and "Generating an installation access token".
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import jwt

from connections.connectors.base import Context, FormField, NeedsAuthorization, Retry
from connections.connectors.github_errors import as_error, said_in
from connections.connectors.http import Answer

TOKEN, APP = "token", "app"
REFUSED = (401, 403, 404)
JWT_SECONDS = 540
CLOCKS_DIFFER_SECONDS = 60
API_VERSION = "2022-11-28"
ACCEPT = "application/vnd.github+json"

FORM = (
    FormField(
        "sign_in",
        "Sign in with",
        choices=((TOKEN, "Personal access token"), (APP, "GitHub App")),
        default=TOKEN,
        help="An app has a limit of its own and writes under its own name.",
    ),
    FormField(
        "token",
        "Personal access token",
        secret=True,
        show_if=("sign_in", TOKEN),
        help="Best a fine-grained one of an account of its own: Issues read and write, Metadata read.",
    ),
    FormField("app_id", "App ID or client ID", show_if=("sign_in", APP)),
    FormField(
        "installation_id",
        "Installation ID",
        required=False,
        show_if=("sign_in", APP),
        help="The number at the end of the installation's address. Empty: that of the first repository.",
    ),
    FormField("private_key", "Private key", secret=True, multiline=True, show_if=("sign_in", APP)),
)


def is_app(context: Context) -> bool:
    return (context.settings.get("sign_in") or TOKEN) == APP


def may_triage(context: Context, repository: Mapping[str, Any]) -> bool:
    """Whether our account may set labels, people, milestone and type. Of an app GitHub tells no rights."""
    rights = repository.get("permissions")
    return is_app(context) or not isinstance(rights, Mapping) or bool(rights.get("push") or rights.get("triage"))


def headers_with(token: str) -> dict[str, str]:
    return {"Accept": ACCEPT, "X-GitHub-Api-Version": API_VERSION, "Authorization": f"Bearer {token}"}


def as_app(context: Context, url: str, method: str = "GET") -> Answer:
    """A call of the app itself, not of its installation. Raises NeedsAuthorization where its key is not accepted."""
    now = int(time.time())
    claims = {"iat": now - CLOCKS_DIFFER_SECONDS, "exp": now + JWT_SECONDS, "iss": context.settings.get("app_id", "")}
    try:
        assertion = jwt.encode(claims, context.secrets.get("private_key", ""), algorithm="RS256")
    except (ValueError, TypeError, jwt.PyJWTError):
        raise NeedsAuthorization(
            "The private key cannot be read as a PEM key. Nothing was read or written. Paste the whole key, from BEGIN "
            "to END, on the connection's page."
        ) from None
    context.http.hide(assertion)
    answer: Answer = context.http.request(
        method, url, headers=headers_with(assertion), kind="auth", ok=REFUSED, table={0: as_error}
    )
    limited = as_error(answer) if answer.status in REFUSED else None
    if isinstance(limited, Retry):
        raise limited
    if answer.status in REFUSED:
        raise NeedsAuthorization(
            f"GitHub refuses the app's sign-in: {said_in(answer.json) or answer.status}. Nothing is read or written "
            "until it works again. Check app ID, private key and installation, then test the connection."
        )
    if not isinstance(answer.json, Mapping):
        raise Retry("GitHub's answer to the sign-in cannot be read. Nothing was read or written; we try again.")
    return answer


def fetch_token(context: Context, base: str, repository: str) -> dict[str, Any]:
    """A new token of the installation. repository: one of those it is installed in."""
    installation = context.settings.get("installation_id", "").strip()
    if not installation:
        installation = str(as_app(context, f"{base}/repos/{repository}/installation").json.get("id") or "")
    if not installation.isdecimal():
        raise NeedsAuthorization(
            "The installation ID is no number. Nothing was read or written. It stands at the end of the address of the "
            "installation's page, like 12345678."
        )
    body = as_app(context, f"{base}/app/installations/{installation}/access_tokens", "POST").json
    if not isinstance(body.get("token"), str) or not body["token"]:
        raise Retry("GitHub's answer to the sign-in holds no token. Nothing was read or written; we try again.")
    context.http.hide(body["token"])
    return {"token": body["token"], "expires_at": str(body.get("expires_at") or "")}
