"""Signing in to ServiceNow: user and password with each call, or a token of OAuth.

Facts: ServiceNow Docs, "OAuth API request parameters": the form goes to /oauth_token.do; a refresh answers with an
access token, and with a refresh token as long as that one lives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connections.connectors.base import Context, FormField, NeedsAuthorization, Retry

TOKEN_PATH = "/oauth_token.do"  # noqa: S105
BASIC, PASSWORD, CREDENTIALS, REFRESH = "basic", "password", "client_credentials", "refresh_token"
REFUSED = (400, 401, 403)

FORM = (
    FormField(
        "sign_in",
        "Sign in with",
        choices=(
            (BASIC, "User name and password"),
            (PASSWORD, "OAuth: user name and password"),
            (CREDENTIALS, "OAuth: client credentials"),
            (REFRESH, "OAuth: refresh token"),
        ),
        default=BASIC,
        help="OAuth needs an entry in System OAuth → Application Registry.",
    ),
    FormField("username", "User name", required=False, help="Of the account SyncAdmin uses. Best one of its own."),
    FormField(
        "password", "Password", secret=True, required=False, help="Not needed for client credentials or a token."
    ),
    FormField("client_id", "Client ID", required=False, help="For OAuth only."),
    FormField("client_secret", "Client secret", secret=True, required=False, help="For OAuth only."),
    FormField("refresh_token", "Refresh token", secret=True, required=False, show_if=("sign_in", REFRESH)),
)


def way(context: Context) -> str:
    return context.settings.get("sign_in") or BASIC


def fetch_token(context: Context, stored: Mapping[str, Any] | None) -> dict[str, Any]:
    """A new token answer. `stored`: the token before it, which may hold a refresh token.

    Raises NeedsAuthorization where ServiceNow refuses the credentials, Retry where it does not answer properly.
    """
    body, status = _ask(context, _grant(context, stored))
    if status in REFUSED and stored and way(context) == PASSWORD and stored.get("refresh_token"):
        body, status = _ask(context, _grant(context, None))  # the refresh token has ended; the password has not
    if status in REFUSED:
        said = str(body.get("error_description") or body.get("error") or f"status {status}")
        raise NeedsAuthorization(
            f"ServiceNow refuses the sign-in: {said}. Nothing is read or written until it works again. Check the "
            "client in System OAuth → Application Registry and the credentials here, then test the connection."
        )
    if not isinstance(body.get("access_token"), str) or not body["access_token"]:
        raise Retry("ServiceNow's answer to the sign-in holds no token. Nothing was read or written; we try again.")
    context.http.hide(body["access_token"])
    token = dict(body)
    if not token.get("refresh_token") and stored and stored.get("refresh_token"):
        token["refresh_token"] = stored["refresh_token"]
    return token


def _ask(context: Context, form: Mapping[str, str]) -> tuple[Mapping[str, Any], int]:
    answer = context.http.request("POST", TOKEN_PATH, data=dict(form), kind="auth", ok=REFUSED)
    return (answer.json if isinstance(answer.json, Mapping) else {}), answer.status


def _grant(context: Context, stored: Mapping[str, Any] | None) -> dict[str, str]:
    settings, secrets = context.settings, context.secrets
    client = {"client_id": settings.get("client_id", ""), "client_secret": secrets.get("client_secret", "")}
    how = way(context)
    refresh = str((stored or {}).get("refresh_token") or "")
    if how == REFRESH:
        refresh = refresh or secrets.get("refresh_token", "")
    if how == CREDENTIALS:
        return {"grant_type": "client_credentials", **client}
    if how == REFRESH or refresh:
        return {"grant_type": "refresh_token", **client, "refresh_token": refresh}
    user = {"username": settings.get("username", ""), "password": secrets.get("password", "")}
    return {"grant_type": "password", **client, **user}
