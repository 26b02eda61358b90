"""The try beside each section of a description: what it calls, and what it found. Only reading calls; see write_tries.

Everything goes through the connection's guarded client and its budget; nothing of a try is kept.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from connections.connectors.base import (
    ConnectorError,
    DeliveryRequest,
    Gone,
    NeedsAuthorization,
    NotAllowed,
    RateLimited,
    Record,
)
from connections.connectors.proofs import Verdict
from connections.connectors.rest import Rest
from connections.connectors.rest_auth import uses_token
from connections.connectors.rest_check import account_of
from connections.connectors.rest_definition import ObjectType, Times
from connections.connectors.rest_guess import Guess, fields_in, kinds_of_id, lists_in, places_in, time_format
from connections.connectors.rest_objects import Objects
from connections.connectors.rest_paths import look
from connections.connectors.rest_values import parsed
from connections.connectors.rest_webhook import parse as parse_delivery
from connections.models import Connection
from connections.open import open_connector
from connections.watched import Exchange, WatchedSession

PAGES = 3  # read of a list: enough to see it go on, or go in circles
SHOWN_RECORDS = 5
ANY_STATUS = frozenset(range(100, 600)) - frozenset(range(300, 400))  # a redirect is told as one
NOT_THERE = "syncadmin-not-there"  # an id that no system gives


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of what was found. kind: ok, warn, bad, info."""

    kind: str
    head: str
    text: str = ""


@dataclass(slots=True)
class Trial:
    """What a try found. `trouble`: an error in its three parts; `at`: the section it belongs to, where another one.
    `records`: rows of a table, the first its head. `guesses`, `places`: proposals to take over."""

    exchanges: list[Exchange] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    trouble: str = ""
    at: str = ""
    head: list[str] = field(default_factory=list)
    records: list[list[Any]] = field(default_factory=list)
    guesses: list[Guess] = field(default_factory=list)
    places: list[tuple[str, str, str]] = field(default_factory=list)  # (part, expression, sample)
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


def run(connection: Connection, where: str, given: Mapping[str, str]) -> Trial:
    """Try a section of a connection that is as it was entered. given: what the try itself asks (a path, an id)."""
    trial = Trial()
    connector = None
    try:
        connector = open_tried(connection)
        _try_of(where)(connector, where, given, trial)
    except ConnectorError as error:
        trial.trouble = error.message or "The system did not answer."
        trial.at = belongs_to(error, connector.context.http if connector else None, where)
    finally:
        finish(connector, trial)
    return trial


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


def _try_of(where: str) -> Callable[[Rest, str, Mapping[str, str], Trial], None]:
    last = where.rpartition(".")[2]
    if where in BY_SECTION:
        return BY_SECTION[where]
    return BY_SECTION.get(last, _list)


def objects_at(connector: Rest, where: str) -> Objects:
    number = int(where.split(".")[1])
    return connector._objects[connector.definition.object_types[number].name]


# One function a section. -----------------------------------------------------------------------------------------


def _system(connector: Rest, where: str, given: Mapping[str, str], trial: Trial) -> None:
    path = given.get("try_path", "").strip() or "/"
    headers = connector.client.texts(connector.definition.headers)
    answer = connector.context.http.request("GET", path, headers=headers, ok=ANY_STATUS, any_text=True)
    trial.found("ok", "It answers", f"with status {answer.status} in {answer.elapsed:.1f} s, not signed in.")
    if answer.status in (404, 405):
        trial.found("info", "Nothing is at this very path", "That is usual for the address of an API itself.")
    if answer.ok and answer.json is None and answer.text.strip():
        page = answer.text.lstrip().startswith("<")
        what = "a page for people" if page else "no JSON"
        trial.found("warn", f"It answers with {what}", "The address of the API is often another one, like …/api.")


def _sign_in(connector: Rest, where: str, given: Mapping[str, str], trial: Trial) -> None:
    how, client = connector.definition.authentication, connector.client
    if uses_token(how):
        connector.context.tokens.renew(None, client._fetch)
        trial.found("ok", "A token came back", f"at “{how.token}”.")
    path = given.get("try_path", "").strip() or _path_for_sign_in(connector)
    answer = client.call("GET", path, about="list", ok=() if path != "/" else (404, 405))
    if answer.ok:
        trial.found("ok", "Signed in", "The call was answered.")
    else:
        trial.found("info", "Nothing is at this path", "So the sign-in is not proved. Enter a path of the API to try.")


def _path_for_sign_in(connector: Rest) -> str:
    account = connector.definition.account
    if account and account.path:
        return connector.client.path(account.path, user=str(connector.context.settings.get("user", "")))
    for each in connector.definition.object_types:
        if each.list and each.list.path and not each.parent:
            return connector.client.path(each.list.path)
    return "/"


def _who(connector: Rest, where: str, given: Mapping[str, str], trial: Trial) -> None:
    own = connector.definition.account
    if own and own.path:
        id, name, tenant, offset = account_of(connector.client)
        trial.found("ok", f"We are {name}", f"id {id}, site {tenant}.")
        if offset is not None:
            trial.found("info", "Its clock", f"is {abs(offset):.0f} s {'ahead of' if offset >= 0 else 'behind'} ours.")
    else:
        trial.found("info", "No call says who we are", "The account is named after the sign-in.")
    if connector.definition.people:
        people = connector.lookups.search(given.get("try_query", ""))
        kind = "ok" if people else "warn"
        trial.found(kind, f"{len(people)} people can be chosen", ", ".join(name for _, name in people[:SHOWN_RECORDS]))


def _answers(connector: Rest, where: str, given: Mapping[str, str], trial: Trial) -> None:
    definition, client = connector.definition, connector.client
    listed = next((each for each in definition.object_types if each.list and each.list.path and not each.parent), None)
    if listed and listed.list:
        answer = client.call("GET", client.path(listed.list.path), about="list", ok=ANY_STATUS)
        for header in (definition.limits.remaining_header, definition.limits.reset_header):
            if header:
                value = answer.headers.get(header)
                trial.found("ok" if value else "warn", header, value or "is not in the answer.")
    path = (listed.list.path.rstrip("/") if listed and listed.list else "") + f"/{NOT_THERE}"
    try:
        answer = client.call("GET", client.path(path), about="record", ok=ANY_STATUS)
    except NotAllowed as error:
        trial.found("info", "An error, as people will read it", error.message)
        return
    said = look(definition.errors.message, answer.json)
    if answer.ok:
        trial.found("info", "Even a record that is not there is answered well", "So this shows no error.")
    elif said:
        trial.found("ok", "The error says", str(said))
    elif definition.errors.message:
        trial.found("warn", f"Nothing is at “{definition.errors.message}”", "See the answer below for where it is.")
    elif isinstance(answer.json, Mapping):
        keys = ", ".join(map(str, answer.json))
        trial.found("info", "The error has", f"{keys}. Say where its message is, so that people read it.")


def _list(connector: Rest, where: str, given: Mapping[str, str], trial: Trial) -> None:
    objects = objects_at(connector, where)
    own, paging = objects.type.list, objects.type.list.paging if objects.type.list else None
    if own is None or paging is None or not own.path:
        trial.found("info", "There is no list yet", "Say its path in List, then try again.")
        return
    parent = given.get("try_parent", "").strip()
    if objects.type.parent and not parent:
        trial.found("info", "Whose?", f"Enter the id of a {objects.type.parent} to list what belongs to it.")
        return
    fields = [each.name for each in objects.type.fields]
    records: list[Record] = []
    raws: list[Any] = []
    broken = number = 0
    last = True
    try:
        for chunk in itertools.islice(objects.lister.pages(fields, parent=parent), PAGES):
            number += 1
            records += chunk.records
            raws += chunk.raws
            broken += chunk.broken
            last = chunk.last
    except ConnectorError:
        _hint_at_records(connector, objects.type, trial)
        raise
    finally:
        _show(objects.type, records, raws, connector.definition.times, trial)
    trial.found("ok" if records else "warn", counted(len(records), "record"), f"on {counted(number, 'page')}.")
    if not last:
        trial.found("info", "There is more", f"The try stops after {PAGES} pages.")
    elif number == 1 and paging.style == "none":
        trial.found("info", "One page is all", "as said under “How it goes on”.")
    if broken:
        trial.found(
            "warn",
            "1 entry is no record" if broken == 1 else f"{broken} entries are no records",
            "They have no id; they are left out, the others are read.",
        )
    _judge(connector, objects, records, raws, trial)
    _changed(objects, records, trial)


def _hint_at_records(connector: Rest, own: ObjectType, trial: Trial) -> None:
    """Where the records are, when they are not where it was said."""
    last = connector.context.http.exchanges[-1] if connector.context.http.exchanges else None
    if last is None or last.json is None or own.list is None:
        return
    at = look(own.list.records, last.json)
    if not isinstance(at, list):
        for path in lists_in(last.json)[:3]:
            trial.found(
                "info", "The answer has a list of records", f"at “{path}”: enter it at “Where the records are”."
            )
    elif at:
        first = places_in(at)
        if "id" in first:
            trial.found("info", "The id seems to be", f"at “{first['id']}”: enter it in the object type.")
            _propose(own, at, connector.definition.times, trial)


def _show(own: ObjectType, records: Sequence[Record], raws: Sequence[Any], times: Times, trial: Trial) -> None:
    """What the expressions found, as a table; and what else was seen, to take over."""
    if not records:
        return
    trial.head = ["id", "version", "changed", "title", *[each.name for each in own.fields[:SHOWN_RECORDS]]]
    for record in records[:SHOWN_RECORDS]:
        values = [
            "(not there)" if each.name in record.unreadable else _short(record.values.get(each.name))
            for each in own.fields[:SHOWN_RECORDS]
        ]
        trial.records.append([record.external_id, record.version, record.updated_at or "", record.title or "", *values])
    if raws:
        _propose(own, raws, times, trial)


def _propose(own: ObjectType, raws: Sequence[Any], times: Times, trial: Trial) -> None:
    place = own.place
    for part, expression in places_in(raws).items():
        if not getattr(place, part) or (part == "id" and place.id == "id" != expression):
            trial.places.append((part, expression, _short(look(expression, raws[0]))))
    stamp = look({part: where for part, where, _ in trial.places}.get("updated_at", place.updated_at), raws[0])
    form = time_format(stamp)
    if form in ("epoch", "epoch_ms") and form != times.format:
        trial.places.append(("times", form, "milliseconds since 1970" if form == "epoch_ms" else "seconds since 1970"))
    ours = [place.id, place.version, place.updated_at, place.created_at, place.updated_by, place.created_by]
    known = [each.read or each.name for each in own.fields] + [each for each in ours if each]
    known += [expression for part, expression, _ in trial.places if part != "title"]
    trial.guesses = fields_in(raws[:20], known)


def _judge(connector: Rest, objects: Objects, records: Sequence[Record], raws: Sequence[Any], trial: Trial) -> None:
    place = objects.type.place
    kinds = kinds_of_id([look(place.id, raw) for raw in raws])
    if len(kinds) > 1:
        trial.found("bad", "The id changes its type", "Some are numbers, some texts. Name another one that is unique.")
    if len({record.external_id for record in records}) < len(records):
        trial.found(
            "bad", "An id is there twice", "Two records would be taken for one. Name another one, or mend paging."
        )
    if place.updated_at and records and not any(record.updated_at for record in records):
        raw = look(place.updated_at, raws[0])
        if raw is None:
            trial.found("bad", f"No time is at “{place.updated_at}”", "See the answer below for where it is.")
        else:
            seen = time_format(raw)
            how = {"epoch": "seconds since 1970", "epoch_ms": "milliseconds since 1970", "iso": "an ISO time"}.get(seen)
            text = f"It looks like {how}." if how else "Say how under Times."
            trial.found("bad", f"{_short(raw)} is no time as Answers says times are written", text)
            trial.at = "answers"
    hidden = [each.name for each in objects.type.fields if records and all(each.name in r.unreadable for r in records)]
    if hidden:
        trial.found("warn", "Not found in any of these records", f"{', '.join(hidden)}.")


def _changed(objects: Objects, records: Sequence[Record], trial: Trial) -> None:
    """Ask for what changed since the newest one: fewer must come back, and that one among them."""
    changed = objects.type.list.changed if objects.type.list else None
    stamped = [record for record in records if record.updated_at]
    if not changed or not stamped:
        return
    newest = max(stamped, key=lambda record: parsed(record.updated_at or ""))
    back: dict[str, Record] = {}
    last = False
    for chunk in itertools.islice(objects.lister.pages([], since=newest.updated_at), PAGES):
        back |= {record.external_id: record for record in chunk.records}
        last = chunk.last
        if newest.external_id in back:
            break
    if newest.external_id not in back and not last:
        trial.found("info", "Many changed at about that time", "So the try did not see whether changes are found.")
    elif newest.external_id not in back:
        text = "Asked for changes since its time, the newest record did not come back. Check the value, its times, and "
        text += "whether it gives what changed in that very moment."
        trial.found("bad", "Changes would be missed", text)
    elif any(_is_before(each, newest, changed.granularity) for each in back.values()):
        trial.found("warn", "It gives older ones too", "The parameter for changes seems to do nothing.")
    else:
        trial.found("ok", "Changes are found", f"{len(back)} since {newest.updated_at}.")
    times = [record.updated_at or "" for record in records if record.updated_at]
    if (
        changed.oldest_first
        and [parsed(t) for t in times] != sorted(parsed(t) for t in times)
        and not changed.parameters
    ):
        trial.found(
            "warn",
            "The list is not in the order of changes",
            "Add the parameter that sorts it, oldest first, or untick it.",
        )


def _read(connector: Rest, where: str, given: Mapping[str, str], trial: Trial) -> None:
    objects = objects_at(connector, where)
    ids = [id for id in given.get("try_id", "").replace(",", " ").split() if id]
    if not ids and objects.type.list and objects.type.list.path and not objects.type.parent:
        ids = [record.external_id for record in next(objects.lister.pages([])).records[:2]]
    if not ids:
        trial.found("info", "Which one?", "The list shows no record: enter an id.")
        return
    fields = [each.name for each in objects.type.fields]
    shown: list[Record] = []
    one, many = objects.type.read, objects.type.read_many
    if one and one.path:
        try:
            raw = objects.read_one(ids[0], fields)
        except Gone:
            raw = None
        if raw is None:
            trial.found("bad", f"The record {ids[0]} was not found", "It is in the list. Check the path.")
        else:
            trial.found("ok", "One record is read", f"id {raw.record.external_id}, version {raw.record.version}.")
            shown = [raw.record]
    if many:
        found = objects.read(ids, fields)
        kind = "ok" if len(found) == len(ids) else "bad"
        trial.found(kind, f"{len(found)} of {len(ids)} are read in one call")
        shown = list(found.values()) or shown
    _show(objects.type, shown, [], connector.definition.times, trial)


def _bell(connector: Rest, where: str, given: Mapping[str, str], trial: Trial) -> None:
    """Nothing is called: a delivery that a person pastes is read."""
    body = given.get("try_body", "").strip()
    if not connector.definition.webhook or not body:
        trial.found("info", "Paste a delivery", "A body as the system sends it, from its documentation or its log.")
        return
    request = DeliveryRequest("POST", "/", {}, body.encode())
    try:
        read = parse_delivery(connector.definition, request, Verdict(False))
    except ValueError as error:
        trial.found("bad", "It cannot be read", f"{error}.")
        return
    kind = "ok" if read.hints else "warn"
    trial.found(
        kind,
        f"{counted(len(read.hints), 'record')} {'is' if len(read.hints) == 1 else 'are'} named",
        f"The event is called “{read.event}”.",
    )
    for hint in read.hints[:SHOWN_RECORDS]:
        trial.found(
            "info", f"{hint.object_type} {hint.external_id}", "was deleted." if hint.deleted else "may have changed."
        )


def _is_before(record: Record, other: Record, granularity: float) -> bool:
    """Whether it is older by more than what the list can tell apart."""
    apart = parsed(other.updated_at or "") - parsed(record.updated_at or other.updated_at or "")
    return apart.total_seconds() > max(2 * granularity, 1.0)


def counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _short(value: Any) -> str:
    text = "" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 80 else text[:80] + "…"


BY_SECTION: dict[str, Callable[[Rest, str, Mapping[str, str], Trial], None]] = {
    "system": _system,
    "sign-in": _sign_in,
    "who": _who,
    "answers": _answers,
    "bell": _bell,
    "read": _read,
    "list": _list,
}
