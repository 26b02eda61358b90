"""What a try of a description found, and the connector it tries with, which keeps nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from connections.connectors.base import (
    ConnectorError,
    NeedsAuthorization,
    RateLimited,
)
from connections.connectors.rest import Rest
from connections.connectors.rest_definition import ObjectType, Times
from connections.connectors.rest_guess import Guess
from connections.connectors.rest_objects import Objects
from connections.models import Connection
from connections.open import open_connector
from connections.watched import Exchange, WatchedSession


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of what was found. kind: ok, warn, bad, info."""

    kind: str
    head: str
    text: str = ""


@dataclass(slots=True)
class Trial:
    """What a try found. `trouble`: an error in its three parts; `at`: the section it belongs to, where another one.
    `records`: rows of a table, the first its head. `guesses`, `places`: proposals to take over;
    `fills`: {input of this section: what the answer suggests for it}. `unticked`: the object type
    and the times without the proposals that are ticked, which are made again, so that they stay on the page."""

    exchanges: list[Exchange] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    trouble: str = ""
    at: str = ""
    head: list[str] = field(default_factory=list)
    records: list[list[Any]] = field(default_factory=list)
    guesses: list[Guess] = field(default_factory=list)
    places: list[tuple[str, str, str]] = field(default_factory=list)  # (part, expression, sample)
    unticked: tuple[ObjectType, Times] | None = None
    fills: dict[str, str] = field(default_factory=dict)
    asked: Exchange | None = None  # a write that waits for a yes
    steps: list[str] = field(default_factory=list)  # what would follow it

    def found(self, kind: str, head: str, text: str = "") -> None:
        self.findings.append(Finding(kind, head, text))


def open_tried(connection: Connection, session: type[WatchedSession] = WatchedSession) -> Rest:
    """A connector for what was entered, which keeps nothing."""
    connector = open_connector(connection, session=session, keeps=False)
    assert isinstance(connector, Rest)
    limits = connector.definition.limits
    headers = {limits.wait_header, limits.remaining_header, limits.reset_header}
    for each in connector.definition.object_types:
        headers.add(each.list.paging.next_header if each.list else "")
    connector.context.http.telling = {header.lower() for header in headers if header}
    connector.lookups.forget()
    return connector


def finish(connector: Rest | None, trial: Trial) -> None:
    """Take over what the client noted, without secrets; in the findings too."""
    if connector is None:
        return
    http = connector.context.http
    trial.exchanges = [http.shown(each) for each in http.exchanges]
    trial.trouble = http.redact(trial.trouble)
    trial.records = [[http.redact(cell) if isinstance(cell, str) else cell for cell in row] for row in trial.records]
    trial.findings = [Finding(one.kind, one.head, http.redact(one.text)) for one in trial.findings]


def belongs_to(error: ConnectorError, http: WatchedSession | None, where: str) -> str:
    """The section in which an error is mended; "" where it is this one."""
    last = http.exchanges[-1] if http and http.exchanges else None
    if last is None or last.status == 0 or 300 <= last.status < 400:
        at = "sign-in" if isinstance(error, NeedsAuthorization) else "system"
    elif isinstance(error, NeedsAuthorization) or last.status in (401, 403) or last.kind == "auth":
        at = "sign-in"
    elif isinstance(error, RateLimited):
        at = "answers"
    elif last.json is None and last.text.lstrip().startswith("<") and last.status < 400:
        at = "system"
    else:
        at = ""
    return "" if at == where else at


def objects_at(connector: Rest, where: str) -> Objects:
    return objects_of(connector, connector.definition.object_types[int(where.split(".")[1])])


def objects_of(connector: Rest, own: ObjectType) -> Objects:
    return connector._objects[own.name]


def counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def short(value: Any) -> str:
    text = "" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 80 else text[:80] + "…"
