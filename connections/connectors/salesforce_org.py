"""HTTP verbs of a Salesforce org: signed-in calls, queries in pages, composite calls, object descriptions."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus

from connections.connectors import salesforce_soql as soql
from connections.connectors.base import (
    ConnectorError,
    Context,
    Gone,
    NeedsAuthorization,
    NotAllowed,
    Refused,
    Retry,
    Uncertain,
)
from connections.connectors.http import QUOTED, Answer, said_in
from connections.connectors.salesforce_auth import fetch_token
from connections.connectors.salesforce_errors import Outdated, as_error, errors_in
from connections.connectors.salesforce_fields import Shape, shape_of

API_VERSION = "62.0"
KEY_FIELD = "SyncAdmin_Key__c"
# Rows per answer; the vendor's highest, because each answer counts against a daily limit.
PAGE_ROWS = 2000
# A changed field or picklist is taken up after this long; a mapping editor asks afresh.
DESCRIBE_SECONDS = 300.0
UNKNOWN_FORM = "Salesforce answered in a form we do not know."
# Salesforce's own limit of one composite call.
MAX_SUBREQUESTS = 25


# Without it every write through the API, an update too, runs the assignment rules and may move a case to the org's
# default owner: a change nobody asked for.
UNASSIGNED = {"Sforce-Auto-Assign": "FALSE"}

Found = TypeVar("Found")

_memory: dict[tuple[str, ...], dict[str, Any]] = {}
_memory_guard = threading.Lock()


@dataclass(frozen=True, slots=True)
class SubAnswer:
    """One sub-request's answer in a composite call."""

    status: int
    body: Any


class Org:
    """One org as one connection sees it."""

    def __init__(self, context: Context) -> None:
        self.context = context
        version = context.settings.get("api_version") or API_VERSION
        if not re.fullmatch(r"\d{2,3}\.0", version):
            raise NotAllowed(f"“{version}” is no API version. Nothing was read. Write it like {API_VERSION}.")
        self.version = version
        self.data = f"/services/data/v{version}"
        self.key_field = context.settings.get("key_field") or KEY_FIELD
        # Change events name the client of a write: it must be ours alone, also among several of our connections.
        self.client = "SyncAdmin/" + hashlib.sha256(context.name.encode()).hexdigest()[:8]

    # Calls -----------------------------------------------------------------------------------------------------

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        write: bool = False,
        sent: Sequence[str] = (),
    ) -> Answer:
        """One signed-in call, with one new sign-in where the session has ended. `sent`: fields that are written."""
        token = self.token()
        options: dict[str, Any] = {"params": params, "json": json, "headers": headers, "write": write, "sent": sent}
        try:
            return self.send(token, method, path, **options)
        except NeedsAuthorization:
            return self.send(self.renewed(token), method, path, **options)

    def send(
        self,
        token: Mapping[str, Any],
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        sent: Sequence[str] = (),
        **options: Any,
    ) -> Answer:
        """One call with this token, and no other. Raises NeedsAuthorization where it has ended."""
        http = self.context.http
        http.hide(str(token["access_token"]))
        instance = str(token.get("instance_url") or "").rstrip("/")
        if instance and instance != self.context.address:
            http.trust(instance)
            path = instance + path
        answer: Answer = http.request(
            method,
            path,
            headers={
                "Authorization": f"Bearer {token['access_token']}",
                "Sforce-Call-Options": f"client={self.client}",
                **UNASSIGNED,
                **(headers or {}),
            },
            table={0: lambda answer: as_error(answer.status, answer.json, sent) or _stranger(answer)},
            **options,
        )
        return answer

    def token(self) -> dict[str, Any]:
        return self.context.tokens.current() or self.renewed(None)

    def renewed(self, stale: dict[str, Any] | None) -> dict[str, Any]:
        """A token other than `stale`, fetched by whichever worker comes first."""
        return self.context.tokens.renew(stale, lambda: fetch_token(self.context, self.context.tokens.current()))

    @property
    def user_id(self) -> str:
        """The id of the integration user: the last part of the token's identity address."""
        return soql.long_id(str(self.token().get("id", "")).rstrip("/").rpartition("/")[2])

    @property
    def organization_id(self) -> str:
        parts = str(self.token().get("id", "")).rstrip("/").split("/")
        return soql.long_id(parts[-2]) if len(parts) > 1 else ""

    # Queries ---------------------------------------------------------------------------------------------------

    def pages(self, query: str, deleted: bool = False, needs: Sequence[str] = ("Id",)) -> Iterator[Answer]:
        """The answers of a query, page by page. `deleted`: with records in the recycle bin.

        `needs`: columns without which a row is none. What is no listing is no answer, and not "there are none".
        """
        path = f"{self.data}/{'queryAll' if deleted else 'query'}"
        answer = self.call("GET", path, params={"q": query}, headers=_BATCH)
        while True:
            if not is_listing(answer.json, needs):
                raise Retry(f"{UNKNOWN_FORM} Nothing was taken over. We read again.")
            yield answer
            if answer.json["done"]:
                return
            answer = self.call("GET", next_path(str(answer.json.get("nextRecordsUrl"))), headers=_BATCH)

    def rows(self, query: str, deleted: bool = False, needs: Sequence[str] = ("Id",)) -> list[dict[str, Any]]:
        """All rows of a query that is known to be small."""
        return [row for answer in self.pages(query, deleted, needs) for row in answer.json["records"]]

    def objects(self) -> list[dict[str, Any]]:
        """The objects of the org that the account sees, described in short."""
        found = _mapping(self.call("GET", f"{self.data}/sobjects").json).get("sobjects")
        if not isinstance(found, list) or not all(_mapping(entry).get("name") for entry in found):
            raise Retry(f"{UNKNOWN_FORM} Nothing was taken over. We read again.")
        return found

    # Composite calls -------------------------------------------------------------------------------------------

    def composite(self, requests: Sequence[Mapping[str, Any]], all_or_none: bool) -> list[SubAnswer]:
        """Up to 25 sub-requests in one call, one answer each, in order."""
        body = {"allOrNone": all_or_none, "compositeRequest": list(requests)}
        answer = self.call("POST", f"{self.data}/composite", json=body, write=True)
        told = _mapping(answer.json).get("compositeResponse")
        answers = told if isinstance(told, list) else []
        by_reference = {a.get("referenceId"): a for a in answers if isinstance(a, Mapping)}
        found = [by_reference.get(r["referenceId"], {}) for r in requests]
        if not all(isinstance(a.get("httpStatusCode"), int) for a in found):
            raise Uncertain(
                f"{UNKNOWN_FORM} It may have taken our change or not; we look before anything is sent again."
            )
        return [SubAnswer(a["httpStatusCode"], a.get("body")) for a in found]

    def query_url(self, query: str, deleted: bool = False) -> str:
        """The address of a query as a sub-request. `deleted`: with records in the recycle bin."""
        return f"{self.data}/{'queryAll' if deleted else 'query'}?q={quote_plus(query)}"

    def record_path(self, object_type: str, *parts: str) -> str:
        return "/".join([f"{self.data}/sobjects/{soql.name(object_type)}", *(quote(p, safe="") for p in parts)])

    # Descriptions ----------------------------------------------------------------------------------------------

    def shape(self, object_type: str, fresh: bool = False) -> Shape:
        """The object type as the account sees it. Raises NotAllowed where it sees none."""
        known = remembered(self, "shapes", DESCRIBE_SECONDS)
        if fresh or object_type not in known:
            try:
                path = self.record_path(object_type, "describe")
                described = self.call("GET", path).json
            except (Gone, ValueError):
                raise NotAllowed(
                    f"Salesforce shows no object {object_type}. Nothing was read. Give the integration user read "
                    "access to it in Setup → Permission Sets → Object Settings."
                ) from None
            try:
                known[object_type] = shape_of(described, self.key_field)
            except (KeyError, TypeError, ValueError, AttributeError):
                raise Retry(f"{UNKNOWN_FORM} Nothing was read or written. We try again.") from None
        return known[object_type]

    def up_to_date(self, act: Callable[[], Found]) -> Found:
        """`act`, once more under fresh descriptions where it asked for a field that is no longer there for us."""
        try:
            return act()
        except Outdated:
            self.forget()
            return act()

    def forget(self) -> None:
        """Take up changes of objects, fields and people at once."""
        with _memory_guard:
            for key in [k for k in _memory if k[1:] == self.identity]:
                del _memory[key]

    @property
    def identity(self) -> tuple[str, ...]:
        context = self.context
        return (context.address, context.name, context.settings.get("client_id", ""), self.version, self.key_field)


def is_listing(body: Any, needs: Sequence[str]) -> bool:
    """Whether a query was answered: rows that have what is needed, and whether there are more."""
    records = _mapping(body).get("records")
    return (
        isinstance(records, list)
        and isinstance(body.get("done"), bool)
        and all(isinstance(_mapping(row).get(column), str) for row in records for column in needs)
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _stranger(answer: Answer) -> Retry | None:
    """⚑ That nothing is there, in words that are not Salesforce's, may come from something before it while the org is
    away: a record that is gone is not written again."""
    if answer.status not in (404, 410):
        return None
    return Retry(
        f"Something answered for Salesforce that nothing is there (“{said_in(answer)[:QUOTED]}”). Nothing was changed. "
        "We try again. If it stays so, check the address of the connection."
    )


_BATCH = {"Sforce-Query-Options": f"batchSize={PAGE_ROWS}"}


def sub_error(status: int, body: Any, sent: Sequence[str] = ()) -> ConnectorError:
    """What a refused sub-request asks us to do; the call as a whole was answered, so nothing is uncertain."""
    found = as_error(status, body, sent)
    if found:
        return found
    if status == 300:
        return Refused(
            "More than one Salesforce record carries this key. Nothing was written. Merge them or clear one."
        )
    if status in (401, 403):
        return NotAllowed(f"Salesforce answered with status {status}. Nothing was written.")
    return Retry(f"Salesforce answered a part of the call with status {status}. Nothing is lost; we try again.")


def next_path(url: str) -> str:
    """The path of a listing's next page. Only a path of the API counts: a token must not follow an address."""
    match = re.fullmatch(r"(?:https://[^/]+)?(/services/data/v[\d.]+/query(?:All)?/[\w-]+)", url)
    if not match:
        raise Retry("Salesforce's listing names no next page that can be read. Nothing is lost; we read it again.")
    return match[1]


def first_error(answers: Sequence[SubAnswer]) -> SubAnswer | None:
    """The sub-answer that made a composite call fail, not those that were halted because of it."""
    failed = [a for a in answers if a.status >= 300]
    halted = {"PROCESSING_HALTED", "ALL_OR_NONE_OPERATION_ROLLED_BACK"}
    return next(
        (a for a in failed if not {e["code"] for e in errors_in(a.body)} & halted), failed[0] if failed else None
    )


def remembered(org: Org, what: str, seconds: float) -> dict[str, Any]:
    """What this process has learned about an org, forgotten `seconds` after the first entry."""
    key = (what, *org.identity)
    now = time.monotonic()
    with _memory_guard:
        entry = _memory.get(key)
        if entry is None or entry["until"] < now:
            entry = _memory[key] = {"until": now + seconds, "known": {}}
        known: dict[str, Any] = entry["known"]
        return known
