"""Webhooks as the server sends them: signed, once, and never again by itself.

`sent`: (url, headers, body) of what went out, in order; deliveries go out at once, from the thread of the change.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from typing import TYPE_CHECKING, Any

import requests

from connections.sandbox.github_records import Doc

if TYPE_CHECKING:
    from connections.sandbox.github import GitHubStandin

SEND_SECONDS = 10.0  # GitHub gives up after ten


class Webhooks:
    def __init__(self, app: GitHubStandin) -> None:
        self.app = app
        self.sent: list[tuple[str, dict[str, str], bytes]] = []
        self._session = requests.Session()
        self._session.trust_env = False

    def on_change(self, event: str, action: str, doc: Doc, by: str, more: dict[str, Any]) -> None:
        hooks = [hook for hook in self.app.records.all("hook") if hook["active"] and event in hook["events"]]
        if not hooks:
            return
        body = self.body(event, action, doc, by, more)
        for hook in hooks:
            if hook["repository"].lower() == body["repository"]["full_name"].lower():
                headers, raw = self.signed(hook["config"].get("secret", ""), event, body)
                self.sent.append((hook["config"]["url"], headers, raw))
                try:
                    self._session.post(hook["config"]["url"], data=raw, headers=headers, timeout=SEND_SECONDS)
                except requests.RequestException:
                    continue  # nobody sends it again

    def body(self, event: str, action: str, doc: Doc, by: str, more: dict[str, Any]) -> Doc:
        documents, records = self.app.documents, self.app.records
        issue = doc if event == "issues" else records.get("issue", doc["issue"])
        assert issue is not None
        repository = documents.home(issue)
        told: Doc = {"action": action, "issue": documents.issue(issue)}
        if event == "issue_comment":
            told["comment"] = documents.comment(doc)
        if "changes" in more:
            told["changes"] = more["changes"]
        if "label" in more:
            told["label"] = documents.label(repository, more["label"])
        if "assignee" in more:
            told["assignee"] = documents.user(more["assignee"])
        if "new" in more:
            new = more["new"]
            told["changes"] = {
                "new_issue": documents.issue(new),
                "new_repository": documents.repository(documents.home(new)),
            }
        return {**told, "repository": documents.repository(repository), "sender": documents.user(by)}

    def signed(self, secret: str, event: str, body: Doc) -> tuple[dict[str, str], bytes]:
        raw = json.dumps(body).encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "GitHub-Hookshot/044aadd",
            "X-GitHub-Event": event,
            "X-GitHub-Delivery": str(uuid.uuid4()),
        }
        if secret:
            headers["X-Hub-Signature"] = f"sha1={hmac.new(secret.encode(), raw, hashlib.sha1).hexdigest()}"
            headers["X-Hub-Signature-256"] = f"sha256={hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()}"
        return headers, raw
