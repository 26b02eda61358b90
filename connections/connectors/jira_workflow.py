"""The way to a Jira status: one transition at a time, along a workflow learnt from what issues offer.

Jira has no call that shows an ordinary account the workflow. Each issue tells the steps open to it; one issue per
status, found by search, tells the rest; where no issue is in a status, the steps others took out of it do. What was
learnt is kept, and corrected by each issue we see.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from connections.connectors import jira_history
from connections.connectors.base import Refused, Retry, StateStore, VersionMismatch
from connections.connectors.jira_site import Site, issue_path
from connections.connectors.jira_values import epoch_ms, normal, quoted, stamp

KNOWN_SECONDS = 24 * 3600.0  # workflows change a few times a year; a wrong step is refused and learnt again
UNSEEN_SECONDS = 600.0  # a status no issue was in: one may be there soon
TRACED_ISSUES = 100  # the last ones changed, whose histories show steps nobody could take just now
EVER = "1970-01-01T00:00:00Z"
# Where a step asks for a resolution and names no default: what people would pick for work that is done.
RESOLUTIONS = ("Done", "Fixed", "Resolved")


def next_step(
    source: str, target: str, direct: Sequence[str], further: Callable[[str], Sequence[str]]
) -> tuple[str | None, set[str]]:
    """(the status to go to first on a shortest way, or None; all statuses that can be reached). Pure.

    direct: statuses open from `source`; further: those open from another status.
    """
    came_from: dict[str, str] = {source.casefold(): ""}
    waiting = deque((status, status) for status in direct)
    reachable: set[str] = set()
    while waiting:
        status, first = waiting.popleft()
        if status.casefold() in came_from:
            continue
        came_from[status.casefold()] = first
        reachable.add(status)
        if status.casefold() == target.casefold():
            return first, reachable
        waiting.extend((next_status, first) for next_status in further(status))
    return None, reachable


class Workflow:
    """The steps between statuses of one project and issue type."""

    def __init__(self, site: Site, state: StateStore, project: str, issue_type: str) -> None:
        self.site = site
        self.state = state
        self.project = project
        self.issue_type = issue_type
        self.key = f"workflow {project}/{issue_type}"
        self.steps: dict[str, dict[str, Any]] = dict(state.get(self.key) or {})
        self._traced: dict[str, set[str]] | None = None

    def learn(self, status: str, targets: Sequence[str], seen: bool = True) -> None:
        kept = self.steps.get(status)
        if kept and kept["to"] == sorted(targets) and time.time() < kept["until"]:
            return
        until = time.time() + (KNOWN_SECONDS if seen else UNSEEN_SECONDS)
        self.steps[status] = {"to": sorted(targets), "until": until}
        # Two workers may learn at once; what one overwrites is learnt again.
        self.state.put(self.key, self.steps)

    def further(self, status: str) -> Sequence[str]:
        kept = self.steps.get(status)
        if kept and time.time() < kept["until"]:
            return list(kept["to"])
        jql = (
            f"project = {quoted(self.project)} AND issuetype = {quoted(self.issue_type)} AND status = {quoted(status)}"
        )
        found, _ = next(self.site.search(jql, ["status"], size=1, expand="transitions"))
        seen = bool(found) and normal_status(found[0]) == status
        targets = targets_of(found[0]) if seen else sorted(self._traces().get(status, ()))
        self.learn(status, targets, seen or bool(targets))
        return targets

    def _traces(self) -> dict[str, set[str]]:
        """Steps that were taken: {status: statuses reached from it}."""
        if self._traced is None:
            where = f"project = {quoted(self.project)} AND issuetype = {quoted(self.issue_type)}"
            found, _ = next(self.site.search(where + " ORDER BY updated DESC", size=TRACED_ISSUES))
            self._traced = {}
            ids = [str(issue["id"]) for issue in found]
            changes = jira_history.of_issues(self.site, ids, ["status"], EVER) if ids else {}
            for change in (change for entries in changes.values() for change in entries):
                self._traced.setdefault(str(change.before), set()).add(str(change.after))
        return self._traced


def normal_status(issue: Mapping[str, Any]) -> str:
    return str(((issue.get("fields") or {}).get("status") or {}).get("name") or "")


def targets_of(issue: Mapping[str, Any]) -> list[str]:
    return [str(step["to"]["name"]) for step in issue.get("transitions") or [] if is_open(step)]


def is_open(step: Mapping[str, Any]) -> bool:
    return step.get("isAvailable", True) and bool((step.get("to") or {}).get("name"))


def step_towards(site: Site, state: StateStore, external_id: str, target: str, version: str = "") -> bool:
    """Take one step of an issue's workflow towards a status, and say so; none where it is there. One write at most.

    version: the issue's time when the target was decided. Raises VersionMismatch where it has changed since, Refused
    for "status" where no way leads there, or a step asks for a field that is empty.
    """
    path = issue_path(external_id)
    issues = site.bulk_fetch([external_id], ["status", "issuetype", "project", "updated"], expand=["transitions"])
    if not issues:
        site.get(path, fields="status")  # says by its error why it cannot be seen
        raise Retry("Jira did not show the issue just now. Nothing was written. We try again.")
    issue = issues[0]
    current = normal_status(issue)
    if current.casefold() == target.casefold():
        return False
    fields = issue["fields"]
    updated = stamp(fields.get("updated"))
    if version and updated and epoch_ms(updated) > epoch_ms(version):
        raise VersionMismatch("The Jira issue changed meanwhile; nothing was written. We read it again.")
    workflow = Workflow(site, state, str(fields["project"]["key"]), str(fields["issuetype"]["name"]))
    direct = targets_of(issue)
    workflow.learn(current, direct)
    first, reachable = next_step(current, target, direct, workflow.further)
    if first is None:
        reason = (
            f"No issue has shown a way from “{current}” to “{target}”. "
            + (f"It can reach: {', '.join(sorted(reachable))}." if reachable else "Our account can take no step.")
        )  # fmt: skip
        raise Refused(
            f"{reason} Nothing was written. Map the value to a status that can be reached.", {"status": reason}
        )
    step = next(s for s in issue["transitions"] if is_open(s) and s["to"]["name"] == first)
    body: dict[str, Any] = {"transition": {"id": str(step["id"])}}
    if step.get("hasScreen"):
        screen = _screen(site, external_id, step)
        if screen:
            body["fields"] = screen
    try:
        site.call("POST", issue_path(external_id, "transitions"), json=body, write=True)
    except Refused as error:
        raise _status_error(site, external_id, current, str(step.get("name") or first), error) from None
    return True


def _screen(site: Site, external_id: str, step: Mapping[str, Any]) -> dict[str, Any]:
    """What to send for the fields a step requires: those that are empty and have no default."""
    answer = site.get(issue_path(external_id, "transitions"), expand="transitions.fields", transitionId=str(step["id"]))
    shown: Mapping[str, Any] = next(
        (s for s in answer.get("transitions") or [] if str(s.get("id")) == str(step["id"])), {}
    )
    needed = {
        path: meta
        for path, meta in (shown.get("fields") or {}).items()
        if meta.get("required") and not meta.get("hasDefaultValue")
    }
    if not needed:
        return {}
    current = (site.bulk_fetch([external_id], sorted(needed)) or [{}])[0].get("fields") or {}
    specs = site.specs()
    body: dict[str, Any] = {}
    for path, meta in needed.items():
        raw = current.get(path)
        if (normal(specs[path], raw) if path in specs else raw) not in (None, "", []):
            continue
        options = [o for o in meta.get("allowedValues") or [] if o.get("name")]
        if path == "resolution" and options:
            by_name = {str(option["name"]): option for option in options}
            chosen = next((by_name[name] for name in RESOLUTIONS if name in by_name), options[0])
            body[path] = {"name": chosen["name"]}
            continue
        label = str(meta.get("name") or path)
        reason = f"The step “{step.get('name')}” asks for “{label}”, which is empty."
        raise Refused(f"{reason} Nothing was written. Fill it in Jira, or map it.", {"status": reason})
    return body


def _status_error(site: Site, external_id: str, before: str, step: str, error: Refused) -> Exception:
    """A refused step: somebody else moved the issue meanwhile, or the workflow wants something we do not know."""
    now = site.bulk_fetch([external_id], ["status"])
    if now and normal_status(now[0]) != before:
        return Retry("Somebody moved the issue meanwhile. Nothing was written. We try again.", after=1.0)
    return Refused(error.message, {"status": f"The step “{step}” was refused. {error.message}"})
