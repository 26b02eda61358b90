"""GitHub: issues of repositories and their comments, on GitHub.com, GHE.com or a server of one's own.

An object type is a repository ("acme/app"), and its comments ("acme/app/comments"). An issue is known by its number,
which a repository gives once; a transfer gives it another id as well. `scope`: {"labels": "a, b", "type": "Bug"}.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from connections.connectors import github_comments as comments
from connections.connectors import github_fields as described
from connections.connectors import github_history as history
from connections.connectors import github_listing as listing
from connections.connectors import github_people as people
from connections.connectors import github_webhook as webhook
from connections.connectors import github_writes as writes
from connections.connectors.base import (
    Capabilities,
    Change,
    CheckResult,
    Connector,
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
    Step,
    Values,
    WriteResult,
)
from connections.connectors.github_auth import FORM
from connections.connectors.github_check import check
from connections.connectors.github_site import COMMENTS, Site, split, unknown
from connections.connectors.github_values import (
    bare_record,
    gone_record,
    is_pull_request,
    issue_record,
    number_of,
    people_in,
    stamp,
    version_of,
)

# How far back a key is looked for: longer than any create stays unanswered.
LOOK_BACK = timedelta(days=7)
ALL = {"state": "all"}
NEWEST = {**ALL, "sort": "created", "direction": "desc"}


class GitHub(Connector):
    kind = "github"
    label = "GitHub"
    proof = webhook.PROOF
    address_help = "https://github.com, https://acme.ghe.com, or the address of your GitHub Enterprise Server."
    form: ClassVar[Sequence[FormField]] = (
        *FORM,
        FormField("repositories", "Repositories", help="Like acme/app, separated by commas."),
        FormField(
            "webhook_secret",
            "Webhook secret",
            secret=True,
            required=False,
            help="A long random text. It proves that deliveries come from GitHub.",
        ),
    )
    scope_form: ClassVar[Sequence[FormField]] = (
        FormField(
            "labels",
            "Only issues with the labels",
            required=False,
            help="Separated by commas; an issue needs all of them. New issues get them.",
        ),
        FormField(
            "type",
            "Only issues of the type",
            required=False,
            help="One of the organisation's issue types, like Bug. New issues get it.",
        ),
    )
    scope_help = "Pull requests are never taken for issues."
    hides_by = "a transfer to another repository"
    looks_at = "descriptions, reasons for closing and comments"
    capabilities = Capabilities(
        settle_seconds=120.0,
        # Lists come from copies of GitHub's database that may be behind: the issue itself is read.
        lists_lag=True,
        # ⚑ Of a deleted issue it says so. One that it does not show, however long, was transferred to where we may not
        # look, or is hidden.
        not_found_tells_nothing=True,
        write_returns_record=True,
        field_history=True,
        exact_version=True,
        watermark_granularity=1.0,
        overlap=10.0,
        lookback=600.0,
        concurrency=1,  # "make requests serially instead of concurrently"
        rate_per_second=1.3,  # 5,000 an hour, so that a backfill never uses the hour up for live edits
        writes_per_second=1.0,  # "wait at least one second between each request" that writes
        bell="webhook",
        subscribes=True,
        update_timeout=60.0,  # GitHub ends a request after ten seconds
    )

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.site = Site(context)

    def capabilities_of(self, object_type: str) -> Capabilities:
        """A deleted comment is only not found."""
        return replace(self.capabilities, not_found_tells_nothing=not split(object_type)[1])

    # What there is -----------------------------------------------------------------------------------------------

    def check(self) -> CheckResult:
        result = check(self.site, bool(self.context.secrets.get("webhook_secret")))
        self.context.state.put("account", result.account_id)
        return result

    def object_types(self) -> Sequence[ObjectType]:
        found = []
        for name in self.site.repositories():
            found += [
                ObjectType(name, f"Issues of {name}"),
                ObjectType(f"{name}/{COMMENTS}", f"Comments on issues of {name}", name),
            ]
        return found

    def fields(self, object_type: str, scope: Values) -> Sequence[Field]:
        repository, of_comments = split(object_type)
        if of_comments:
            return described.COMMENT
        self.site.forget()
        return described.of_issues(self.site, repository)

    def people(self, query: str) -> Sequence[tuple[str, str]]:
        return people.search(self.site, query)

    def url_of(self, object_type: str, external_id: str, key: str | None) -> str:
        repository, of_comments = split(object_type)
        known = key or f"{repository}#{'' if of_comments else external_id}"
        where, _, number = known.partition("#")
        address = f"{self.site.web}/{where}/issues/{number}".rstrip("/")
        return f"{address}#issuecomment-{external_id}" if of_comments else address

    # Reads -------------------------------------------------------------------------------------------------------

    def changed_since(
        self, object_type: str, watermark: str | None, fields: Sequence[str], scope: Values
    ) -> Iterator[Page]:
        repository, of_comments = split(object_type)
        if of_comments:
            yield from comments.changes(self.site, repository, watermark)
            return

        def record(row: Mapping[str, Any]) -> Record | None:
            number = number_of(row)
            if number is None:
                raise unknown(False)
            return None if is_pull_request(row) else bare_record(row, str(number), version_of(row))

        params = {**ALL, **_narrowed(scope)}
        yield from listing.changes(self.site, repository, ("issues",), params, watermark, record)

    def shift_watermark(self, watermark: str, seconds: float) -> str:
        return listing.shift(watermark, seconds)

    def get_many(self, object_type: str, ids: Sequence[str], fields: Sequence[str]) -> Mapping[str, Record]:
        repository, of_comments = split(object_type)
        if ids:
            self.site.repository(repository)
        if of_comments:
            return comments.read(self.site, repository, ids, fields)
        found: dict[str, Record] = {}
        for id in dict.fromkeys(ids):
            try:
                issue, where = self.site.issue(repository, writes.number(id))
            except Gone as error:
                if error.certain:
                    found[id] = gone_record(id)
                continue
            if not is_pull_request(issue):
                persons = people.values(self.site, people_in(issue, fields))
                found[id] = issue_record(where, issue, fields, persons, id)
        return found

    def in_scope(self, object_type: str, ids: Sequence[str], scope: Values) -> set[str]:
        records = self.get_many(object_type, ids, () if split(object_type)[1] else ("labels", "type")).values()
        return {r.external_id for r in records if not r.deleted and self.admits(object_type, r, scope)}

    def admits(self, object_type: str, record: Record, scope: Values) -> bool | None:
        """A transferred issue has left every scope, and is not deleted."""
        repository, of_comments = split(object_type)
        if of_comments:
            return True
        if record.key and record.key != f"{repository}#{record.external_id}":
            return False  # also where it came back: it is known there by its new number
        labels, kind = {label.casefold() for label in labels_of(scope)}, type_of(scope).casefold()
        if (labels and "labels" not in record.values) or (kind and "type" not in record.values):
            return None
        held = {label.casefold() for label in record.values.get("labels", ())}
        return labels <= held and kind in ("", str(record.values.get("type") or "").casefold())

    def list_ids(self, object_type: str, scope: Values) -> Iterator[Sequence[str]]:
        repository, of_comments = split(object_type)
        if of_comments:
            yield from comments.ids(self.site, repository)
            return
        params = {**ALL, **_narrowed(scope), "sort": "created", "direction": "asc"}
        seen: set[str] = set()
        for page in self.site.pages(repository, "issues", params=params):
            these = [str(number_of(row)) for row in self._issues(page)]
            yield [id for id in these if id not in seen]
            seen = set(these)  # a new first row pushes the last one onto the next page

    def children(
        self, object_type: str, parent_ids: Sequence[str], fields: Sequence[str]
    ) -> Mapping[str, Sequence[Record]]:
        repository, of_comments = split(object_type)
        if not of_comments:
            raise NotAllowed("Issues belong to no other record. Nothing was read. Check the mapping.")
        return comments.of_issues(self.site, repository, parent_ids, fields)

    def find_by_correlation_key(
        self, object_type: str, keys: Sequence[str], fields: Sequence[str], scope: Values
    ) -> Mapping[str, Sequence[Record]]:
        """Among what was made in the last days, whoever made it: a copied text has a copied key."""
        wanted, found = set(keys), dict[str, list[Record]]()
        since = (datetime.now(UTC) - LOOK_BACK).strftime("%Y-%m-%dT%H:%M:%SZ")
        for record in self._recent(object_type, since, fields) if wanted else ():
            if record.correlation_key in wanted:
                found.setdefault(record.correlation_key, []).append(record)
        return found

    def own_recent(self, object_type: str, since: str, fields: Sequence[str], scope: Values) -> Sequence[Record]:
        me = self.site.my_id()
        return [record for record in self._recent(object_type, since, fields) if record.created_by == me]

    def find_by_values(
        self, object_type: str, path: str, wanted: Sequence[Any], fields: Sequence[str], scope: Values
    ) -> Sequence[Record]:
        """By listing the repository: GitHub's search knows words alone, and is behind."""
        repository, of_comments = split(object_type)
        if of_comments or path != "title":
            raise Refused(f"GitHub cannot look records up by {path}. Nothing was read. Choose another match field.")
        texts = {str(value).strip().casefold() for value in wanted if value not in (None, "")}
        if not texts:
            return []
        params = {**ALL, **_narrowed(scope)}
        ids = {
            str(number_of(row)): None
            for page in self.site.pages(repository, "issues", params=params)
            for row in self._issues(page)
            if str(row.get("title") or "").strip().casefold() in texts
        }
        now = self.get_many(object_type, list(ids), fields).values()
        return [
            record
            for record in now
            if (record.title or "").strip().casefold() in texts and self.admits(object_type, record, {}) is not False
        ]

    def history(
        self, object_type: str, ids: Sequence[str], fields: Sequence[str], since: str
    ) -> Mapping[str, Sequence[Change]]:
        repository, of_comments = split(object_type)
        found: dict[str, Sequence[Change]] = {}
        for id in () if of_comments else dict.fromkeys(ids):
            try:
                told = history.of_issue(self.site, repository, writes.number(id), fields, since)
            except Gone:
                continue
            if told is not None:
                found[id] = told
        return found

    # Writes ------------------------------------------------------------------------------------------------------

    def create(
        self,
        object_type: str,
        values: Values,
        correlation_key: str,
        scope: Values,
        parent_id: str | None = None,
        fields: Sequence[str] = (),
    ) -> WriteResult:
        repository, of_comments = split(object_type)
        if of_comments:
            return comments.create(self.site, repository, values, correlation_key, parent_id)
        return writes.create(self.site, repository, values, correlation_key, labels_of(scope), type_of(scope), fields)

    def update(
        self, object_type: str, external_id: str, values: Values, expected_version: str | None, fields: Sequence[str]
    ) -> WriteResult:
        repository, of_comments = split(object_type)
        if of_comments:
            return comments.update(self.site, repository, external_id, values, fields)
        return writes.update(self.site, repository, external_id, values, fields)

    def delete(self, object_type: str, external_id: str) -> None:
        repository, of_comments = split(object_type)
        (comments if of_comments else writes).delete(self.site, repository, external_id)

    def write_correlation_key(self, object_type: str, external_id: str, key: str) -> None:
        repository, of_comments = split(object_type)
        (comments if of_comments else writes).write_key(self.site, repository, external_id, key)

    # The bell ----------------------------------------------------------------------------------------------------

    def parse_delivery(self, request: DeliveryRequest) -> ParsedDelivery:
        account = self.context.state.get("account")
        known = self.context.state.get("repositories", {})
        return webhook.parse(request, self.verdict(request), account, self.site.repositories(), known)

    def subscribe(self, object_types: Sequence[str], scope: Values, callback_url: str) -> None:
        webhook.subscribe(self.site, object_types, self.context.secrets.get("webhook_secret", ""), callback_url)

    def steps_by_hand(self, object_types: Sequence[str], scope: Values, callback_url: str) -> Sequence[Step]:
        return webhook.by_hand(self.site, object_types, callback_url)

    def unsubscribe(self) -> None:
        webhook.unsubscribe(self.site)

    # Helpers -----------------------------------------------------------------------------------------------------

    def _issues(self, page: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """The issues among the rows of a list. Raises Retry for rows that are neither issue nor pull request."""
        if any(number_of(row) is None for row in page):
            raise unknown(False)
        return [row for row in page if not is_pull_request(row)]

    def _recent(self, object_type: str, since: str, fields: Sequence[str]) -> Iterator[Record]:
        """What was made since then, newest first."""
        repository, of_comments = split(object_type)
        if of_comments:
            yield from comments.recent(self.site, repository, since, fields)
            return
        for page in self.site.pages(repository, "issues", params=NEWEST):
            for row in self._issues(page):
                if (stamp(row.get("created_at")) or since) < since[:19]:
                    return
                persons = people.values(self.site, people_in(row, fields))
                yield issue_record(repository, row, fields, persons)


def labels_of(scope: Values) -> list[str]:
    return [label for one in str(scope.get("labels") or "").split(",") if (label := one.strip())]


def type_of(scope: Values) -> str:
    return str(scope.get("type") or "").strip()


def _narrowed(scope: Values) -> dict[str, str]:
    """The scope as parameters of a list."""
    labels, kind = ",".join(labels_of(scope)), type_of(scope)
    return {**({"labels": labels} if labels else {}), **({"type": kind} if kind else {})}
