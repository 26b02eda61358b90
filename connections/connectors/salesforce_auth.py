"""Signing in to Salesforce: client credentials, JWT bearer or refresh token.

Access tokens carry no expiry (recorded answer auth_success): one is used until Salesforce answers
INVALID_SESSION_ID, and then replaced once for all workers by the token store.
Facts: Salesforce Help, "OAuth 2.0 … Flow"; recorded answers of /services/oauth2/token.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import jwt

from connections.connectors.base import (
    ConnectorError,
    Context,
    FormField,
    NeedsAuthorization,
    RateLimited,
    Retry,
)
from connections.connectors.salesforce_errors import errors_in

TOKEN_PATH = "/services/oauth2/token"  # noqa: S105
# Salesforce refuses assertions that live longer than 3 minutes; a slow clock needs some of it.
ASSERTION_SECONDS = 180
# Sign-ins are limited to 3,600 an hour per user; a minute lets the window move on.
SIGN_IN_LIMIT_WAIT = 60.0

CREDENTIALS, JWT, REFRESH = "client_credentials", "jwt", "refresh_token"

FORM = (
    FormField(
        "sign_in",
        "Sign in with",
        choices=(
            (CREDENTIALS, "Client credentials"),
            (JWT, "JWT bearer (certificate)"),
            (REFRESH, "Refresh token"),
        ),
        default=CREDENTIALS,
        help="As the connected app allows: Setup → App Manager → your app → OAuth settings.",
    ),
    FormField("client_id", "Consumer key"),
    FormField("client_secret", "Consumer secret", secret=True, required=False, help="Not needed for JWT bearer."),
    FormField("username", "User name", required=False, show_if=("sign_in", JWT)),
    FormField(
        "private_key",
        "Private key (PEM)",
        secret=True,
        required=False,
        multiline=True,
        show_if=("sign_in", JWT),
        help="Of the certificate uploaded to the connected app.",
    ),
    FormField(
        "audience",
        "Login address",
        required=False,
        default="https://login.salesforce.com",
        show_if=("sign_in", JWT),
        help="https://test.salesforce.com for a sandbox.",
    ),
    FormField("refresh_token", "Refresh token", secret=True, required=False, show_if=("sign_in", REFRESH)),
)


def fetch_token(context: Context, stored: Mapping[str, Any] | None) -> dict[str, Any]:
    """A new token answer. `stored`: the token before it, which may hold a rotated refresh token.

    Raises NeedsAuthorization where Salesforce refuses the credentials, Retry where it does not answer properly.
    """
    answer = context.http.request(
        "POST",
        TOKEN_PATH,
        data=_grant(context, stored),
        headers={"Accept": "application/json"},
        kind="auth",
        ok=(400, 401, 403),
    )
    body = answer.json if isinstance(answer.json, Mapping) else {}
    if answer.status >= 400:
        raise _refusal(body)
    if not body.get("access_token"):
        raise Retry("Salesforce's answer to the sign-in holds no token. Nothing was read or written; we try again.")
    context.http.hide(str(body["access_token"]))
    _check_instance(context.address, str(body.get("instance_url") or context.address))
    token = dict(body)
    if "refresh_token" not in token and stored and stored.get("refresh_token"):
        token["refresh_token"] = stored["refresh_token"]
    return token


def _grant(context: Context, stored: Mapping[str, Any] | None) -> dict[str, str]:
    settings, secrets = context.settings, context.secrets
    way = settings.get("sign_in") or CREDENTIALS
    client_id = settings.get("client_id", "")
    if way == JWT:
        claims = {
            "iss": client_id,
            "sub": settings.get("username", ""),
            "aud": settings.get("audience") or "https://login.salesforce.com",
            "exp": int(time.time()) + ASSERTION_SECONDS,
        }
        try:
            assertion = jwt.encode(claims, secrets.get("private_key", ""), algorithm="RS256")
        except (ValueError, TypeError, jwt.PyJWTError):
            raise NeedsAuthorization(
                "The private key cannot be read as a PEM key. Nothing was read or written. "
                "Paste the whole key, from BEGIN to END, on the connection's page."
            ) from None
        return {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
    if way == REFRESH:
        return {
            "grant_type": "refresh_token",
            "client_id": client_id,
            "client_secret": secrets.get("client_secret", ""),
            "refresh_token": str((stored or {}).get("refresh_token") or secrets.get("refresh_token", "")),
        }
    return {
        "grant_type": "client_credentials",
        "client_id": client_id,
        "client_secret": secrets.get("client_secret", ""),
    }


def _refusal(body: Mapping[str, Any]) -> ConnectorError:
    errors = errors_in(body)
    said = errors[0]["message"] or errors[0]["code"] if errors else "no reason"
    if "rate exceeded" in said.lower():
        return RateLimited(f"Salesforce limits sign-ins: {said}. Nothing is lost.", after=SIGN_IN_LIMIT_WAIT)
    return NeedsAuthorization(
        f"Salesforce refuses the sign-in: {said}. Nothing is read or written until it works again. "
        "Check the consumer key, the secrets and the connected app's policies, then test the connection."
    )


def _check_instance(address: str, instance: str) -> None:
    """The token must not be carried to a host the admin did not name, whatever the answer says."""
    ours, theirs = urlsplit(address), urlsplit(instance)
    same = (ours.scheme, ours.netloc.lower()) == (theirs.scheme, theirs.netloc.lower())
    host = (theirs.hostname or "").lower()
    if not same and not (theirs.scheme == "https" and host.endswith(".salesforce.com")):
        raise NeedsAuthorization(
            f"Salesforce names {host or 'no host'} as the org's address, which is neither this connection's nor one "
            "of Salesforce's. Nothing was sent there. Check the connection's address."
        )
