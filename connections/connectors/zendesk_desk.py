"""HTTP verbs of one Zendesk account: signed-in calls, lists page by page, what tickets look like."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from connections.connectors import zendesk_errors as errors
from connections.connectors.base import ConnectorError, Context, FormField, Gone, NotAllowed, Retry
from connections.connectors.http import Answer
from connections.connectors.zendesk_errors import Named
from connections.connectors.zendesk_fields import Shape, moment, plain_id, shape_of

API = "/api/v2/"
TOKEN, BEARER = "token", "oauth"
FORM = (
    FormField(
        "sign_in",
        "Sign in with",
        choices=((TOKEN, "E-mail address and API token"), (BEARER, "OAuth access token")),
        default=TOKEN,
        help="API tokens: Admin Center → Apps and integrations → APIs → API tokens.",
    ),
    FormField(
        "email",
        "E-mail address",
        required=False,
        help="Of the agent SyncAdmin works as. Best one of its own.",
        show_if=("sign_in", TOKEN),
    ),
    FormField("api_token", "API token", secret=True, required=False, show_if=("sign_in", TOKEN)),
    FormField("access_token", "OAuth access token", secret=True, required=False, show_if=("sign_in", BEARER)),
)
# Zendesk's lists take a hundred a page at most.
PAGE = 100
# A changed field, form or group is taken up after this long; a mapping editor asks afresh.
DESCRIBE_SECONDS = 300.0
# With no call left in the minute the next one would be refused for everybody who uses the account's limit.
LONGEST_PAUSE = 60.0

_memory: dict[tuple[str, ...], dict[str, Any]] = {}
_memory_guard = threading.Lock()


class Desk:
    """One account as one connection sees it."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.ahead = 0.0  # seconds their clock is ahead of ours, as the last answer told

    # Calls -----------------------------------------------------------------------------------------------------

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        write: bool = False,
        conditional: bool = False,
        named: Named = lambda field, text: None,
        headers: Mapping[str, str] | None = None,
        ok: Sequence[int] = (),
    ) -> Answer:
        """One signed-in call. path: below /api/v2/. Raises only contract errors."""

        def said(answer: Answer) -> ConnectorError | None:
            body, told = answer.json, answer.headers
            return errors.as_error(answer.status, body, told, write=write, conditional=conditional, named=named)

        options: dict[str, Any] = {"headers": dict(headers or {})}
        if (self.context.settings.get("sign_in") or TOKEN) == BEARER:
            options["headers"]["Authorization"] = f"Bearer {self.context.secrets.get('access_token', '')}"
        else:
            email = self.context.settings.get("email", "")
            options["auth"] = (f"{email}/token", self.context.secrets.get("api_token", ""))
        try:
            answer: Answer = self.context.http.request(
                method, API + path, params=params, json=json, write=write, ok=ok, table={0: said}, **options
            )
        except errors.WriteLimited as limit:
            # ⚑ Told to the connection, it would hold up everybody for the ten minutes of one busy ticket.
            raise errors.OneLimited(limit.message, limit.after) from None
        self._heed(answer)
        if answer.date:
            self.ahead = answer.date.timestamp() - time.time()
        return answer

    def _heed(self, answer: Answer) -> None:
        """Wait for the next minute where none of this one's calls is left, before Zendesk has to refuse one."""
        left = answer.headers.get("ratelimit-remaining") or answer.headers.get("x-rate-limit-remaining") or ""
        reset = answer.headers.get("ratelimit-reset") or ""
        if left == "0" and reset.isdecimal() and self.context.http.on_limit:
            self.context.http.on_limit(min(float(reset), LONGEST_PAUSE))

    def rows(self, path: str, key: str, params: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        """The records of one answer that is not a page of many."""
        return rows_in(self.call("GET", path, params=params).json, key)

    def pages(
        self, path: str, key: str, params: Mapping[str, str] | None = None
    ) -> Iterator[tuple[list[dict[str, Any]], Answer]]:
        """A list by cursor, page by page. Raises Retry where it does not go on, or does not end."""
        asked = {"page[size]": str(PAGE), **(params or {})}
        seen: set[str] = set()
        shown: list[Any] | None = None
        while True:
            answer = self.call("GET", path, params=asked)
            rows = rows_in(answer.json, key)
            shown = moving_on(rows, shown)
            meta = answer.json.get("meta")
            # has_more decides: links.next may be set on the last page too, as recorded.
            if meta is not None and not (isinstance(meta, Mapping) and isinstance(meta.get("has_more"), bool)):
                raise errors.unknown(False)
            if meta is None and answer.json.get("next_page"):
                raise Retry("Zendesk sent a list in pages of another kind. Nothing was taken over. We read again.")
            yield rows, answer
            if meta is None or not meta["has_more"]:
                return
            cursor = meta.get("after_cursor")
            if not isinstance(cursor, str) or not cursor or cursor in seen:
                raise looping()
            seen.add(cursor)
            asked["page[after]"] = cursor

    def all(self, path: str, key: str, params: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        """A whole list that is known to be short."""
        return [row for rows, _ in self.pages(path, key, params) for row in rows]

    # Who and what ----------------------------------------------------------------------------------------------

    def me(self) -> dict[str, str]:
        """Our own user: id, name, email, role."""
        known = remembered(self, "me", DESCRIBE_SECONDS)
        if "me" not in known:
            body = self.call("GET", "users/me").json
            user = body.get("user") if isinstance(body, Mapping) else None
            id = plain_id(user.get("id")) if isinstance(user, Mapping) else None
            if not isinstance(user, Mapping) or not id:
                raise errors.unknown(False)
            known["me"] = {"id": id, **{key: str(user.get(key) or "") for key in ("name", "email", "role")}}
        me: dict[str, str] = known["me"]
        return me

    def shape(self) -> Shape:
        """What tickets look like to our account."""
        known = remembered(self, "shape", DESCRIBE_SECONDS)
        if "shape" not in known:
            fields = self.all("ticket_fields", "ticket_fields")
            try:
                known["shape"] = shape_of(fields, self._forms(), self.groups())
            except ValueError:
                raise errors.unknown(False) from None
        shape: Shape = known["shape"]
        return shape

    def groups(self) -> dict[str, str]:
        """{id: name} of the account's groups."""
        known = remembered(self, "groups", DESCRIBE_SECONDS)
        if "groups" not in known:
            rows = self.all("groups", "groups")
            known["groups"] = {
                str(row["id"]): str(row.get("name") or row["id"]) for row in rows if not row.get("deleted")
            }
        groups: dict[str, str] = known["groups"]
        return groups

    def _forms(self) -> dict[str, str]:
        """{id: name} of active ticket forms; none where the account's plan has none."""
        try:
            rows = self.rows("ticket_forms", "ticket_forms", {"active": "true"})
        except (NotAllowed, Gone):
            return {}
        return {str(row["id"]): str(row.get("name") or row["id"]) for row in rows if row.get("active", True)}

    # Memory ----------------------------------------------------------------------------------------------------

    def forget(self) -> None:
        """Take up changes of fields, forms, groups and people at once."""
        with _memory_guard:
            for key in [k for k in _memory if k[1:] == self.identity]:
                del _memory[key]

    @property
    def identity(self) -> tuple[str, ...]:
        return (self.context.address, self.context.name, self.context.settings.get("email", ""))


def rows_in(body: Any, key: str) -> list[dict[str, Any]]:
    """The records of an answer. What is no list of records is no answer, and not "there are none". Raises Retry."""
    rows = body.get(key) if isinstance(body, Mapping) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) and plain_id(row.get("id")) for row in rows):
        raise errors.unknown(False)
    return rows


def moving_on(rows: Sequence[Mapping[str, Any]], shown: list[Any] | None) -> list[Any]:
    """The ids of a page. Raises Retry where it is the page before once more, whatever its cursor says."""
    ids = [row["id"] for row in rows]
    if ids == shown:
        raise looping()
    return ids


def looping() -> Retry:
    return Retry(
        "Zendesk's list does not go on: it leads back to a page that it has shown. Nothing was taken over from there. "
        "We read again."
    )


def before(answer: Answer) -> str | None:
    """A moment on Zendesk's clock at which the request had not yet been sent."""
    return moment((answer.date - timedelta(seconds=answer.elapsed)).isoformat()[:19]) if answer.date else None


def remembered(desk: Desk, what: str, seconds: float) -> dict[str, Any]:
    """What this process has learned about an account, forgotten `seconds` after the first entry."""
    key = (what, *desk.identity)
    now = time.monotonic()
    with _memory_guard:
        entry = _memory.get(key)
        if entry is None or entry["until"] < now:
            entry = _memory[key] = {"until": now + seconds, "known": {}}
        known: dict[str, Any] = entry["known"]
        return known
