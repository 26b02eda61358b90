"""Filter chips whose state lives in the address: what is offered, what is set, and how to take it off again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

from django.http import HttpRequest

PAGING = ("after", "before")


@dataclass(frozen=True, slots=True)
class Filter:
    """One chip. `shown`: the value in words, "" where it is not set; `without`: the address with the chip off."""

    name: str
    label: str
    anything: str  # what the chip says while it is not set
    value: str = ""
    shown: str = ""
    without: str = ""
    kind: str = "choice"  # choice, text, date; "set" can only be taken off
    choices: Sequence[tuple[str, str]] = field(default_factory=tuple)
    suggestions: Sequence[str] = field(default_factory=tuple)


def without(request: HttpRequest, *names: str) -> str:
    """This address without these parameters, at its first page."""
    kept = [(name, value) for name in request.GET if name not in (*names, *PAGING) and (value := _given(request, name))]
    return f"{request.path}?{urlencode(kept)}" if kept else request.path


def choice(request: HttpRequest, name: str, label: str, anything: str, choices: Sequence[tuple[str, str]]) -> Filter:
    """A menu; a value that is not on it counts as not set."""
    value = request.GET.get(name, "")
    shown = dict(choices).get(value, "")
    return Filter(name, label, anything, value if shown else "", shown, without(request, name), choices=choices)


def text(
    request: HttpRequest, name: str, label: str, anything: str, kind: str = "text", suggestions: Sequence[str] = ()
) -> Filter:
    """What is typed, at most 200 characters."""
    value = _given(request, name).replace("\0", "")[:200]
    return Filter(name, label, anything, value, value, without(request, name), kind, suggestions=suggestions)


def tidy_address(request: HttpRequest) -> str | None:
    """The address without parameters that say nothing, as a form sends them; None if there are none."""
    return without(request) if any(not _given(request, name) for name in request.GET) else None


def _given(request: HttpRequest, name: str) -> str:
    return str(request.GET.get(name, "")).strip()
