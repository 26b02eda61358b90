"""Webhooks of the Jira stand-in: what is sent, signed and retried by a thread of its own."""

from __future__ import annotations

import hashlib
import heapq
import hmac
import itertools
import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import requests

from connections.sandbox import jira_jql as jql
from connections.sandbox import jira_search as search
from connections.sandbox.jira_records import Doc, User
from connections.sandbox.jira_site import Site
from connections.sandbox.jira_views import View

EVENTS = (
    "jira:issue_created",
    "jira:issue_updated",
    "jira:issue_deleted",
    "comment_created",
    "comment_updated",
    "comment_deleted",
)
# Jira tries five more times and then forgets the delivery.
MAX_RETRIES = 5
# Seconds before each retry. Jira waits minutes; a demo cannot.
BACKOFF = (1.0, 2.0, 5.0, 10.0, 30.0)
SEND_TIMEOUT = 20.0


@dataclass(order=True)
class Job:
    due: float
    number: int
    hook: Doc = field(compare=False)
    body: bytes = field(compare=False)
    identifier: str = field(compare=False)
    retry: int = field(compare=False, default=0)


class Webhooks:
    """Admin webhooks of one site. Times here are of the machine, not of the site's clock.

    `faults`: kinds for the next deliveries, first come first served: "duplicate", "drop", "late" (held back half a
    second, so that later ones overtake), "bad_signature". `sent`: (webhook id, delivery id, status or None) of the
    last tries.
    """

    def __init__(self, site: Site, base: Callable[[], str], backoff: tuple[float, ...] = BACKOFF) -> None:
        self.site = site
        self.base = base
        self.backoff = backoff
        self.faults: list[str] = []
        self.unlucky: Callable[[], str] = lambda: ""  # a fault by chance, asked where none is due
        self.sent: list[tuple[str, str, int | None]] = []
        self._jobs: list[Job] = []
        self._busy = 0
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._session = requests.Session()
        self._session.trust_env = False
        site.listeners.append(self.on_event)

    # ---- registrations ------------------------------------------------------------------------------------

    def all(self) -> list[Doc]:
        return self.site.store.all("webhook")

    def add(self, url: str, secret: str = "", events: Any = EVENTS, filter: str = "", name: str = "") -> str:
        """Register a URL; `filter` is JQL that issues must fit. Raises JqlError for a filter that is none."""
        if filter:
            jql.parse(filter)
        id = str(self.site.store.next_number("webhook"))
        hook = {"id": id, "name": name or url, "url": url, "secret": secret, "events": list(events), "filter": filter}
        self.site.store.put("webhook", id, hook | {"enabled": True, "lastUpdated": int(self.site.clock() * 1000)})
        return id

    def change(self, id: str, **changes: Any) -> Doc | None:
        hook = self.site.store.get("webhook", id)
        if hook is not None:
            hook |= changes | {"lastUpdated": int(self.site.clock() * 1000)}
            self.site.store.put("webhook", id, hook)
        return hook

    def remove(self, id: str) -> None:
        self.site.store.remove("webhook", id)

    # ---- payloads -----------------------------------------------------------------------------------------

    def on_event(self, event: str, type_name: str, actor: User, issue: Doc, more: Mapping[str, Any]) -> None:
        hooks = [h for h in self.all() if h["enabled"] and event in h["events"] and self._fits(h, actor, issue)]
        if not hooks:
            return
        body = json.dumps(self.payload(event, type_name, actor, issue, more)).encode()
        for hook in hooks:
            self._deliver(hook, event, body)

    def _fits(self, hook: Doc, actor: User, issue: Doc) -> bool:
        if not hook["filter"]:
            return True
        return jql.predicate(jql.parse(hook["filter"]).where, search.clauses(self.site, actor))(issue)

    def payload(self, event: str, type_name: str, actor: User, issue: Doc, more: Mapping[str, Any]) -> Doc:
        """The body Jira posts: version 2 of the API, so documents are wiki text."""
        view = View(self.site, actor | {"hidden_fields": []}, self.base(), version=2)
        shown: Doc = {"timestamp": int(self.site.clock() * 1000), "webhookEvent": event}
        if event.startswith("comment_"):
            # comment events name no user and carry only a few fields
            fields = view.issue(issue, ["summary", "issuetype", "project", "assignee", "priority", "status"])
            comment = {k: v for k, v in view.comment(issue, more["comment"]).items() if k != "jsdPublic"}
            return {**shown, "comment": comment, "issue": {k: fields[k] for k in ("id", "self", "key", "fields")}}
        whole = view.issue(issue, ["*all"])
        shown |= {
            "issue_event_type_name": type_name,
            "user": view.user(actor["accountId"]),
            "issue": {k: whole[k] for k in ("id", "self", "key", "fields")},
        }
        if "comment" in more:
            shown["comment"] = view.comment(issue, more["comment"])
        if "history" in more:
            shown["changelog"] = {"id": more["history"]["id"], "items": more["history"]["items"]}
        return shown

    # ---- sending ------------------------------------------------------------------------------------------

    def _deliver(self, hook: Doc, event: str, body: bytes) -> None:
        fault = self.faults.pop(0) if self.faults else self.unlucky()
        if fault == "drop":
            return
        if fault == "bad_signature":
            hook = hook | {"secret": hook["secret"] + "x"}
        now = time.monotonic()
        job = Job(now + (0.5 if fault == "late" else 0.0), next(self._numbers), hook, body, uuid.uuid4().hex)
        copies = [job, Job(job.due, next(self._numbers), hook, body, job.identifier)] if fault == "duplicate" else [job]
        with self._changed:
            for copy in copies:
                heapq.heappush(self._jobs, copy)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="jira-webhooks", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._jobs or self._jobs[0].due > time.monotonic():
                    self._changed.wait(self._jobs[0].due - time.monotonic() if self._jobs else None)
                job = heapq.heappop(self._jobs)
                self._busy += 1
            status = self._send(job)
            with self._changed:
                self._busy -= 1
                if (status is None or status >= 300) and job.retry < MAX_RETRIES:
                    wait = self.backoff[min(job.retry, len(self.backoff) - 1)]
                    later = Job(time.monotonic() + wait, job.number, job.hook, job.body, job.identifier, job.retry + 1)
                    heapq.heappush(self._jobs, later)
                self._changed.notify_all()

    def _send(self, job: Job) -> int | None:
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Atlassian Webhook HTTP Client",
            "X-Atlassian-Webhook-Identifier": job.identifier,
            "X-Atlassian-Webhook-Flow": "Primary",
        }
        if job.retry:
            headers["X-Atlassian-Webhook-Retry"] = str(job.retry)
        if job.hook["secret"]:
            digest = hmac.new(job.hook["secret"].encode(), job.body, hashlib.sha256).hexdigest()
            headers["X-Hub-Signature"] = f"sha256={digest}"
        status: int | None = None
        try:
            answer = self._session.post(
                job.hook["url"], data=job.body, headers=headers, timeout=SEND_TIMEOUT, allow_redirects=False
            )
            status = answer.status_code
        except requests.RequestException:
            status = None
        self.sent.append((job.hook["id"], job.identifier, status))
        del self.sent[:-1000]
        return status

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until nothing is left to send; False when it takes longer than `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._jobs and not self._busy, timeout)
