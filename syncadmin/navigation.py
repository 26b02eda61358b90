"""The sidebar: its groups and entries, with what waits behind each. An entry is absent where the role may not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from connections.access import can
from connections.models import Connection
from sync import failures
from sync.models import Conflict, Run


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the sidebar. `count` says how many things wait; `hot`: they wait for a person."""

    label: str
    icon: str
    view: str
    action: str
    count: Callable[[Any], int] | None = None
    spoken: str = ""
    hot: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    label: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class ShownEntry:
    label: str
    icon: str
    url: str
    current: bool
    count: int
    spoken: str
    hot: bool


@dataclass(frozen=True, slots=True)
class ShownGroup:
    label: str
    entries: tuple[ShownEntry, ...]


def open_conflicts(user: Any) -> int:
    return Conflict.objects.visible_to(user).filter(state=Conflict.State.OPEN).count()


def failing(user: Any) -> int:
    return failures.visible_to(user).listed().count()


def running(user: Any) -> int:
    return Run.objects.visible_to(user).filter(state=Run.State.RUNNING).count()


def troubled_connections(user: Any) -> int:
    states = (Connection.State.SIGN_IN, Connection.State.ACCOUNT_CHANGED)
    return Connection.objects.filter(state__in=states).count()


GROUPS = (
    Group(
        "",
        (
            Entry("Home", "home", "home", "home.read"),
            Entry("Review queue", "inbox", "review-queue", "review.read", open_conflicts, "waiting", hot=True),
            Entry("Failures", "warn", "failures", "failures.read", failing, "stand"),
            Entry("Records", "record", "records", "records.read"),
            Entry("Runs", "run", "runs", "runs.read", running, "running"),
        ),
    ),
    Group(
        "Set up",
        (
            Entry("Connections", "plug", "connections", "connections.read", troubled_connections, "need you", hot=True),
            Entry("Mappings", "map", "mappings", "mappings.read"),
            Entry("Conflict policies", "policy", "policies", "policies.read"),
            Entry("Value maps", "list", "value-maps", "value_maps.read"),
        ),
    ),
    Group("Oversight", (Entry("Audit log", "shield", "audit", "audit.read"),)),
    Group(
        "System",
        (
            Entry("Users and roles", "users", "users", "users.manage"),
            Entry("Queues and workers", "gear", "queues", "queues.read"),
        ),
    ),
)


def shown_groups(request: HttpRequest) -> list[ShownGroup]:
    """The groups as this person sees them on this page."""
    groups = []
    for group in GROUPS:
        entries = tuple(_shown(request, entry) for entry in group.entries if can(request.user, entry.action))
        shown = tuple(entry for entry in entries if entry is not None)
        if shown:
            groups.append(ShownGroup(group.label, shown))
    return groups


def _shown(request: HttpRequest, entry: Entry) -> ShownEntry | None:
    try:
        url = reverse(entry.view)
    except NoReverseMatch:
        return None
    path = request.path
    current = path == url if url == reverse("home") else path.startswith(url)
    count = entry.count(request.user) if entry.count else 0
    return ShownEntry(entry.label, entry.icon, url, current, count, entry.spoken, entry.hot)
