"""What the server shows of its records, in the form of its API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from connections.sandbox.github_records import Doc, Records, iso, node_id

if TYPE_CHECKING:
    from connections.sandbox.github import GitHubStandin


class Documents:
    def __init__(self, app: GitHubStandin) -> None:
        self.app = app
        self.records: Records = app.records

    @property
    def api(self) -> str:
        return f"{self.app.base}/api/v3"

    def user(self, login: str | None) -> Doc | None:
        """An account as it appears inside of others; None where it was deleted."""
        account = self.records.get("account", login.lower()) if login else None
        if account is None:
            return None
        url = f"{self.api}/users/{account['login']}"
        return {
            "login": account["login"],
            "id": account["id"],
            "node_id": node_id("U", account["id"]),
            "avatar_url": f"{self.app.base}/avatars/{account['id']}",
            "gravatar_id": "",
            "url": url,
            "html_url": f"{self.app.base}/{account['login']}",
            "followers_url": f"{url}/followers",
            "following_url": f"{url}/following{{/other_user}}",
            "gists_url": f"{url}/gists{{/gist_id}}",
            "starred_url": f"{url}/starred{{/owner}}{{/repo}}",
            "subscriptions_url": f"{url}/subscriptions",
            "organizations_url": f"{url}/orgs",
            "repos_url": f"{url}/repos",
            "events_url": f"{url}/events{{/privacy}}",
            "received_events_url": f"{url}/received_events",
            "type": account["type"],
            "user_view_type": "public",
            "site_admin": False,
        }

    def profile(self, account: Doc) -> Doc:
        """An account asked for by itself: with its name and the address it shows."""
        return {**(self.user(account["login"]) or {}), "name": account["name"], "email": account["email"]}

    def repository(self, doc: Doc) -> Doc:
        owner, _, name = doc["full_name"].partition("/")
        return {
            "id": doc["id"],
            "node_id": node_id("R", doc["id"]),
            "name": name,
            "full_name": doc["full_name"],
            "private": True,
            "owner": self.user(owner),
            "html_url": f"{self.app.base}/{doc['full_name']}",
            "url": f"{self.api}/repos/{doc['full_name']}",
            "description": None,
            "fork": False,
            "has_issues": doc["has_issues"],
            "archived": doc["archived"],
            "disabled": False,
            "visibility": "private",
            "default_branch": "main",
            "created_at": iso(doc["created_at"]),
            "open_issues_count": sum(1 for one in self.records.issues(doc) if one["state"] == "open"),
        }

    def label(self, repository: Doc, name: str) -> Doc:
        label = next(one for one in repository["labels"] if one["name"] == name)
        return {
            "id": label["id"],
            "node_id": node_id("LA", label["id"]),
            "url": f"{self.api}/repos/{repository['full_name']}/labels/{name}",
            "name": name,
            "color": label["color"],
            "default": False,
            "description": None,
        }

    def milestone(self, repository: Doc, number: int | None) -> Doc | None:
        found = next((one for one in repository["milestones"] if one["number"] == number), None)
        if found is None:
            return None
        url = f"{self.api}/repos/{repository['full_name']}/milestones/{number}"
        return {
            "url": url,
            "html_url": f"{self.app.base}/{repository['full_name']}/milestone/{number}",
            "labels_url": f"{url}/labels",
            "id": found["id"],
            "node_id": node_id("MI", found["id"]),
            "number": number,
            "title": found["title"],
            "description": None,
            "creator": None,
            "open_issues": 0,
            "closed_issues": 0,
            "state": "open",
            "created_at": iso(found["at"]),
            "updated_at": iso(found["at"]),
            "due_on": None,
            "closed_at": None,
        }

    def type(self, name: str | None) -> Doc | None:
        if name is None:
            return None
        return {
            "id": sum(name.encode()),
            "node_id": node_id("IT", sum(name.encode())),
            "name": name,
            "description": None,
            "color": "gray",
            "is_enabled": True,
        }

    def home(self, issue: Doc) -> Doc:
        return next(doc for doc in self.records.all("repository") if doc["id"] == issue["repository"])

    def issue(self, doc: Doc) -> Doc:
        repository = self.home(doc)
        base = f"{self.api}/repos/{repository['full_name']}"
        url = f"{base}/issues/{doc['number']}"
        kind = "pull" if doc["pull_request"] else "issues"
        html = f"{self.app.base}/{repository['full_name']}/{kind}/{doc['number']}"
        people = [self.user(login) for login in doc["assignees"]]
        shown: Doc = {
            "url": url,
            "repository_url": base,
            "labels_url": f"{url}/labels{{/name}}",
            "comments_url": f"{url}/comments",
            "events_url": f"{url}/events",
            "html_url": html,
            "id": doc["id"],
            "node_id": node_id("I", doc["id"]),
            "number": doc["number"],
            "title": doc["title"],
            "user": self.user(doc["user"]),
            "labels": [self.label(repository, name) for name in doc["labels"]],
            "state": doc["state"],
            "locked": doc["locked"],
            "assignee": people[0] if people else None,
            "assignees": people,
            "milestone": self.milestone(repository, doc["milestone"]),
            "comments": len(self.records.comments(doc)),
            "created_at": iso(doc["created_at"]),
            "updated_at": iso(doc["updated_at"]),
            "closed_at": iso(doc["closed_at"]),
            "author_association": "MEMBER",
            "type": self.type(doc["type"]),
            "active_lock_reason": None,
            "body": doc["body"],
            "closed_by": self.user(doc["closed_by"]),
            "timeline_url": f"{url}/timeline",
            "performed_via_github_app": None,
            "state_reason": doc["state_reason"],
        }
        if doc["pull_request"]:
            shown["pull_request"] = {"url": f"{base}/pulls/{doc['number']}", "html_url": html}
        return shown

    def comment(self, doc: Doc) -> Doc:
        issue = self.records.get("issue", doc["issue"])
        assert issue is not None
        shown = self.issue(issue)
        base = shown["repository_url"]
        return {
            "url": f"{base}/issues/comments/{doc['id']}",
            "html_url": f"{shown['html_url']}#issuecomment-{doc['id']}",
            "issue_url": shown["url"],
            "id": doc["id"],
            "node_id": node_id("IC", doc["id"]),
            "user": self.user(doc["user"]),
            "created_at": iso(doc["created_at"]),
            "updated_at": iso(doc["updated_at"]),
            "author_association": "MEMBER",
            "body": doc["body"],
            "performed_via_github_app": None,
        }

    def event(self, repository: Doc, doc: Doc) -> Doc:
        shown: Doc = {
            "id": doc["id"],
            "node_id": node_id("EV", doc["id"]),
            "url": f"{self.api}/repos/{repository['full_name']}/issues/events/{doc['id']}",
            "actor": self.user(doc["actor"]),
            "event": doc["event"],
            "commit_id": None,
            "commit_url": None,
            "created_at": iso(doc["at"]),
            "performed_via_github_app": None,
        }
        more: dict[str, Any] = {
            "label": lambda value: {"name": value, "color": "ededed"},
            "assignee": self.user,
            "milestone": lambda value: {"title": value},
            "rename": lambda value: value,
            "issue_type": self.type,
            "prev_issue_type": self.type,
            "state_reason": lambda value: value,
        }
        shown |= {name: make(doc[name]) for name, make in more.items() if name in doc}
        if "assignee" in doc:
            shown["assigner"] = self.user(doc["actor"])
        return shown

    def hook(self, doc: Doc) -> Doc:
        url = f"{self.api}/repos/{doc['repository']}/hooks/{doc['id']}"
        secret = {"secret": "********"} if doc["config"].get("secret") else {}
        return {
            "type": "Repository",
            "id": doc["id"],
            "name": "web",
            "active": doc["active"],
            "events": doc["events"],
            "config": {**doc["config"], **secret},
            "updated_at": iso(doc["at"]),
            "created_at": iso(doc["at"]),
            "url": url,
            "test_url": f"{url}/test",
            "ping_url": f"{url}/pings",
            "deliveries_url": f"{url}/deliveries",
            "last_response": {"code": None, "status": "unused", "message": None},
        }
