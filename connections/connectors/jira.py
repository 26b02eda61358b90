"""Jira Cloud over REST version 3.

What there is to know before reading on: search lags behind writes, so it gives ids only; an issue has no version but
the time of its last change; its correlation key lies in an issue property, which ordinary accounts cannot search by.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from connections.connectors import jira_check, jira_comments, jira_fields, jira_history, jira_webhook
from connections.connectors.base import (
    Capabilities,
    Change,
    CheckResult,
    Connector,
    ConnectorError,
    Context,
    DeliveryRequest,
    Field,
    FormField,
    Gone,
    NotAllowed,
    ObjectType,
    Page,
    ParsedDelivery,
    Record,
    Refused,
    Retry,
    Step,
    Uncertain,
    Values,
    WriteResult,
)
from connections.connectors.http import Answer
from connections.connectors.jira_scope import admits, scope_jql, tidy
from connections.connectors.jira_site import (
    ALWAYS,
    IDS_PAGE,
    PAGE,
    PROPERTY,
    RECONCILED,
    Site,
    issue_path,
    property_body,
    segment,
)
from connections.connectors.jira_values import KEY, Spec, epoch_ms, phrase, quoted, stamp
from connections.connectors.jira_workflow import step_towards

# The index is behind by seconds, in bad hours by minutes: what was indexed late is still listed this much later.
INDEX_LAG_SECONDS = 600.0
# How far back an uncertain create is looked for by its creator: operations are settled within hours.
OWN_CREATIONS_DAYS = 7
OWN_CREATIONS_PAGES = 20
# Phrases per query: JQL of some thousand characters is refused.
PHRASES = 10
WEBHOOKS = "/rest/webhooks/1.0/webhook"


class Jira(Connector):
    kind = "jira"
    label = "Jira Cloud"
    proof = jira_webhook.PROOF
    address_help = "The site's address, like https://acme.atlassian.net."
    form: ClassVar[Sequence[FormField]] = (
        FormField("email", "E-mail address", help="Of the account SyncAdmin uses. Best one of its own."),
        FormField("api_token", "API token", secret=True, help="Made at id.atlassian.com → Security → API tokens."),
        FormField(
            "webhook_secret",
            "Webhook secret",
            secret=True,
            required=False,
            help="A long random text, the same as in Jira's webhook. It proves that deliveries come from Jira.",
        ),
    )
    scope_form: ClassVar[Sequence[FormField]] = (
        FormField("project", "Project key", help="Like SUP."),
        FormField("issue_types", "Issue types", required=False, help="Names, separated by commas. Empty: all."),
        FormField("jql", "Only issues where", required=False, multiline=True, help="JQL, like: labels = customer"),
    )
    scope_help = 'A project, issue types and a JQL condition. New issues get the first issue type, else "Task".'
    blind_in: ClassVar[Mapping[str, str]] = {"comment": "comments"}
    capabilities = Capabilities(
        bulk_read=100,
        bulk_write=1,  # edits have no synchronous bulk form
        create_lookup_consistent=False,
        settle_seconds=120.0,
        lists_lag=True,
        not_found_means_gone=False,
        write_returns_record=True,
        field_history=True,
        complete_history=True,
        exact_version=False,
        watermark_granularity=60.0,
        stamp_granularity=0.001,
        overlap=30.0,
        lookback=INDEX_LAG_SECONDS,
        concurrency=4,
        rate_per_second=10.0,
        bell="webhook",
        subscribes=True,
        update_timeout=60.0,
    )

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.site = Site(context)
        self._fields: dict[str, Sequence[Field]] = {}  # asked for once a run

    # What there is -----------------------------------------------------------------------------------------------

    def check(self) -> CheckResult:
        result = jira_check.check(self.site, bool(self.context.secrets.get("webhook_secret")))
        self.context.state.put("account_id", result.account_id)
        return result

    def object_types(self) -> Sequence[ObjectType]:
        return (ObjectType("issue", "Issue"), ObjectType("comment", "Comment", parent="issue"))

    def fields(self, object_type: str, scope: Values) -> Sequence[Field]:
        if object_type == "comment":
            return jira_fields.COMMENT_FIELDS
        key = scope_jql(scope)
        if key not in self._fields:
            self._fields[key] = jira_fields.fields_of_issues(self.site, tidy(scope))
        return self._fields[key]

    def described(self, object_type: str, scope: Values) -> Sequence[Field]:
        if object_type == "comment":
            return jira_fields.COMMENT_FIELDS
        return jira_fields.described_issues(self.site, tidy(scope))

    # Reading -----------------------------------------------------------------------------------------------------

    def changed_since(
        self, object_type: str, watermark: str | None, fields: Sequence[str], scope: Values
    ) -> Iterator[Page]:
        where = scope_jql(scope)
        since = f"updated >= {watermark}" if watermark else ("" if where else "updated >= 0")
        jql = " AND ".join(part for part in (where, since) if part) + " ORDER BY updated ASC, key ASC"
        position, started = watermark, None
        pages = self.site.search(jql, [*ALWAYS], size=PAGE)
        for issues, answer in _with_last(pages):
            if started is None:
                started = answer[0].date
            records = [replace(self.site.record(issue, ()), values={}) for issue in issues]
            times = [epoch_ms(record.updated_at) for record in records if record.updated_at]
            if times:
                position = str(max(times[-1], int(position or 0)))
            if answer[1] and started is not None:
                position = str(max(round(started.timestamp() * 1000), int(position or 0)))
            if object_type == "comment":
                records = jira_comments.of_issues(self.site, [record.external_id for record in records], fields)
            server_time = stamp(started.timestamp() * 1000) if started else None
            yield Page(records, position, server_time, last=answer[1])

    def shift_watermark(self, watermark: str, seconds: float) -> str:
        return str(max(0, int(watermark) - round(seconds * 1000)))

    def get_many(self, object_type: str, ids: Sequence[str], fields: Sequence[str]) -> Mapping[str, Record]:
        if object_type == "comment":
            return jira_comments.read(self.site, ids, fields)
        return self.site.read_each([id for id in ids if id.isdigit()], fields)

    def in_scope(self, object_type: str, ids: Sequence[str], scope: Values) -> set[str]:
        if object_type == "comment":
            return set(jira_comments.read(self.site, ids, ()))
        where = scope_jql(scope)
        found: set[str] = set()
        wanted = [id for id in ids if id.isdigit()]
        for start in range(0, len(wanted), RECONCILED):
            part = wanted[start : start + RECONCILED]
            jql = " AND ".join(filter(None, (f"id in ({', '.join(part)})", where)))
            try:
                found |= self._ids(jql, reconcile=part)
            except Refused:
                # One id that is gone makes Jira refuse the whole query.
                alive = {str(issue["id"]) for issue in self.site.bulk_fetch(part, ["id"])}
                if alive == set(part):
                    raise
                if alive:
                    found |= self.in_scope(object_type, sorted(alive), scope)
        return found

    def _ids(self, jql: str, reconcile: Sequence[str] = ()) -> set[str]:
        return {
            str(issue["id"]) for issues, _ in self.site.search(jql, reconcile=reconcile) for issue in issues
        }  # fmt: skip

    def admits(self, object_type: str, record: Record, scope: Values) -> bool | None:
        return True if object_type == "comment" else admits(record, scope)

    def list_ids(self, object_type: str, scope: Values) -> Iterator[Sequence[str]]:
        jql = (scope_jql(scope) or "updated >= 0") + " ORDER BY key ASC"
        size = PAGE if object_type == "comment" else IDS_PAGE
        for issues, _ in self.site.search(jql, size=size):
            ids = [str(issue["id"]) for issue in issues]
            if object_type == "comment":
                yield [record.external_id for record in jira_comments.of_issues(self.site, ids, ())]
            else:
                yield ids

    def children(
        self, object_type: str, parent_ids: Sequence[str], fields: Sequence[str]
    ) -> Mapping[str, Sequence[Record]]:
        return {id: jira_comments.of_issues(self.site, [id], fields) for id in parent_ids}

    # Writing -----------------------------------------------------------------------------------------------------

    def create(
        self,
        object_type: str,
        values: Values,
        correlation_key: str,
        scope: Values,
        parent_id: str | None = None,
        fields: Sequence[str] = (),
    ) -> WriteResult:
        try:
            if object_type == "comment":
                return jira_comments.create(self.site, values, correlation_key, parent_id)
            return self._create(values, correlation_key, tidy(scope), fields)
        except Gone as error:
            # ⚑ What is not there is what it belongs to, and may only be hidden for now. A record that is gone is not
            # written again, and this one has yet to be made.
            raise Retry(error.message) from None

    def _create(self, values: Values, correlation_key: str, scope: Values, fields: Sequence[str]) -> WriteResult:
        if not scope.get("project"):
            raise Refused("The mapping names no Jira project for new issues. Nothing was written. Set it in its scope.")
        body = self.site.body_fields(values)
        body["project"] = {"key": scope["project"]}
        body.setdefault("issuetype", {"name": jira_fields.default_issue_type(self.site, scope)})
        answer = self.site.call(
            "POST", "issue", json={"fields": body, "properties": property_body(correlation_key)}, write=True
        )
        made = self.site.body(answer)
        if not made.get("id"):
            raise Uncertain("Jira did not say which issue it made. We look for it before anything is sent again.")
        record, why = None, "it is not shown to our account"
        try:
            record = self.site.read_whole(str(made["id"]), [*values, *fields])
        except ConnectorError as error:
            why = error.message
        if record is None:
            # ⚑ Whether it holds what was sent is not known: what Jira made of it must not come back as an edit.
            told = f"Jira made the issue {made.get('key')}, and it could not be read back ({why.rstrip('.')})."
            raise Uncertain(f"{told} We look at it before anything is sent again.", str(made["id"]))
        return WriteResult(replace(record, correlation_key=correlation_key), created=True)

    def update(
        self, object_type: str, external_id: str, values: Values, expected_version: str | None, fields: Sequence[str]
    ) -> WriteResult:
        if object_type == "comment":
            return jira_comments.update(self.site, external_id, values, fields)
        paths = sorted({*fields, *values})
        if "status" in values:
            return self._step(external_id, values, expected_version or "", paths)
        body, specs = self.site.body_fields(values), self.site.specs()
        answer = self.site.call(
            "PUT",
            issue_path(external_id),
            params={"returnIssue": "true", "expand": "changelog"},
            json={"fields": body},
            write=True,
        )
        issue, account = answer.json, self.context.state.get("account_id")
        replaced = jira_history.overwritten(self.site, specs, issue, account, expected_version or "", list(values))
        return WriteResult(self._returned(answer, external_id, paths, specs), replaced=replaced)

    def _returned(self, answer: Answer, external_id: str, paths: Sequence[str], specs: Mapping[str, Spec]) -> Record:
        """The issue a write answered with, or a read right after where it does not show all we need."""
        issue = answer.json if isinstance(answer.json, Mapping) else {}
        shown = issue.get("fields") or {}
        if issue.get("id") and {*ALWAYS, *paths} - {KEY.id, "parent"} <= set(shown):
            return self.site.record(issue, paths, specs)
        return self._read_back(external_id, paths)

    def _read_back(self, external_id: str, paths: Sequence[str]) -> Record:
        """The record after a write that succeeded: whatever fails now must not look as if nothing was written."""
        try:
            found = self.site.read([external_id], paths)
        except ConnectorError:
            found = {}
        return found.get(external_id) or Record(external_id, version="", values={})

    def _step(self, external_id: str, values: Values, version: str, paths: Sequence[str]) -> WriteResult:
        if set(values) != {"status"}:
            raise Refused("A Jira status is written by itself. Nothing was written. This is a fault of SyncAdmin.")
        target = values["status"]
        if not target:
            reason = "A Jira issue always has a status."
            raise Refused(f"{reason} Nothing was written. Map the empty value to a status.", {"status": reason})
        specs = self.site.specs()
        stepped = step_towards(self.site, self.context.state, external_id, str(target), version)
        record, replaced, ours = self._after_step(external_id, paths, version, specs)
        if record.values.get("status") is None:
            raise Uncertain("Jira took a step of the workflow and then did not show the issue. We look again.")
        # Where somebody moved the issue on already, their status is an edit, and not where our step led.
        reached = str((ours if stepped else None) or record.values["status"])
        if reached.casefold() == str(target).casefold():
            return WriteResult(record, replaced=replaced)
        return WriteResult(record, on_the_way={"status": reached}, replaced=replaced)

    def _after_step(
        self, external_id: str, paths: Sequence[str], version: str, specs: Mapping[str, Spec]
    ) -> tuple[Record, Values, str | None]:
        """(the record, what a step replaced, our last status): a step answers with nothing, so one call reads all."""
        account = self.context.state.get("account_id")
        try:
            for issue in self.site.shown([external_id], paths, ["changelog"]):
                replaced = jira_history.overwritten(self.site, specs, issue, account, version, ["status"])
                ours = jira_history.written_last(specs, issue, account, "status")
                return self.site.record(issue, paths, specs), replaced, ours
        except ConnectorError:
            pass  # the step is taken all the same
        return Record(external_id, version="", values={}), {}, None

    def delete(self, object_type: str, external_id: str) -> None:
        if object_type == "comment":
            jira_comments.delete(self.site, external_id)
        else:
            self.site.call("DELETE", issue_path(external_id), write=True)

    # Finding -----------------------------------------------------------------------------------------------------

    def find_by_correlation_key(
        self, object_type: str, keys: Sequence[str], fields: Sequence[str], scope: Values
    ) -> Mapping[str, Sequence[Record]]:
        """Among the issues our account made in the last days: the property cannot be searched by."""
        if object_type == "comment":
            return {}
        wanted, found = set(keys), dict[str, list[str]]()
        since = round((time.time() - OWN_CREATIONS_DAYS * 86400) * 1000)
        pages = self.site.search(self._own(since, scope), ["created"], size=PAGE, properties=True)
        for number, (issues, _) in enumerate(pages):
            for issue in issues:
                key = self.site.record(issue, ()).correlation_key or ""
                if key in wanted:
                    found.setdefault(key, []).append(str(issue["id"]))
            if number + 1 >= OWN_CREATIONS_PAGES:
                break
        records = self.site.read([id for ids in found.values() for id in ids], fields)
        return {key: [records[id] for id in ids if id in records] for key, ids in found.items()}

    def _own(self, since_ms: int, scope: Values) -> str:
        project = tidy(scope).get("project")
        where = f"project = {quoted(project)} AND " if project else ""
        return f"{where}creator = currentUser() AND created >= {since_ms} ORDER BY created DESC, key DESC"

    def write_correlation_key(self, object_type: str, external_id: str, key: str) -> None:
        property_of = ("properties", PROPERTY)
        path = (
            "/".join(("comment", segment(external_id), *property_of))
            if object_type == "comment"
            else issue_path(external_id, *property_of)
        )
        self.site.call("PUT", path, json={"key": key}, write=True)

    def own_recent(self, object_type: str, since: str, fields: Sequence[str], scope: Values) -> Sequence[Record]:
        if object_type == "comment":
            return jira_comments.own_recent(self.site, self._account(), since, fields, scope_jql(scope))
        # JQL looks at whole minutes.
        from_ms = epoch_ms(since)
        ids = sorted(self._ids(self._own(from_ms - 60_000, scope)))
        return [
            record
            for record in self.site.read(ids, fields).values()
            if record.created_at and epoch_ms(record.created_at) >= from_ms
        ]

    def find_by_values(
        self, object_type: str, path: str, wanted: Sequence[Any], fields: Sequence[str], scope: Values
    ) -> Sequence[Record]:
        texts = {str(value).strip().casefold(): str(value) for value in wanted if value not in (None, "")}
        where = scope_jql(scope)
        ids: set[str] = set()
        if path == KEY.id:
            keys = [key for key in texts.values() if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*-\d+", key)]
            named = self.site.bulk_fetch(keys, ["id"]) if keys else []
            ids = self.in_scope(object_type, [str(issue["id"]) for issue in named], scope)
        else:
            clause = self.site.spec(path).clause
            phrases = [words for text in texts.values() if (words := phrase(text))]
            for start in range(0, len(phrases), PHRASES):
                any_of = " OR ".join(f"{clause} ~ {text}" for text in phrases[start : start + PHRASES])
                ids |= self._ids(" AND ".join(filter(None, (f"({any_of})", where))))
        records = self.site.read(sorted(ids), sorted({*fields, path}))
        return [r for r in records.values() if str(r.values.get(path) or "").strip().casefold() in texts]

    def history(
        self, object_type: str, ids: Sequence[str], fields: Sequence[str], since: str
    ) -> Mapping[str, Sequence[Change]]:
        return {} if object_type == "comment" else jira_history.of_issues(self.site, ids, fields, since)

    # The bell ----------------------------------------------------------------------------------------------------

    def _account(self) -> str:
        known = self.context.state.get("account_id")
        if not known:
            known = str(self.site.get("myself")["accountId"])
            self.context.state.put("account_id", known)
        return str(known)

    def parse_delivery(self, request: DeliveryRequest) -> ParsedDelivery:
        return jira_webhook.parse(request, self.verdict(request), self.context.state.get("account_id"))

    def subscribe(self, object_types: Sequence[str], scope: Values, callback_url: str) -> None:
        secret = self.context.secrets.get("webhook_secret", "")
        if not secret:
            raise Refused(
                "The connection has no webhook secret, so no webhook could prove that it comes from Jira. Nothing was "
                "registered. Set a webhook secret in the connection first."
            )
        body = {
            "name": f"SyncAdmin {self.context.name}",
            "url": callback_url,
            "events": list(jira_webhook.EVENTS),
            "filters": {"issue-related-events-section": _bell_jql(scope)},
            "excludeBody": False,
            "secret": secret,
        }
        try:
            made = self.site.body(self.site.call("POST", WEBHOOKS, json=body, write=True))
        except (NotAllowed, Gone) as error:
            raise NotAllowed(
                "Our account may not register webhooks at Jira; that takes the permission Administer Jira. Nothing was "
                "registered. An administrator of Jira can do it by hand."
            ) from error
        id = str(made.get("self", "")).rpartition("/")[2]
        self.context.state.change("webhooks", lambda kept: [*(kept or []), id])

    def unsubscribe(self) -> None:
        for id in self._registered():
            self.site.call("DELETE", f"{WEBHOOKS}/{segment(id)}", write=True, ok=(404,))
        self.context.state.put("webhooks", [])
        self.context.state.put("webhook", None)

    def _registered(self) -> list[str]:
        """Ids of our webhooks; "webhook" is where an earlier version kept its only one."""
        single = self.context.state.get("webhook")
        return [*self.context.state.get("webhooks", []), *([single] if single else [])]

    def steps_by_hand(self, object_types: Sequence[str], scope: Values, callback_url: str) -> Sequence[Step]:
        jql = _bell_jql(scope)
        events = "issue created, updated, deleted; comment created, updated, deleted"
        return (
            Step("In Jira, open Jira settings → System → WebHooks → Create a WebHook. URL:", callback_url),
            Step("Secret: the webhook secret of this connection. It proves that a webhook comes from Jira."),
            Step(f"Events: {events}. JQL:", jql) if jql else Step(f"Events: {events}. JQL: leave it empty."),
        )

    def url_of(self, object_type: str, external_id: str, key: str | None) -> str:
        if object_type == "comment":
            return (
                f"{self.context.address}/browse/{key}?focusedCommentId={external_id}" if key else self.context.address
            )
        return f"{self.context.address}/browse/{key or external_id}"

    def people(self, query: str) -> Sequence[tuple[str, str]]:
        return self.site.people(query)


def _bell_jql(scope: Values) -> str:
    """What Jira tells of: the project alone, so that we also hear of an issue that an edit takes out of the scope."""
    return scope_jql(tidy({**scope, "jql": ""}))


def _with_last(
    pages: Iterable[tuple[list[Mapping[str, Any]], Answer]],
) -> Iterator[tuple[list[Mapping[str, Any]], tuple[Answer, bool]]]:
    """Each page with whether it is the last one."""
    before = None
    for page in pages:
        if before is not None:
            yield before[0], (before[1], False)
        before = page
    if before is None:
        raise Retry("Jira gave no page at all. Nothing was taken over. We read again.")
    yield before[0], (before[1], True)
