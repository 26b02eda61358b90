"""GitHub's webhook requests: the signature, what they say about which record, and making the webhook by the API.

GitHub sends each delivery once and does not try again by itself; what gets lost on the way is found by polling.
Facts: GitHub Docs, "Validating webhook deliveries"; only the SHA-256 signature counts, the older one is not looked at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from connections.connectors.base import DeliveryRequest, Gone, Hint, NotAllowed, ParsedDelivery, Refused, Step
from connections.connectors.github_site import COMMENTS, Site, split
from connections.connectors.github_values import (
    account_id,
    comment_id,
    comment_version,
    is_pull_request,
    number_of,
    of_pull_request,
    stamp,
    unmarked,
    version_of,
)
from connections.connectors.proofs import Proof, Verdict

PROOF = Proof(header="x-hub-signature-256", prefix="sha256=")
EVENT, DELIVERY = "x-github-event", "x-github-delivery"
EVENTS = ("issues", "issue_comment")
STATE = "hooks"  # {repository: id of our webhook}


def parse(
    request: DeliveryRequest,
    verdict: Verdict,
    account: str | None,
    repositories: Sequence[str],
    known: Mapping[str, int] | None = None,
) -> ParsedDelivery:
    """account: our own account's id, if known; repositories: as the connection spells them; known: their ids, as far as
    we have met them.

    Raises ValueError on what is no delivery.
    """
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        raise ValueError("the body is no JSON; choose application/json as the webhook's content type") from None
    if not isinstance(body, Mapping) or not body:
        raise ValueError("the body is no GitHub event")
    name = request.headers.get(EVENT, "")
    action = body.get("action")
    repository = body.get("repository")
    full_name = repository.get("full_name") if isinstance(repository, Mapping) else None
    if name in EVENTS and (not isinstance(full_name, str) or not isinstance(action, str)):
        raise ValueError("the body names no repository")
    if name not in EVENTS and "hook" not in body and "repository" not in body:
        raise ValueError("the body is no GitHub event")
    spelled = _spelled(repository, repositories, known or {}) if full_name else None
    hints = _hints(name, str(action), body, spelled, account, verdict.verified) if spelled else []
    return ParsedDelivery(
        delivery_id=request.headers.get(DELIVERY) or None,
        event=f"{name} {action}" if isinstance(action, str) else name or "event",
        verified=verdict.verified,
        reason=verdict.reason,
        hints=hints,
        provable=verdict.provable,
    )


def _spelled(repository: Any, repositories: Sequence[str], known: Mapping[str, int]) -> str | None:
    """As the connection names it: by its id, since it may have been renamed, and another one have taken the name."""
    id, name = repository.get("id"), str(repository["full_name"]).lower()
    return next((one for one in repositories if (known[one] == id if one in known else one.lower() == name)), None)


def _hints(
    name: str, action: str, body: Mapping[str, Any], repository: str, account: str | None, verified: bool
) -> list[Hint]:
    issue = body.get("issue")
    number = number_of(issue)
    if not isinstance(issue, Mapping) or number is None or is_pull_request(issue):
        return []
    own = bool(account) and account_id(body.get("sender")) == account
    deleted = action == "deleted"
    if name == "issue_comment":
        comment = body.get("comment")
        id = comment_id(comment)
        if not isinstance(comment, Mapping) or id is None or of_pull_request(comment):
            return []
        version = None if deleted else comment_version(comment)
        at = stamp(comment.get("updated_at"))
        made = action == "created"
        return [
            Hint(f"{repository}/{COMMENTS}", str(id), version, own, None, deleted, verified, at, made),
            # A comment moves the issue's own time as well.
            Hint(repository, str(number), verified=verified, at=stamp(issue.get("updated_at"))),
        ]
    return [
        Hint(
            repository,
            str(number),
            # A transferred issue is here no more, and lives on elsewhere: the read tells.
            version=None if deleted or action == "transferred" else version_of(issue),
            own_account=own,
            changes=_changes(action, body, issue),
            deleted=deleted,
            verified=verified,
            at=stamp(issue.get("updated_at")),
            created=action == "opened",
        )
    ]


def _changes(action: str, body: Mapping[str, Any], issue: Mapping[str, Any]) -> dict[str, Any] | None:
    """The new values of all changed fields; None where one cannot be told exactly as a read gives it."""
    changes = body.get("changes")
    if action != "edited" or not isinstance(changes, Mapping) or not changes or set(changes) - {"title", "body"}:
        return None
    found: dict[str, Any] = {}
    if "title" in changes and isinstance(issue.get("title"), str):
        found["title"] = issue["title"]
    if "body" in changes:
        try:
            found["body"] = unmarked(issue.get("body"))[0]
        except ValueError:
            return None
    return found


# Making it ----------------------------------------------------------------------------------------------------------


def subscribe(site: Site, object_types: Sequence[str], secret: str, url: str) -> None:
    if not secret:
        raise Refused(
            "The connection has no webhook secret, so no webhook could prove that it comes from GitHub. Nothing was "
            "registered. Set a webhook secret in the connection first."
        )
    config = {"url": url, "content_type": "json", "secret": secret, "insecure_ssl": "0"}
    made = site.context.state.get(STATE, {})
    for repository in repositories_of(object_types):
        try:
            ours = [
                row["id"]
                for page in site.pages(repository, "hooks")
                for row in page
                if isinstance(row.get("config"), Mapping) and row["config"].get("url") == url
            ]
            wanted: dict[str, Any] = {"config": config, "events": list(EVENTS), "active": True}
            if ours:
                site.write("PATCH", repository, "hooks", ours[0], json=wanted, one=f"webhook of {repository}")
                made = {**made, repository: ours[0]}
            else:
                answer = site.write("POST", repository, "hooks", json={"name": "web", **wanted}).json
                made = {**made, repository: answer.get("id") if isinstance(answer, Mapping) else None}
        except (NotAllowed, Gone, Refused) as error:
            raise NotAllowed(
                f"Our account may not make webhooks in {repository}: that takes the right Webhooks: read and write. "
                f"{error.message} Somebody who administers the repository can do it by hand."
            ) from error
        site.context.state.put(STATE, made)


def unsubscribe(site: Site) -> None:
    for repository, id in site.context.state.get(STATE, {}).items():
        if id:
            site.write("DELETE", repository, "hooks", id, ok=(404,))
    site.context.state.put(STATE, {})


def by_hand(site: Site, object_types: Sequence[str], url: str) -> Sequence[Step]:
    where = "In GitHub, open Settings → Webhooks → Add webhook of {}:"
    pages = {one: f"{site.web}/{one}/settings/hooks/new" for one in repositories_of(object_types)}
    return (
        *(Step(where.format(repository), page) for repository, page in pages.items()),
        Step("Payload URL:", url),
        Step(
            "Content type: application/json. Secret: the webhook secret of this connection. Let me select individual "
            "events: Issues and Issue comments, nothing else. Then Add webhook."
        ),
    )


def repositories_of(object_types: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(split(one)[0] for one in object_types))
