"""Signing in to a described API: what each call carries, and where a token comes from."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from connections.connectors.base import Context, NeedsAuthorization, Retry
from connections.connectors.rest_definition import Authentication, Definition
from connections.connectors.rest_form import PARTS
from connections.connectors.rest_paths import fill, fill_all, look
from connections.connectors.rest_rules import TOKEN_METHODS

REFUSED = (400, 401, 403)
# A token is renewed so long before it ends: a call with it takes a while.
MARGIN_SECONDS = 60.0
TOKEN, ENDS = "access_token", "ends_at"


@dataclass(frozen=True, slots=True)
class SignIn:
    """What one call carries. `auth`: user name and password."""

    headers: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    auth: tuple[str, str] | None = None


def uses_token(how: Authentication) -> bool:
    return how.method in TOKEN_METHODS


def sign_in(how: Authentication, context: Context, token: Mapping[str, Any] | None) -> SignIn:
    """What a call carries. Raises NeedsAuthorization where the connection lacks a part of it."""
    key = context.secrets.get("key", "")
    match how.method:
        case "none":
            return SignIn()
        case "basic":
            user, password = context.settings.get("user", ""), context.secrets.get("password", "")
            if how.key_as == "user":
                user, password = _given(context, "key", key), how.other
            elif how.key_as == "password":
                user, password = how.other, _given(context, "key", key)
            else:
                _given(context, "user", user)
            return SignIn(auth=(_bytes(user), _bytes(password)))
        case "query":
            return SignIn(params={how.name: _given(context, "key", key)})
        case "header":
            return SignIn(headers={how.name: how.prefix + _given(context, "key", key)})
        case "bearer":
            return SignIn(headers={how.name or "Authorization": how.prefix + _given(context, "key", key)})
    return SignIn(headers={how.name or "Authorization": how.prefix + str((token or {}).get(TOKEN, ""))})


def _given(context: Context, name: str, value: str) -> str:
    if not value:
        raise NeedsAuthorization(
            f"{context.name} has no {PARTS[name].lower()}. Nothing was read or written. Enter it in the connection."
        )
    return value


def _bytes(text: str) -> str:
    """requests sends these as Latin-1; what it cannot express goes as UTF-8, as servers expect today."""
    return text.encode("utf-8").decode("latin-1")


def ended(token: Mapping[str, Any] | None) -> bool:
    ends = (token or {}).get(ENDS)
    return not token or (isinstance(ends, int | float) and ends - MARGIN_SECONDS < time.time())


def fetch_token(definition: Definition, context: Context, names: Mapping[str, str]) -> dict[str, Any]:
    """A new token. Raises NeedsAuthorization where the credentials are refused, Retry where no token came back."""
    how = definition.authentication
    path = fill(how.token_path, names, quoted=True)
    if "://" in path:
        context.http.trust(path)
    options: dict[str, Any] = {"headers": {n: fill(value, names) for n, value in definition.headers.items()}}
    if how.method == "client_credentials":
        client = (context.settings.get("client_id", ""), context.secrets.get("client_secret", ""))
        form = {"grant_type": "client_credentials", **how.token_parameters}
        if how.oauth_scope:
            form["scope"] = how.oauth_scope
        if how.client_in == "basic":
            pair = base64.b64encode(f"{client[0]}:{client[1]}".encode()).decode()
            options["headers"]["Authorization"] = f"Basic {pair}"
        else:
            form |= {"client_id": client[0], "client_secret": client[1]}
        options["data"] = form
    else:
        given = {
            "user": context.settings.get("user", ""),
            **{n: context.secrets.get(n, "") for n in ("password", "key")},
        }
        body = fill_all(how.body if how.body is not None else {}, {**names, **given})
        options["json" if how.encoding == "json" else "data"] = body
    answer = context.http.request("POST", path, kind="auth", ok=REFUSED, **options)
    if answer.status in REFUSED:
        said = look(definition.errors.message, answer.json) or look("error_description || message", answer.json)
        raise NeedsAuthorization(
            context.http.redact(
                f"{definition.name} refuses the sign-in: {said or f'status {answer.status}'}. Nothing was read or "
                "written. Correct the credentials in the connection."
            )
        )
    token = look(how.token, answer.json)
    if not isinstance(token, str) or not token:
        raise Retry(
            f"{definition.name}'s answer to the sign-in holds no token at “{how.token}”. Nothing was read or written. "
            "Correct the description of the API if it stays so."
        )
    context.http.hide(token)
    lasts = look(how.expires_in, answer.json)
    if isinstance(lasts, bool) or not isinstance(lasts, int | float) or lasts <= 0:
        lasts = how.lifetime
    return {TOKEN: token, ENDS: time.time() + lasts}
