"""One Jira site as one connection sees it: signed-in calls, paging, field metadata, people."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from connections.connectors.base import (
    ConnectorError,
    Context,
    Gone,
    NeedsAuthorization,
    Record,
    Refused,
    Retry,
    Uncertain,
    Values,
)
from connections.connectors.http import QUOTED, Answer, ErrorTable, said_in
from connections.connectors.jira_values import KEY, Spec, normal, person, sent, spec_of, stamp, understood

API = "/rest/api/3/"
NO_VERSION = "unreadable"  # of an issue of which nothing is known but that it is there
PROPERTY = "syncadmin"  # the issue and comment property that carries the correlation key
PAGE = 100  # where fields are asked for Jira answers with about as many
IDS_PAGE = 5000
RECONCILED = 50  # ids a search can be made consistent for
BULK_READ = 100
ALWAYS = ("summary", "updated", "created", "creator")  # what a Record needs beside the fields asked for
WHOLE = ("*all", "-comment", "-attachment", "-worklog")  # these three grow without bound
CACHE_SECONDS = 600.0
# Jira lets unknown sign-ins in as anonymous where a site allows it, and then lists nothing: this header tells.
LOGIN_HEADER = "X-Seraph-LoginReason"
_NO_FIELD = re.compile(r"Field '([^']+)' does not exist[^.]*\.?")
LOGIN_FAILED = ("AUTHENTICATED_FAILED", "AUTHENTICATION_DENIED")

_caches: dict[tuple[str, str], dict[str, tuple[float, Any]]] = {}
_lock = threading.Lock()


def _stranger(answer: Answer) -> NeedsAuthorization | None:
    if answer.headers.get(LOGIN_HEADER, "").split(",")[0].strip() not in LOGIN_FAILED:
        return None
    return NeedsAuthorization(
        "Jira did not accept our sign-in and would go on as with a stranger. Nothing was read or written. "
        "Enter a new API token in the connection."
    )


def _refusal(answer: Answer) -> ConnectorError:
    body = answer.json if isinstance(answer.json, Mapping) else {}
    errors = body.get("errors")
    fields = {str(name): str(said) for name, said in errors.items()} if isinstance(errors, Mapping) else {}
    messages = body.get("errorMessages")
    said = [str(one) for one in messages] if isinstance(messages, list) else []
    said += [f"{name}: {text}" for name, text in fields.items()]
    # A filter that asks for a field which is not there, or not for us, names it in its text only.
    fields = fields or {match[1]: match[0] for one in said if (match := _NO_FIELD.match(one))}
    return _stranger(answer) or Refused(
        f"Jira says: {' '.join(said) or said_in(answer)} Nothing was written. Change the value or the mapping.", fields
    )


def _gone(answer: Answer) -> ConnectorError:
    body = answer.json if isinstance(answer.json, Mapping) else {}
    if "errorMessages" not in body and "errors" not in body:
        # ⚑ Something before Jira may say so while the site is away: a record that is gone is not written again.
        return _stranger(answer) or Retry(
            f"Something answered for Jira that nothing is there (“{said_in(answer)[:QUOTED]}”). Nothing was changed. "
            "We try again. If it stays so, check the address of the connection."
        )
    return _stranger(answer) or Gone(
        f"Jira says: {said_in(answer)} Nothing was changed. The issue was deleted, or our account may not see it.",
        certain=False,
    )


def _shut_out(answer: Answer) -> NeedsAuthorization | None:
    """⚑ A site may let strangers write: what neither refuses a write nor says that it was done leaves it open."""
    return None if answer.write and not 400 <= answer.status < 500 else _stranger(answer)


TABLE: ErrorTable = {400: _refusal, 404: _gone, 413: _refusal, 422: _refusal, 0: _shut_out}


def _asked(paths: Iterable[str]) -> list[str]:
    return sorted({*ALWAYS, *paths} - {KEY.id})


class Site:
    def __init__(self, context: Context) -> None:
        self.context = context
        self.email = context.settings.get("email", "")
        with _lock:
            self._cache = _caches.setdefault((context.address, self.email), {})

    # Calls -----------------------------------------------------------------------------------------------------

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        write: bool = False,
        ok: Sequence[int] = (),
    ) -> Answer:
        """One signed-in call below /rest/api/3/, or of the whole path where it begins with a slash."""
        answer: Answer = self.context.http.request(
            method,
            path if path.startswith("/") else API + path,
            params=params,
            json=json,
            write=write,
            auth=(self.email, self.context.secrets.get("api_token", "")),
            ok=ok,
            table=TABLE,
        )
        if error := _stranger(answer):
            if write:
                raise Uncertain(
                    "Jira did not accept our sign-in and went on as with a stranger. It may have taken our change or "
                    "not; we look before anything is sent again. Enter a new API token in the connection."
                )
            raise error
        return answer

    def body(self, answer: Answer) -> Mapping[str, Any]:
        """The JSON object of an answer. Raises Retry, after a write Uncertain, where it is none."""
        if isinstance(answer.json, Mapping):
            return answer.json
        what = f"{self.context.name} answered in a form we do not know."
        if answer.write:
            raise Uncertain(f"{what} It may have taken our change or not; we look before anything is sent again.")
        raise Retry(f"{what} Nothing was taken over. We read again.")

    def objects(self, answer: Answer, key: str, id_key: str = "id") -> list[Mapping[str, Any]]:
        """The list `key` of an answer. What is no list of objects with ids is no answer, and not "there are none"."""
        found = self.body(answer).get(key)
        if not isinstance(found, list) or not all(_has_id(entry, id_key) for entry in found):
            raise Retry(
                f"{self.context.name} answered in a form we do not know. Nothing was taken over. We read again."
            )
        return found

    def get(self, path: str, **params: Any) -> Mapping[str, Any]:
        return self.body(self.call("GET", path, params=params or None))

    def entries(self, path: str, **params: Any) -> list[Mapping[str, Any]]:
        """The objects of an answer that is a list."""
        found = self.call("GET", path, params=params or None).json
        return [entry for entry in found if isinstance(entry, Mapping)] if isinstance(found, list) else []

    def pages(self, path: str, key: str = "values", id_key: str = "id", **params: Any) -> Iterator[Mapping[str, Any]]:
        """Entries of a listing paged by startAt."""
        start = 0
        while True:
            answer = self.call("GET", path, params={"startAt": start, "maxResults": PAGE, **params})
            body = self.body(answer)
            entries = self.objects(answer, key if key in body else "values", id_key)
            yield from entries
            start += len(entries)
            total = body.get("total")
            if not entries or body.get("isLast") or (isinstance(total, int) and start >= total):
                return

    def search(
        self,
        jql: str,
        fields: Sequence[str] = ("id",),
        *,
        size: int = IDS_PAGE,
        properties: bool = False,
        expand: str = "",
        reconcile: Sequence[str] = (),
    ) -> Iterator[tuple[list[Mapping[str, Any]], Answer]]:
        """Pages of issues. The index lags behind writes, except for the issues in `reconcile`."""
        body: dict[str, Any] = {"jql": jql, "fields": list(fields), "maxResults": size}
        if properties:
            body["properties"] = [PROPERTY]
        if expand:
            body["expand"] = expand
        if reconcile:
            body["reconcileIssues"] = [int(id) for id in reconcile]
        seen: set[str] = set()
        while True:
            answer = self.call("POST", "search/jql", json=body)
            page = self.body(answer)
            token = page.get("nextPageToken")
            yield self.objects(answer, "issues"), answer
            if not token or page.get("isLast"):
                return
            if token in seen:
                raise Retry(f"{self.context.name} gave the same page twice. Nothing was taken over. We read again.")
            seen.add(token)
            body["nextPageToken"] = token

    # Metadata --------------------------------------------------------------------------------------------------

    def cached(self, key: str, make: Any, fresh: bool = False) -> Any:
        kept = self._cache.get(key)
        if kept and not fresh and time.monotonic() - kept[0] < CACHE_SECONDS:
            return kept[1]
        value = make()
        self._cache[key] = (time.monotonic(), value)
        return value

    def specs(self, fresh: bool = False) -> dict[str, Spec]:
        """Fields of the site by id, as far as we have a form for their values."""

        def load() -> dict[str, Spec]:
            found = [spec_of(entry) for entry in self.entries("field")]
            return {KEY.id: KEY, **{spec.id: spec for spec in found if spec}}

        return self.cached("specs", load, fresh)

    def spec(self, path: str) -> Spec:
        """Raises Refused where there is no such field (any more)."""
        found = self.specs().get(path) or self.specs(fresh=True).get(path)
        if found is None:
            raise Refused(
                f"Jira has no field “{path}” that our account may see. Nothing was written. Check the mapping.",
                {path: "There is no such field."},
            )
        return found

    # Records ---------------------------------------------------------------------------------------------------

    def bulk_fetch(self, ids: Sequence[str], fields: Sequence[str], expand: Sequence[str] = ()) -> list[Any]:
        """Issues by id, as they are now; those that are gone or hidden are left out. Raises Retry where one cannot be
        shown."""
        found, broken = self._fetched(ids, fields, expand)
        if broken:
            raise self._not_shown(broken)
        return found

    def _fetched(
        self, ids: Sequence[str], fields: Sequence[str], expand: Sequence[str] = ()
    ) -> tuple[list[Any], dict[str, Any]]:
        """(issues, {id: why} of those that are there and that Jira cannot show)"""
        found: list[Any] = []
        broken: dict[str, Any] = {}
        for start in range(0, len(ids), BULK_READ):
            part = list(ids[start : start + BULK_READ])
            while part:
                body: dict[str, Any] = {"issueIdsOrKeys": part, "fields": list(fields), "properties": [PROPERTY]}
                if expand:
                    body["expand"] = list(expand)
                answer = self.call("POST", "issue/bulkfetch", json=body)
                issues = self.objects(answer, "issues")
                found += issues
                errors = self.body(answer).get("issueErrors")
                told = errors if isinstance(errors, list) else []
                # What an answer has no room for, or could not be had just then, is named by its id, also where we
                # asked by key: it is neither gone nor hidden.
                missing = {str(e["id"]): e.get("errorMessage") for e in told if _has_id(e, "id")}
                if missing and (not issues or len(missing) >= len(part)):
                    broken |= missing
                    break
                part = list(missing)
        return found, broken

    def _not_shown(self, broken: Mapping[str, Any]) -> Retry:
        return Retry(
            f"{self.context.name} could not show {len(broken)} issues just now ({next(iter(broken.values()))}). "
            "Nothing was taken over. We read again."
        )

    def read_each(self, ids: Sequence[str], paths: Iterable[str]) -> dict[str, Record]:
        """As `read`; ⚑ an issue that Jira cannot show is unreadable: it is not gone, and others do not wait for it,
        since it may stay so. Raises Retry where it shows none of several."""
        paths = list(paths)
        issues, broken = self._fetched(ids, _asked(paths))
        if len(broken) > 1 and not issues:
            raise self._not_shown(broken)
        return self._records(issues, paths) | {
            id: Record(id, NO_VERSION, {}, unreadable=frozenset(paths)) for id in broken
        }

    def read(self, ids: Sequence[str], paths: Iterable[str]) -> dict[str, Record]:
        paths = list(paths)
        return self._records(self.shown(ids, paths), paths)

    def _records(self, issues: Sequence[Any], paths: Sequence[str]) -> dict[str, Record]:
        return {record.external_id: record for record in (self.record(issue, paths) for issue in issues)}

    def shown(self, ids: Sequence[str], paths: Iterable[str], expand: Sequence[str] = ()) -> list[Any]:
        """Issues with what a record of these paths is made of."""
        return self.bulk_fetch(ids, _asked(paths), expand)

    def read_whole(self, id: str, paths: Iterable[str]) -> Record | None:
        """An issue with `paths` and every other field it shows: what a create led to, defaults included."""
        issues = self.bulk_fetch([id], WHOLE)
        if not issues:
            return None
        shown = set(issues[0].get("fields") or {}) & set(self.specs())
        return self.record(issues[0], sorted({*paths, *shown, KEY.id}))

    def record(self, issue: Mapping[str, Any], paths: Iterable[str], specs: Mapping[str, Spec] | None = None) -> Record:
        """An issue as the API shows it. Fields asked for but not shown are hidden from us, or not in its project.

        `specs`: as they were before a write, after which nothing may fail; else asked for.
        """
        shown = issue.get("fields")
        shown = shown if isinstance(shown, Mapping) else {}
        specs = self.specs() if specs is None else specs
        values: dict[str, Any] = {}
        unreadable = set()
        for path in paths:
            if path == KEY.id:
                values[path] = issue.get("key")
            elif path in shown:
                if path in specs and understood(specs[path], shown[path]):
                    values[path] = normal(specs[path], shown[path])
                elif path in specs:
                    unreadable.add(path)
            elif path == "parent":
                values[path] = None  # only shown where there is one
            else:
                unreadable.add(path)
        updated = stamp(shown.get("updated"))
        creator = shown.get("creator") or {}
        property_value = (issue.get("properties") or {}).get(PROPERTY)
        return Record(
            external_id=str(issue["id"]),
            version=updated or "",
            values=values,
            updated_at=updated,
            created_at=stamp(shown.get("created")),
            created_by=creator.get("accountId") if isinstance(creator, Mapping) else None,
            key=issue.get("key"),
            title=shown.get("summary"),
            correlation_key=key_in(property_value),
            unreadable=frozenset(unreadable),
        )

    # People ----------------------------------------------------------------------------------------------------

    def account_of(self, path: str, value: str) -> str:
        """The account id of a person value. Raises Refused where nobody active fits."""
        if value.startswith("id:"):
            return value.removeprefix("id:")
        if value.startswith("queue:"):
            reason = f"Jira has no queues: “{value.removeprefix('queue:')}” cannot own an issue."
        else:
            account = self.cached(f"account {value}", lambda: self._find_account(value))
            if account:
                return str(account)
            self._cache.pop(f"account {value}", None)  # somebody may just be making the account
            reason = f"Jira has no active user with the address {value} that our account can see."
        raise Refused(f"{reason} Nothing was written. Map the person, or correct the address.", {path: reason})

    def _find_account(self, email: str) -> str | None:
        users = self.entries("user/search", query=email, maxResults=50)
        found = [u for u in users if str(u.get("emailAddress") or "").lower() == email and u.get("active", True)]
        return str(found[0]["accountId"]) if len(found) == 1 else None

    def people(self, query: str) -> list[tuple[str, str]]:
        users = self.entries("user/search", query=query, maxResults=20)
        return [
            (value, str(user.get("displayName") or value))
            for user in users
            if user.get("active") and user.get("accountType", "atlassian") == "atlassian" and (value := person(user))
        ]

    def persons(self, accounts: Iterable[str]) -> dict[str, str]:
        """Person values by account id, for histories, which name accounts only."""
        found: dict[str, str] = {}
        missing = []
        for account in set(accounts):
            kept = self._cache.get(f"person {account}")
            if kept and time.monotonic() - kept[0] < CACHE_SECONDS:
                found[account] = kept[1]
            else:
                missing.append(account)
        for start in range(0, len(missing), 50):
            part = missing[start : start + 50]
            answer = self.call("GET", "user/bulk", params={"accountId": part, "maxResults": 50})
            for user in self.body(answer).get("values") or []:
                value = person(user) or f"id:{user['accountId']}"
                self._cache[f"person {user['accountId']}"] = (time.monotonic(), value)
                found[user["accountId"]] = value
        return {account: found.get(account, f"id:{account}") for account in [*found, *missing]}

    # Writing ---------------------------------------------------------------------------------------------------

    def body_fields(self, values: Values) -> dict[str, Any]:
        """ "fields" of a create or an edit. Raises Refused naming the field."""
        body: dict[str, Any] = {}
        for path, value in values.items():
            spec = self.spec(path)
            if spec.kind == "person":
                body[path] = {"accountId": self.account_of(path, value)} if value else None
                continue
            try:
                body[path] = sent(spec, value)
            except ValueError as error:
                raise Refused(
                    f"{spec.label}: {error} Nothing was written. Change the value.", {path: str(error)}
                ) from None
        return body


def key_in(property_value: Any) -> str | None:
    key = property_value.get("key") if isinstance(property_value, Mapping) else None
    return str(key) if key else None


def property_body(correlation_key: str) -> list[dict[str, Any]]:
    return [{"key": PROPERTY, "value": {"key": correlation_key}}]


def issue_path(external_id: str, *parts: str) -> str:
    """The path of an issue. Raises Gone on what can be no id: it must not lead to another resource."""
    if not re.fullmatch("[0-9]+", external_id):
        raise Gone(f"“{external_id}” is no id of a Jira issue; there can be no such issue.", certain=False)
    return "/".join(("issue", external_id, *parts))


def _has_id(entry: Any, id_key: str) -> bool:
    return isinstance(entry, Mapping) and (not id_key or isinstance(entry.get(id_key), str | int))


def segment(text: str) -> str:
    """One part of a path."""
    return quote(str(text), safe="")
