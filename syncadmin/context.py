"""What the frame around every page needs, computed only if a page draws the frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.functional import SimpleLazyObject

from connections.access import ROLES, roles_of
from syncadmin.health import OK, check_parts
from syncadmin.navigation import ShownGroup, shown_groups

# Seconds a page may be wrong about the pulse: asking Redis for every page would make all of them slow when it fails.
PULSE_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Pulse:
    """Whether live updates run: kind "ok" or "warn", one word, and the reason."""

    kind: str
    word: str
    title: str


@dataclass(frozen=True, slots=True)
class Shell:
    groups: list[ShownGroup]
    place: str  # which installation this is
    name: str
    initials: str
    roles: str
    search_url: str
    pulse: Pulse


def shell(request: HttpRequest) -> dict[str, Any]:
    """Context processor: `shell`, see `Shell`."""
    return {"shell": SimpleLazyObject(lambda: _shell(request))}


def _shell(request: HttpRequest) -> Shell:
    user: Any = request.user
    name = user.get_full_name() or user.get_username()
    held = roles_of(user)
    return Shell(
        groups=shown_groups(request),
        place=settings.PLACE_NAME,
        name=name,
        initials="".join(word[0] for word in name.split()[:2]).upper(),
        roles=", ".join(label for role, label in ROLES.items() if role in held) or "No role",
        search_url=_search_url(),
        pulse=pulse(),
    )


def _search_url() -> str:
    try:
        return reverse("records-search")
    except NoReverseMatch:
        return ""


def pulse() -> Pulse:
    """Live, or what stands still."""
    found: Pulse | None = cache.get("pulse")
    if found is None:
        failing = [state for state in check_parts().values() if state != OK]
        if failing:
            found = Pulse("warn", "Not live", " ".join(failing))
        else:
            found = Pulse("ok", "Live", "Workers and scheduler run.")
        cache.set("pulse", found, PULSE_SECONDS)
    return found
