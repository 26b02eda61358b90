"""The try of a list: its pages, its records and what else was seen in them, and whether a change would be found."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from connections.connectors.base import (
    ConnectorError,
    Record,
)
from connections.connectors.rest import Rest
from connections.connectors.rest_definition import ObjectType, Times
from connections.connectors.rest_guess import (
    CURSORS,
    fields_in,
    kinds_of_id,
    lists_in,
    named,
    places_in,
    time_format,
)
from connections.connectors.rest_objects import Objects
from connections.connectors.rest_paths import look
from connections.connectors.rest_records import NO_VERSION
from connections.connectors.rest_values import moment, parsed
from connections.trial import Trial, counted, objects_at, short

PAGES = 3  # read of a list: enough to see it go on, or go in circles
SHOWN_RECORDS = 5


def try_list(connector: Rest, where: str, given: Mapping[str, str], trial: Trial) -> None:
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
        show(objects.type, records, raws, connector.definition.times, trial)
    trial.found("ok" if records else "warn", counted(len(records), "record"), f"on {counted(number, 'page')}.")
    if not last:
        trial.found("info", "There is more", f"The try stops after {PAGES} pages.")
    elif number == 1 and paging.style == "none":
        trial.found("info", "One page is all", "as said under “How it goes on”.")
        if going_on := named(connector.context.http.exchanges[-1].json, CURSORS, str, int, type(None)):
            trial.found("info", "There may be more", f"“{going_on}” seems to lead to the next page: see Paging.")
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
        lists = lists_in(last.json)
        if lists:
            trial.fills["list__records"] = lists[0]
        for path in lists[1:3]:
            trial.found(
                "info", "The answer has another list of records", f"at “{path}”: enter it at “Where the records are”."
            )
    elif at:
        first = places_in(at)
        if "id" in first:
            trial.found("info", "The id seems to be", f"at “{first['id']}”: enter it in the object type.")
            _propose(own, at, connector.definition.times, trial)


def show(own: ObjectType, records: Sequence[Record], raws: Sequence[Any], times: Times, trial: Trial) -> None:
    """What the expressions found, as a table; and what else was seen, to take over."""
    if not records:
        return
    trial.head = ["id", "version", "changed", "title", *[each.name for each in own.fields[:SHOWN_RECORDS]]]
    for record in records[:SHOWN_RECORDS]:
        values = [
            "(not there)" if each.name in record.unreadable else short(record.values.get(each.name))
            for each in own.fields[:SHOWN_RECORDS]
        ]
        version = "" if record.version == NO_VERSION else record.version
        trial.records.append([record.external_id, version, record.updated_at or "", record.title or "", *values])
    if raws:
        _propose(own, raws, times, trial)


def _propose(own: ObjectType, raws: Sequence[Any], times: Times, trial: Trial) -> None:
    own, times = trial.unticked or (own, times)
    place = own.place
    for part, expression in places_in(raws).items():
        if not getattr(place, part) or (part == "id" and place.id == "id" != expression):
            trial.places.append((part, expression, short(look(expression, raws[0]))))
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
    unread = raws and all(record.version == NO_VERSION for record in records)
    if place.version and unread and look(place.version, raws[0]) in (None, ""):
        trial.found("bad", f"No version is at “{place.version}”", "See the answer below for where it is, or leave it.")
    if place.updated_at and raws:
        _judge_time(connector, look(place.updated_at, raws[0]), place.updated_at, trial)
    hidden = [each.name for each in objects.type.fields if records and all(each.name in r.unreadable for r in records)]
    if hidden:
        trial.found("warn", "Not found in any of these records", f"{', '.join(hidden)}.")


def _judge_time(connector: Rest, raw: Any, where: str, trial: Trial) -> None:
    if raw is None:
        trial.found("bad", f"No time is at “{where}”", "See the answer below for where it is.")
        return
    try:
        moment(raw, connector.definition.times)
    except ValueError:
        how = {"epoch": "seconds since 1970", "epoch_ms": "milliseconds since 1970", "iso": "an ISO time"}
        seen = how.get(time_format(raw))
        text = f"It looks like {seen}." if seen else "Say how under Times."
        trial.found("bad", f"{short(raw)} is no time as Answers says times are written", text)
        trial.at = "answers"


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


def _is_before(record: Record, other: Record, granularity: float) -> bool:
    """Whether it is older by more than what the list can tell apart."""
    apart = parsed(other.updated_at or "") - parsed(record.updated_at or other.updated_at or "")
    return apart.total_seconds() > max(2 * granularity, 1.0)
