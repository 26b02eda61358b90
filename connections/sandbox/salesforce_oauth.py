"""Connected apps and their tokens: client credentials, JWT bearer, refresh, revoke, userinfo."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Any

import jwt

from connections.sandbox.base import Request, Response, Stop
from connections.sandbox.salesforce_org import Org
from connections.sandbox.salesforce_schema import Doc, normal_id

JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
# The vendor takes assertions that are valid for three minutes at most; clocks may differ a little.
JWT_SECONDS = 180
CLOCK_SECONDS = 30


def _refuse(error: str, description: str, status: int = 400) -> Stop:
    return Stop(Response(status, {"error": error, "error_description": description}))


class Tokens:
    """Who may ask. Tokens are kept in memory and in the store; `seconds`: how long an access token lives."""

    def __init__(self, org: Org, now: Callable[[], float], seconds: float) -> None:
        self.org = org
        self.now = now
        self.seconds = seconds
        self.apps: dict[str, Doc] = {a["client_id"]: a for a in org.store.all("app")}
        self.tokens: dict[str, Doc] = {t["token"]: t for t in org.store.all("token")}

    def create_app(
        self,
        run_as: str | None,
        client_id: str | None = None,
        client_secret: str | None = None,
        public_key: str | None = None,
    ) -> Doc:
        """Register a connected app. `run_as`: user id for client credentials (None switches that flow off);
        `public_key`: PEM for JWT bearer. Returns {client_id, client_secret, run_as, public_key}."""
        app = {
            "client_id": client_id or "3MVG9" + secrets.token_urlsafe(57),
            "client_secret": client_secret or secrets.token_hex(32).upper(),
            "run_as": run_as,
            "public_key": public_key,
        }
        self.apps[app["client_id"] or ""] = app
        self.org.store.put("app", app["client_id"] or "", app)
        return app

    def issue(self, kind: str, client_id: str, user: str) -> str:
        """A new token; `kind`: "access" or "refresh"."""
        start = self.org.id[:15] + "!AQ" if kind == "access" else "5Aep861"
        token = start + secrets.token_urlsafe(64)
        expires = self.now() + self.seconds if kind == "access" else None
        doc = {"token": token, "kind": kind, "client_id": client_id, "user": user, "expires": expires}
        self.tokens[token] = doc
        self.org.store.put("token", token, doc)
        return token

    def valid(self, token: str) -> Doc | None:
        """The access token's facts {user, client_id, ...}; None if unknown, expired or revoked."""
        doc = self.tokens.get(token)
        return doc if doc and doc["kind"] == "access" and doc["expires"] > self.now() else None

    def of(self, request: Request) -> Doc | None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return self.valid(token) if scheme.lower() in ("bearer", "oauth") else None

    def expire_all(self) -> None:
        """End every session, as an administrator can."""
        for doc in self.tokens.values():
            if doc["kind"] == "access":
                doc["expires"] = self.now()

    def revoke(self, token: str) -> bool:
        """End a token; a refresh token takes the user's access tokens of that app along."""
        doc = self.tokens.pop(token, None)
        if doc is None:
            return False
        self.org.store.remove("token", token)
        if doc["kind"] == "refresh":
            pair = ("access", doc["client_id"], doc["user"])
            same = [t for t, d in self.tokens.items() if (d["kind"], d["client_id"], d["user"]) == pair]
            for other in same:
                self.tokens.pop(other)
                self.org.store.remove("token", other)
        return True

    # HTTP --------------------------------------------------------------------------------------------------------

    def token(self, request: Request) -> Response:
        form = request.form()
        scheme, _, basic = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            name, _, word = base64.b64decode(basic).decode().partition(":")
            form = {"client_id": name, "client_secret": word, **form}
        grant = form.get("grant_type")
        if grant == JWT_GRANT:
            app, user = self._by_assertion(request, form.get("assertion", ""))
        elif grant == "client_credentials":
            app = self._app(form)
            user = app["run_as"]
            if not user:
                raise _refuse("invalid_grant", "no client credentials user enabled")
        elif grant == "refresh_token":
            app = self._app(form)
            old = self.tokens.get(form.get("refresh_token", ""))
            if not old or old["kind"] != "refresh" or old["client_id"] != app["client_id"]:
                raise _refuse("invalid_grant", "expired access/refresh token")
            user = old["user"]
        elif grant == "password":  # this org has switched the flow off, as new ones do
            raise _refuse("invalid_grant", "authentication failure")
        else:
            raise _refuse("unsupported_grant_type", "grant type not supported")
        person = self.org.get(user)
        if not person or not person["IsActive"]:
            raise _refuse("invalid_grant", "inactive user")
        return Response(200, self._answer(request, app, user, with_signature=grant != JWT_GRANT))

    def _app(self, form: dict[str, str]) -> Doc:
        app = self.apps.get(form.get("client_id", ""))
        if app is None:
            raise _refuse("invalid_client_id", "client identifier invalid")
        if not hmac.compare_digest(app["client_secret"], form.get("client_secret", "")):
            raise _refuse("invalid_client", "invalid client credentials")
        return app

    def _by_assertion(self, request: Request, assertion: str) -> tuple[Doc, str]:
        try:
            claims: dict[str, Any] = jwt.decode(assertion, options={"verify_signature": False})
        except jwt.PyJWTError:
            raise _refuse("invalid_grant", "invalid assertion") from None
        app = self.apps.get(str(claims.get("iss")))
        if app is None:
            raise _refuse("invalid_client_id", "client identifier invalid")
        if not app["public_key"]:
            raise _refuse("invalid_grant", "user hasn't approved this consumer")
        try:
            jwt.decode(
                assertion, app["public_key"], algorithms=["RS256"], options={"verify_aud": False, "verify_exp": False}
            )
        except jwt.PyJWTError:
            raise _refuse("invalid_grant", "invalid assertion") from None
        known = {"https://login.salesforce.com", "https://test.salesforce.com", _base(request)}
        if str(claims.get("aud", "")).rstrip("/") not in known:
            raise _refuse("invalid_grant", "audience is invalid")
        if not self.now() < float(claims.get("exp", 0)) <= self.now() + JWT_SECONDS + CLOCK_SECONDS:
            raise _refuse("invalid_grant", "expired authorization code")
        wanted = str(claims.get("sub")).lower()
        user = next((u for u in self.org.tables["User"].values() if u["Username"].lower() == wanted), None)
        if user is None:
            raise _refuse("invalid_grant", "user hasn't approved this consumer")
        return app, user["Id"]

    def _answer(self, request: Request, app: Doc, user: str, *, with_signature: bool) -> Doc:
        base = _base(request)
        identity = f"{base}/id/{self.org.id}/{user}"
        issued = str(int(self.now() * 1000))
        mac = hmac.new(app["client_secret"].encode(), (identity + issued).encode(), hashlib.sha256)
        answer = {
            "access_token": self.issue("access", app["client_id"], user),
            "instance_url": base,
            "id": identity,
            "token_type": "Bearer",
            "issued_at": issued,
            "signature": base64.b64encode(mac.digest()).decode(),
            "scope": "api refresh_token",
        }
        if not with_signature:
            del answer["signature"], answer["issued_at"]
        return answer

    def revoke_request(self, request: Request) -> Response:
        token = request.form().get("token") or request.query.get("token", "")
        if not self.revoke(token):
            raise _refuse("unsupported_token_type", "this token type is not supported")
        return Response(200)

    def userinfo(self, request: Request) -> Response:
        facts = self.of(request)
        if facts is None:
            return Response(403, "Bad_OAuth_Token", {"Content-Type": "text/html;charset=UTF-8"})
        user = self.org.get(facts["user"]) or {}
        base = _base(request)
        return Response(
            200,
            {
                "sub": f"{base}/id/{self.org.id}/{user['Id']}",
                "user_id": user["Id"],
                "organization_id": self.org.id,
                "preferred_username": user["Username"],
                "nickname": user["Alias"],
                "name": user["Name"],
                "email": user["Email"],
                "email_verified": True,
                "given_name": user["FirstName"],
                "family_name": user["LastName"],
                "zoneinfo": user["TimeZoneSidKey"],
                "active": user["IsActive"],
                "user_type": "STANDARD",
                "language": "en_US",
                "locale": "en_US",
                "urls": {
                    "rest": f"{base}/services/data/v{{version}}/",
                    "sobjects": f"{base}/services/data/v{{version}}/sobjects/",
                    "query": f"{base}/services/data/v{{version}}/query/",
                },
            },
        )

    def identity(self, request: Request, org: str, user: str) -> Response:
        if normal_id(user) is None or normal_id(org) != self.org.id:
            return Response(404, "Bad_Id", {"Content-Type": "text/html;charset=UTF-8"})
        return self.userinfo(request)


def _base(request: Request) -> str:
    return "http://" + request.headers.get("host", "localhost")
