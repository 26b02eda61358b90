"""Who may do what: the roles, the table of actions, and the guard of every page.

A role is held everywhere or for chosen mappings (`RoleAssignment`). A superuser is an admin. Pages ask for an
*action*, never for a role, so this table is the one place that says what a role may do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import resolve_url

from connections.models import RoleAssignment

Role = RoleAssignment.Role
ROLES: dict[str, str] = dict(Role.choices)

_ADMIN = frozenset({Role.ADMIN})
_OPERATE = frozenset({Role.ADMIN, Role.OPERATOR})
_SETTLE = frozenset({Role.ADMIN, Role.REVIEWER})
_ANSWER = frozenset({Role.ADMIN, Role.OPERATOR, Role.REVIEWER})
_INSPECT = frozenset({Role.ADMIN, Role.AUDITOR})
_SET_UP = frozenset({Role.ADMIN, Role.OPERATOR, Role.AUDITOR})
_ALL = frozenset(Role)

ACTIONS: dict[str, frozenset[str]] = {
    # reading
    "home.read": _ALL,
    "records.read": _ALL,
    "review.read": _ALL,
    "failures.read": _ALL,
    "policies.read": _ALL,
    "value_maps.read": _ALL,
    "runs.read": _SET_UP,
    "connections.read": _SET_UP,
    "mappings.read": _SET_UP,
    "queues.read": _SET_UP,
    "verify.read": _ALL,
    "audit.read": _INSPECT,
    "audit.verify": _INSPECT,
    "audit.export": _INSPECT,
    # settling
    "review.settle": _SETTLE,
    "records.repair": _SETTLE,
    "verify.repair": _SETTLE,
    "failures.answer": _ANSWER,  # retry and edit what also waits in the review queue
    # running
    "runs.start": _OPERATE,
    "runs.approve": _OPERATE,
    "runs.pause": _OPERATE,
    "verify.start": _OPERATE,
    "verify.stop": _OPERATE,
    "failures.retry": _OPERATE,  # any failure
    "failures.ignore": _OPERATE,
    "brakes.release": _OPERATE,
    "connections.test": _OPERATE,
    "connections.pause": _OPERATE,
    "deliveries.replay": _OPERATE,
    # setting up
    "connections.edit": _ADMIN,
    "mappings.edit": _ADMIN,
    "mappings.publish": _ADMIN,
    "policies.edit": _ADMIN,
    "value_maps.edit": _ADMIN,
    "users.manage": _ADMIN,
}

# What concerns mappings of others too: a role for chosen mappings does not reach this far.
HOUSE_WIDE = frozenset(
    {
        "connections.pause",
        "deliveries.replay",
        "connections.edit",
        "policies.edit",
        "value_maps.edit",
        "queues.read",
        "users.manage",
    }
)


@dataclass(frozen=True, slots=True)
class Grant:
    """One role as held: `mappings` is None where it holds for all of them."""

    role: str
    mappings: frozenset[int] | None

    def covers(self, mapping_id: int | None) -> bool:
        return mapping_id is None or self.mappings is None or mapping_id in self.mappings


class Denied(PermissionDenied):
    """The signed-in person may not do this; the 403 page says who may, and the audit log gets a line."""

    def __init__(self, action: str, mapping: Any = None) -> None:
        super().__init__(action)
        self.action = action
        self.mapping = mapping


def grants_of(user: Any) -> tuple[Grant, ...]:
    """The roles of `user`. Read once per user object: a page asks many times, and lives for one request."""
    if not user.is_authenticated or not user.is_active:
        return ()
    cached: tuple[Grant, ...] | None = getattr(user, "_grants", None)
    if cached is None:
        grants = [Grant(Role.ADMIN, None)] if user.is_superuser else []
        for assignment in RoleAssignment.objects.filter(user=user):
            mappings = None if assignment.everywhere else frozenset(_mapping_ids(assignment))
            grants.append(Grant(assignment.role, mappings))
        cached = user._grants = tuple(grants)
    return cached


def _mapping_ids(assignment: RoleAssignment) -> list[int]:
    chosen: Any = assignment.mappings  # reverse of Mapping.assignments, an upper app
    return list(chosen.values_list("pk", flat=True))


def roles_of(user: Any, mapping: Any = None) -> frozenset[str]:
    """Roles that `user` holds for `mapping`, or for any mapping if none is given."""
    mapping_id = None if mapping is None else mapping.pk
    return frozenset(grant.role for grant in grants_of(user) if grant.covers(mapping_id))


def can(user: Any, action: str, mapping: Any = None) -> bool:
    """Whether `user` may do `action` (a key of ACTIONS) on `mapping`, or on any mapping if none is given."""
    if action in HOUSE_WIDE:
        return can_everywhere(user, action)
    return not ACTIONS[action].isdisjoint(roles_of(user, mapping))


def can_everywhere(user: Any, action: str) -> bool:
    """Whether `user` may do `action` without regard to mappings: what concerns the whole house."""
    return any(grant.mappings is None and grant.role in ACTIONS[action] for grant in grants_of(user))


def mappings_for(user: Any, action: str) -> frozenset[int] | None:
    """Ids of the mappings on which `user` may do `action`; None: all of them."""
    found: frozenset[int] = frozenset()
    for grant in grants_of(user):
        if grant.role in ACTIONS[action]:
            if grant.mappings is None:
                return None
            found |= grant.mappings
    return found


def check(user: Any, action: str, mapping: Any = None) -> None:
    """Raise `Denied` unless `user` may do `action` on `mapping`: for views that first must find the mapping."""
    if not can(user, action, mapping):
        raise Denied(action, mapping)


def who_may(action: str) -> str:
    """The roles that may do `action`, for people: "an admin or an operator"."""
    names = [f"an {label.lower()}" if label[0] in "AO" else f"a {label.lower()}" for label in _labels(action)]
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _labels(action: str) -> list[str]:
    return [label for role, label in ROLES.items() if role in ACTIONS[action]]


def requires(action: str) -> Callable[[Callable[..., HttpResponse]], Callable[..., HttpResponse]]:
    """Guard of a function view: strangers go to the login page, wrong roles to a 403 page with an audit line."""
    if action not in ACTIONS:
        raise KeyError(f"unknown action: {action}")

    def decorate(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.is_authenticated:
                return to_login(request)
            check(request.user, action)
            return view(request, *args, **kwargs)

        guarded.action = action  # type: ignore[attr-defined]  # the access test walks all pages by it
        return guarded

    return decorate


def to_login(request: HttpRequest) -> HttpResponse:
    """The login page; for a part of a page, an answer that makes the browser leave the whole page."""
    if request.headers.get("HX-Request"):
        return HttpResponse(status=401, headers={"HX-Redirect": resolve_url("login")})
    return redirect_to_login(request.get_full_path())


def context(request: HttpRequest) -> dict[str, bool]:
    """Context processor: `can_review_settle`, `can_connections_edit`, … for every action of the table."""
    user = getattr(request, "user", None)
    if user is None:
        return {}
    return {"can_" + action.replace(".", "_"): can(user, action) for action in ACTIONS}
